"""What an item puts into the secondary indexes, and what changing it costs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.server.errors import invalid
from tests.server.limits import ITEM_LIMIT, ITEM_TOO_LARGE, Item, measure
from tests.server.schema import IndexSchema, TableSchema


class EntryUnits(NamedTuple):
    """Write units of a global index, and the values of the hash key that they fall on."""

    index_name: str
    key: tuple[str, ...]
    units: float


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


def entry_writes(
    index: IndexSchema, old: Item | None, new: Item | None, new_size: int
) -> tuple[tuple[Item, int], ...]:
    """
    What replacing `old` by `new`, of `new_size` bytes, writes in one index: entries and their units.

    A new, removed or changed entry is one write, a changed index key two: one that removes and one
    that puts; an entry that stays as it is costs nothing.
    """
    before, after = entry(index, old), entry(index, new)
    # Where everything is projected the entry is the item, which has been measured.
    size = 0 if after is None else new_size if after is new else measure(after)
    if before is None:
        return () if after is None else ((after, kibibytes(size)),)
    if after is None:
        return ((before, kibibytes(measure(before))),)
    if any(before[part.name] != after[part.name] for part in index.keys):
        return (before, kibibytes(measure(before))), (after, kibibytes(size))
    if before == after:
        return ()
    return ((after, kibibytes(max(measure(before), size))),)


def charge_indexes(
    schema: TableSchema, old: Item | None, new: Item | None, new_size: int, charge: Charge
) -> list[EntryUnits]:
    """Add to a charge what the indexes cost; the same by hash key, of global indexes only."""
    by_key: list[EntryUnits] = []
    for index in schema.indexes:
        writes = entry_writes(index, old, new, new_size)
        if not writes:
            continue
        units = sum(units for _, units in writes)
        if index.local:
            charge.local[index.name] = units
            continue
        charge.global_[index.name] = units
        keys = [_hash_key(index, written) for written, _ in writes]
        if len(keys) == 1 or keys[0] == keys[1]:
            by_key.append(EntryUnits(index.name, keys[0], units))
        else:
            by_key += [EntryUnits(index.name, key, of) for key, (_, of) in zip(keys, writes, strict=True)]
    return by_key


def _hash_key(index: IndexSchema, entry: Item) -> tuple[str, ...]:
    return tuple(entry[part.name][part.type] for part in index.hash)


def _local_entries(schema: TableSchema, item: Item) -> Iterator[Item]:
    for index in schema.indexes:
        projected = entry(index, item) if index.local else None
        if projected is not None:
            yield projected


def check_with_local_entries(schema: TableSchema, item: Item, size: int) -> None:
    """An item and its entries in all local indexes must fit in the item limit together."""
    if size + sum(measure(projected) for projected in _local_entries(schema, item)) > ITEM_LIMIT:
        raise invalid(ITEM_TOO_LARGE)
