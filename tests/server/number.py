"""DynamoDB's numbers: which texts are one, how they are stored, what they weigh."""

import re
from functools import lru_cache

from tests.server.errors import invalid

_NUMBER = re.compile(r"([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d+))?", re.ASCII)

DIGITS = 38
LARGEST_EXPONENT = 125
SMALLEST_EXPONENT = -130


@lru_cache(maxsize=1 << 16)
def normalise(text: str) -> tuple[str, int]:
    """
    The stored form of a number (no exponent, no needless zeros) and its size in bytes.

    Raises ServiceError where `text` is no number, has over 38 significant digits, or lies outside
    1E-130 to 9.99...E+125.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise invalid(f"The parameter cannot be converted to a numeric value: {text[:100]}")
    sign, whole, fraction, bare_fraction, exponent_text = match.groups()
    whole = whole or ""
    fraction = fraction or bare_fraction or ""
    digits = whole + fraction
    without_lead = digits.lstrip("0")
    significant = without_lead.rstrip("0")
    if not significant:
        return "0", 1
    if len(significant) > DIGITS:
        raise invalid("Attempting to store more than 38 significant digits in a Number")
    exponent = len(whole) - 1 - (len(digits) - len(without_lead)) + _exponent(exponent_text)
    if exponent > LARGEST_EXPONENT:
        raise invalid(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if exponent < SMALLEST_EXPONENT:
        raise invalid(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    negative = sign == "-"
    stored = ("-" if negative else "") + _plain(significant, exponent)
    return stored, _size(len(significant), exponent, negative)


def _exponent(text: str | None) -> int:
    if text is None:
        return 0
    digits = text.lstrip("+-").lstrip("0")
    # Python refuses to convert very long texts; no body is long enough for this one to be in range.
    magnitude = int(digits or "0") if len(digits) <= 9 else 10**9
    return -magnitude if text.startswith("-") else magnitude


def _plain(significant: str, exponent: int) -> str:
    before_point = exponent + 1
    if before_point <= 0:
        return "0." + "0" * -before_point + significant
    if before_point >= len(significant):
        return significant + "0" * (before_point - len(significant))
    return f"{significant[:before_point]}.{significant[before_point:]}"


def _size(digits: int, exponent: int, negative: bool) -> int:
    """Two digits a byte, in pairs that begin at even powers of ten."""
    straddles = digits % 2 == 0 and exponent % 2 == 0
    return 1 + (digits + 1) // 2 + straddles + negative
