"""Reading the parameters of an operation."""

from collections.abc import Mapping
from typing import Any

import orjson

from tests.server.errors import invalid, malformed
from tests.server.index import Charge


def read_parameters(body: bytes, known: frozenset[str]) -> dict[str, Any]:
    """
    The members of a request.

    One that this server does not implement is refused: a test must not rest on a parameter that
    does nothing.
    """
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise malformed(f"Unexpected token received from parser: {error}") from None
    if type(parameters) is not dict:
        raise malformed("Unexpected value type in payload")
    unknown = parameters.keys() - known
    if unknown:
        raise invalid(f"tests/server does not implement {', '.join(sorted(unknown))}")
    return parameters


def capacity_wanted(parameters: Mapping[str, Any]) -> str:
    """ReturnConsumedCapacity: NONE, TOTAL or INDEXES."""
    wanted = parameters.get("ReturnConsumedCapacity", "NONE")
    if wanted not in ("NONE", "TOTAL", "INDEXES"):
        raise invalid(
            f"1 validation error detected: Value '{wanted}' at 'returnConsumedCapacity' failed to satisfy "
            "constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
        )
    return str(wanted)


def consumed_capacity(table: str, wanted: str, charge: Charge) -> dict[str, Any]:
    """A ConsumedCapacity of one table; only what was touched is in it."""
    capacity: dict[str, Any] = {"TableName": table, "CapacityUnits": float(charge.total)}
    if wanted == "INDEXES":
        capacity["Table"] = {"CapacityUnits": float(charge.table)}
        for member, units in (
            ("LocalSecondaryIndexes", charge.local),
            ("GlobalSecondaryIndexes", charge.global_),
        ):
            if units:
                capacity[member] = {name: {"CapacityUnits": float(of)} for name, of in units.items()}
    return capacity


def whole_number(parameters: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise invalid(
            f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
            f"Member must have value from {low} to {high}"
        )
    return value
