"""Rows to items: the cells of a batch become DynamoDB JSON together, a row in doubt by itself."""

import re
from collections.abc import Sequence
from itertools import chain

import orjson

from loader.config import RECORD_LIMIT
from loader.decisions.attributes import JSON_BOOLEANS, attribute_value
from loader.decisions.item_size import ITEM_LIMIT, ItemSizer
from loader.decisions.numbers import problem
from loader.decisions.schema import ItemSchema
from loader.decisions.wire import join_items, split_items
from loader.model import Problem, RejectCode

_BEFORE_CELLS, _BETWEEN_CELLS, _BEHIND_CELLS = b'[\n  "', b'",\n  "', b'"\n]'
"""orjson puts a raw newline only between cells."""
_TEMPLATE_BYTES = 1 << 20

# Far inside what DynamoDB takes (38 digits, 1E-130 to 9.99E+125), and the spelling of nearly all numbers.
_SURE_NUMBER = rb"(?:-?+[0-9]{1,19}+(?:\.[0-9]{1,19}+)?+)?+"


class ItemEncoder:
    """
    Makes items of the rows of one schema.

    Cells go into a template of the whole batch at once; only columns with a rule of their own cost something
    a cell, and only a row that may break one is looked at column by column. Threads may share an encoder.
    `most_together` is how many rows it takes at once: few where there are very many columns.
    """

    def __init__(self, schema: ItemSchema) -> None:
        rules = schema.rules
        self._rules = rules
        self._columns = len(rules)
        self._members = tuple(
            (b'%b:{"BOOL":%%b}' if rule.type == "BOOL" else b'%b:{"' + rule.type.encode() + b'":"%%b"}')
            % orjson.dumps(rule.name).replace(b"%", b"%%")
            for rule in rules
        )
        # JSON is never shorter than the text, so that a key which fits here fits.
        self._keys = tuple(
            (i, rule.empty == "reject", RECORD_LIMIT if rule.type == "N" else rule.key_limit)
            for i, rule in enumerate(rules)
            if rule.key_limit is not None and (rule.type == "S" or rule.empty == "reject")
        )
        self._numbers = tuple(i for i, rule in enumerate(rules) if rule.type == "N")
        self._sure_numbers = re.compile(rb"(?:%b,)*+%b" % (_SURE_NUMBER, _SURE_NUMBER)).fullmatch
        self._booleans = tuple(i for i, rule in enumerate(rules) if rule.type == "BOOL")
        self._optional = tuple(i for i, rule in enumerate(rules) if rule.empty == "omit")
        self._template = self._template_without(frozenset())
        self._templates: dict[tuple[bool, ...], bytes] = {}
        self._most_templates = _TEMPLATE_BYTES // len(self._template)
        self.most_together = max(1, self._most_templates)
        # Replaced as a whole: threads share an encoder.
        self._latest = (1, self._template)
        self._sizer = ItemSizer(schema)
        # JSON is longer than the item by DynamoDB's count, and no index entry is larger than the item.
        self._safe_length = ITEM_LIMIT // (1 + self._sizer.entries)

    def encode_rows(self, rows: Sequence[Sequence[str]]) -> bytes | None:
        """`encode_cells` of rows with a cell for each column of the schema, and none behind them."""
        return self.encode_cells(_escaped(list(chain.from_iterable(rows))))

    def encode_cells(self, cells: list[bytes]) -> bytes | None:
        """
        The items of some rows, joined as in a body; None where one of them needs a look of its own.

        `cells` are those of all rows, one behind another, each as it stands within a JSON string. The list
        is used up.
        """
        count = len(cells) // self._columns
        if count > self.most_together or not (self._keys_fit(cells) and self._are_numbers(cells)):
            return None
        template = self._template_of(cells, count)
        for i in self._booleans:
            words = [JSON_BOOLEANS.get(cell.lower()) for cell in cells[i :: self._columns]]
            if None in words:
                return None
            cells[i :: self._columns] = words  # type: ignore[assignment]
        joined = template % tuple(cells)
        if len(joined) > self._safe_length:
            longest = len(joined) if count == 1 else max(map(len, split_items(joined)))
            if longest > self._safe_length:
                return None
        return joined

    def encode(self, row: Sequence[str]) -> bytes | Problem:
        """
        The item as a DynamoDB JSON object in UTF-8, `{"id":{"S":"x"},...}`, or why the row has none.

        `row` has a cell for every column of the schema; what comes behind them is ignored.
        """
        row = row[: self._columns]
        item = self.encode_cells(_escaped(row))
        return self._encode_by_column(row) if item is None else item

    def _keys_fit(self, cells: list[bytes]) -> bool:
        for i, required, limit in self._keys:
            column = cells[i :: self._columns]
            if max(map(len, column)) > limit or (required and b"" in column):
                return False
        return True

    def _are_numbers(self, cells: list[bytes]) -> bool:
        if not self._numbers:
            return True
        texts = list(chain.from_iterable(cells[i :: self._columns] for i in self._numbers))
        joined = b",".join(texts)
        # As many commas as join() puts in: then no cell has one of its own.
        if self._sure_numbers(joined) and joined.count(b",") == len(texts) - 1:
            return True
        return all(not text or problem(text.decode()) is None for text in texts)

    def _template_of(self, cells: list[bytes], count: int) -> bytes:
        """One that takes all cells of these rows."""
        columns = [cells[i :: self._columns] for i in self._optional]
        if any(b"" in column for column in columns):
            return join_items([self._template_for(row) for row in zip(*columns, strict=True)])
        known, template = self._latest
        if known != count:
            template = join_items([self._template] * count)
            self._latest = (count, template)
        return template

    def _template_for(self, optional: tuple[bytes, ...]) -> bytes:
        """For a row with these cells in its optional columns; few patterns make up nearly all of a file."""
        present = tuple(map(bool, optional))
        template = self._templates.get(present)
        if template is None:
            absent = (i for i, there in zip(self._optional, present, strict=True) if not there)
            template = self._template_without(frozenset(absent))
            if len(self._templates) < self._most_templates:
                self._templates[present] = template
        return template

    def _template_without(self, absent: frozenset[int]) -> bytes:
        """It takes the (empty) cells of absent columns too, and shows nothing of them."""
        parts: list[bytes] = []
        comma = b""
        for i, member in enumerate(self._members):
            if i in absent:
                parts.append(b"%.0b")
            else:
                parts.append(comma + member)
                comma = b","
        return b"{" + b"".join(parts) + b"}"

    def _encode_by_column(self, row: Sequence[str]) -> bytes | Problem:
        """The same for every row, slower: names the first problem."""
        members = []
        for rule, member, text, cell in zip(self._rules, self._members, row, _escaped(row), strict=True):
            value = attribute_value(rule, text, cell)
            if isinstance(value, Problem):
                return value
            if value is not None:
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


def _escaped(cells: Sequence[str]) -> list[bytes]:
    """Each cell as it stands within a JSON string."""
    together = orjson.dumps(cells, None, orjson.OPT_INDENT_2)
    return together[len(_BEFORE_CELLS) : -len(_BEHIND_CELLS)].split(_BETWEEN_CELLS)
