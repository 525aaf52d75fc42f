"""What a worker changes of itself while it runs: the number of its senders, and the core it is on."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from loader.capacity import Flow
from loader.decisions.cores import better_core
from loader.decisions.senders import Sample, Senders
from loader.edges import machine

INTERVAL = 0.25
"""Seconds between two looks at the senders."""
LOOKS_A_CORE = 8
"""So many of them to one look at the core."""


class Resizable(Protocol):
    """A pool of senders."""

    def resize(self, senders: int) -> None: ...
    def waiting(self) -> bool: ...
    @property
    def disturbances(self) -> int: ...


class Tuner:
    """
    Looks at a worker from a thread of its own, from `start` until `close`.

    `adapts` is False where the user gave the number of senders. The worker is on `core`, and may be moved to
    another of `cores`; None where it runs anywhere.
    """

    def __init__(
        self,
        pool: Resizable,
        flow: Callable[[], Flow],
        on_failure: Callable[[BaseException], None],
        *,
        adapts: bool,
        core: int | None,
        cores: Sequence[int],
    ) -> None:
        self._pool = pool
        self._flow = flow
        self._on_failure = on_failure
        self._works = adapts or core is not None
        self._core = core
        self._cores = cores
        self._senders = Senders() if adapts else None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tuner", daemon=True)

    def start(self) -> None:
        if self._works:
            self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._look()
        except BaseException as error:
            self._on_failure(error)

    def _look(self) -> None:
        look = 0
        before, at, disturbances = self._flow(), time.monotonic(), self._pool.disturbances
        core_before = _CoreTimes()
        while not self._closed.wait(INTERVAL):
            look += 1
            if self._senders is not None:
                now, now_at, disturbed = self._flow(), time.monotonic(), self._pool.disturbances
                # What came out around an outage says nothing of how many senders are right.
                if disturbed == disturbances and not disturbed % 2:
                    self._senders = self._tuned(self._senders, before, now, now_at - at)
                before, at, disturbances = now, now_at, disturbed
            if self._core is not None and look % LOOKS_A_CORE == 0:
                core_now = _CoreTimes()
                self._core = self._settled(self._core, core_before, core_now)
                core_before = core_now

    def _tuned(self, senders: Senders, before: Flow, now: Flow, seconds: float) -> Senders:
        tuned = senders.after(
            Sample(
                seconds,
                now.written - before.written,
                now.throttled - before.throttled,
                now.held - before.held,
                self._pool.waiting(),
            )
        )
        if tuned.count != senders.count:
            self._pool.resize(tuned.count)
        return tuned

    def _settled(self, core: int, before: "_CoreTimes", now: "_CoreTimes") -> int:
        """The core this process is on from now on."""
        seconds = now.at - before.at
        busy = {
            each: (now.busy[each] - before.busy[each]) / seconds
            for each in self._cores
            if each in before.busy and each in now.busy
        }
        better = better_core(core, busy, (now.own - before.own) / seconds, random.random())
        return better if better is not None and machine.stay_on(better) else core


class _CoreTimes:
    """Seconds, of one moment."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.own = time.process_time()
        self.busy = machine.busy_seconds()
