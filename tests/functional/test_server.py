"""The tests' own server, driven by a real boto3 client: what it takes, refuses, charges and gives back."""

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from tests.server.client import Server, signed_form, start
from tests.server.drive import boto3_client, exchange, http_request, people, put


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with start(log_writes=True) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.reset()
    return shared


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with boto3_client(server) as client:
        yield client


def refusal(client: Any, *requests: dict[str, Any], table: str = "tab") -> str:
    with pytest.raises(ClientError) as caught:
        client.batch_write_item(RequestItems={table: list(requests)})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(caught.value)


# --- tables -------------------------------------------------------------------------------------


def test_describe_table_tells_what_create_table_said(server: Server, client: Any) -> None:
    server.create_table(
        "tab",
        "pk:S,sk:N",
        gsis={"by-city": "city:S+country:S,age:N / INCLUDE name"},
        lsis={"by-age": "age:N / KEYS_ONLY"},
    )
    table = client.describe_table(TableName="tab")["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["TableArn"] == "arn:aws:dynamodb:us-east-1:000000000000:table/tab"
    assert len(table["TableId"]) == 36
    assert table["CreationDateTime"].timestamp() > 1.7e9
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["WarmThroughput"]["WriteUnitsPerSecond"] == 4_000
    assert table["ItemCount"] == 0
    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    types = {of["AttributeName"]: of["AttributeType"] for of in table["AttributeDefinitions"]}
    assert types == {"pk": "S", "sk": "N", "city": "S", "country": "S", "age": "N"}
    (by_city,) = table["GlobalSecondaryIndexes"]
    assert [key["KeyType"] for key in by_city["KeySchema"]] == ["HASH", "HASH", "RANGE"]
    assert by_city["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["name"]}
    assert by_city["IndexStatus"] == "ACTIVE"
    (by_age,) = table["LocalSecondaryIndexes"]
    assert by_age["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert [key["AttributeName"] for key in by_age["KeySchema"]] == ["pk", "age"]


def test_a_provisioned_table_tells_its_write_units(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S", write_units=7)
    table = client.describe_table(TableName="tab")["Table"]
    assert table["ProvisionedThroughput"]["WriteCapacityUnits"] == 7
    assert "BillingModeSummary" not in table


def test_tables_are_made_once_listed_and_deleted(server: Server, client: Any) -> None:
    for name in ("one", "two", "three"):
        first = server.create_table(name, "pk:S")
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName="one",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    assert client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 2}).build_full_result()[
        "TableNames"
    ] == ["one", "three", "two"]
    client.delete_table(TableName="three")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName="three")
    assert server.create_table("three", "pk:S")["TableId"] != first["TableId"]


def test_a_table_that_is_being_made_is_described_but_not_written(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S")
    server.set_status("tab", "CREATING")
    assert client.describe_table(TableName="tab")["Table"]["TableStatus"] == "CREATING"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.batch_write_item(RequestItems={"tab": people(1)})


# --- writing ------------------------------------------------------------------------------------


def test_a_batch_replaces_and_deletes_whole_items(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S")
    assert client.batch_write_item(RequestItems={"tab": people(25)})["UnprocessedItems"] == {}
    client.batch_write_item(
        RequestItems={
            "tab": [
                put(pk={"S": "person 3"}, note={"S": "né€😀"}),
                {"DeleteRequest": {"Key": {"pk": {"S": "person 4"}}}},
            ]
        }
    )
    items = {item["pk"]["S"]: item for item in server.items("tab")}
    assert len(items) == 24
    assert items["person 3"] == {"pk": {"S": "person 3"}, "note": {"S": "né€😀"}}
    assert items["person 24"] == {"pk": {"S": "person 24"}, "age": {"N": "24"}}
    assert client.get_item(TableName="tab", Key={"pk": {"S": "person 3"}})["Item"] == items["person 3"]
    assert "Item" not in client.get_item(TableName="tab", Key={"pk": {"S": "person 4"}})


def test_put_item_and_get_item_normalise_numbers(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:N")
    client.put_item(
        TableName="tab", Item={"pk": {"N": "+5.0"}, "price": {"N": "1.50"}, "set": {"NS": ["1e1"]}}
    )
    stored = {"pk": {"N": "5"}, "price": {"N": "1.5"}, "set": {"NS": ["10"]}}
    assert client.get_item(TableName="tab", Key={"pk": {"N": "05"}})["Item"] == stored
    old = client.put_item(TableName="tab", Item={"pk": {"N": "5"}}, ReturnValues="ALL_OLD")
    assert old["Attributes"] == stored


@pytest.mark.parametrize("count", [0, 26])
def test_a_batch_is_1_to_25_writes(server: Server, client: Any, count: int) -> None:
    server.create_table("tab", "pk:S")
    refusal(client, *people(count))
    stats = server.stats()
    assert stats["violations"] and str(count) in stats["violations"][0]
    assert stats["batch_sizes"] == {str(count): 1}
    assert server.items("tab") == []


def test_a_batch_of_nothing_at_all_is_refused_and_counted_as_a_probe(server: Server, client: Any) -> None:
    with pytest.raises(ClientError, match="greater than or equal to 1"):
        client.batch_write_item(RequestItems={})
    stats = server.stats()
    assert (stats["probes"], stats["batch_sizes"], stats["violations"]) == (1, {}, [])


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("pk:S", {"pk": {"S": "a"}}, {"pk": {"S": "a"}}),
        ("pk:N", {"pk": {"N": "5"}}, {"pk": {"N": "5.0"}}),
        ("pk:N", {"pk": {"N": "05"}}, {"pk": {"N": "5e0"}}),
        ("pk:B", {"pk": {"B": b"a"}}, {"pk": {"B": b"a"}}),
        ("pk:S,sk:N", {"pk": {"S": "a"}, "sk": {"N": "1"}}, {"pk": {"S": "a"}, "sk": {"N": "1.0"}}),
    ],
)
def test_the_same_key_twice_refuses_the_batch(
    server: Server, client: Any, key: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    server.create_table("tab", key)
    assert "duplicates" in refusal(client, put(**one), put(**other, more={"S": "x"}))
    stats = server.stats()
    assert "same key twice" in stats["violations"][0]
    assert stats["refused"] == {"ValidationException": 1}
    assert server.items("tab") == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"pk": {"S": "x"}, "text": {"S": "é" * 204_800}}, "Item size has exceeded"),
        ({"text": {"S": "x"}}, "Missing the key pk"),
        ({"pk": {"S": ""}}, "empty string value"),
        ({"pk": {"N": "1"}}, "Type mismatch for key pk"),
        ({"pk": {"S": "x" * 2_049}}, "Size of hashkey"),
        ({"pk": {"S": "x"}, "n": {"N": "1" * 39}}, "38 significant digits"),
        ({"pk": {"S": "x"}, "n": {"N": "1e126"}}, "overflow"),
        ({"pk": {"S": "x"}, "n": {"N": " 1"}}, "numeric value"),
        ({"pk": {"S": "x"}, "": {"S": "y"}}, "Empty attribute name"),
        ({"pk": {"S": "x"}, "set": {"SS": []}}, "may not be empty"),
        ({"pk": {"S": "x"}, "set": {"NS": ["1", "1.0"]}}, "duplicates"),
        ({"pk": {"S": "x"}, "city": {"S": ""}}, "IndexKey: city"),
        ({"pk": {"S": "x"}, "city": {"N": "1"}}, "Index Key city"),
    ],
)
def test_one_bad_item_refuses_all_25(server: Server, client: Any, bad: dict[str, Any], message: str) -> None:
    server.create_table("tab", "pk:S", gsis={"by-city": "city:S"})
    assert message in refusal(client, *people(24), put(**bad))
    assert server.items("tab") == []
    assert server.stats()["items_applied"] == 0


