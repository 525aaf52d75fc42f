"""What DescribeTable tells of a table."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.server.schema import IndexSchema
from tests.server.table import Table

_NEW_TABLE_WARMTH = {"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 4_000}


def describe(table: Table) -> dict[str, Any]:
    """The TableDescription, with what `tell` has set."""
    schema = table.schema
    description: dict[str, Any] = {
        "TableName": schema.name,
        "TableArn": table.arn,
        "TableId": table.id,
        "TableStatus": table.status,
        "CreationDateTime": table.created,
        "KeySchema": schema.key_schema,
        "AttributeDefinitions": schema.attribute_definitions,
        "ItemCount": len(table.items),
        "TableSizeBytes": sum(size for size, _ in table.items.values()),
        "DeletionProtectionEnabled": False,
        **_capacity(schema.settings),
    }
    if schema.on_demand:
        description["BillingModeSummary"] = {
            "BillingMode": "PAY_PER_REQUEST",
            "LastUpdateToPayPerRequestDateTime": table.created,
        }
    stream = schema.settings.get("StreamSpecification")
    if stream is not None and stream["StreamEnabled"]:
        label = datetime.fromtimestamp(table.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        description |= {
            "StreamSpecification": stream,
            "LatestStreamLabel": label,
            "LatestStreamArn": f"{table.arn}/stream/{label}",
        }
    for member, local in (("LocalSecondaryIndexes", True), ("GlobalSecondaryIndexes", False)):
        indexes = [_index(table, index) for index in schema.indexes if index.local is local]
        if indexes:
            description[member] = indexes
    return merged(description, table.told)


def tell(table: Table, members: Mapping[str, Any]) -> None:
    """From now on the description has these members too, whatever it would say of itself; see `merged`."""
    for member in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        there = {index["IndexName"] for index in describe(table).get(member, [])}
        unknown = {str(index["IndexName"]) for index in members.get(member) or []} - there
        if unknown:
            raise ValueError(f"{table.schema.name} has no {', '.join(sorted(unknown))} in its {member}")
    # Not merged with what was told before: a None in that stands for a member that is to go.
    table.told = {**table.told, **members}


def merged(description: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """
    A description with other members: objects and indexes of the same name are merged, None takes a member
    away, and everything else is put in the old one's place.
    """
    whole = dict(description)
    for name, new in members.items():
        old = whole.get(name)
        if new is None:
            whole.pop(name, None)
        elif isinstance(new, dict):
            whole[name] = merged(old if isinstance(old, dict) else {}, new)
        elif name.endswith("SecondaryIndexes"):
            by_name = {index["IndexName"]: index for index in new}
            whole[name] = [merged(index, by_name.get(index["IndexName"], {})) for index in old or []]
        else:
            whole[name] = new
    return whole


def _index(table: Table, index: IndexSchema) -> dict[str, Any]:
    description = {
        "IndexName": index.name,
        "IndexArn": table.index_arn(index.name),
        "KeySchema": index.key_schema,
        "Projection": index.projection,
        "IndexSizeBytes": 0,
        "ItemCount": len(table.items),
    }
    if not index.local:
        description |= {"IndexStatus": "ACTIVE", **_capacity(index.settings)}
    return description


def _capacity(settings: Mapping[str, Any]) -> dict[str, Any]:
    throughput = {
        "ReadCapacityUnits": 0,
        "WriteCapacityUnits": 0,
        **(settings.get("ProvisionedThroughput") or {}),
    }
    warmth = {**_NEW_TABLE_WARMTH, **(settings.get("WarmThroughput") or {}), "Status": "ACTIVE"}
    capacity = {
        "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, **throughput},
        "WarmThroughput": warmth,
    }
    if "OnDemandThroughput" in settings:
        capacity["OnDemandThroughput"] = settings["OnDemandThroughput"]
    return capacity
