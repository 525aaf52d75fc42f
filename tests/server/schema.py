"""What a table looks like, read from CreateTable and told by DescribeTable."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.server.errors import invalid

_KEY_TYPES = frozenset("SNB")
_STREAM_VIEWS = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")
_TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_MOST_LOCAL, _MOST_GLOBAL, _MOST_KEY_ATTRIBUTES = 5, 20, 4


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """A key attribute's name and type (S, N or B)."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class IndexSchema:
    """`projected` holds the attributes of an entry, None means all of them."""

    name: str
    local: bool
    hash: tuple[KeyAttribute, ...]
    range: tuple[KeyAttribute, ...]
    projected: frozenset[str] | None
    key_schema: tuple[Mapping[str, str], ...]
    projection: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def keys(self) -> tuple[KeyAttribute, ...]:
        return self.hash + self.range


@dataclass(frozen=True, slots=True)
class TableSchema:
    """`settings` are the members of CreateTable that are only told again (billing, throughput, stream)."""

    name: str
    hash: KeyAttribute
    range: KeyAttribute | None
    indexes: tuple[IndexSchema, ...]
    key_schema: tuple[Mapping[str, str], ...]
    attribute_definitions: tuple[Mapping[str, str], ...]
    settings: Mapping[str, Any]

    @property
    def on_demand(self) -> bool:
        return self.settings.get("BillingMode") == "PAY_PER_REQUEST"

    @property
    def keys(self) -> tuple[KeyAttribute, ...]:
        return (self.hash,) if self.range is None else (self.hash, self.range)


def read_schema(request: Mapping[str, Any]) -> TableSchema:
    """The table a CreateTable request describes; ServiceError where it contradicts itself."""
    name = request.get("TableName")
    if not isinstance(name, str) or not _TABLE_NAME.fullmatch(name):
        raise invalid("TableName must be 3 to 255 characters of a-z, A-Z, 0-9, '_', '-' and '.'")
    types = _types(request.get("AttributeDefinitions") or [])
    hashes, ranges = _keys(request.get("KeySchema"), types, 1)
    table_keys = {key.name for key in hashes + ranges}
    local = [
        _index(spec, True, types, table_keys, hashes) for spec in request.get("LocalSecondaryIndexes") or []
    ]
    global_ = [
        _index(spec, False, types, table_keys, hashes) for spec in request.get("GlobalSecondaryIndexes") or []
    ]
    indexes = tuple(local + global_)
    if len(local) > _MOST_LOCAL or len(global_) > _MOST_GLOBAL:
        raise invalid(
            "One or more parameter values were invalid: Number of secondary indexes exceeds the limit"
        )
    if len({index.name for index in indexes}) < len(indexes):
        raise invalid("One or more parameter values were invalid: Duplicate index name")
    if local and not ranges:
        raise invalid(
            "One or more parameter values were invalid: Table KeySchema does not have a range key, "
            "which is required when specifying a LocalSecondaryIndex"
        )
    used = table_keys | {key.name for index in indexes for key in index.keys}
    if used != set(types):
        raise invalid(
            "One or more parameter values were invalid: Some AttributeDefinitions are not used. "
            f"AttributeDefinitions: {sorted(types)}, keys used: {sorted(used)}"
        )
    _check_billing(request)
    _check_stream(request.get("StreamSpecification"))
    return TableSchema(
        name=name,
        hash=hashes[0],
        range=ranges[0] if ranges else None,
        indexes=indexes,
        key_schema=tuple(request["KeySchema"]),
        attribute_definitions=tuple(request["AttributeDefinitions"]),
        settings={
            member: request[member]
            for member in (
                "BillingMode",
                "ProvisionedThroughput",
                "OnDemandThroughput",
                "WarmThroughput",
                "StreamSpecification",
            )
            if member in request
        },
    )


