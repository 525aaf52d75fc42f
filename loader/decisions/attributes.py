"""
The type rules: how a cell becomes an attribute value in DynamoDB JSON.

    S      the text of the cell as it is
    N      the text of the cell as it is, if it is a number DynamoDB takes; spaces around it are an error
    BOOL   true yes y t 1 on, or false no n f 0 off, in any case

An empty cell of an N or BOOL column is left out of the item.
"""

from collections.abc import Mapping
from types import MappingProxyType

from loader.decisions.numbers import problem
from loader.decisions.schema import ColumnRule, clipped
from loader.model import Problem, RejectCode

BOOLEANS: Mapping[str, bool] = MappingProxyType(
    dict.fromkeys(("true", "yes", "y", "t", "1", "on"), True)
    | dict.fromkeys(("false", "no", "n", "f", "0", "off"), False)
)
"""The words of a BOOL column, in lower case."""

JSON_BOOLEANS: Mapping[bytes, bytes] = MappingProxyType(
    {word.encode(): b"true" if value else b"false" for word, value in BOOLEANS.items()} | {b"": b""}
)
"""The same as JSON, for cells in UTF-8; an empty cell is no mistake, but left out in the end."""


def attribute_value(rule: ColumnRule, text: str, cell: bytes) -> bytes | Problem | None:
    """
    What stands behind the type in DynamoDB JSON, less quotes; None for a cell that is left out.

    `cell` is `text` as it stands within a JSON string.
    """
    if not text and rule.empty != "keep":
        return _problem(RejectCode.EMPTY_KEY, rule, "the key is empty") if rule.empty == "reject" else None
    if rule.type == "N":
        trouble = problem(text)
        return (
            cell if trouble is None else _problem(RejectCode.BAD_NUMBER, rule, f'"{clipped(text)}" {trouble}')
        )
    if rule.type == "BOOL":
        word = JSON_BOOLEANS.get(text.lower().encode())
        return word or _problem(RejectCode.BAD_BOOLEAN, rule, f'"{clipped(text)}" is not true or false')
    if rule.key_limit is not None and (size := len(text.encode())) > rule.key_limit:
        return _problem(
            RejectCode.KEY_TOO_LONG, rule, f"the key has {size:,} bytes; DynamoDB takes {rule.key_limit:,}"
        )
    return cell


def _problem(code: RejectCode, rule: ColumnRule, trouble: str) -> Problem:
    return Problem(code, f"column {clipped(rule.name)}: {trouble}", rule.name)
