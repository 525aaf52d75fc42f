"""DynamoDB's numbers as text: what is one, its normal form, its size."""

import time

import pytest

from loader.decisions.numbers import normal_form, problem, stored_size

NINES = "9" * 38


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("5", "5"),
        ("5.0", "5"),
        ("05", "5"),
        ("+5", "5"),
        ("5e0", "5"),
        ("5.", "5"),
        ("0.5e1", "5"),
        ("500e-2", "5"),
        ("-5", "-5"),
        ("-05.00", "-5"),
        ("0", "0"),
        ("-0", "0"),
        ("+0.00", "0"),
        ("0e999999999999999999999", "0"),
        ("100", "100"),
        ("1e2", "100"),
        ("1E+2", "100"),
        ("1.50", "15e-1"),
        (".5", "5e-1"),
        ("-.5", "-5e-1"),
        ("0.05", "5e-2"),
        (NINES, NINES),
        ("1e37", "1" + "0" * 37),
        ("1e38", "1e38"),
        ("1" + "0" * 38, "1e38"),
        ("0" * 100 + "7", "7"),
        ("7." + "0" * 100, "7"),
        ("1e-130", "1e-130"),
        ("1e125", "1e125"),
        (NINES[0] + "." + NINES[1:] + "e125", NINES + "e88"),
    ],
)
def test_equal_values_have_one_form(text: str, form: str) -> None:
    assert problem(text) is None
    assert normal_form(text) == form
    assert normal_form(form) == form


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", " 5", "5 ", "5\n", "1_000", "1,5", "5\0", "é"),
        *("٣", "５", "²", "5e٣", "NaN", "Infinity", "-inf", "0x10"),
        *("1e", "e5", ".", "-", "+", "+-5", "--5", "1.2.3", "1e5.0", "1e+", ".e5"),
    ],
)
def test_what_is_not_a_number_is_named_so(text: str) -> None:
    assert problem(text) == "is not a number"
    assert normal_form(text) is None
    with pytest.raises(ValueError, match="is not a number"):
        stored_size(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1" * 39, "has 39 significant digits; DynamoDB takes 38"),
        ("-0.1" + "0" * 40 + "1e9", "has 42 significant digits; DynamoDB takes 38"),
        ("1e126", "is out of range"),
        ("-1e126", "is out of range"),
        ("9e-131", "is out of range"),
        ("0.1e-130", "is out of range"),
        ("1e999999999", "is out of range"),
        ("1e-999999999", "is out of range"),
        ("1e" + "9" * 10_000, "is out of range"),
        ("1e-" + "9" * 10_000, "is out of range"),
    ],
)
def test_what_dynamodb_does_not_take_is_named(text: str, complaint: str) -> None:
    reason = problem(text)
    assert reason is not None and reason.startswith(complaint)
    assert normal_form(text) is None


def test_a_long_mantissa_and_its_exponent_make_up_for_each_other() -> None:
    assert normal_form("0." + "0" * 1_000_000 + "3e1000001") == "3"
    assert normal_form("3" + "0" * 1_000_000 + "e-1000000") == "3"
    assert normal_form("3e" + "0" * 1_000_000 + "2") == "300"


@pytest.mark.parametrize(
    "text", ["1e999999999999", "9" * (1 << 22) + "x", "0." + "0" * (1 << 22) + "!", "1e" + "9" * (1 << 22)]
)
def test_no_text_takes_long(text: str) -> None:
    start = time.perf_counter()
    assert normal_form(text) is None
    # Expanding the exponent or looking twice at each digit would take minutes.
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 1),
        ("-0.00", 1),
        ("5", 2),
        ("05", 2),
        ("-5", 3),
        ("10", 2),
        ("12", 2),
        ("100", 2),
        ("101", 3),
        ("123", 3),
        ("1234", 3),
        ("1.2", 3),
        ("0.5", 2),
        ("0.05", 2),
        ("0.12", 2),
        ("0.012", 3),
        ("99.99", 3),
        ("-99.99", 4),
        ("1e125", 2),
        ("1e-130", 2),
        (NINES, 20),
        ("-" + NINES, 21),
        (NINES + "e1", 21),
    ],
)
def test_the_size_counts_pairs_of_digits(text: str, size: int) -> None:
    assert stored_size(text) == size
