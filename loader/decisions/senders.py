"""How many senders a worker has: more while that helps and nothing throttles, fewer when it does not."""

from dataclasses import dataclass, replace
from typing import Self

FEWEST, FIRST, MOST = 4, 16, 128
"""Senders of a worker: where throttling ends, where a load begins, and where a rise ends."""

_RISE = 2
# What a rise has to bring to be kept: twice the senders do little for a worker whose core is busy.
_GAIN = 1.25
_THROTTLED = 0.05
# Samples after a rise that brought nothing, or a fall, until the next is tried: the table may have grown.
_REST = 40


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What a worker did in `seconds`: items written, requests answered, those of them that were throttled or
    handed items back; `waiting`: batches lay ready that no sender had taken.
    """

    seconds: float
    written: int
    requests: int
    throttled: int
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
        if not sample.requests:
            return self
        rate = sample.written / sample.seconds
        if sample.throttled > _THROTTLED * sample.requests:
            return replace(self, count=max(FEWEST, self.count * 3 // 4), before=0, rest=_REST)
        if self.before:
            if rate < _GAIN * self.rate:
                return replace(self, count=self.before, before=0, rest=_REST)
            return self._risen(rate) if sample.waiting else replace(self, before=0)
        if self.rest:
            return replace(self, rest=self.rest - 1)
        # With nothing waiting it is the builder that has to keep up, and senders would not help it.
        return self._risen(rate) if sample.waiting else self

    def _risen(self, rate: float) -> Self:
        count = min(MOST, self.count * _RISE)
        return self if count == self.count else replace(self, count=count, before=self.count, rate=rate)
