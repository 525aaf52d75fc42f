"""When two items are equal: numbers by value, sets without order, everything else exactly."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from loader.decisions.numbers import normal_form
from loader.decisions.schema import clipped

Item = Mapping[str, Mapping[str, Any]]
"""An item in DynamoDB JSON: `{"id": {"S": "x"}, "age": {"N": "5"}}`."""


def canonical(item: Item) -> bytes:
    """The same bytes for equal items, and for no others."""
    value = {name: _canonical(attribute) for name, attribute in item.items()}
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # orjson refuses lone surrogates, which a server may send and no CSV file can hold.
        return json.dumps(value, sort_keys=True).encode()


def difference(expected: Item, found: Item) -> tuple[str, str] | None:
    """
    The first attribute in which they differ, and how, in words; None for equal items.

    Attributes are looked at in the order of `expected`, then those that only `found` has.
    """
    for name, attribute in expected.items():
        if name not in found:
            return name, f"the file says {_shown(attribute)}, the table has no such attribute"
        if _canonical(attribute) != _canonical(found[name]):
            return name, f"the file says {_shown(attribute)}, the table {_shown(found[name])}"
    for name in sorted(found):
        if name not in expected:
            return name, f"the table has {_shown(found[name])}, the file no value"
    return None


def _canonical(attribute: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(attribute) != 1:
        return attribute
    ((type_, value),) = attribute.items()
    match type_, value:
        case "N", str():
            return {type_: _number(value)}
        case "NS", list():
            return {type_: sorted(map(_number, value))}
        case (("SS" | "BS"), list()):
            return {type_: sorted(value)}
        case "L", list():
            return {type_: [_canonical(element) for element in value]}
        case "M", dict():
            return {type_: {name: _canonical(element) for name, element in value.items()}}
    return attribute


def _number(text: str) -> str:
    # A lax server may keep what is no number of DynamoDB's; that is compared as it is.
    return normal_form(text) or text


def _shown(attribute: Mapping[str, Any]) -> str:
    """`N 5`, `S "x"`, `L [{"S": "a"}]`, clipped."""
    return ", ".join(
        f"{type_} {value if type_ == 'N' else clipped(json.dumps(value, ensure_ascii=False))}"
        for type_, value in attribute.items()
    )
