"""Which column becomes which attribute: the item schema, from the table, the header and --types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loader.config import check_types
from loader.decisions.keys import KeySpec
from loader.errors import BadOption, BadSource, BadTable
from loader.model import Header, IndexDescription, KeySchema, TableDescription

HASH_KEY_LIMIT = 2048
RANGE_KEY_LIMIT = 1024
NAME_LIMIT = 65_535
KEY_NAME_LIMIT = 255
"""DynamoDB's limits, in UTF-8 bytes: key values, attribute names, names of key attributes."""

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_SHOWN_COLUMNS = 40
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """
    How the cells of one column become an attribute of type `type` (S, N or BOOL).

    `empty` is what an empty cell does: it is kept as "", left out of the item, or makes the row a
    reject. `key_limit` is the most bytes a string may have here, where the attribute is a key of the
    table or of an index; the strictest of several holds. `table_key` is True for the table's own keys.
    """

    name: str
    type: str
    empty: Literal["keep", "omit", "reject"]
    key_limit: int | None = None
    table_key: bool = False


@dataclass(frozen=True, slots=True)
class ItemSchema:
    """The rules of all columns, `rules[i]` for `header.columns[i]`, and what else decides about items."""

    header: Header
    rules: tuple[ColumnRule, ...]
    key: KeySpec
    key_schema: KeySchema
    local_indexes: tuple[IndexDescription, ...]


@dataclass(frozen=True, slots=True)
class _Key:
    """What the table asks of one key attribute. `described` says whose key it is, for messages."""

    type: str
    limit: int
    described: str


def build_schema(
    table: TableDescription, header: Header, types: Mapping[str, str], shown: str = ""
) -> ItemSchema:
    """
    The schema for writing rows under `header` to `table`. Columns that are keys follow the table, others
    `types` ({column: type}), the rest are strings. `shown` is the file of the header, for messages.

    Raises BadTable for binary keys, BadSource for a header without the table's keys or with a name that
    DynamoDB cannot take, BadOption for `types` that fit neither header nor table.
    """
    _refuse_binary(table.key, table.name)
    _refuse_missing_keys(table, header, shown)
    keys = _keys(table)
    _refuse_types(types, header, keys)
    table_keys = {part.name for part in table.key.parts}
    rules = tuple(
        _rule(column, keys.get(column), column in table_keys, types.get(column, "S"))
        for column in header.columns
    )
    parts = table.key.parts
    return ItemSchema(
        header=header,
        rules=rules,
        key=KeySpec(
            columns=tuple(header.columns.index(part.name) for part in parts),
            types=tuple(part.type for part in parts),
        ),
        key_schema=table.key,
        local_indexes=tuple(index for index in table.indexes if index.local),
    )


def _keys(table: TableDescription) -> dict[str, _Key]:
    """Every attribute that is a key of the table or of an index; the table's description comes first."""
    keys: dict[str, _Key] = {}

    def add(name: str, type_: str, limit: int, described: str) -> None:
        known = keys.get(name)
        if known is None:
            keys[name] = _Key(type_, limit, described)
        elif limit < known.limit:
            keys[name] = _Key(known.type, limit, known.described)

    add(table.key.hash.name, table.key.hash.type, HASH_KEY_LIMIT, "a key of the table")
    if table.key.range is not None:
        add(table.key.range.name, table.key.range.type, RANGE_KEY_LIMIT, "a key of the table")
    for index in table.indexes:
        for part in index.hash_keys:
            add(part.name, part.type, HASH_KEY_LIMIT, f"a key of index {index.name}")
        for part in index.range_keys:
            add(part.name, part.type, RANGE_KEY_LIMIT, f"a key of index {index.name}")
    return keys


def _rule(name: str, key: _Key | None, table_key: bool, wanted: str) -> ColumnRule:
    length = len(name.encode())
    limit = NAME_LIMIT if key is None else KEY_NAME_LIMIT
    if length > limit:
        raise BadSource(
            f"The name of column {clipped(name)} has {length:,} bytes; DynamoDB takes {limit:,}"
            f"{'' if key is None else ' for a key'}. Give the column a shorter name in the header."
        )
    if key is None:
        return ColumnRule(name, wanted, "keep" if wanted == "S" else "omit")
    if key.type == "B":
        raise BadTable(
            f"Column {clipped(name)} is {key.described}, of type B: binary keys are not there yet. "
            "Leave the column out of the file, or give it another name."
        )
    return ColumnRule(name, key.type, "reject" if table_key else "omit", key.limit, table_key)


def _refuse_binary(key: KeySchema, table: str) -> None:
    for part in key.parts:
        if part.type == "B":
            raise BadTable(
                f"Key {part.name} of table {table} is of type B: binary keys are not there yet. "
                "Load into a table whose keys are strings or numbers."
            )


def _refuse_missing_keys(table: TableDescription, header: Header, shown: str) -> None:
    missing = [part.name for part in table.key.parts if part.name not in header.columns]
    if not missing:
        return
    whose = f"{shown}: the header" if shown else "The header"
    lacking = (
        f"column {missing[0]}, a key" if len(missing) == 1 else f"columns {' and '.join(missing)}, the keys"
    )
    listed = "The only column is" if len(header.columns) == 1 else "The columns are"
    raise BadSource(
        f"{whose} has no {lacking} of table {table.name}. {listed}: {_listed(header.columns)}."
        f"{_separator_hint(header)}"
    )


def _separator_hint(header: Header) -> str:
    """For a header that was one column because something else than a comma separates its names."""
    if header.width > 1:
        return ""
    often = max(_OTHER_SEPARATORS, key=header.columns[0].count)
    if often not in header.columns[0]:
        return ""
    return f" Only commas separate columns so far; this file seems to use {_OTHER_SEPARATORS[often]}."


def _refuse_types(types: Mapping[str, str], header: Header, keys: Mapping[str, _Key]) -> None:
    check_types(types)
    for column, type_ in types.items():
        if column not in header.columns:
            raise BadOption(
                f"--types {clipped(column)}={type_}: the header has no such column. "
                f"The columns are: {_listed(header.columns)}."
            )
        key = keys.get(column)
        if key is not None and key.type != type_:
            raise BadOption(
                f"--types {clipped(column)}={type_}: the column is {key.described}, where its type is "
                f"{key.type}. Leave it out of --types; key columns follow the table."
            )


def _listed(columns: Sequence[str]) -> str:
    names = [clipped(column) for column in columns[:_SHOWN_COLUMNS]]
    more = len(columns) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def clipped(text: str) -> str:
    """A name or value fit for a message: at most 40 characters of it, those that do not print as escapes."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_SHOWN_CHARACTERS]
    )
    return shown + ("…" if len(text) > _SHOWN_CHARACTERS else "")
