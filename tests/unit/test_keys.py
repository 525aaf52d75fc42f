"""One normal form of a key, from a row and from an item."""

from collections.abc import Mapping
from typing import Any

import pytest

from loader.decisions.keys import SEPARATOR, KeySpec, key_of_item
from loader.model import KeyPart, KeySchema

TEXT = KeySpec((0,), ("S",))
NUMBER = KeySpec((1,), ("N",))
BOTH = KeySpec((2, 0), ("S", "N"))
SCHEMA = KeySchema(KeyPart("name", "S"), KeyPart("number", "N"))


def test_a_text_is_its_utf8_bytes_and_nothing_is_trimmed() -> None:
    assert TEXT.key_of(["é "]) == b"\xc3\xa9 "
    assert TEXT.key_of([" "]) == b" "
    # Composed and decomposed é look alike and are two keys.
    assert TEXT.key_of(["e\u0301"]) != TEXT.key_of(["\u00e9"])


@pytest.mark.parametrize("text", ["5", "5.0", "05", "+5", "5e0", "50e-1"])
def test_numbers_of_one_value_are_one_key(text: str) -> None:
    assert NUMBER.key_of(["x", text]) == b"5"


def test_the_parts_come_in_the_order_of_the_key_not_of_the_columns() -> None:
    assert BOTH.key_of(["1.50", "x", "y"]) == b"y" + SEPARATOR + b"15e-1"


def test_the_separator_keeps_parts_apart() -> None:
    spec = KeySpec((0, 1), ("S", "S"))
    assert spec.key_of(["ab", "c"]) != spec.key_of(["a", "bc"])


@pytest.mark.parametrize(
    ("spec", "row"),
    [
        (TEXT, []),
        (TEXT, [""]),
        (TEXT, ["\ud800"]),
        (NUMBER, ["x"]),
        (NUMBER, ["x", ""]),
        (NUMBER, ["x", "five"]),
        (NUMBER, ["x", "1" * 39]),
        (NUMBER, ["x", "1e126"]),
        (BOTH, ["1", "x", ""]),
        (BOTH, ["", "x", "y"]),
        (BOTH, ["1", "x"]),
    ],
)
def test_a_key_that_cannot_be_read_is_none(spec: KeySpec, row: list[str]) -> None:
    assert spec.key_of(row) is None


def test_an_item_has_the_key_of_its_row() -> None:
    spec = KeySpec((0, 1), ("S", "N"))
    item: Mapping[str, Mapping[str, Any]] = {
        "name": {"S": "é"},
        "number": {"N": "5.0"},
        "other": {"BOOL": True},
    }
    assert key_of_item(SCHEMA, item) == spec.key_of(["é", "05"])
    assert key_of_item(KeySchema(KeyPart("number", "N")), item) == b"5"


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"name": {"S": "x"}},
        {"name": {"S": ""}, "number": {"N": "5"}},
        {"name": {"N": "5"}, "number": {"N": "5"}},
        {"name": {"S": "x"}, "number": {"N": "five"}},
        {"name": {"S": "x"}, "number": {"N": 5}},
    ],
)
def test_an_item_without_the_key_has_none(item: Mapping[str, Mapping[str, Any]]) -> None:
    assert key_of_item(SCHEMA, item) is None


def test_a_key_of_a_type_without_a_normal_form_is_refused() -> None:
    with pytest.raises(ValueError, match="type B"):
        KeySpec((0,), ("B",))
    with pytest.raises(ValueError, match="type B"):
        key_of_item(KeySchema(KeyPart("name", "B")), {"name": {"B": "AA=="}})


@pytest.mark.parametrize(("columns", "types"), [((), ()), ((0, 1), ("S",)), ((3, 3), ("S", "S"))])
def test_a_spec_that_makes_no_sense_is_refused(columns: tuple[int, ...], types: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="key column"):
        KeySpec(columns, types)