def test_an_item_of_exactly_400_kib_is_taken(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S")
    client.batch_write_item(RequestItems={"tab": [put(pk={"S": "x"}, text={"S": "y" * (409_600 - 7)})]})
    assert "Item size" in refusal(client, put(pk={"S": "x"}, text={"S": "y" * (409_600 - 6)}))


def test_a_body_over_16_mib_is_refused(server: Server) -> None:
    server.create_table("tab", "pk:S")
    body = orjson.dumps({"RequestItems": {"tab": people(1)}})
    for size, status in ((16 << 20, b" 200 "), ((16 << 20) + 1, b" 400 ")):
        reply = exchange(
            server, http_request("BatchWriteItem", body.ljust(size), Connection="close", **signed_form())
        )
        assert status in reply.splitlines()[0]
    assert server.stats()["violations"] == [f"a body of {(16 << 20) + 1} bytes"]


def test_no_such_table_refuses_the_batch(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.batch_write_item(RequestItems={"tab": people(1), "other": people(1)})
    assert server.items("tab") == []


def test_a_parameter_it_does_not_implement_is_refused(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S")
    with pytest.raises(ClientError, match="does not implement ConditionExpression"):
        client.put_item(TableName="tab", Item={"pk": {"S": "a"}}, ConditionExpression="attribute_exists(pk)")


def test_binary_keys_come_back_as_they_were(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:B")
    client.put_item(TableName="tab", Item={"pk": {"B": b"\x00\xff"}})
    assert server.items("tab") == [{"pk": {"B": base64.b64encode(b"\x00\xff").decode()}}]
    assert client.get_item(TableName="tab", Key={"pk": {"B": b"\x00\xff"}})["Item"] == {
        "pk": {"B": b"\x00\xff"}
    }


# --- what it costs ------------------------------------------------------------------------------


def test_a_put_costs_the_larger_of_old_and_new(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S")

    def units(text: str) -> float:
        reply = client.batch_write_item(
            RequestItems={"tab": [put(pk={"S": "a"}, t={"S": text})]}, ReturnConsumedCapacity="TOTAL"
        )
        (capacity,) = reply["ConsumedCapacity"]
        assert capacity.keys() == {"TableName", "CapacityUnits"}
        return float(capacity["CapacityUnits"])

    # 4 bytes are names and key.
    assert [units("x" * size) for size in (1, 1_020, 1_021, 1, 1, 10_000)] == [1, 1, 2, 2, 1, 10]
    assert server.stats()["write_units"] == 17


def test_indexes_are_charged_one_by_one(server: Server, client: Any) -> None:
    server.create_table(
        "tab", "pk:S,sk:S", gsis={"by-city": "city:S", "by-name": "name:S"}, lsis={"by-age": "age:N"}
    )

    def units(**attributes: dict[str, str]) -> dict[str, Any]:
        item = {"pk": {"S": "a"}, "sk": {"S": "b"}, **attributes}
        reply = client.batch_write_item(RequestItems={"tab": [put(**item)]}, ReturnConsumedCapacity="INDEXES")
        (capacity,) = reply["ConsumedCapacity"]
        return {
            "all": capacity["CapacityUnits"],
            "table": capacity["Table"]["CapacityUnits"],
            **{
                name: index["CapacityUnits"]
                for kind in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes")
                for name, index in capacity.get(kind, {}).items()
            },
        }

    assert units() == {"all": 1, "table": 1}
    here = {"city": {"S": "Ulm"}, "age": {"N": "5"}}
    assert units(**here) == {"all": 3, "table": 1, "by-city": 1, "by-age": 1}
    assert units(**here) == {"all": 1, "table": 1}
    assert units(city={"S": "Bonn"}, age={"N": "5.0"}) == {"all": 4, "table": 1, "by-city": 2, "by-age": 1}
    assert units() == {"all": 3, "table": 1, "by-city": 1, "by-age": 1}


def test_metered_write_units_hand_back_what_does_not_fit() -> None:
    with start(wcu=10) as server:
        server.create_table("tab", "pk:S")
        with boto3_client(server) as client:
            reply = client.batch_write_item(RequestItems={"tab": people(25)}, ReturnConsumedCapacity="TOTAL")
            left = reply["UnprocessedItems"]["tab"]
            assert 1 <= len(left) <= 15
            assert reply["ConsumedCapacity"][0]["CapacityUnits"] == 25 - len(left)
            with pytest.raises(client.exceptions.ProvisionedThroughputExceededException) as caught:
                for _ in range(20):
                    client.batch_write_item(RequestItems={"tab": people(25)})
        (reason,) = caught.value.response["ThrottlingReasons"]
        assert reason["reason"] == "TableWriteProvisionedThroughputExceeded"
        assert reason["resource"].endswith(":table/tab")
        stats = server.stats()
        assert stats["metered"]["requests"] == 1
        assert stats["metered"]["items"] == stats["items_unprocessed"] >= len(left)
        assert stats["write_units"] == stats["items_acknowledged"] == stats["tables"]["tab"]["puts"]


# --- reading ------------------------------------------------------------------------------------


def fill(client: Any, count: int, text: str = "") -> set[str]:
    requests = [
        put(pk={"S": f"p{number % 7}"}, sk={"N": str(number)}, t={"S": text}) for number in range(count)
    ]
    for first in range(0, count, 25):
        client.batch_write_item(RequestItems={"tab": requests[first : first + 25]})
    return {str(number) for number in range(count)}


def scan(client: Any, **parameters: Any) -> list[list[str]]:
    """The sort keys of the pages of a scan."""
    pages = []
    while True:
        page = client.scan(TableName="tab", **parameters)
        assert page["Count"] == page["ScannedCount"] == len(page["Items"])
        pages.append([item["sk"]["N"] for item in page["Items"]])
        if "LastEvaluatedKey" not in page:
            return pages
        parameters["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def test_segments_of_a_scan_share_out_the_table(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S,sk:N")
    expected = fill(client, 100)
    seen = [
        key for segment in range(4) for page in scan(client, Segment=segment, TotalSegments=4) for key in page
    ]
    assert len(seen) == 100
    assert set(seen) == expected
    assert client.scan(TableName="tab", Select="COUNT")["Count"] == 100


def test_a_page_of_a_scan_ends_past_1_mib_or_at_its_limit(server: Server, client: Any) -> None:
    server.create_table("tab", "pk:S,sk:N")
    expected = fill(client, 20, "x" * 100_000)
    pages = scan(client, ConsistentRead=True)
    assert [len(page) for page in pages] == [11, 9]
    assert {key for page in pages for key in page} == expected
    assert [len(page) for page in scan(client, Limit=8)] == [8, 8, 4]
    assert [len(page) for page in scan(client, Limit=10)] == [10, 10, 0]
    read = client.scan(TableName="tab", Limit=1, ReturnConsumedCapacity="TOTAL")
    assert read["ConsumedCapacity"]["CapacityUnits"] == 12.5


def test_a_scan_goes_on_behind_its_last_key_whatever_was_written_meanwhile(
    server: Server, client: Any
) -> None:
    server.create_table("tab", "pk:S,sk:N")
    fill(client, 50)
    first = client.scan(TableName="tab", Limit=25)
    client.batch_write_item(
        RequestItems={
            "tab": [
                {"DeleteRequest": {"Key": first["LastEvaluatedKey"]}},
                put(pk={"S": "new"}, sk={"N": "-1"}),
            ]
        }
    )
    rest = client.scan(TableName="tab", ExclusiveStartKey=first["LastEvaluatedKey"])
    seen = {item["sk"]["N"] for item in first["Items"] + rest["Items"]}
    assert seen | {"-1"} == {str(number) for number in range(-1, 50)}
