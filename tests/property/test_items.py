"""Encoder and sizes against a reference that does the obvious thing, cell by cell."""

import json
import re
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from loader.decisions.item_size import ItemSizer
from loader.decisions.items import ItemEncoder
from loader.decisions.schema import ItemSchema, build_schema
from loader.decisions.wire import BETWEEN_ITEMS, join_items, split_items
from loader.model import Header, IndexDescription, KeyPart, KeySchema, Problem, TableDescription

TRUE = {"true", "yes", "y", "t", "1", "on"}
FALSE = {"false", "no", "n", "f", "0", "off"}
LIMIT = 409_600

texts = st.text(st.characters(codec="utf-8"), max_size=12)
large_texts = st.builds(
    lambda unit, times, more: unit * times + more,
    st.sampled_from(["x", "é", "日", "🎉", "\x00", '"', ",\n  "]),
    st.sampled_from(
        [255, 256, 341, 342, 511, 512, 513, 1023, 1024, 1025, 2048, 2049, 50_000, 204_790, 409_590]
    ),
    st.text("xé", max_size=3),
)
numbers = st.from_regex(r"[+-]?([0-9]{1,40}\.?[0-9]{0,3}|\.[0-9]{1,3})([eE][+-]?[0-9]{1,3})?", fullmatch=True)
words = st.sampled_from(sorted(TRUE | FALSE)).map(str.upper) | st.sampled_from(sorted(TRUE | FALSE))
cells = texts | numbers | words | st.just("") | st.sampled_from([" 5", "5 ", "٣", "1_0", "NaN", "0x1", "İ"])
key_types = st.sampled_from(["S", "N"])
# What templates, JSON and joined items are made of.
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6) | st.sampled_from(
    ["100%", "%b", "%.0b", "%%", "%", 'say "hi"', "a\\", BETWEEN_ITEMS.decode(), "PutRequest"]
)


@st.composite
def schemas(draw: st.DrawFn) -> ItemSchema:
    columns = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    elsewhere = "a column that is not in the file"
    types = {name: draw(key_types) for name in [*columns, elsewhere]}

    def part(names: list[str]) -> KeyPart:
        name = draw(st.sampled_from(names))
        return KeyPart(name, types[name])

    hash_key = part(columns)
    others = [name for name in columns if name != hash_key.name]
    key = KeySchema(hash_key, part(others) if draw(st.booleans()) and others else None)
    indexes = []
    for number in range(draw(st.integers(0, 3))):
        local = draw(st.booleans())
        indexes.append(
            IndexDescription(
                name=f"index{number}",
                local=local,
                hash_keys=(hash_key if local else part([*columns, elsewhere]),),
                range_keys=(part([*others, elsewhere]),),
                projection=draw(st.sampled_from(["ALL", "KEYS_ONLY", "INCLUDE"])),
                included=tuple(
                    draw(st.lists(st.sampled_from([*columns, elsewhere]), max_size=3, unique=True))
                ),
            )
        )
    keys = {part.name for part in key.parts}
    keys |= {part.name for index in indexes for part in (*index.hash_keys, *index.range_keys)}
    wanted = {
        name: draw(st.sampled_from(["S", "N", "BOOL"]))
        for name in columns
        if name not in keys and draw(st.booleans())
    }
    table = TableDescription("t", "arn", "1", "0", "http://127.0.0.1:1", "ACTIVE", key, tuple(indexes))
    return build_schema(table, Header(tuple(columns)), wanted)


@st.composite
def rows(draw: st.DrawFn, schema: ItemSchema, one_odd_in: int = 10, large: bool = True) -> list[str]:
    """Mostly cells that fit their column, so that whole items come out; with `one_odd_in` 0 no others."""
    strings = texts | st.just(BETWEEN_ITEMS.decode()) | st.sampled_from(["%", "%b", "%.0b"])
    fitting = {
        "S": strings | large_texts if large else strings,
        "N": numbers | st.just(""),
        "BOOL": words | st.just(""),
    }
    keys = {"S": st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), "N": numbers}
    return [
        draw(
            cells
            if one_odd_in and draw(st.integers(1, one_odd_in)) == 1
            else (keys if rule.table_key else fitting)[rule.type]
        )
        for rule in schema.rules
    ]


def reference_number(text: str) -> Decimal | None:
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) is None:
        return None
    number = Decimal(text)
    if number == 0:
        return number
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return number if len(digits) <= 38 and -130 <= number.adjusted() <= 125 else None


