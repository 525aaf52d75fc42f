"""Which keys come most often, of any number of keys, in bounded memory: the Space-Saving sketch."""

import heapq
from collections import Counter
from collections.abc import Iterable


class HeavyHitters:
    """
    Counts for at most `capacity` keys; a new one takes the place of the least and inherits its count.

    So of N counted in all, every key with more than N / capacity is here, a count is never too low, and too
    high by at most N / capacity. Raises ValueError for a capacity below 1.
    """

    __slots__ = ("_capacity", "_counts", "_inherited", "_queue")

    def __init__(self, capacity: int = 128) -> None:
        if capacity < 1:
            raise ValueError(f"a sketch of {capacity} keys")
        self._capacity = capacity
        self._counts: dict[str, int] = {}
        self._inherited: dict[str, int] = {}
        # One entry a key, with a count it once had: put right only when it comes to the top.
        self._queue: list[tuple[int, str]] = []

    def add(self, key: str, count: int = 1) -> None:
        """Count `key` so many times. Raises ValueError for a count below 1."""
        if count < 1:
            raise ValueError(f"{count} times")
        known = self._counts.get(key)
        if known is not None:
            self._counts[key] = known + count
            return
        inherited = 0
        if len(self._counts) < self._capacity:
            heapq.heappush(self._queue, (count, key))
        else:
            inherited, least = self._least()
            del self._counts[least], self._inherited[least]
            heapq.heapreplace(self._queue, (inherited + count, key))
        self._counts[key] = inherited + count
        self._inherited[key] = inherited

    @property
    def unseen(self) -> int:
        """How often a key that is not here may have been counted."""
        return 0 if len(self._counts) < self._capacity else self._least()[0]

    def most(self, n: int, *, certainty: float = 0.0) -> tuple[tuple[str, int], ...]:
        """
        The first `n` keys by count, largest first, and by key where counts are equal. Of each count at least
        the share `certainty` is the key's own, and not perhaps inherited; a key with more than
        N / capacity / (1 - certainty) of N counted is never left out for that.
        """
        counts = [
            (key, count)
            for key, count in self._counts.items()
            if count - self._inherited[key] >= certainty * count
        ]
        return tuple(heapq.nsmallest(n, counts, key=_rank))

    def _least(self) -> tuple[int, str]:
        queue = self._queue
        while True:
            count, key = queue[0]
            now = self._counts[key]
            if now == count:
                return queue[0]
            heapq.heapreplace(queue, (now, key))


def merged(lists: Iterable[Iterable[tuple[str, int]]], n: int) -> tuple[tuple[str, int], ...]:
    """
    The first `n` keys by the sum of their counts in several lists, each as of `most`.

    A list that lacks a key adds nothing to it, so a sum is too low by at most what those that lack the key
    could have had of it: the `unseen` of a sketch, or the last count of a list that was cut short.
    """
    sums: Counter[str] = Counter()
    for of_one in lists:
        sums.update(dict(of_one))
    return tuple(heapq.nsmallest(n, sums.items(), key=_rank))


def _rank(counted: tuple[str, int]) -> tuple[int, str]:
    key, count = counted
    return -count, key
