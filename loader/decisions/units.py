"""What a batch is going to cost in write units: a guess from its size, corrected by what was charged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from loader.decisions.batch import Batch, Item

_UNIT_BYTES = 1 << 10
# What was learned fades: half of it once so many units more were charged.
_MEMORY = 4_000.0
# The first guess counts as much as what was learned of so many units.
_PRIOR = 10.0


MOST_UNITS = 400
"""Of an item, in the table and in each entry of an index."""


def is_plausible(units: float, items: int, indexes: int) -> bool:
    """
    Whether a service may have charged so many for writing so many items: at most an entry of the largest size
    removed and one put in each index. Less than a unit an item it never charges.
    """
    return items <= units <= items * MOST_UNITS * (1 + 2 * indexes)


def bare_units(items: int, size: int) -> float:
    """
    Of new items without indexes, `size` bytes of JSON in all: each begins a unit every KiB, so that on
    average half a one is charged beyond its bytes.
    """
    return max(float(items), size / _UNIT_BYTES + items / 2)


@dataclass(frozen=True, slots=True)
class Cost:
    """
    How much more than its bare units a batch costs: entries in indexes, larger items that are replaced, and
    names that JSON spells longer. `charged` for `bare` units, both fading.
    """

    bare: float
    charged: float

    @classmethod
    def guess(cls, indexes: int) -> Self:
        """Before anything was charged: in each index a new entry as large as the item."""
        return cls(_PRIOR, _PRIOR * (1 + indexes))

    def of(self, items: int, size: int) -> float:
        return bare_units(items, size) * self.charged / self.bare

    def after(self, bare: float, charged: float) -> Self:
        """Having seen what was charged for so many bare units."""
        kept = 0.5 ** (bare / _MEMORY)
        return type(self)(self.bare * kept + bare, self.charged * kept + charged)


def cut(batch: Batch, most: float, cost: Cost) -> tuple[Batch, Batch | None]:
    """
    The first items of a batch that cost at most `most` units together, at least one, and the others: large
    items or a small share of the rate make for smaller requests.
    """
    if len(batch) == 1 or cost.of(len(batch), batch.bytes) <= most:
        return batch, None
    items = batch.items
    count = _fitting(items, most, cost)
    return (batch, None) if count == len(items) else (Batch(items[:count]), Batch(items[count:]))


def _fitting(items: Sequence[Item], most: float, cost: Cost) -> int:
    size = 0
    for count, item in enumerate(items):
        size += len(item.json)
        if count and cost.of(count + 1, size) > most:
            return count
    return len(items)
