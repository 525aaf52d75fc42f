"""What the service says about a table, and what is in it."""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from loader.capacity import WriteCapacity
from loader.decisions.retry import Attempt, Resend, RetryPolicy, decide
from loader.decisions.wire import (
    STALE_CREDENTIALS,
    TABLE_GONE,
    Failure,
    Halt,
    Rejected,
    Reply,
    Throttled,
    read_result,
)
from loader.errors import BadConnection, BadTable, ConnectionFault, Refused
from loader.model import IndexDescription, KeyPart, KeySchema, TableDescription


@dataclass(frozen=True, slots=True)
class _Limits:
    policy: RetryPolicy
    throttles: int
    """How often in a row an operation may be throttled."""


# Whoever starts a load waits for this one answer: a few tries, over in seconds.
_DESCRIBE_LIMITS = _Limits(
    RetryPolicy(max_retries=2, base=0.1, failure_cap=1.0, throttle_cap=1.0, max_denials=0), throttles=10
)
# A scan has read much before anything goes wrong, and may be of a table with few read units.
_SCAN_LIMITS = _Limits(RetryPolicy(max_retries=8, throttle_cap=5.0, max_denials=0), throttles=200)

Item = dict[str, dict[str, Any]]

TTL_PATIENCE = 1.0
"""
Seconds to connect, and again to answer, for who is asked about the time to live: a plan is better with it,
but no start is to wait for it.
"""

_SET_UNITS = "WriteCapacityUnits"


