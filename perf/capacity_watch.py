"""What a metering server saw of a load: asked while it runs, and worked out from the units it tells."""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import TracebackType
from typing import Self

from perf.processes import own_cpu
from tests.server.client import Server
from tests.server.usage import units_of

TENTH = 0.1
POLL_SECONDS = 0.1
BUSY = 0.85
"""From this share of a core on, the server is what limits a load, and not its table."""

Units = Sequence[tuple[float, float]]
"""The epoch seconds at which a tenth of a second begins and the write units taken in it, without gaps."""


@dataclass(frozen=True, slots=True)
class Glance:
    """At `at`, epoch seconds: items accepted and refused so far, CPU seconds of the server."""

    at: float
    accepted: int
    refused: int
    cpu: float


@dataclass(slots=True)
class Watch:
    """
    Looks at a table about ten times a second while the block runs. `events` are called once so many seconds
    after the first write was seen, and `happened` has the epoch seconds when they were.
    """

    server: Server
    table: str
    events: Sequence[tuple[float, Callable[[], None]]] = ()
    glances: list[Glance] = field(default_factory=list)
    happened: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            began: float | None = None
            left = list(self.events)
            while not self._over.is_set():
                glance = self._look()
                if began is None and glance.accepted:
                    began = time.monotonic()
                while left and began is not None and time.monotonic() - began >= left[0][0]:
                    left.pop(0)[1]()
                    self.happened.append(time.time())
                self._over.wait(POLL_SECONDS)
            self._look()
        except BaseException as failure:
            self._failure = failure

    def _look(self) -> Glance:
        usage = self.server.stats()["capacity"].get(self.table, {})
        accepted, refused = usage.get("accepted_items", 0), usage.get("refused_items", 0)
        glance = Glance(time.time(), accepted, refused, own_cpu(self.server.process.pid))
        self.glances.append(glance)
        return glance

    def between(self, start: float, stop: float) -> tuple[Glance, Glance]:
        """The glances that come closest before the two moments."""
        places = [max(0, bisect_right(self.glances, at, key=_at) - 1) for at in (start, stop)]
        return self.glances[places[0]], self.glances[places[1]]

    def refused_share(self, start: float, stop: float) -> float:
        """Of the items that were sent in that time; 0 where there were none."""
        before, after = self.between(start, stop)
        refused = after.refused - before.refused
        sent = refused + after.accepted - before.accepted
        return refused / sent if sent else 0.0

    def server_share(self, start: float, stop: float) -> float:
        """Of a core, that the server took."""
        before, after = self.between(start, stop)
        seconds = after.at - before.at
        return (after.cpu - before.cpu) / seconds if seconds > 0 else 0.0

    def first_refusal(self) -> float | None:
        return next((glance.at for glance in self.glances if glance.refused), None)


def _at(glance: Glance) -> float:
    return glance.at


# --- working out ----------------------------------------------------------------------------------


def index_units(timeline: Iterable[tuple[int, float, Mapping[str, float]]], index: str) -> Units:
    """The units of one index in a `units_timeline` of the server's statistics."""
    return units_of((number, float(indexes.get(index, 0.0)), {}) for number, _, indexes in timeline)


def taken(units: Units, start: float, stop: float) -> float:
    """Units taken in [start, stop); of a tenth that is only partly in it, that part."""
    return sum(of * max(0.0, min(at + TENTH, stop) - max(at, start)) / TENTH for at, of in units)


def span(units: Units) -> tuple[float, float]:
    """Begin of the first tenth in which something was written, and end of the last."""
    written = [at for at, of in units if of > 0]
    if not written:
        raise ValueError("nothing was written")
    return written[0], written[-1] + TENTH


def rates(units: Units, seconds: float = 1.0) -> list[tuple[float, float]]:
    """Units a second over the last `seconds`, at the end of each tenth that has so many behind it."""
    length = round(seconds / TENTH)
    sums = list(accumulate((of for _, of in units), initial=0.0))
    return [
        (units[place + length - 1][0] + TENTH, (sums[place + length] - sums[place]) / seconds)
        for place in range(len(units) - length + 1)
    ]


def seconds_until(
    measured: Sequence[tuple[float, float]], since: float, fits: Callable[[float, float], bool]
) -> float | None:
    """From `since` to the first of the rates behind it for which fits(at, rate); None where there is none."""
    return next((at - since for at, rate in measured if at >= since and fits(at, rate)), None)
