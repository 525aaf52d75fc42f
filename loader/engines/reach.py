"""Whether the service can be reached, as the senders of a process find out together."""

import logging
import threading
import time
from collections.abc import Callable

from loader.decisions.outage import pause

_log = logging.getLogger(__name__)

_GLANCE = 0.05


class Reach:
    """
    Tells a fault of one batch from an outage, in which every sender waits and no try counts.

    A sender notes each answer it gets, and after a try without one asks whether that was an outage. Then one
    of them asks the service itself, again and again until it says something, and the others wait for what it
    finds out. `probe` is one such try, None where it was answered, else what stood in its way. `stopped` ends
    the waiting, `on_change` is called when an outage begins and when it ends, `random` draws from [0, 1).
    """

    def __init__(
        self,
        probe: Callable[[], str | None],
        stopped: threading.Event,
        on_change: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self._probe = probe
        self._stopped = stopped
        self._on_change = on_change
        self._random = random
        self._probing = threading.Lock()
        # Not exact where threads count at once, but it changes with each answer, and only grows.
        self._answers = 0
        self._answers_at_return = 0
        self._fault = ""
        self.changes = 0
        """How often an outage has begun or ended: odd while there is one."""

    @property
    def fault(self) -> str:
        """What stands in the way now; empty where nothing does."""
        return self._fault

    def mark(self) -> int:
        """To be taken before a try, for `lost`."""
        return self._answers

    def answered(self) -> None:
        self._answers += 1

    def lost(self, mark: int) -> bool:
        """
        Whether a try that got no answer, begun at `mark`, fell into an outage. Returns when that is over.

        Raises Fatal where not even a probe can be sent.
        """
        # That others were answered while this try was under way says nothing: the outage may be younger.
        answers = self._answers
        while not self._probing.acquire(timeout=_GLANCE):
            if self._stopped.is_set():
                return True
            # Not to wait for a probe that hangs while others are answered. But where one has failed new tries
            # fail too, even if some old connections still work.
            if self._answers != answers and not self._fault:
                return mark < self._answers_at_return
        try:
            if mark < self._answers_at_return or self._stopped.is_set():
                return True
            if self._answers != answers:
                return False
            return self._wait_out()
        finally:
            self._probing.release()

    def _wait_out(self) -> bool:
        began, probes = time.monotonic(), 0
        while (fault := self._probe()) is not None:
            if not probes:
                self._change(fault)
            if self._stopped.wait(pause(probes, self._random())):
                return True
            probes += 1
        self.answered()
        if not probes:
            return False
        self._answers_at_return = self._answers
        self._change("")
        _log.debug("Nothing was answered for %.1f s.", time.monotonic() - began)
        return True

    def _change(self, fault: str) -> None:
        self._fault = fault
        self.changes += 1
        self._on_change()
