"""A simulated table: buckets of write units for itself, for an index and for partition keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

Units = Callable[[float], float]
"""Write units a second by the time."""


@dataclass(slots=True)
class Bucket:
    """As DynamoDB's: an item larger than the whole bucket goes through when that is full, on credit."""

    rate: float
    size: float
    tokens: float
    at: float = 0.0

    def at_hand(self, now: float) -> float:
        return min(self.size, self.tokens + (now - self.at) * self.rate)

    def refill(self, now: float) -> None:
        self.tokens = self.at_hand(now)
        self.at = now

    def resize(self, rate: float, size: float) -> None:
        self.rate, self.size = rate, size
        self.tokens = min(self.tokens, size)

    def fits(self, units: float, items: int) -> int:
        """How many of these items can be taken now."""
        if self.tokens >= units * items:
            return items
        if self.tokens >= self.size:
            return max(1, int(self.tokens / units))
        return max(0, int(self.tokens / units))


@dataclass(slots=True)
class Table:
    """
    `capacity` is the table's over time, None without limit; its bucket holds `burst` seconds and begins full.
    Each item takes `units` of it, and as many of the index's bucket where `index` gives its units a second.
    `partition` is what each key takes; `flaky` is the part of writes refused for reasons of their
    own (a hot key).
    """

    capacity: Units | None = None
    burst: float = 1.0
    index: float | None = None
    partition: float | None = None
    flaky: float = 0.0
    _bucket: Bucket | None = field(init=False, default=None)
    _of_index: Bucket | None = field(init=False, default=None)
    _random: Random = field(init=False, default_factory=lambda: Random(0))
    _keys: dict[int, Bucket] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.capacity is not None:
            rate = self.capacity(0.0)
            self._bucket = Bucket(rate, rate * self.burst, rate * self.burst)
        if self.index is not None:
            self._of_index = Bucket(self.index, self.index * self.burst, self.index * self.burst)

    def saved(self, now: float) -> float:
        """Units that could be had at once, beyond what the capacity gives; negative while on credit."""
        shared = [bucket for bucket in (self._bucket, self._of_index) if bucket is not None]
        saved = [bucket.at_hand(now) for bucket in shared]
        if self._keys:
            saved.append(sum(bucket.at_hand(now) for bucket in self._keys.values()))
        return min(saved, default=0.0)

    @property
    def keyed(self) -> bool:
        """Whether it matters which keys items have."""
        return self.partition is not None or self.flaky > 0

    def write(self, now: float, keys: Sequence[int], items: int, units: float) -> tuple[int, list[int]]:
        """How many of the items were taken, and the keys of those that were not (empty unless keyed)."""
        shared = self._refilled(now)
        if not self.keyed:
            taken = min((bucket.fits(units, items) for bucket in shared), default=items)
            for bucket in shared:
                bucket.tokens -= taken * units
            return taken, []
        refused = []
        for key in keys:
            if self._random.random() < self.flaky:
                refused.append(key)
                continue
            of_key = self._of_key(key, now)
            buckets = shared if of_key is None else [*shared, of_key]
            if all(bucket.fits(units, 1) for bucket in buckets):
                for bucket in buckets:
                    bucket.tokens -= units
            else:
                refused.append(key)
        return len(keys) - len(refused), refused

    def _refilled(self, now: float) -> list[Bucket]:
        if self._bucket is not None and self.capacity is not None:
            self._bucket.refill(now)
            rate = self.capacity(now)
            if rate != self._bucket.rate:
                self._bucket.resize(rate, rate * self.burst)
        if self._of_index is not None:
            self._of_index.refill(now)
        return [bucket for bucket in (self._bucket, self._of_index) if bucket is not None]

    def _of_key(self, key: int, now: float) -> Bucket | None:
        rate = self.partition
        if rate is None:
            return None
        bucket = self._keys.get(key)
        if bucket is None:
            bucket = self._keys[key] = Bucket(rate, rate, rate, now)
        bucket.refill(now)
        return bucket
