"""The write units that a table was seen to take, by tenth of a second, and what it refused."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from tests.server.index import Charge, EntryUnits
from tests.server.throughput import Refusal

_TENTHS_KEPT = 6_000
_KEYS_COUNTED = 20_000
_KEYS_TOLD = 100


@dataclass(slots=True)
class Tenth:
    """Write units of a tenth of a second, of the table alone and of its indexes by name."""

    table: float = 0
    indexes: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Usage:
    """
    Of one table. An item that was refused n times counts n times.

    `refused_keys` counts refused items by partition key, `refused_index_keys` those that a partition of an
    index refused by its hash key; of very many keys the least refused ones are forgotten.
    """

    accepted: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused_keys: Counter[str] = field(default_factory=Counter)
    refused_index_keys: dict[str, Counter[str]] = field(default_factory=dict)
    tenths: dict[int, Tenth] = field(default_factory=dict)

    def count_accepted(self, items: int, charge: Charge, now: float) -> None:
        """Items that were written, and what they cost together, at `now` in epoch seconds."""
        self.accepted += items
        number = int(now * 10)
        tenth = self.tenths.get(number)
        if tenth is None:
            tenth = self.tenths[number] = Tenth()
            if len(self.tenths) >= 2 * _TENTHS_KEPT:
                self.tenths = dict(self._last())
        tenth.table += charge.table
        for indexes in (charge.local, charge.global_):
            for name, units in indexes.items():
                tenth.indexes[name] = tenth.indexes.get(name, 0) + units

    def count_refused(self, key: str, refused: Iterable[Refusal]) -> None:
        """An item with that partition key, as text."""
        self.refused += 1
        for refusal in refused:
            self.reasons[refusal.reason] += 1
        _count_key(self.refused_keys, key)

    def count_refused_entries(self, entries: Iterable[EntryUnits]) -> None:
        """Entries of global indexes that a partition of the index had no room for."""
        for entry in entries:
            keys = self.refused_index_keys.setdefault(entry.index_name, Counter())
            _count_key(keys, ", ".join(entry.key))

    def _last(self) -> list[tuple[int, Tenth]]:
        return sorted(self.tenths.items())[-_TENTHS_KEPT:]

    def as_json(self) -> dict[str, Any]:
        return {
            "accepted_items": self.accepted,
            "refused_items": self.refused,
            "refused_by_reason": self.reasons,
            "refused_by_partition": self.refused_keys.most_common(_KEYS_TOLD),
            "refused_by_index_partition": {
                index: keys.most_common(_KEYS_TOLD) for index, keys in self.refused_index_keys.items()
            },
            "units_timeline": [(number, tenth.table, tenth.indexes) for number, tenth in self._last()],
        }


def _count_key(keys: Counter[str], key: str) -> None:
    keys[key] += 1
    if len(keys) > _KEYS_COUNTED:
        most = keys.most_common(_KEYS_COUNTED // 2)
        keys.clear()
        keys.update(dict(most))


def units_of(timeline: Iterable[tuple[int, float, Mapping[str, float]]]) -> list[tuple[float, float]]:
    """
    The epoch seconds of each tenth of a `units_timeline` and its units, those of indexes included.

    Tenths in which nothing was written are filled in between the first and the last.
    """
    totals = {number: table + sum(indexes.values()) for number, table, indexes in timeline}
    if not totals:
        return []
    return [(number / 10, totals.get(number, 0.0)) for number in range(min(totals), max(totals) + 1)]


def windows(units: Sequence[tuple[float, float]], seconds: float = 10.0) -> list[float]:
    """The units of every window of that length that begins with a tenth of `units` and lies inside them."""
    length = round(seconds * 10)
    if length < 1:
        raise ValueError("a window is at least a tenth of a second long")
    sums = list(accumulate((of for _, of in units), initial=0.0))
    return [after - before for before, after in zip(sums, sums[length:], strict=False)]
