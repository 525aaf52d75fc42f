"""What an item puts into the secondary indexes, and what changing it costs."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.server.errors import invalid
from tests.server.limits import ITEM_LIMIT, ITEM_TOO_LARGE, Item, measure
from tests.server.schema import IndexSchema, TableSchema


@dataclass(slots=True)
class Charge:
    """Write units of one or more writes; local indexes are charged to the table's capacity."""

    table: float = 0
    local: dict[str, float] = field(default_factory=dict)
    global_: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return self.table + sum(self.local.values()) + sum(self.global_.values())

    def add(self, other: "Charge") -> None:
        self.table += other.table
        for mine, theirs in ((self.local, other.local), (self.global_, other.global_)):
            for name, units in theirs.items():
                mine[name] = mine.get(name, 0) + units


def kibibytes(size: int) -> int:
    """Write units of one write of `size` bytes."""
    return max(1, (size + 1023) >> 10)


def entry(index: IndexSchema, item: Item | None) -> Item | None:
    """The item's entry in an index; None where it lacks one of the index's keys."""
    if item is None or any(part.name not in item for part in index.keys):
        return None
    if index.projected is None:
        return item
    return {name: value for name, value in item.items() if name in index.projected}


def index_units(index: IndexSchema, old: Item | None, new: Item | None) -> int:
    """
    Write units of replacing `old` by `new` in one index.

    A new, removed or changed entry is one write, a changed index key two: one that removes and one
    that puts; an entry that stays as it is costs nothing.
    """
    before, after = entry(index, old), entry(index, new)
    if before is None or after is None:
        present = after if before is None else before
        return 0 if present is None else kibibytes(measure(present))
    if any(before[part.name] != after[part.name] for part in index.keys):
        return kibibytes(measure(before)) + kibibytes(measure(after))
    if before == after:
        return 0
    return kibibytes(max(measure(before), measure(after)))


def charge_indexes(schema: TableSchema, old: Item | None, new: Item | None, charge: Charge) -> None:
    for index in schema.indexes:
        units = index_units(index, old, new)
        if units:
            (charge.local if index.local else charge.global_)[index.name] = units


def _local_entries(schema: TableSchema, item: Item) -> Iterator[Item]:
    for index in schema.indexes:
        projected = entry(index, item) if index.local else None
        if projected is not None:
            yield projected


def check_with_local_entries(schema: TableSchema, item: Item, size: int) -> None:
    """An item and its entries in all local indexes must fit in the item limit together."""
    if size + sum(measure(projected) for projected in _local_entries(schema, item)) > ITEM_LIMIT:
        raise invalid(ITEM_TOO_LARGE)