class Caller(Protocol):
    """One try of an operation: DynamoDB JSON in, the raw reply out."""

    @property
    def region(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    def call(self, operation: str, request: Mapping[str, Any]) -> Reply:
        """Raises ConnectionFault where there is no reply, and BadConnection where there can be none."""


def describe(client: Caller, name: str) -> TableDescription:
    """
    The table `name`, which must be ready to be written.

    Raises BadTable (there is none, it is not active, it may not be described) and BadConnection.
    """
    result = _ask(client, name, "DescribeTable", {"TableName": name}, "Table", _DESCRIBE_LIMITS)
    try:
        table = _description(result["Table"], name, client.endpoint)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise BadConnection(f"{client.endpoint} does not describe tables as DynamoDB does.") from error
    if table.status not in ("ACTIVE", "UPDATING"):
        raise BadTable(f"{_place(client, name)} is {table.status}. It can be loaded once it is ACTIVE.")
    return table


def time_to_live(client: Caller, name: str) -> str | None:
    """
    The attribute of the table's time to live; "" where it is off, and None where that cannot be found out:
    not every server knows of it, and not everybody may ask. It is asked for once, since no load waits for it:
    `client` is to be one of little patience (TTL_PATIENCE).
    """
    try:
        answer = _try(client, "DescribeTimeToLive", {"TableName": name}, "TimeToLiveDescription")
    except BadConnection:
        return None
    if not isinstance(answer, dict):
        return None
    told = _member(answer, "TimeToLiveDescription")
    if told.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        return _text(told.get("AttributeName")) or None
    return "" if told.get("TimeToLiveStatus") in ("DISABLED", "DISABLING") else None


def scan(client: Caller, name: str, segment: int, segments: int) -> Iterator[list[Item]]:
    """
    The items of one of `segments` parts of the table, a page at a time, as DynamoDB JSON.

    Reads are consistent: what was acknowledged before is there. Raises BadTable and BadConnection.
    """
    request: dict[str, Any] = {
        "TableName": name,
        "Segment": segment,
        "TotalSegments": segments,
        "ConsistentRead": True,
    }
    while True:
        page = _ask(client, name, "Scan", request, "Items", _SCAN_LIMITS)
        if page["Items"]:
            yield page["Items"]
        if not page.get("LastEvaluatedKey"):
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _ask(
    client: Caller, table: str, operation: str, request: Mapping[str, Any], member: str, limits: _Limits
) -> dict[str, Any]:
    """The result of an operation, tried again within `limits`. Raises BadTable and BadConnection."""
    attempt = Attempt()
    while True:
        answer = _try(client, operation, request, member)
        if isinstance(answer, dict):
            return answer
        decision = decide(limits.policy, attempt, answer, random.random(), items=1)
        if not isinstance(decision, Resend) or decision.attempt.throttles > limits.throttles:
            raise _refusal(client, table, operation, answer)
        attempt = decision.attempt
        time.sleep(decision.wait)


def _try(
    client: Caller, operation: str, request: Mapping[str, Any], member: str
) -> dict[str, Any] | Failure | ConnectionFault:
    try:
        reply = client.call(operation, request)
    except ConnectionFault as fault:
        return fault
    return read_result(reply, member)


def _refusal(client: Caller, table: str, operation: str, answer: Failure | ConnectionFault) -> Refused:
    where = _place(client, table)
    if isinstance(answer, ConnectionFault):
        return BadConnection(
            f"No answer from {client.endpoint} (region {client.region}). {answer}"
            " Check --endpoint-url, --region and the network."
        )
    said = f"{answer.code}: {answer.message}" if answer.message else answer.code
    match answer:
        case Halt(code) if code in TABLE_GONE:
            return BadTable(f"{where} does not exist. Check --table, --region and --endpoint-url.")
        case Halt(code) if code in STALE_CREDENTIALS:
            return BadConnection(f"The credentials are not accepted by {client.endpoint} ({said}).")
        case Halt():
            return BadTable(f"{where} may not be read with {operation} ({said}).")
        case Rejected():
            return BadTable(f"{where} cannot be read with {operation} ({said}).")
        case Throttled():
            return BadTable(f"{where} is throttled, and stayed so ({said}).")
    return BadConnection(f"{client.endpoint} does not answer as DynamoDB does ({said}).")


def _place(client: Caller, table: str) -> str:
    return f"Table {table} in {client.region} at {client.endpoint}"


def _description(table: Mapping[str, Any], name: str, endpoint: str) -> TableDescription:
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    hashes, ranges = _key_parts(table, types)
    on_demand = _member(table, "BillingModeSummary").get("BillingMode") == "PAY_PER_REQUEST"
    arn = _text(table.get("TableArn"))
    stream = _member(table, "StreamSpecification")
    return TableDescription(
        name=name,
        arn=arn,
        id=_text(table.get("TableId")),
        created=str(table.get("CreationDateTime", "")),
        endpoint=endpoint,
        status=table["TableStatus"],
        key=KeySchema(hashes[0], ranges[0] if ranges else None),
        indexes=tuple(_indexes(table, types, on_demand)),
        capacity=_capacity(table, on_demand),
        item_count=_count(table.get("ItemCount")) or 0,
        size_bytes=_count(table.get("TableSizeBytes")) or 0,
        stream=_text(stream.get("StreamViewType")) if stream.get("StreamEnabled") is True else "",
        replicas=tuple(_replicas(table, arn)),
    )


def _capacity(described: Mapping[str, Any], on_demand: bool) -> WriteCapacity:
    """Of a table or of a global index."""
    # An on-demand table's setting is 0.
    provisioned = None if on_demand else _count(_member(described, "ProvisionedThroughput").get(_SET_UNITS))
    # Of a provisioned one it tells what the setting could be raised to, not what is allowed now.
    warm = _member(described, "WarmThroughput") if provisioned is None else {}
    return WriteCapacity(
        provisioned=provisioned,
        # -1 takes a limit away.
        maximum=_count(_member(described, "OnDemandThroughput").get("MaxWriteRequestUnits")),
        warm=_count(warm.get("WriteUnitsPerSecond")),
        warm_reads=_count(warm.get("ReadUnitsPerSecond")),
    )


def _replicas(table: Mapping[str, Any], arn: str) -> Iterator[str]:
    """Regions of the others: a global table names itself among its replicas."""
    own = arn.split(":")[3] if arn.count(":") >= 4 else ""
    found = table.get("Replicas")
    for replica in found if isinstance(found, list) else ():
        region = _text(replica.get("RegionName")) if isinstance(replica, Mapping) else ""
        if region and region != own:
            yield region


def _member(described: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Servers leave out what they do not have, or say null."""
    found = described.get(name)
    return found if isinstance(found, Mapping) else {}


def _count(value: object) -> int | None:
    """A number above 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _key_parts(
    described: Mapping[str, Any], types: Mapping[str, str]
) -> tuple[tuple[KeyPart, ...], tuple[KeyPart, ...]]:
    """The partition key's and the sort key's attributes; an index may have several of either."""
    schema = described["KeySchema"]

    def of(kind: str) -> tuple[KeyPart, ...]:
        names = [each["AttributeName"] for each in schema if each["KeyType"] == kind]
        return tuple(KeyPart(name, types[name]) for name in names)

    return of("HASH"), of("RANGE")


def _indexes(
    table: Mapping[str, Any], types: Mapping[str, str], on_demand: bool
) -> Iterator[IndexDescription]:
    for member, local in (("LocalSecondaryIndexes", True), ("GlobalSecondaryIndexes", False)):
        for index in table.get(member) or ():
            hash_keys, range_keys = _key_parts(index, types)
            projection = _member(index, "Projection")
            yield IndexDescription(
                name=index["IndexName"],
                local=local,
                hash_keys=hash_keys,
                range_keys=range_keys,
                projection=projection.get("ProjectionType", "ALL"),
                included=tuple(projection.get("NonKeyAttributes") or ()),
                capacity=WriteCapacity() if local else _capacity(index, on_demand),
            )
