"""The type rules: which attribute value a cell becomes, or what is wrong with it."""

from typing import Literal

import orjson
import pytest

from loader.decisions.attributes import BOOLEANS, JSON_BOOLEANS, attribute_value
from loader.decisions.schema import ColumnRule
from loader.model import Problem, RejectCode


def value(
    type_: str,
    text: str,
    *,
    empty: Literal["keep", "omit", "reject"] = "keep",
    key_limit: int | None = None,
) -> bytes | Problem | None:
    """What a cell of a column `c` becomes."""
    return attribute_value(ColumnRule("c", type_, empty, key_limit), text, orjson.dumps(text)[1:-1])


def trouble(found: bytes | Problem | None) -> tuple[RejectCode, str]:
    assert isinstance(found, Problem), found
    assert found.column == "c"
    return found.code, found.reason


# --- strings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["x", " x ", 'say "hi"', "a\\b\n", "日本", ""])
def test_a_string_is_the_cell_as_it_stands_in_json(text: str) -> None:
    found = value("S", text)
    assert isinstance(found, bytes)
    assert orjson.loads(b'"%b"' % found) == text


def test_a_string_that_is_no_key_may_be_of_any_length() -> None:
    assert value("S", "x" * 500_000) == b"x" * 500_000


def test_a_key_s_limit_counts_bytes_of_the_text_not_of_its_escapes() -> None:
    assert value("S", '"' * 10, key_limit=10) == b'\\"' * 10
    assert value("S", "é" * 5, key_limit=10) == "é".encode() * 5
    assert trouble(value("S", "é" * 5 + "x", key_limit=10)) == (
        RejectCode.KEY_TOO_LONG,
        "column c: the key has 11 bytes; DynamoDB takes 10",
    )


# --- empty cells ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["S", "N", "BOOL"])
def test_an_empty_cell_is_left_out_where_the_rule_says_so(type_: str) -> None:
    assert value(type_, "", empty="omit") is None


@pytest.mark.parametrize("type_", ["S", "N"])
def test_an_empty_key_is_a_reject(type_: str) -> None:
    assert trouble(value(type_, "", empty="reject", key_limit=10)) == (
        RejectCode.EMPTY_KEY,
        "column c: the key is empty",
    )


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["5", "-5", "+5", "05", "5.0", "1e2", ".5", "5.", "1E-130", "9" * 38, "-0"])
def test_a_number_is_the_cell_as_it_is_written(text: str) -> None:
    assert value("N", text, empty="omit") == text.encode()


@pytest.mark.parametrize(
    "text", ["abc", " 5", "5 ", "5\n", "1_000", "٣", "NaN", "0x10", "1,5", "9" * 39, "1E126"]
)
def test_what_is_no_number_of_dynamodbs_is_a_reject(text: str) -> None:
    assert trouble(value("N", text, empty="omit"))[0] is RejectCode.BAD_NUMBER


def test_a_bad_number_is_shown_short_and_on_one_line() -> None:
    assert trouble(value("N", "abc"))[1] == 'column c: "abc" is not a number'
    assert trouble(value("N", "\n" + "x" * 100_000))[1] == 'column c: "\\n' + "x" * 39 + '…" is not a number'


def test_the_limit_of_a_key_is_not_one_of_a_number_s_spelling() -> None:
    assert value("N", "0" * 3000 + "7", empty="reject", key_limit=2048) == b"0" * 3000 + b"7"


# --- booleans -------------------------------------------------------------------------------------


def test_the_boolean_words_are_those_documented() -> None:
    assert {word for word, meant in BOOLEANS.items() if meant} == {"true", "yes", "y", "t", "1", "on"}
    assert {word for word, meant in BOOLEANS.items() if not meant} == {"false", "no", "n", "f", "0", "off"}


def test_the_words_in_json_are_the_same_words() -> None:
    found = {word.decode(): orjson.loads(json) for word, json in JSON_BOOLEANS.items() if word}
    assert found == dict(BOOLEANS)
    # What is not there is no mistake, and nothing in the end.
    assert JSON_BOOLEANS[b""] == b""


@pytest.mark.parametrize("word", BOOLEANS)
def test_a_boolean_word_is_known_in_any_case(word: str) -> None:
    for spelling in (word, word.upper(), word.title()):
        assert value("BOOL", spelling, empty="omit") == (b"true" if BOOLEANS[word] else b"false")


@pytest.mark.parametrize("text", ["maybe", " true", "2", "ja", "tru", "ΟN", "oﬀ"])
def test_another_word_for_a_boolean_is_a_reject(text: str) -> None:
    assert trouble(value("BOOL", text, empty="omit")) == (
        RejectCode.BAD_BOOLEAN,
        f'column c: "{text}" is not true or false',
    )
