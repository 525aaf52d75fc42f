"""What an item weighs by DynamoDB's rules, alone and with its entries in local indexes."""

import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from loader.decisions.numbers import stored_size
from loader.decisions.schema import ColumnRule, ItemSchema
from loader.model import IndexDescription

ITEM_LIMIT = 409_600
"""The most bytes an item may have, names and values, its entries in local indexes included."""

# A list or a map counts so many bytes of its own.
_NESTED = 3


class ItemSizer:
    """Sizes of the items of one schema; rows are those that became items, so their cells are valid."""

    __slots__ = ("_entries", "_names", "_rules")

    def __init__(self, schema: ItemSchema) -> None:
        self._rules = schema.rules
        self._names = tuple(len(rule.name.encode()) for rule in schema.rules)
        self._entries = tuple(
            entry for index in schema.local_indexes if (entry := _entry(index, schema)) is not None
        )

    @property
    def entries(self) -> int:
        """In how many local indexes an item of this schema can have an entry."""
        return len(self._entries)

    def size(self, row: Sequence[str]) -> int:
        """Bytes that count towards the item limit: names and values, and again for each local entry."""
        sizes = [
            0 if not text and rule.empty == "omit" else name + value_size(rule, text)
            for rule, name, text in zip(self._rules, self._names, row, strict=True)
        ]
        total = sum(sizes)
        for range_keys, projected in self._entries:
            if all(sizes[i] for i in range_keys):
                total += sum(sizes[i] for i in projected)
        return total


def value_size(rule: ColumnRule, text: str) -> int:
    """Bytes of the value that a valid cell becomes, its name left out."""
    if rule.type == "N":
        return stored_size(text)
    if rule.type == "BOOL":
        return 1
    return len(text.encode())


def stored_value_size(value: Mapping[str, Any]) -> int:
    """Bytes of a value in DynamoDB JSON (`{"N": "5"}`), its name left out. Raises ValueError for no type."""
    for type_, content in value.items():
        if type_ == "S":
            return len(content) if content.isascii() else len(content.encode())
        if type_ == "N":
            return stored_size(content)
        if type_ in ("BOOL", "NULL"):
            return 1
        if type_ == "B":
            return len(binascii.a2b_base64(content))
        if type_ in ("SS", "NS", "BS"):
            return sum(stored_value_size({type_[0]: each}) for each in content)
        if type_ == "L":
            return _NESTED + sum(1 + stored_value_size(each) for each in content)
        if type_ == "M":
            return _NESTED + sum(
                1 + len(name.encode()) + stored_value_size(each) for name, each in content.items()
            )
    raise ValueError(f"{value!r} is no value in DynamoDB JSON")


def _entry(index: IndexDescription, schema: ItemSchema) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """
    The columns an item must have to be in a local index, and those that its entry holds.

    None where the header lacks one of the former: the index stays without entries.
    """
    columns = schema.header.columns
    range_keys = tuple(part.name for part in index.range_keys)
    if not all(name in columns for name in range_keys):
        return None
    held = {*range_keys, *(part.name for part in schema.key_schema.parts)}
    if index.projection == "INCLUDE":
        held.update(index.included)
    projected = tuple(i for i, name in enumerate(columns) if index.projection == "ALL" or name in held)
    return tuple(columns.index(name) for name in range_keys), projected
