"""
DynamoDB's numbers, as text: what is one, which are equal, how many bytes one takes.

Nothing here makes a float or expands an exponent, so `1e999999999` costs no more than `1`.
"""

import re
from typing import NamedTuple

_DIGITS = 38
_LOWEST, _HIGHEST = -130, 125  # exponent of the first significant digit

# Possessive, so that a long text that is not a number fails in one pass.
_NUMBER = re.compile(r"([+-]?)(?:([0-9]++)(?:\.([0-9]*+))?|\.([0-9]++))(?:[eE]([+-]?)([0-9]++))?")
# A mantissa can make up for an exponent of a few million at most: records are not that long.
_EXPONENT_DIGITS = 18


class _Number(NamedTuple):
    """`digits` without zeros at either end, "" for zero; value = ±digits * 10**exponent."""

    negative: bool
    digits: str
    exponent: int


def _parse(text: str) -> _Number | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, bare_fraction, exponent_sign, exponent_digits = match.groups(default="")
    fraction = fraction or bare_fraction
    mantissa = (whole + fraction).lstrip("0")
    digits = mantissa.rstrip("0")
    if not digits:
        return _Number(False, "", 0)
    exponent_digits = exponent_digits.lstrip("0")
    if len(exponent_digits) > _EXPONENT_DIGITS:
        exponent_digits = "9" * _EXPONENT_DIGITS
    exponent = int(exponent_digits or "0")
    if exponent_sign == "-":
        exponent = -exponent
    return _Number(sign == "-", digits, exponent - len(fraction) + len(mantissa) - len(digits))


def _fault(number: _Number) -> str | None:
    if not number.digits:
        return None
    if len(number.digits) > _DIGITS:
        return f"has {len(number.digits)} significant digits; DynamoDB takes {_DIGITS}"
    if not _LOWEST <= number.exponent + len(number.digits) - 1 <= _HIGHEST:
        return f"is out of range; DynamoDB takes 1E{_LOWEST} to 9.99E+{_HIGHEST}, either sign"
    return None


def _is_plain(text: str) -> bool:
    """An integer of few enough digits, without sign or leading zero: by far the most common spelling."""
    return text.isdigit() and text.isascii() and len(text) <= _DIGITS and (text[0] != "0" or text == "0")


def problem(text: str) -> str | None:
    """None for a number that DynamoDB takes, else what is wrong with it, to be read behind "the value"."""
    if _is_plain(text):
        return None
    number = _parse(text)
    return "is not a number" if number is None else _fault(number)


def normal_form(text: str) -> str | None:
    """
    One spelling for each value; None where `problem` has something to say.

    A whole number of up to 38 digits is written out (`5.0`, `05`, `+5` and `5e0` are "5"), any other
    value as its significant digits and an exponent (`1.50` is "15e-1"). -0 is "0".
    """
    if _is_plain(text):
        return text
    number = _parse(text)
    if number is None or _fault(number) is not None:
        return None
    negative, digits, exponent = number
    if not digits:
        return "0"
    sign = "-" if negative else ""
    if 0 <= exponent <= _DIGITS - len(digits):
        return f"{sign}{digits}{'0' * exponent}"
    return f"{sign}{digits}e{exponent}"


def stored_size(text: str) -> int:
    """
    Bytes that DynamoDB counts for the number: one, one for each pair of digits in base 100, one for a minus.

    Raises ValueError for a text that is not a number.
    """
    if _is_plain(text):
        digits = text.rstrip("0")
        negative, exponent = False, len(text) - len(digits)
    else:
        number = _parse(text)
        if number is None:
            raise ValueError(f"{text!r} is not a number")
        negative, digits, exponent = number
    if not digits:
        return 1
    count = len(digits)
    first = exponent + count - 1
    straddles = count % 2 == 0 and first % 2 == 0
    return 1 + (count + 1) // 2 + straddles + negative
