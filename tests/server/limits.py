"""
What makes an item or a key acceptable. Checking also brings numbers to the form they are stored in.

An item is DynamoDB JSON: {"name": {"S": "text"}, ...}. Every function raises ServiceError where the
service would refuse, and sizes are in bytes by DynamoDB's rules.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, TypeAlias

from tests.server.errors import ServiceError, invalid, malformed
from tests.server.number import normalise
from tests.server.schema import KeyAttribute, TableSchema

Item: TypeAlias = dict[str, dict[str, Any]]
KeyValue: TypeAlias = str | bytes
Key: TypeAlias = KeyValue | tuple[KeyValue, KeyValue]

ITEM_LIMIT = 409_600
BODY_LIMIT = 16 << 20
BATCH_LIMIT = 25
HASH_LIMIT = 2_048
RANGE_LIMIT = 1_024
NAME_LIMIT = 65_535
NESTING_LIMIT = 32

ITEM_TOO_LARGE = "Item size has exceeded the maximum allowed size"
_WRONG = "One or more parameter values were invalid: "
_EMPTY_KEY = (
    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain "
    "an empty {} value. {}"
)
_KIND_NAMES = {"S": "string", "B": "binary"}


class _NameSizes(dict[str, int]):
    """Bytes of attribute names, checked at first sight only: a load has few names and many items."""

    def __missing__(self, name: str) -> int:
        size = len(name.encode())
        if size == 0:
            raise invalid("Empty attribute name")
        if size > NAME_LIMIT:
            raise invalid(f"{_WRONG}Attribute name is too large, must be less than 65536 bytes")
        if len(self) > 10_000:
            self.clear()
        self[name] = size
        return size


_name_sizes = _NameSizes()


def measure(item: Item) -> int:
    """The size of an item whose every value is acceptable; its numbers are normalised in place."""
    if type(item) is not dict:
        raise malformed("Unrecognized collection type: an item must be a map")
    names = _name_sizes
    size = 0
    try:
        for name, value in item.items():
            ((kind, content),) = value.items()
            if kind == "S" and type(content) is str:
                size += names[name] + (len(content) if content.isascii() else len(content.encode()))
            else:
                size += names[name] + _measure(value, kind, content, 1)
    except (AttributeError, ValueError):
        # Which of the values it was is asked again only here, off the path of good items.
        for value in item.values():
            only_kind(value)
        raise
    return size


def check_item_size(size: int) -> None:
    if size > ITEM_LIMIT:
        raise invalid(ITEM_TOO_LARGE)


def only_kind(value: Any) -> str:
    """The one type letter of an attribute value."""
    if type(value) is not dict:
        raise malformed("Unexpected value type in payload")
    if len(value) != 1:
        found = "more than one datatypes set" if value else "is empty"
        prefix = "has " if value else ""
        raise invalid(
            f"Supplied AttributeValue {prefix}{found}, must contain exactly one of the supported datatypes"
        )
    return str(next(iter(value)))


def _measure(value: dict[str, Any], kind: str, content: Any, level: int) -> int:
    if level > NESTING_LIMIT:
        raise invalid("Nesting Levels have exceeded supported limits")
    match kind:
        case "S":
            return len(_text(content).encode())
        case "N":
            stored, size = normalise(_text(content))
            value["N"] = stored
            return size
        case "B":
            return len(decode(content))
        case "BOOL":
            if type(content) is not bool:
                raise malformed("Unexpected token received from parser")
            return 1
        case "NULL":
            if content is not True:
                raise invalid(f"{_WRONG}Null attribute value types must have the value of true")
            return 1
        case "SS" | "NS" | "BS":
            return _measure_set(value, kind, content)
        case "L":
            if type(content) is not list:
                raise malformed("Unrecognized collection type: a list must be an array")
            return 3 + sum(
                1 + _measure(member, kind_, member[kind_], level + 1)
                for member in content
                for kind_ in (only_kind(member),)
            )
        case "M":
            if type(content) is not dict:
                raise malformed("Unrecognized collection type: a map must be an object")
            return 3 + sum(
                1 + _name_sizes[name] + _measure(member, kind_, member[kind_], level + 1)
                for name, member in content.items()
                for kind_ in (only_kind(member),)
            )
    raise invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")


def _measure_set(value: dict[str, Any], kind: str, content: Any) -> int:
    if type(content) is not list:
        raise malformed("Unrecognized collection type: a set must be an array")
    if not content:
        name = {"SS": "string", "NS": "number", "BS": "binary"}[kind]
        raise invalid(f"{_WRONG}An {name} set  may not be empty")
    members: list[KeyValue]
    if kind == "NS":
        numbers = [normalise(_text(member)) for member in content]
        members = [stored for stored, _ in numbers]
        value["NS"] = members
        size = sum(size for _, size in numbers)
    elif kind == "BS":
        members = [decode(member) for member in content]
        size = sum(map(len, members))
    else:
        members = [_text(member) for member in content]
        size = sum(len(member.encode()) for member in content)
    if len(set(members)) < len(members):
        raise invalid(f"{_WRONG}Input collection contains duplicates.")
    return size


def _text(content: Any) -> str:
    if type(content) is not str:
        raise malformed("Value cannot be converted to String")
    return content


def decode(content: Any) -> bytes:
    """The bytes of a B value."""
    try:
        return base64.b64decode(_text(content), validate=True)
    except binascii.Error:
        raise malformed("Invalid Base64") from None


def key_of(schema: TableSchema, item: Item) -> Key:
    """The key of a measured item, in a form that is equal when DynamoDB says the keys are."""
    hash_value = _key_value(schema.hash, item, HASH_LIMIT)
    if schema.range is None:
        return hash_value
    return hash_value, _key_value(schema.range, item, RANGE_LIMIT)


def bare_key_of(schema: TableSchema, key: Any) -> Key:
    """The key given by itself, as in GetItem; it must have the key attributes and no others."""
    measure(key)
    if set(key) != {part.name for part in schema.keys}:
        raise invalid("The provided key element does not match the schema")
    return key_of(schema, key)


def partition_value(key: Key) -> KeyValue:
    return key[0] if isinstance(key, tuple) else key


def value_text(value: KeyValue) -> str:
    return value if isinstance(value, str) else base64.b64encode(value).decode()


def key_text(key: Key) -> str:
    """A key for the eye: hash and range with a comma between them, binary in base64."""
    return ",".join(map(value_text, key)) if isinstance(key, tuple) else value_text(key)


def _key_value(part: KeyAttribute, item: Item, limit: int) -> KeyValue:
    value = item.get(part.name)
    if value is None:
        raise invalid(f"{_WRONG}Missing the key {part.name} in the item")
    content = value.get(part.type)
    if content is None:
        actual = only_kind(value)
        raise invalid(f"{_WRONG}Type mismatch for key {part.name} expected: {part.type} actual: {actual}")
    if part.type == "N":
        return str(content)
    size = len(decode(content)) if part.type == "B" else len(content.encode())
    if size == 0:
        raise invalid(_EMPTY_KEY.format(_KIND_NAMES[part.type], f"Key: {part.name}"))
    if size > limit:
        raise _key_too_long(limit)
    return decode(content) if part.type == "B" else str(content)


def _key_too_long(limit: int) -> ServiceError:
    if limit == HASH_LIMIT:
        return invalid(f"{_WRONG}Size of hashkey has exceeded the maximum size limit of{HASH_LIMIT} bytes")
    return invalid(
        f"{_WRONG}Aggregated size of all range keys has exceeded the size limit of {RANGE_LIMIT} bytes"
    )


def check_index_keys(schema: TableSchema, item: Mapping[str, Mapping[str, Any]]) -> None:
    """Attributes that are a key of an index may be absent, but not empty, of another type or too long."""
    for index in schema.indexes:
        for parts, limit in ((index.hash, HASH_LIMIT), (index.range, RANGE_LIMIT)):
            for part in parts:
                value = item.get(part.name)
                if value is None:
                    continue
                content = value.get(part.type)
                if content is None:
                    raise invalid(
                        f"{_WRONG}Type mismatch for Index Key {part.name} Expected: {part.type} "
                        f"Actual: {only_kind(value)} IndexName: {index.name}"
                    )
                if part.type == "N":
                    continue
                size = len(decode(content)) if part.type == "B" else len(content.encode())
                if size == 0:
                    where = f"IndexName: {index.name}, IndexKey: {part.name}"
                    raise invalid(_EMPTY_KEY.format(_KIND_NAMES[part.type], where))
                if size > limit:
                    raise _key_too_long(limit)
