"""Numbers against `decimal`, which knows values but not DynamoDB's limits."""

from decimal import Decimal, InvalidOperation

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from loader.decisions.numbers import normal_form, problem, stored_size

digits = st.text("0019", max_size=6) | st.text("0123456789", max_size=45) | st.text("0", max_size=45)
signs = st.sampled_from(["", "", "+", "-"])
exponents = st.one_of(
    st.just(""),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from("eE"),
        signs,
        st.sampled_from(["", "0", "000"]),
        st.integers(0, 9) | st.integers(80, 180),
    ),
)
spellings = st.builds(
    "{}{}{}{}{}".format, signs, digits, st.sampled_from(["", "."]), digits, exponents
).filter(lambda text: any(c.isdigit() for c in text.lower().partition("e")[0]))


def value_of(text: str) -> Decimal | None:
    """The value that DynamoDB would take, with no help from the module under test."""
    if not set(text) <= set("0123456789+-.eE"):
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    significant = "".join(map(str, value.as_tuple().digits)).strip("0")
    if value and (len(significant) > 38 or not -130 <= value.adjusted() <= 125):
        return None
    return value


@given(spellings)
@settings(max_examples=1000)
def test_the_valid_numbers_are_those_within_the_limits(text: str) -> None:
    value = value_of(text)
    assert (problem(text) is None) == (value is not None)
    form = normal_form(text)
    assert (form is None) == (value is None)
    if form is not None:
        assert Decimal(form) == value
        assert normal_form(form) == form


@given(st.text("0159+-.eE_ n٣\n", max_size=8) | st.text(max_size=5))
@settings(max_examples=1000)
def test_texts_that_are_no_number_are_told_apart(text: str) -> None:
    assert (normal_form(text) is None) == (value_of(text) is None)
    assert (problem(text) is None) == (value_of(text) is not None)


@given(spellings, spellings)
@settings(max_examples=500)
def test_different_values_have_different_forms(one: str, other: str) -> None:
    values = value_of(one), value_of(other)
    assume(None not in values)
    assert (normal_form(one) == normal_form(other)) == (values[0] == values[1])


@given(
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.integers(-120, 40),
    st.integers(0, 50),
    st.integers(-60, 60),
    st.integers(0, 3),
)
@example(0, 5, 3, -7, 1)
@settings(max_examples=1000)
def test_all_spellings_of_a_value_have_one_form(
    coefficient: int, exponent: int, more_zeros: int, shift: int, leading: int
) -> None:
    plain = f"{coefficient}e{exponent}"
    assume(problem(plain) is None)
    sign, number = ("-" if coefficient < 0 else ""), str(abs(coefficient))
    padded = "0" * leading + number + "0" * more_zeros
    point = len(padded) + shift
    if point <= 0:
        mantissa = "." + "0" * -point + padded
    elif point >= len(padded):
        mantissa = padded + "0" * (point - len(padded)) + "."
    else:
        mantissa = padded[:point] + "." + padded[point:]
    respelled = f"{sign}{mantissa}E{exponent - more_zeros - shift:+}"
    assert Decimal(respelled) == Decimal(plain)
    assert normal_form(respelled) == normal_form(plain)
    assert stored_size(respelled) == stored_size(plain)


@given(spellings)
@settings(max_examples=500)
def test_the_size_is_that_of_the_digits_in_base_100(text: str) -> None:
    value = value_of(text)
    assume(value is not None)
    assert value is not None
    sign, significant, _ = value.as_tuple()
    if not value:
        assert stored_size(text) == 1
        return
    highest = value.adjusted()
    lowest = highest - len("".join(map(str, significant)).strip("0")) + 1
    pairs = highest // 2 - lowest // 2 + 1
    assert stored_size(text) == 1 + pairs + sign
