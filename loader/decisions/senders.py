"""
How many senders a worker has: more while that helps. How much they may ask of a table is decided elsewhere
(pacing.py): what throttles is no reason for fewer, and a worker that waits for its share none for more.
"""

from dataclasses import dataclass, replace
from typing import Self

FIRST, MOST = 16, 128
"""Senders of a worker: where a load begins, and where a rise ends."""

_RISE = 2
# The part of a rise that has to come out as items, for it to be kept: at a busy core hardly any does.
_GAIN = 0.25
# Samples until the next rise after one that brought nothing: the network may have changed.
_REST = 40
# The part of the time in which batches waited for their share, from which on that is what holds them.
_HELD = 0.05
# The part of the items that a table refuses when it is the table that sets the rate; less is a hot key.
_THROTTLED = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What a worker did in `seconds`: items written, and items refused or handed back for want of capacity;
    `held` are those seconds in which batches waited for their share of the rate; `waiting`: batches lay ready
    that no sender had taken.
    """

    seconds: float
    written: int
    throttled: int
    held: float
    waiting: bool


@dataclass(frozen=True, slots=True)
class Senders:
    """
    `before` and `rate` (items a second) are from before the last rise, which is to be judged; `rest` is for
    how many samples nothing rises. The first sample is of less than its time: any rise would look good.
    """

    count: int = FIRST
    before: int = 0
    rate: float = 0.0
    rest: int = 1

    def after(self, sample: Sample) -> Self:
        """How many there shall be, by what was seen since the last time."""
        if not sample.written and not sample.throttled:
            return self
        throttled = sample.throttled > _THROTTLED * (sample.written + sample.throttled)
        if throttled or sample.held > _HELD * sample.seconds:
            # The table sets the rate now, so nothing can be learned of the senders.
            return replace(self, before=0)
        rate = sample.written / sample.seconds
        if self.before:
            if rate < self.rate * (1 + _GAIN * (self.count / self.before - 1)):
                return replace(self, count=self.before, before=0, rest=_REST)
            return self._risen(rate) if sample.waiting else replace(self, before=0)
        if self.rest:
            return replace(self, rest=self.rest - 1)
        # With nothing waiting it is the builder that has to keep up, and senders would not help it.
        return self._risen(rate) if sample.waiting else self

    def _risen(self, rate: float) -> Self:
        count = min(MOST, self.count * _RISE)
        before = 0 if count == self.count else self.count
        return replace(self, count=count, before=before, rate=rate)
