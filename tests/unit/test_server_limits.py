"""What the tests' own server takes: sizes, numbers, values and keys."""

import base64
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tests.server.client import table_request
from tests.server.errors import ServiceError
from tests.server.limits import bare_key_of, check_index_keys, key_of, measure
from tests.server.number import normalise
from tests.server.schema import TableSchema, read_schema


def schema(key: str, **indexes: Any) -> TableSchema:
    return read_schema(table_request("tab", key, **indexes))


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("text", "stored", "size"),
    [
        ("0", "0", 1),
        ("-0.00e7", "0", 1),
        ("000", "0", 1),
        ("0e99999999999999999999", "0", 1),
        ("5", "5", 2),
        ("+5", "5", 2),
        ("05", "5", 2),
        ("5.0", "5", 2),
        ("5e0", "5", 2),
        ("-5", "-5", 3),
        ("10", "10", 2),
        ("12", "12", 2),
        ("123", "123", 3),
        ("1.50", "1.5", 3),
        (".5", "0.5", 2),
        ("5.", "5", 2),
        ("0.05", "0.05", 2),
        ("0.012", "0.012", 3),
        ("1e2", "100", 2),
        ("12E-1", "1.2", 3),
        ("1" * 38, "1" * 38, 20),
        ("9" * 38 + "e87", "9" * 38 + "0" * 87, 21),
        ("1E125", "1" + "0" * 125, 2),
        ("1e-130", "0." + "0" * 129 + "1", 2),
        ("0." + "0" * 200 + "1e201", "1", 2),
    ],
)
def test_a_number_is_stored_in_one_form_and_weighs_by_its_digits(text: str, stored: str, size: int) -> None:
    assert normalise(text) == (stored, size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 5",
        "5 ",
        "1_000",
        "1,000",
        "٣",
        "NaN",
        "Infinity",
        "0x10",
        "--5",
        "+",
        ".",
        "e5",
        "1e",
        "1e+",
        "5\n",
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ServiceError, match="cannot be converted to a numeric value"):
        normalise(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" * 39, "38 significant digits"),
        ("1" + "0" * 38 + ".1", "38 significant digits"),
        ("1e126", "overflow"),
        ("-1e126", "overflow"),
        ("1e99999999999999999999", "overflow"),
        ("9.9e-131", "underflow"),
        ("1e-99999999999999999999", "underflow"),
    ],
)
def test_a_number_out_of_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        normalise(text)


def test_normalising_keeps_the_value_and_does_nothing_the_second_time() -> None:
    random = Random(3)
    for _ in range(2_000):
        digits = "".join(random.choices("0123456789", k=random.randint(1, 36)))
        point = random.randint(0, len(digits))
        text = f"{random.choice(['', '-', '+'])}{digits[:point]}.{digits[point:]}e{random.randint(-90, 85)}"
        stored, size = normalise(text)
        assert Decimal(stored) == Decimal(text)
        assert normalise(stored) == (stored, size)
        assert 1 <= size <= 21


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "abc"}, 3),
        ({"S": "é€😀"}, 9),
        ({"N": "123"}, 3),
        ({"B": b64(b"12345")}, 5),
        ({"B": ""}, 0),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "", "bcd"]}, 4),
        ({"NS": ["1", "-1", "0"]}, 6),
        ({"BS": [b64(b"a"), b64(b"")]}, 1),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"NULL": True}]}, 3 + 1 + 2 + 1 + 1),
        ({"M": {}}, 3),
        ({"M": {"é": {"S": "ab"}, "x": {"L": []}}}, 3 + (1 + 2 + 2) + (1 + 1 + 3)),
    ],
)
def test_an_attribute_weighs_its_name_and_its_value(value: dict[str, Any], size: int) -> None:
    assert measure({"naïve": value}) == 6 + size


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "is empty"),
        ({"S": "a", "N": "1"}, "more than one datatypes"),
        ({"X": "a"}, "exactly one of the supported datatypes"),
        ("a", "Unexpected value type"),
        (None, "Unexpected value type"),
        ({"S": 5}, "cannot be converted to String"),
        ({"S": None}, "cannot be converted to String"),
        ({"N": 5}, "cannot be converted to String"),
        ({"BOOL": "true"}, "Unexpected token"),
        ({"NULL": False}, "must have the value of true"),
        ({"B": "not base64!"}, "Base64"),
        ({"SS": []}, "may not be empty"),
        ({"NS": []}, "may not be empty"),
        ({"BS": []}, "may not be empty"),
        ({"SS": ["a", "b", "a"]}, "contains duplicates"),
        ({"NS": ["1", "1.0"]}, "contains duplicates"),
        ({"BS": ["YQ==", "YQ=="]}, "contains duplicates"),
        ({"L": [{}]}, "is empty"),
        ({"L": {"S": "a"}}, "must be an array"),
        ({"M": [{"S": "a"}]}, "must be an object"),
        ({"M": {"": {"S": "a"}}}, "Empty attribute name"),
        ({"M": {"x": {"N": "x"}}}, "numeric value"),
    ],
)
def test_a_value_that_is_not_one_of_the_types_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        measure({"a": value})


