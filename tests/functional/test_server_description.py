"""What the tests' own server tells of a table: capacity, stream, replicas and time to live."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server.client import Server, ServerProblem, start, table_request
from tests.server.drive import boto3_client
from tests.server.faults import FaultPlan


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with start() as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.reset()
    return shared


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with boto3_client(server) as client:
        yield client


def table(client: Any, **indexes: Any) -> None:
    client.create_table(**table_request("tab", "pk:S", **indexes))


def described(client: Any) -> dict[str, Any]:
    return dict(client.describe_table(TableName="tab")["Table"])


def test_a_stream_is_told_as_it_was_asked_for(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S", stream="NEW_IMAGE")
    told = described(client)
    assert told["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    assert told["LatestStreamArn"] == f"{told['TableArn']}/stream/{told['LatestStreamLabel']}"


def test_a_table_without_a_stream_tells_of_none(server: Server, client: Any) -> None:
    client.create_table(**table_request("tab", "pk:S"), StreamSpecification={"StreamEnabled": False})
    assert not described(client).keys() & {"StreamSpecification", "LatestStreamArn", "LatestStreamLabel"}


def test_a_stream_of_an_unknown_view_is_refused(server: Server) -> None:
    with pytest.raises(ServerProblem, match="StreamSpecification"):
        server.create_table("tab", "pk:S", stream="ALL")


def test_tables_and_indexes_tell_their_own_capacity(server: Server, client: Any) -> None:
    server.create_table(
        "tab",
        "pk:S",
        gsis={"by-city": "city:S", "by-age": "age:N"},
        write_units=100,
        index_write_units={"by-age": 7},
    )
    told = described(client)
    assert told["ProvisionedThroughput"]["WriteCapacityUnits"] == 100
    units = [index["ProvisionedThroughput"]["WriteCapacityUnits"] for index in told["GlobalSecondaryIndexes"]]
    assert units == [100, 7]


def test_an_on_demand_table_tells_its_warm_throughput_and_its_maximum(server: Server, client: Any) -> None:
    request = table_request("tab", "pk:S", gsis={"by-city": "city:S"}, warm=12_000, on_demand_max=9_000)
    (index,) = request["GlobalSecondaryIndexes"]
    index |= {
        "OnDemandThroughput": {"MaxWriteRequestUnits": 500},
        "WarmThroughput": {"WriteUnitsPerSecond": 6_000},
    }
    client.create_table(**request)
    told = described(client)
    for of, warm, most in ((told, 12_000, 9_000), (told["GlobalSecondaryIndexes"][0], 6_000, 500)):
        assert of["WarmThroughput"]["WriteUnitsPerSecond"] == warm
        assert of["OnDemandThroughput"]["MaxWriteRequestUnits"] == most


def test_a_description_can_be_made_to_say_more_and_less(server: Server, client: Any) -> None:
    table(client, gsis={"by-city": "city:S", "by-age": "age:N"})
    server.set_description("tab", {"Replicas": [{"RegionName": "us-east-1"}], "ItemCount": 5_000_000})
    server.set_description(
        "tab",
        {
            "WarmThroughput": {"WriteUnitsPerSecond": 40_000},
            "OnDemandThroughput": {"MaxWriteRequestUnits": 3_000},
            "GlobalSecondaryIndexes": [{"IndexName": "by-age", "WarmThroughput": None, "ItemCount": 9}],
            "BillingModeSummary": None,
        },
    )
    told = described(client)
    assert told["Replicas"] == [{"RegionName": "us-east-1"}]
    assert told["ItemCount"] == 5_000_000
    assert told["WarmThroughput"] == {
        "ReadUnitsPerSecond": 12_000,
        "WriteUnitsPerSecond": 40_000,
        "Status": "ACTIVE",
    }
    assert told["OnDemandThroughput"] == {"MaxWriteRequestUnits": 3_000}
    assert "BillingModeSummary" not in told
    by_city, by_age = told["GlobalSecondaryIndexes"]
    assert by_city["WarmThroughput"]["WriteUnitsPerSecond"] == 4_000
    assert "WarmThroughput" not in by_age
    assert (by_age["ItemCount"], by_age["KeySchema"][0]["AttributeName"]) == (9, "age")
    with pytest.raises(ServerProblem, match="no by-name in its GlobalSecondaryIndexes"):
        server.set_description("tab", {"GlobalSecondaryIndexes": [{"IndexName": "by-name"}]})


def test_time_to_live_is_told_once_it_is_set(server: Server, client: Any) -> None:
    table(client)

    def told() -> dict[str, str]:
        return dict(client.describe_time_to_live(TableName="tab")["TimeToLiveDescription"])

    assert told() == {"TimeToLiveStatus": "DISABLED"}
    server.set_time_to_live("tab", "expires")
    assert told() == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    off = {"Enabled": False, "AttributeName": "expires"}
    for specification, said in (
        ({"Enabled": True, "AttributeName": "expires"}, "already enabled"),
        ({"Enabled": False, "AttributeName": "another"}, "different AttributeName"),
        ({"Enabled": True}, "must have"),
    ):
        with pytest.raises(ClientError, match=said):
            client.update_time_to_live(TableName="tab", TimeToLiveSpecification=specification)
    reply = client.update_time_to_live(TableName="tab", TimeToLiveSpecification=off)
    assert reply["TimeToLiveSpecification"] == off
    assert told() == {"TimeToLiveStatus": "DISABLED"}
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_time_to_live(TableName="none")


def test_single_operations_can_be_denied(server: Server, client: Any) -> None:
    table(client)
    server.set_faults(FaultPlan(deny_operations=("DescribeTimeToLive",)))
    with pytest.raises(ClientError) as caught:
        client.describe_time_to_live(TableName="tab")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "dynamodb:DescribeTimeToLive" in str(caught.value)
    assert described(client)["TableStatus"] == "ACTIVE"
    assert server.stats()["faults"] == {"denied": 1}
