"""Whether the service can be reached, as the senders of a process find out together."""

import logging
import threading
import time
from collections.abc import Callable
from itertools import count

from loader.decisions.outage import pause

_log = logging.getLogger(__name__)

_GLANCE = 0.05


class Reach:
    """
    Tells a fault of one batch from an outage, in which every sender waits and no try counts.

    A sender takes a number before each try, notes that it was answered, and after a try that was not asks
    whether that was an outage. Then one of them asks the service itself, again and again until it says
    something, and the others wait for what it finds out: `probe` is one such try, None where it was answered,
    else what stood in its way. Only the answer to a try that began behind a failure says that the service was
    there all the same. `stopped` ends the waiting, `on_change` is called when an outage begins and when it
    ends, `random` draws from [0, 1).
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
        self._numbers = count(1)
        # The latest try that was answered, and the first behind the last outage.
        self._answered = 0
        self._returned = 0
        self._fault = ""
        self.changes = 0
        """How often an outage has begun or ended: odd while there is one."""

    @property
    def fault(self) -> str:
        """What stands in the way now; empty where nothing does."""
        return self._fault

    def begin(self) -> int:
        """The number of a try, to be taken before it."""
        return next(self._numbers)

    def answered(self, number: int) -> None:
        # Where two threads are here at once the lower may stay: then somebody asks once more than needed.
        if number > self._answered:
            self._answered = number

    def lost(self, number: int) -> bool:
        """
        Whether this try, which got no answer, fell into an outage. Returns when that is over.

        Raises Fatal where not even a probe can be sent.
        """
        failed = next(self._numbers)
        while not self._probing.acquire(timeout=_GLANCE):
            if self._stopped.is_set():
                return True
            # Not to wait for a probe that hangs while others are answered. But where one has failed new tries
            # fail too, even if some old connections still work.
            if self._answered > failed and not self._fault:
                return number < self._returned
        try:
            if number < self._returned or self._stopped.is_set():
                return True
            if self._answered > failed:
                return False
            return self._wait_out()
        finally:
            self._probing.release()

    def _wait_out(self) -> bool:
        began, probes = time.monotonic(), 0
        while True:
            number = next(self._numbers)
            fault = self._probe()
            if fault is None:
                break
            if not probes:
                self._change(fault)
            if self._stopped.wait(pause(probes, self._random())):
                return True
            probes += 1
        self.answered(number)
        if not probes:
            return False
        self._returned = next(self._numbers)
        self._change("")
        _log.debug("Nothing was answered for %.1f s.", time.monotonic() - began)
        return True

    def _change(self, fault: str) -> None:
        self._fault = fault
        self.changes += 1
        self._on_change()
