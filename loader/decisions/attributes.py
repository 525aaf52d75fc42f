"""
The type rules: how a cell becomes an attribute value, and a row an item in DynamoDB JSON.

    S      the text of the cell as it is
    N      the text of the cell as it is, if it is a number DynamoDB takes; spaces around it are an error
    BOOL   true yes y t 1 on, or false no n f 0 off, in any case

An empty cell of an N or BOOL column is left out of the item.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType

import orjson

from loader.config import RECORD_LIMIT
from loader.decisions.item_size import ItemSizer
from loader.decisions.numbers import problem
from loader.decisions.schema import ColumnRule, ItemSchema, clipped
from loader.model import Problem, RejectCode

BOOLEANS: Mapping[str, bool] = MappingProxyType(
    dict.fromkeys(("true", "yes", "y", "t", "1", "on"), True)
    | dict.fromkeys(("false", "no", "n", "f", "0", "off"), False)
)
"""The words of a BOOL column, in lower case."""

ITEM_LIMIT = 409_600
"""The most bytes an item may have, names and values, its entries in local indexes included."""

_BETWEEN_CELLS = b",\n  "
_UTF8_MOST = 4
_TEMPLATE_BYTES = 1 << 20

_JSON_BOOLEANS = {word: b"true" if value else b"false" for word, value in BOOLEANS.items()}
_JSON_BOOLEANS[""] = b""  # an empty cell is no mistake; it is left out in the end

# Far inside what DynamoDB takes (38 digits, 1E-130 to 9.99E+125), and the spelling of nearly all numbers.
_SURE_NUMBER = r"-?+[0-9]{1,19}+(?:\.[0-9]{1,19}+)?+"


class ItemEncoder:
    """
    Makes items of the rows of one schema.

    All cells are escaped by one call of orjson, which puts a raw newline only between cells; the rest of
    the item is a template, made once for each set of columns that rows leave out. Only columns with a
    rule of their own cost something a cell, and only a row that may break one is looked at column by column.
    """

    def __init__(self, schema: ItemSchema) -> None:
        rules = schema.rules
        self._rules = rules
        self._columns = len(rules)
        self._members = tuple(
            b'%b:{"%b":%%b}' % (orjson.dumps(rule.name).replace(b"%", b"%%"), rule.type.encode())
            for rule in rules
        )
        self._templates: dict[tuple[int, ...], bytes] = {}
        self._template = b"{" + b",".join(self._members) + b"}"
        self._most_templates = _TEMPLATE_BYTES // len(self._template)
        # Keys with the characters that are sure to fit: at four bytes each they stay under the limit.
        self._keys = tuple(
            (i, rule.empty == "reject", RECORD_LIMIT if rule.type == "N" else rule.key_limit // _UTF8_MOST)
            for i, rule in enumerate(rules)
            if rule.key_limit is not None and (rule.type == "S" or rule.empty == "reject")
        )
        self._numbers = tuple(i for i, rule in enumerate(rules) if rule.type == "N")
        self._pick_numbers = _picker(self._numbers)
        # As many commas as join() puts in: a cell with one of its own does not match.
        self._sure_numbers = re.compile(",".join([f"(?:{_SURE_NUMBER})?+"] * len(self._numbers))).fullmatch
        self._booleans = tuple(i for i, rule in enumerate(rules) if rule.type == "BOOL")
        self._optional = tuple(i for i, rule in enumerate(rules) if rule.empty == "omit")
        self._pick_optional = _picker(self._optional)
        self._sizer = ItemSizer(schema)
        # JSON is longer than the item by DynamoDB's count, and no index entry is larger than the item.
        self._safe_length = ITEM_LIMIT // (1 + self._sizer.entries)

    def encode(self, row: Sequence[str]) -> bytes | Problem:
        """
        The item as a DynamoDB JSON object in UTF-8, `{"id":{"S":"x"},...}`, or why the row has none.

        `row` has a cell for every column of the schema; what comes behind them is ignored.
        """
        if len(row) != self._columns:
            row = row[: self._columns]
        for i, required, safe in self._keys:
            length = len(row[i])
            if length > safe or (required and not length):
                return self._encode_by_column(row)
        if self._numbers and not self._sure_numbers(",".join(self._pick_numbers(row))):
            for i in self._numbers:
                if row[i] and problem(row[i]) is not None:
                    return self._encode_by_column(row)
        cells = _escaped(row)
        for i in self._booleans:
            word = _JSON_BOOLEANS.get(row[i].lower())
            if word is None:
                return self._encode_by_column(row)
            cells[i] = word
        template = self._template
        if self._optional and "" in self._pick_optional(row):
            left_out = tuple(i for i in self._optional if not row[i])
            template = self._templates.get(left_out) or self._without(left_out)
            for i in reversed(left_out):
                del cells[i]
        item = template % tuple(cells)
        return item if len(item) <= self._safe_length else self._weighed(row, item)

    def _without(self, left_out: tuple[int, ...]) -> bytes:
        """The template for rows that lack these columns; few such sets make up nearly all rows of a file."""
        absent = frozenset(left_out)
        members = (member for i, member in enumerate(self._members) if i not in absent)
        template = b"{" + b",".join(members) + b"}"
        if len(self._templates) < self._most_templates:
            self._templates[left_out] = template
        return template

    def _encode_by_column(self, row: Sequence[str]) -> bytes | Problem:
        """The same for every row, slower: names the first problem."""
        members = []
        for rule, member, text, cell in zip(self._rules, self._members, row, _escaped(row), strict=True):
            if not text and rule.empty != "keep":
                if rule.empty == "reject":
                    return _problem(RejectCode.EMPTY_KEY, rule, "the key is empty")
                continue
            value = _value(rule, text, cell)
            if isinstance(value, Problem):
                return value
            members.append(member % value)
        return self._weighed(row, b"{" + b",".join(members) + b"}")

    def _weighed(self, row: Sequence[str], item: bytes) -> bytes | Problem:
        if len(item) <= self._safe_length:
            return item
        size = self._sizer.size(row)
        if size <= ITEM_LIMIT:
            return item
        what = "the item and its entries in local indexes have" if self._sizer.entries else "the item has"
        return Problem(RejectCode.ITEM_TOO_LARGE, f"{what} {size:,} bytes; DynamoDB takes {ITEM_LIMIT:,}")


def _picker(columns: tuple[int, ...]) -> Callable[[Sequence[str]], Sequence[str]]:
    """Takes these cells of a row."""
    if len(columns) == 1:
        (only,) = columns
        return itemgetter(slice(only, only + 1))
    return itemgetter(*columns) if columns else itemgetter(slice(0))


def _escaped(row: Sequence[str]) -> list[bytes]:
    """Each cell as a JSON string."""
    return orjson.dumps(row, None, orjson.OPT_INDENT_2)[4:-2].split(_BETWEEN_CELLS)


def _value(rule: ColumnRule, text: str, cell: bytes) -> bytes | Problem:
    """What stands behind the type in DynamoDB JSON; `cell` is `text` as a JSON string."""
    if rule.type == "N":
        trouble = problem(text)
        return (
            cell if trouble is None else _problem(RejectCode.BAD_NUMBER, rule, f'"{clipped(text)}" {trouble}')
        )
    if rule.type == "BOOL":
        word = _JSON_BOOLEANS.get(text.lower())
        return word or _problem(RejectCode.BAD_BOOLEAN, rule, f'"{clipped(text)}" is not true or false')
    if rule.key_limit is not None and (size := len(text.encode())) > rule.key_limit:
        return _problem(
            RejectCode.KEY_TOO_LONG, rule, f"the key has {size:,} bytes; DynamoDB takes {rule.key_limit:,}"
        )
    return cell


def _problem(code: RejectCode, rule: ColumnRule, trouble: str) -> Problem:
    return Problem(code, f"column {clipped(rule.name)}: {trouble}", rule.name)