@pytest.mark.parametrize("name", ["", "x" * 65_536])
def test_a_name_is_1_byte_to_64_kb(name: str) -> None:
    with pytest.raises(ServiceError, match="ttribute name"):
        measure({name: {"S": "a"}})
    assert measure({"x" * 65_535: {"S": "a"}}) == 65_536


@pytest.mark.parametrize(("levels", "good"), [(32, True), (33, False)])
def test_nesting_goes_32_levels_deep(levels: int, good: bool) -> None:
    value: dict[str, Any] = {"S": "a"}
    for level in range(levels - 1):
        value = {"L": [value]} if level % 2 else {"M": {"m": value}}
    if good:
        measure({"a": value})
    else:
        with pytest.raises(ServiceError, match="Nesting"):
            measure({"a": value})


def test_numbers_are_normalised_wherever_they_stand() -> None:
    item: dict[str, Any] = {
        "a": {"N": "1.50"},
        "b": {"L": [{"N": "1e2"}, {"M": {"x": {"N": "+7"}}}]},
        "c": {"NS": ["03", "4.0"]},
    }
    measure(item)
    assert item == {
        "a": {"N": "1.5"},
        "b": {"L": [{"N": "100"}, {"M": {"x": {"N": "7"}}}]},
        "c": {"NS": ["3", "4"]},
    }


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("pk:N", {"pk": {"N": "5"}}, {"pk": {"N": "05.0e0"}}),
        ("pk:N", {"pk": {"N": "0"}}, {"pk": {"N": "-0.0"}}),
        ("pk:B", {"pk": {"B": b64(b"abc")}}, {"pk": {"B": b64(b"abc")}}),
        ("pk:S,sk:N", {"pk": {"S": "a"}, "sk": {"N": "1"}}, {"sk": {"N": "1.0"}, "pk": {"S": "a"}}),
    ],
)
def test_keys_are_equal_by_value(key: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    measure(one)
    measure(other)
    assert key_of(schema(key), one) == key_of(schema(key), other)


def test_keys_differ_where_their_code_points_do() -> None:
    texts = ["é", "e\u0301", "É", " é", "é ", "5", "5.0"]
    keys = {key_of(schema("pk:S"), {"pk": {"S": text}}) for text in texts}
    assert len(keys) == len(texts)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"sk": {"S": "a"}}, "Missing the key pk"),
        ({"pk": {"N": "1"}, "sk": {"S": "a"}}, "Type mismatch for key pk expected: S actual: N"),
        ({"pk": {"S": ""}, "sk": {"S": "a"}}, "cannot contain an empty string value. Key: pk"),
        ({"pk": {"S": "x" * 2_049}, "sk": {"S": "a"}}, "Size of hashkey"),
        ({"pk": {"S": "é" * 1_025}, "sk": {"S": "a"}}, "Size of hashkey"),
        ({"pk": {"S": "a"}}, "Missing the key sk"),
        ({"pk": {"S": "a"}, "sk": {"S": ""}}, "empty string value. Key: sk"),
        ({"pk": {"S": "a"}, "sk": {"S": "x" * 1_025}}, "size limit of 1024 bytes"),
    ],
)
def test_a_key_that_breaks_its_limits_is_refused(item: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        key_of(schema("pk:S,sk:S"), item)


def test_a_key_at_its_limits_is_taken() -> None:
    item = {"pk": {"S": "é" * 1_024}, "sk": {"S": "x" * 1_024}}
    assert key_of(schema("pk:S,sk:S"), item) == ("é" * 1_024, "x" * 1_024)
    with pytest.raises(ServiceError, match="empty binary value"):
        key_of(schema("pk:B"), {"pk": {"B": ""}})


def test_a_bare_key_has_the_key_attributes_and_no_others() -> None:
    both = {"pk": {"S": "a"}, "sk": {"N": "1.0"}}
    assert bare_key_of(schema("pk:S,sk:N"), both) == ("a", "1")
    for table in ("pk:S", "pk:S,sk:N"):
        with pytest.raises(ServiceError, match="does not match the schema"):
            bare_key_of(schema(table), {"pk": {"S": "a"}, "more": {"S": "b"}})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"city": {"S": ""}}, "IndexName: by-city, IndexKey: city"),
        ({"city": {"N": "1"}}, "Type mismatch for Index Key city Expected: S Actual: N IndexName: by-city"),
        ({"city": {"NULL": True}}, "Type mismatch"),
        ({"city": {"S": "x" * 2_049}}, "Size of hashkey"),
        ({"code": {"B": ""}}, "empty binary value"),
        ({"code": {"B": b64(b"x" * 1_025)}}, "size limit of 1024 bytes"),
        ({"age": {"S": "1"}}, "IndexName: by-age"),
    ],
)
def test_an_index_key_is_absent_or_good(item: dict[str, Any], message: str) -> None:
    table = schema("pk:S,sk:S", gsis={"by-city": "city:S,code:B"}, lsis={"by-age": "age:N"})
    check_index_keys(table, {})
    check_index_keys(table, {"city": {"S": "x" * 2_048}, "code": {"B": b64(b"x" * 1_024)}, "age": {"N": "1"}})
    with pytest.raises(ServiceError, match=message):
        check_index_keys(table, item)