def _check_billing(request: Mapping[str, Any]) -> None:
    mode = request.get("BillingMode", "PROVISIONED")
    if mode not in ("PROVISIONED", "PAY_PER_REQUEST"):
        raise invalid(f"BillingMode {mode!r}: must be PROVISIONED or PAY_PER_REQUEST")
    throughput = request.get("ProvisionedThroughput")
    if mode == "PAY_PER_REQUEST" and throughput is not None:
        raise invalid(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits "
            "can be specified when BillingMode is PAY_PER_REQUEST"
        )
    if mode == "PROVISIONED" and not (
        isinstance(throughput, dict)
        and all(throughput.get(member, 0) >= 1 for member in ("ReadCapacityUnits", "WriteCapacityUnits"))
    ):
        raise invalid(
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both "
            "be specified when BillingMode is PROVISIONED"
        )


def _check_stream(stream: Any) -> None:
    if stream is None:
        return
    enabled, view = stream.get("StreamEnabled"), stream.get("StreamViewType")
    if type(enabled) is not bool or (view not in _STREAM_VIEWS if enabled else view is not None):
        raise invalid(f"One or more parameter values were invalid: StreamSpecification {stream!r}")


def _types(definitions: list[Mapping[str, str]]) -> dict[str, str]:
    types: dict[str, str] = {}
    for definition in definitions:
        name, type_ = definition.get("AttributeName", ""), definition.get("AttributeType")
        if type_ not in _KEY_TYPES or not 1 <= len(name.encode()) <= 255 or name in types:
            raise invalid(f"One or more parameter values were invalid: AttributeDefinition {definition!r}")
        types[name] = type_
    return types


def _keys(
    key_schema: Any, types: Mapping[str, str], most: int
) -> tuple[tuple[KeyAttribute, ...], tuple[KeyAttribute, ...]]:
    parts: dict[str, list[KeyAttribute]] = {"HASH": [], "RANGE": []}
    for element in key_schema or []:
        name, kind = element.get("AttributeName"), element.get("KeyType")
        if name not in types or kind not in parts or (kind == "HASH" and parts["RANGE"]):
            raise invalid(f"One or more parameter values were invalid: Invalid KeySchema element {element!r}")
        parts[kind].append(KeyAttribute(name, types[name]))
    if not 1 <= len(parts["HASH"]) <= most or len(parts["RANGE"]) > most:
        raise invalid("Invalid KeySchema: it has too few or too many elements")
    return tuple(parts["HASH"]), tuple(parts["RANGE"])


def _index(
    spec: Mapping[str, Any],
    local: bool,
    types: Mapping[str, str],
    table_keys: set[str],
    table_hash: tuple[KeyAttribute, ...],
) -> IndexSchema:
    name = spec.get("IndexName")
    if not isinstance(name, str) or not _TABLE_NAME.fullmatch(name):
        raise invalid("IndexName must be 3 to 255 characters of a-z, A-Z, 0-9, '_', '-' and '.'")
    hashes, ranges = _keys(spec.get("KeySchema"), types, 1 if local else _MOST_KEY_ATTRIBUTES)
    if local and (hashes != table_hash or not ranges):
        raise invalid(
            f"One or more parameter values were invalid: Index {name} must have the table's partition key "
            "and a sort key"
        )
    projection = spec.get("Projection") or {}
    kind, included = projection.get("ProjectionType"), projection.get("NonKeyAttributes")
    if kind not in ("ALL", "KEYS_ONLY", "INCLUDE") or (kind == "INCLUDE") != bool(included):
        raise invalid(f"One or more parameter values were invalid: Projection {projection!r}")
    projected = table_keys | {key.name for key in hashes + ranges} | set(included or [])
    return IndexSchema(
        name=name,
        local=local,
        hash=hashes,
        range=ranges,
        projected=None if kind == "ALL" else frozenset(projected),
        key_schema=tuple(spec["KeySchema"]),
        projection=projection,
        settings={
            member: spec[member]
            for member in ("ProvisionedThroughput", "OnDemandThroughput", "WarmThroughput")
            if member in spec
        },
    )
