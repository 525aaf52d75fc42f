"""Token buckets of write units. Times are in seconds of any clock that never runs backwards."""

from collections.abc import Hashable

_FEWEST_TO_SWEEP = 10_000
# Seconds. A thousand writes of a thousandth of a second each must fit in one second.
_ROUNDING = 1e-6


class Bucket:
    """
    `rate` write units a second, at most `size` of them saved up.

    A write that needs more than a whole bucket goes through when the bucket is full and leaves a debt:
    otherwise an item larger than the bucket could never be written.
    """

    __slots__ = ("_at", "rate", "size", "tokens")

    def __init__(self, rate: float, size: float, tokens: float, now: float) -> None:
        self.rate = rate
        self.size = size
        self.tokens = tokens
        self._at = now

    def refill(self, now: float) -> None:
        self.tokens = min(self.size, self.tokens + (now - self._at) * self.rate)
        self._at = now

    def has(self, units: float) -> bool:
        """Whether so many can be taken, as of the last refill."""
        return self.tokens >= units or self.tokens >= self.size

    def resize(self, rate: float, size: float, now: float) -> None:
        """Another rate from now on; what is in the bucket stays in it, as far as it fits."""
        self.refill(now)
        self.rate = rate
        self.size = size
        self.tokens = min(size, self.tokens)


class PartitionBuckets:
    """
    A bucket of one second for each key, full at first sight.

    Of each only the time is kept at which it is full again: that says what is in it now, and once it
    has passed the key can be forgotten. So millions of keys take the memory of those written lately.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._full_at: dict[Hashable, float] = {}
        self._sweep_at = _FEWEST_TO_SWEEP

    def __len__(self) -> int:
        return len(self._full_at)

    def has(self, key: Hashable, units: float, now: float) -> bool:
        missing = self._full_at.get(key, now) - now
        return missing <= 0 or missing + units / self._rate <= 1 + _ROUNDING

    def take(self, key: Hashable, units: float, now: float) -> None:
        full_at = self._full_at.get(key, now)
        self._full_at[key] = (full_at if full_at > now else now) + units / self._rate
        if len(self._full_at) > self._sweep_at:
            self._full_at = {of: at for of, at in self._full_at.items() if at > now}
            self._sweep_at = max(_FEWEST_TO_SWEEP, 2 * len(self._full_at))

    def resize(self, rate: float, now: float) -> None:
        """Another rate from now on; what is in the buckets stays in them, as far as it fits."""
        self._full_at = {
            key: now + 1 - min(rate, self._rate * (1 + now - at)) / rate
            for key, at in self._full_at.items()
            if at > now
        }
        self._rate = rate
