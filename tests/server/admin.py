"""CreateTable, DescribeTable, DeleteTable and ListTables."""

from tests.server.auth import Caller
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
    }
)
_NAME = frozenset({"TableName"})
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
    return Reply.success({"TableDescription": table.describe()})


def describe_table(state: State, caller: Caller, body: bytes) -> Reply:
    table = state.table(_table_name(body))
    return Reply.success({"Table": table.describe()})


def delete_table(state: State, caller: Caller, body: bytes) -> Reply:
    """The table is gone at once."""
    table = state.table(_table_name(body))
    del state.tables[table.schema.name]
    table.status = "DELETING"
    return Reply.success({"TableDescription": table.describe()})


def list_tables(state: State, caller: Caller, body: bytes) -> Reply:
    parameters = read_parameters(body, _LIST)
    limit = whole_number(parameters, "Limit", 1, 100) or 100
    after = str(parameters.get("ExclusiveStartTableName", ""))
    names = sorted(name for name in state.tables if name > after)
    members: dict[str, object] = {"TableNames": names[:limit]}
    if len(names) > limit:
        members["LastEvaluatedTableName"] = names[limit - 1]
    return Reply.success(members)


def _table_name(body: bytes) -> object:
    parameters = read_parameters(body, _NAME)
    if "TableName" not in parameters:
        raise invalid("The parameter 'TableName' is required but was not present in the request")
    return parameters["TableName"]