def reference_item(schema: ItemSchema, row: list[str]) -> dict[str, Any] | str:
    """The item, or the code of the first problem."""
    item: dict[str, Any] = {}
    for rule, text in zip(schema.rules, row, strict=True):
        if text == "" and rule.table_key:
            return "empty_key"
        if text == "" and (rule.type != "S" or rule.key_limit is not None):
            continue
        if rule.type == "N":
            if reference_number(text) is None:
                return "bad_number"
            item[rule.name] = {"N": text}
        elif rule.type == "BOOL":
            if text.lower() not in TRUE | FALSE:
                return "bad_boolean"
            item[rule.name] = {"BOOL": text.lower() in TRUE}
        else:
            if rule.key_limit is not None and len(text.encode()) > rule.key_limit:
                return "key_too_long"
            item[rule.name] = {"S": text}
    return item if reference_size(schema, item) <= LIMIT else "item_too_large"


def reference_number_size(text: str) -> int:
    number = Decimal(text)
    if number == 0:
        return 1
    digits = len("".join(map(str, number.as_tuple().digits)).strip("0"))
    odd = digits % 2 == 1 or number.adjusted() % 2 == 1
    return 1 + (digits + 1) // 2 + (0 if odd else 1) + (1 if number < 0 else 0)


def reference_value_size(value: dict[str, Any]) -> int:
    if "N" in value:
        return reference_number_size(value["N"])
    return 1 if "BOOL" in value else len(value["S"].encode())


def reference_size(schema: ItemSchema, item: dict[str, Any]) -> int:
    weights = {name: len(name.encode()) + reference_value_size(value) for name, value in item.items()}
    total = sum(weights.values())
    for index in schema.local_indexes:
        (range_key,) = (part.name for part in index.range_keys)
        if range_key not in item:
            continue
        projected = {range_key} | {part.name for part in schema.key_schema.parts}
        if index.projection == "ALL":
            projected = set(item)
        elif index.projection == "INCLUDE":
            projected |= set(index.included)
        total += sum(weight for name, weight in weights.items() if name in projected)
    return total


@given(st.data())
def test_items_mean_what_the_reference_makes_of_the_row(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    encoder = ItemEncoder(schema)
    for row in data.draw(st.lists(rows(schema), min_size=1, max_size=4)):
        expected = reference_item(schema, row)
        made = encoder.encode(row)
        if isinstance(made, Problem):
            assert made.code == expected
        else:
            assert json.loads(made.decode()) == expected
            assert list(json.loads(made)) == list(expected)


@given(st.data())
def test_sizes_are_those_of_the_reference(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    row = data.draw(rows(schema))
    item = reference_item(schema, row)
    if isinstance(item, dict):
        assert ItemSizer(schema).size(row) == reference_size(schema, item)


def escaped(cell: str) -> bytes:
    """As it stands within a JSON string."""
    return orjson.dumps(cell)[1:-1]


def in_doubt(schema: ItemSchema, row: list[str], item: bytes | Problem) -> bool:
    """Whether a row may need a look of its own: it has no item, or one that its JSON alone does not clear."""
    if isinstance(item, Problem):
        return True
    long_key = any(
        rule.type == "S" and rule.key_limit is not None and len(escaped(cell)) > rule.key_limit
        for rule, cell in zip(schema.rules, row, strict=True)
    )
    return long_key or len(item) > LIMIT // (1 + len(schema.local_indexes))


@given(st.data())
def test_many_rows_make_the_items_that_each_makes_alone(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    encoder = ItemEncoder(schema)
    odd, large = data.draw(st.sampled_from([(0, False), (0, False), (40, False), (10, True)]))
    for batch in data.draw(st.lists(st.lists(rows(schema, odd, large), min_size=1, max_size=6), max_size=3)):
        items = [encoder.encode(row) for row in batch]
        joined = encoder.encode_rows(batch)
        assert encoder.encode_cells([escaped(cell) for row in batch for cell in row]) == joined
        if joined is None:
            assert any(in_doubt(schema, row, item) for row, item in zip(batch, items, strict=True))
        else:
            whole = [item for item in items if isinstance(item, bytes)]
            assert len(whole) == len(items)
            assert joined == join_items(whole)
            assert split_items(joined) == whole


@given(st.data())
def test_an_encoder_makes_the_same_whatever_it_made_before(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    batches = data.draw(st.lists(st.lists(rows(schema), min_size=1, max_size=4), min_size=2, max_size=4))
    used = ItemEncoder(schema)
    for batch in batches:
        assert used.encode_rows(batch) == ItemEncoder(schema).encode_rows(batch)
        assert used.encode(batch[0]) == ItemEncoder(schema).encode(batch[0])
