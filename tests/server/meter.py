"""Metered write units: a token bucket for each table that holds one second's worth."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Meter:
    """
    `rate` write units a second; `clock` gives seconds.

    A write that needs more than a whole bucket is let through when the bucket is full and leaves a
    debt: otherwise an item larger than `rate` KiB could never be written.
    """

    rate: float
    clock: Callable[[], float]
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens = self.rate
        self._at = self.clock()

    def take(self, units: float) -> bool:
        """Spend `units`, or leave the bucket as it is and say False."""
        now = self.clock()
        self._tokens = min(self.rate, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < min(units, self.rate):
            return False
        self._tokens -= units
        return True
