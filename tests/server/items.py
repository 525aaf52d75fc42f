"""GetItem, PutItem and Scan."""

from collections.abc import Mapping
from typing import Any

import orjson

from tests.server.auth import Caller
from tests.server.errors import invalid
from tests.server.index import Charge
from tests.server.limits import bare_key_of
from tests.server.message import Reply
from tests.server.parameters import capacity_wanted, consumed_capacity, read_parameters, whole_number
from tests.server.state import State
from tests.server.writes import Write, apply_or_refuse, read_put

_GET = frozenset({"TableName", "Key", "ConsistentRead", "ReturnConsumedCapacity"})
_PUT = frozenset({"TableName", "Item", "ReturnConsumedCapacity", "ReturnValues"})
_SCAN = frozenset(
    {
        "TableName",
        "Limit",
        "Segment",
        "TotalSegments",
        "ExclusiveStartKey",
        "ConsistentRead",
        "Select",
        "ReturnConsumedCapacity",
    }
)


def get_item(state: State, caller: Caller, body: bytes) -> Reply:
    parameters = read_parameters(body, _GET)
    wanted = capacity_wanted(parameters)
    table = state.table(parameters.get("TableName"))
    size, stored = table.items.get(bare_key_of(table.schema, parameters.get("Key")), (0, b""))
    members: dict[str, Any] = {}
    if wanted != "NONE":
        units = _read_units(size, parameters)
        members["ConsumedCapacity"] = consumed_capacity(table.schema.name, wanted, Charge(units))
    if stored:
        members["Item"] = orjson.Fragment(stored)
    return Reply.success(members)


def put_item(state: State, caller: Caller, body: bytes) -> Reply:
    parameters = read_parameters(body, _PUT)
    wanted = capacity_wanted(parameters)
    returned = parameters.get("ReturnValues", "NONE")
    if returned not in ("NONE", "ALL_OLD"):
        raise invalid("ReturnValues can only be ALL_OLD or NONE")
    table = state.table_to_write(parameters.get("TableName"))
    write: Write = read_put(table, parameters.get("Item"))
    _, old = table.items.get(write.key, (0, b""))
    applied = apply_or_refuse(state, [write])
    state.stats.acknowledged += 1
    members: dict[str, Any] = {}
    if returned == "ALL_OLD" and old:
        members["Attributes"] = orjson.Fragment(old)
    if wanted != "NONE":
        charge = applied.charges[table.schema.name]
        members["ConsumedCapacity"] = consumed_capacity(table.schema.name, wanted, charge)
    return Reply.success(members)


def scan(state: State, caller: Caller, body: bytes) -> Reply:
    parameters = read_parameters(body, _SCAN)
    wanted = capacity_wanted(parameters)
    table = state.table(parameters.get("TableName"))
    segments = whole_number(parameters, "TotalSegments", 1, 1_000_000)
    segment = whole_number(parameters, "Segment", 0, 999_999)
    if (segments is None) != (segment is None):
        raise invalid(
            "The TotalSegments parameter is required but was not present when Segment is, or vice versa"
        )
    if segments is not None and segment is not None and segment >= segments:
        raise invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {segments}"
        )
    select = parameters.get("Select", "ALL_ATTRIBUTES")
    if select not in ("ALL_ATTRIBUTES", "COUNT"):
        raise invalid(f"tests/server does not implement Select {select}")
    start = parameters.get("ExclusiveStartKey")
    after = None if start is None else bare_key_of(table.schema, start)
    limit = whole_number(parameters, "Limit", 1, 1 << 31)
    page = table.scan(segment or 0, segments or 1, after, limit)
    members: dict[str, Any] = {"Count": len(page.items), "ScannedCount": len(page.items)}
    if select == "ALL_ATTRIBUTES":
        members["Items"] = [orjson.Fragment(stored) for stored in page.items]
    if page.last is not None:
        members["LastEvaluatedKey"] = table.key_item(page.last)
    if wanted != "NONE":
        units = _read_units(page.evaluated, parameters)
        members["ConsumedCapacity"] = consumed_capacity(table.schema.name, wanted, Charge(units))
    return Reply.success(members)


def _read_units(size: int, parameters: Mapping[str, Any]) -> float:
    units = max(1, (size + 4095) >> 12)
    return units if parameters.get("ConsistentRead") is True else units / 2
