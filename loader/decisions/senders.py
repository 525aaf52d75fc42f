"""How many senders a worker has: more while that helps and nothing throttles, fewer when it does not."""

import math
from dataclasses import dataclass, replace
from typing import Self

FEWEST, FIRST, MOST = 4, 16, 128
"""Senders of a worker: where throttling ends, where a load begins, and where a rise ends."""

# Twice as many until the table throttles for the first time, then in small steps around what it takes.
_STEEP, _GENTLE = 2.0, 1.25
# The part of a rise that has to come out as items, for it to be kept: at a busy core hardly any does.
_GAIN = 0.25
_THROTTLED = 0.05
# Samples until the next rise after one that brought nothing, and after a fall: the table may have grown.
_REST, _SHORT_REST = 40, 8


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What a worker did in `seconds`: items written, and items refused or handed back for want of capacity;
    `waiting`: batches lay ready that no sender had taken.
    """

    seconds: float
    written: int
    throttled: int
    waiting: bool


@dataclass(frozen=True, slots=True)
class Senders:
    """
    `before` and `rate` (items a second) are from before the last rise, which is to be judged; `rest` is for
    how many samples nothing rises. The first sample is of less than its time: any rise would look good.
    `throttled`: it ever was.
    """

    count: int = FIRST
    before: int = 0
    rate: float = 0.0
    rest: int = 1
    throttled: bool = False

    def after(self, sample: Sample) -> Self:
        """How many there shall be, by what was seen since the last time."""
        items = sample.written + sample.throttled
        if not items:
            return self
        rate = sample.written / sample.seconds
        if sample.throttled > _THROTTLED * items:
            fewer = max(FEWEST, self.count * 3 // 4)
            return replace(self, count=fewer, before=0, rest=_SHORT_REST, throttled=True)
        if self.before:
            if rate < self.rate * (1 + _GAIN * (self.count / self.before - 1)):
                return replace(self, count=self.before, before=0, rest=_REST)
            return self._risen(rate) if sample.waiting else replace(self, before=0)
        if self.rest:
            return replace(self, rest=self.rest - 1)
        # With nothing waiting it is the builder that has to keep up, and senders would not help it.
        return self._risen(rate) if sample.waiting else self

    def _risen(self, rate: float) -> Self:
        count = min(MOST, math.ceil(self.count * (_GENTLE if self.throttled else _STEEP)))
        before = 0 if count == self.count else self.count
        return replace(self, count=count, before=before, rate=rate)
