"""From the text of an option to its value. What does not fit is refused in words, never with a traceback."""

import re
from collections.abc import Callable, Sequence

from loader.config import RejectLimit, parse_reject_limit, parse_size
from loader.errors import BadOption

_LONGEST = 30
"""No number that makes sense has more characters; Python itself refuses to read very long ones."""


def whole_number(option: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if len(text) > _LONGEST or not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
            raise BadOption(f"{option} {_shown(text)}: give a whole number.")
        return int(text)

    return read


def seconds(option: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        if len(text) > _LONGEST or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text, re.ASCII):
            raise BadOption(f"{option} {_shown(text)}: give a number of seconds, such as 300.")
        return float(text)

    return read


def price(option: str) -> Callable[[str], float]:
    """An amount of money, in no particular currency."""

    def read(text: str) -> float:
        if len(text) > _LONGEST or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text, re.ASCII):
            raise BadOption(f"{option} {_shown(text)}: give a price, such as 0.625.")
        return float(text)

    return read


def size(option: str) -> Callable[[str], int]:
    """Bytes, such as `64MiB`."""

    def read(text: str) -> int:
        if len(text) > _LONGEST:
            raise BadOption(f"{option} {_shown(text)}: give a number of bytes, such as 64MiB.")
        return parse_size(option, text)

    return read


def share(option: str) -> Callable[[str], float]:
    """`0.2` or `20%`, as 0.2."""

    def read(text: str) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(%?)", text, re.ASCII)
        if match is None or len(text) > _LONGEST:
            raise BadOption(f"{option} {_shown(text)}: give a share, such as 0.2 or 20%.")
        return float(match[1]) / (100 if match[2] else 1)

    return read


def reject_limit(text: str) -> RejectLimit:
    if len(text) > _LONGEST:
        raise BadOption(
            f"--max-rejects {_shown(text)}: give a number of rows, such as 100, or a share, such as 2%."
        )
    return parse_reject_limit(text)


def one_of(option: str, choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise BadOption(f"{option} {_shown(text)}: there is only {', '.join(choices)}.")
        return text

    return read


def filled(option: str, *, needed: bool = False) -> Callable[[str], str]:
    """
    Any text but an empty one, which most often is a shell variable that was not set. One that is `needed`
    cannot be left out.
    """

    def read(text: str) -> str:
        if not text:
            raise BadOption(f"{option} is empty. Give it a value{'' if needed else ', or leave it out'}.")
        return text

    return read


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
