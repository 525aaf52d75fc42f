"""CreateTable, DescribeTable, DeleteTable, ListTables, and the time to live of a table."""

from collections.abc import Mapping
from typing import Any

from tests.server.auth import Caller
from tests.server.description import describe
from tests.server.errors import invalid, table_in_use
from tests.server.message import Reply
from tests.server.parameters import read_parameters, whole_number
from tests.server.schema import read_schema
from tests.server.state import State
from tests.server.table import Table

_CREATE = frozenset(
    {
        "TableName",
        "AttributeDefinitions",
        "KeySchema",
        "LocalSecondaryIndexes",
        "GlobalSecondaryIndexes",
        "BillingMode",
        "ProvisionedThroughput",
        "OnDemandThroughput",
        "WarmThroughput",
        "StreamSpecification",
    }
)
_NAME = frozenset({"TableName"})
_EXPIRY = frozenset({"TableName", "TimeToLiveSpecification"})
_LIST = frozenset({"ExclusiveStartTableName", "Limit"})


def create_table(state: State, caller: Caller, body: bytes) -> Reply:
    """The table is ACTIVE at once."""
    schema = read_schema(read_parameters(body, _CREATE))
    if schema.name in state.tables:
        raise table_in_use(f"Table already exists: {schema.name}")
    settings = state.settings
    table = Table(
        schema,
        caller.region,
        state.wall(),
        log_writes=settings.log_writes,
        keep_items=settings.keep_items,
        order_by=settings.order_by,
    )
    state.tables[schema.name] = table
    return Reply.success({"TableDescription": describe(table)})


def describe_table(state: State, caller: Caller, body: bytes) -> Reply:
    table = state.table(_table_name(read_parameters(body, _NAME)))
    return Reply.success({"Table": describe(table)})


def delete_table(state: State, caller: Caller, body: bytes) -> Reply:
    """The table is gone at once."""
    table = state.table(_table_name(read_parameters(body, _NAME)))
    del state.tables[table.schema.name]
    table.status = "DELETING"
    return Reply.success({"TableDescription": describe(table)})


def list_tables(state: State, caller: Caller, body: bytes) -> Reply:
    parameters = read_parameters(body, _LIST)
    limit = whole_number(parameters, "Limit", 1, 100) or 100
    after = str(parameters.get("ExclusiveStartTableName", ""))
    names = sorted(name for name in state.tables if name > after)
    members: dict[str, object] = {"TableNames": names[:limit]}
    if len(names) > limit:
        members["LastEvaluatedTableName"] = names[limit - 1]
    return Reply.success(members)


def describe_time_to_live(state: State, caller: Caller, body: bytes) -> Reply:
    table = state.table(_table_name(read_parameters(body, _NAME)))
    told = {"TimeToLiveStatus": "DISABLED"}
    if table.expires_by:
        told = {"TimeToLiveStatus": "ENABLED", "AttributeName": table.expires_by}
    return Reply.success({"TimeToLiveDescription": told})


def update_time_to_live(state: State, caller: Caller, body: bytes) -> Reply:
    """In force at once; nothing ever expires."""
    parameters = read_parameters(body, _EXPIRY)
    table = state.table(_table_name(parameters))
    specification = parameters.get("TimeToLiveSpecification")
    if type(specification) is not dict or specification.keys() != {"Enabled", "AttributeName"}:
        raise invalid("TimeToLiveSpecification must have Enabled and AttributeName")
    enabled, attribute = specification["Enabled"], specification["AttributeName"]
    if type(enabled) is not bool or type(attribute) is not str or not 1 <= len(attribute.encode()) <= 255:
        raise invalid(f"TimeToLiveSpecification {specification!r}")
    if enabled is bool(table.expires_by):
        raise invalid(f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
    if table.expires_by and attribute != table.expires_by:
        raise invalid("TimeToLive is active on a different AttributeName")
    table.expires_by = attribute if enabled else ""
    return Reply.success({"TimeToLiveSpecification": specification})


def _table_name(parameters: Mapping[str, Any]) -> object:
    if "TableName" not in parameters:
        raise invalid("The parameter 'TableName' is required but was not present in the request")
    return parameters["TableName"]
