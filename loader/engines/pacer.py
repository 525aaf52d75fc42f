"""Where senders wait for their worker's share of the rate, so that no more is asked of the table."""

import math
import threading
import time
from collections.abc import Callable

from loader.capacity import Flow
from loader.decisions.batch import Batch
from loader.decisions.units import Cost, bare_units, cut, is_plausible
from loader.decisions.wire import Answer, Throttled, Written
from loader.edges.events import Share
from loader.errors import ConnectionFault

SLACK_SECONDS = 0.03
"""What threads that wake up late may make up for; more saved up would come out as a burst."""
_GLANCE = 0.1


class Pacer:
    """
    Shared by the senders of a worker. Before each request one takes what it may cost from the share, and
    waits while that is overdrawn; the answer puts right what was charged.

    Requests that are refused have taken their part all the same: a table that refuses is not asked more.
    One sender waits at a time and the others behind it, so that a new share has effect at once. `on_wait`
    is called now and then while one waits. The table has so many `indexes`.
    """

    def __init__(
        self, share: Share, indexes: int, stopped: threading.Event, on_wait: Callable[[], None]
    ) -> None:
        self._indexes = indexes
        self._cost = Cost.guess(indexes)
        self._stopped = stopped
        self._on_wait = on_wait
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._rate, self._batch = share.rate, share.batch
        self._phase = share.phase
        self._balance = 0.0
        self._at = time.monotonic()
        self._used = 0.0
        self._refused = 0.0
        self._held = 0.0
        self._fruitless = 0

    def take_share(self, share: Share) -> None:
        with self._changed:
            self._gather()
            self._rate, self._batch = share.rate, share.batch
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody waits any more, once `stopped` is set."""
        with self._changed:
            self._changed.notify_all()

    def cut(self, batch: Batch) -> tuple[Batch, Batch | None]:
        """As much of a batch as may go in one request, and the rest."""
        most = self._batch
        return (batch, None) if most is None else cut(batch, most, self._cost)

    def take(self, batch: Batch, *, at_once: bool = False) -> float:
        """
        Wait for room, unless the batch has to go `at_once`, and take what it may cost: so many write units.
        """
        units = self._cost.of(len(batch), batch.bytes)
        if self._rate is not None:
            if not at_once:
                # Kept while this one takes its part, or two would find the same room.
                with self._turn:
                    if self._phase:
                        # Workers that begin together shall not send together ever after.
                        self._spend(self._phase * units)
                        self._phase = 0.0
                    self._wait()
                    self._spend(units)
            else:
                self._spend(units)
        return units

    def _spend(self, units: float) -> None:
        with self._changed:
            self._balance -= units

    def settle(self, batch: Batch, units: float, answer: Answer | ConnectionFault) -> None:
        """What became of a batch for which `units` were taken."""
        match answer:
            case Written():
                self._charge(batch, units, answer)
            case Throttled():
                with self._changed:
                    self._refused += units
                    self._fruitless += 1
            case _:
                with self._changed:
                    self._fruitless += 1

    def flow(self) -> Flow:
        """Write units and seconds since the worker began; items are counted elsewhere."""
        with self._changed:
            return Flow(used=self._used, refused=self._refused, held=self._held, fruitless=self._fruitless)

    def _charge(self, batch: Batch, units: float, answer: Written) -> None:
        items = max(0, len(batch) - len(answer.unprocessed))
        guess = units * items / len(batch)
        told = is_plausible(answer.write_units, items, self._indexes)
        # A service that does not say what it charges, or says nonsense, is taken to charge what was guessed.
        charged = answer.write_units if told else guess
        with self._changed:
            self._refused += units - guess
            self._fruitless += not items
            self._used += charged
            self._balance -= charged - guess
            if told and items == len(batch):
                # Of a part it is not known how large its items are.
                self._cost = self._cost.after(bare_units(items, batch.bytes), charged)

    def _wait(self) -> None:
        with self._changed:
            while not self._stopped.is_set() and (seconds := self._overdrawn()) > 0:
                before = self._at
                self._changed.wait(min(seconds, _GLANCE))
                self._gather()
                self._held += self._at - before
                if seconds > _GLANCE:
                    self._on_wait()

    def _overdrawn(self) -> float:
        """Seconds until the balance is even."""
        self._gather()
        if self._rate is None or (self._rate and self._balance >= 0):
            return 0.0
        # Without any share, until there is one.
        return -self._balance / self._rate if self._rate else math.inf

    def _gather(self) -> None:
        now = time.monotonic()
        if self._rate is None:
            self._balance = 0.0
        else:
            earned = self._balance + (now - self._at) * self._rate
            # What is owed is not forgotten, what was not used is.
            self._balance = min(earned, max(self._balance, self._rate * SLACK_SECONDS))
        self._at = now
