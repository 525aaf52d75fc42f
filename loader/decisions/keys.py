"""A row's primary key in its normal form: equal bytes exactly where DynamoDB says the keys are equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loader.decisions import numbers
from loader.model import KeySchema

SEPARATOR = b"\xff"
"""Between the parts of a key; no part has it, for UTF-8 does not use this byte."""

_TYPES = ("S", "N")


@dataclass(frozen=True, slots=True)
class KeySpec:
    """
    Which cells of a row are its key: column numbers from 0 and their types (S or N), partition key first.

    Raises ValueError for any other type, a repeated column, and where there are not as many types as columns.
    """

    columns: tuple[int, ...]
    types: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.columns or len(self.columns) != len(self.types):
            raise ValueError(f"{len(self.columns)} key columns with {len(self.types)} types")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"a key column is repeated: {self.columns}")
        _check(self.types)

    def key_of(self, row: Sequence[str]) -> bytes | None:
        """The key's normal form; None where it cannot be read: a cell missing, empty, or no valid number."""
        parts = []
        for column, type_ in zip(self.columns, self.types, strict=True):
            part = _normal(row[column], type_) if column < len(row) else None
            if part is None:
                return None
            parts.append(part)
        return SEPARATOR.join(parts)


def key_of_item(schema: KeySchema, item: Mapping[str, Mapping[str, Any]]) -> bytes | None:
    """The same form from an item in DynamoDB JSON (`{"id": {"N": "5.0"}}`); None where it has no key."""
    _check(tuple(part.type for part in schema.parts))
    parts = []
    for key_part in schema.parts:
        value = item.get(key_part.name, {}).get(key_part.type)
        part = _normal(value, key_part.type) if isinstance(value, str) else None
        if part is None:
            return None
        parts.append(part)
    return SEPARATOR.join(parts)


def _check(types: tuple[str, ...]) -> None:
    for type_ in types:
        if type_ not in _TYPES:
            raise ValueError(f"no normal form for keys of type {type_}")


def _normal(text: str, type_: str) -> bytes | None:
    """A part of a key; S is its UTF-8 bytes, N its value's one spelling."""
    if type_ == "N":
        number = numbers.normal_form(text)
        return None if number is None else number.encode("ascii")
    try:
        return text.encode() or None
    except UnicodeEncodeError:  # a lone surrogate is no text
        return None
