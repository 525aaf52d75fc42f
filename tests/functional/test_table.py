"""What DescribeTable says of real tables, why a table is refused, and scans that miss nothing."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import orjson
import pytest

from loader.capacity import WriteCapacity
from loader.decisions.wire import Reply
from loader.edges.clients import ClientFactory, Credentials, TableClient
from loader.edges.table import describe, scan, time_to_live
from loader.errors import BadConnection, BadTable
from loader.model import IndexDescription, KeyPart, KeySchema, TableDescription
from tests.functional.raw_server import (
    RESET,
    Request,
    error_reply,
    http_reply,
    json_reply,
    raw_server,
)
from tests.server.client import Server, start, table_request

# Tables of the session's servers are never dropped.
_NUMBERS = count()


def client_for(url: str, connections: int = 1) -> TableClient:
    return ClientFactory("us-east-1", url, Credentials("key", "secret"), connections).table_client()


def create(client: TableClient, key: str, **more: object) -> str:
    name = f"table-test-{next(_NUMBERS)}"
    make(client, table_request(name, key, **more))  # type: ignore[arg-type]
    return name


def make(client: TableClient, request: dict[str, Any]) -> None:
    made = client.call("CreateTable", request)
    assert made.status == 200, made.body
    # dynalite takes a moment.
    wait_until(client, request["TableName"], lambda reply: b'"ACTIVE"' in reply.body)


def wait_until(client: TableClient, name: str, holds: Callable[[Reply], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds(client.call("DescribeTable", {"TableName": name})):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


# Of the module's scope: a server started within a test would be taken for something it left behind.
@pytest.fixture(scope="module", params=["moto", "dynalite", "server"])
def url(request: pytest.FixtureRequest) -> str:
    """Each server there is."""
    found: Server | str = request.getfixturevalue(request.param)
    return found.endpoint if isinstance(found, Server) else found.rstrip("/")


@pytest.fixture
def client(url: str) -> Iterator[TableClient]:
    with client_for(url) as made:
        yield made


# --- describe -----------------------------------------------------------------------------------


def test_a_table_on_demand_with_a_partition_key_alone(client: TableClient) -> None:
    before = time.time()
    name = create(client, "id:S")
    found = describe(client, name)
    assert found == TableDescription(
        name=name,
        arn=found.arn,
        id=found.id,
        created=found.created,
        endpoint=client.endpoint,
        status="ACTIVE",
        key=KeySchema(KeyPart("id", "S")),
        # What is warm differs from server to server.
        capacity=found.capacity,
    )
    assert (found.capacity.provisioned, found.capacity.maximum) == (None, None)
    assert found.arn.endswith(f":table/{name}")
    assert before - 2 <= float(found.created) <= time.time() + 2


def test_a_provisioned_table_with_indexes_of_both_kinds(client: TableClient) -> None:
    name = create(
        client,
        "id:N,at:S",
        lsis={"by-size": "size:N / INCLUDE a b"},
        gsis={"by-city": "city:S,age:N / KEYS_ONLY", "by-blob": "blob:B"},
        write_units=7,
    )
    found = describe(client, name)
    assert found.key == KeySchema(KeyPart("id", "N"), KeyPart("at", "S"))
    assert found.capacity == WriteCapacity(provisioned=7)
    indexes = {index.name: index for index in found.indexes}
    assert indexes == {
        "by-size": IndexDescription(
            "by-size",
            True,
            (KeyPart("id", "N"),),
            (KeyPart("size", "N"),),
            "INCLUDE",
            indexes["by-size"].included,
        ),
        "by-city": IndexDescription(
            "by-city",
            False,
            (KeyPart("city", "S"),),
            (KeyPart("age", "N"),),
            "KEYS_ONLY",
            capacity=WriteCapacity(provisioned=7),
        ),
        "by-blob": IndexDescription(
            "by-blob", False, (KeyPart("blob", "B"),), (), "ALL", capacity=WriteCapacity(provisioned=7)
        ),
    }
    assert sorted(indexes["by-size"].included) == ["a", "b"]


def test_an_index_key_of_several_attributes(server: Server) -> None:
    server.create_table(
        "multi-key", "id:S", gsis={"by-place": "country:S+state:S+city:S+zip:N,street:S+house:N"}
    )
    with client_for(server.endpoint) as client:
        (index,) = describe(client, "multi-key").indexes
    assert [part.name for part in index.hash_keys] == ["country", "state", "city", "zip"]
    assert index.range_keys == (KeyPart("street", "S"), KeyPart("house", "N"))


def test_the_same_table_is_described_alike_and_one_made_anew_is_not(client: TableClient) -> None:
    name = create(client, "id:S")
    first = describe(client, name)
    assert describe(client, name) == first
    assert client.call("DeleteTable", {"TableName": name}).status == 200
    wait_until(client, name, lambda reply: reply.status == 400)
    make(client, table_request(name, "id:S"))
    again = describe(client, name)
    assert (again.id, again.created) != (first.id, first.created)


def test_a_table_that_is_not_there_is_named_with_region_and_endpoint(client: TableClient) -> None:
    with pytest.raises(BadTable) as caught:
        describe(client, "no-such-table")
    assert str(caught.value) == (
        f"Table no-such-table in us-east-1 at {client.endpoint} does not exist."
        " Check --table, --region and --endpoint-url."
    )


def test_a_name_no_table_can_have_is_refused(client: TableClient) -> None:
    with pytest.raises(BadTable, match=r"Table no/table "):
        describe(client, "no/table")


@pytest.mark.parametrize("status", ["CREATING", "DELETING"])
def test_a_table_that_is_not_active_is_refused(status: str, server: Server) -> None:
    with client_for(server.endpoint) as client:
        name = create(client, "id:S")
        server.set_status(name, status)
        with pytest.raises(BadTable, match=rf"{name} .* is {status}\..*ACTIVE"):
            describe(client, name)


def test_a_table_that_is_updating_can_be_loaded(server: Server) -> None:
    with client_for(server.endpoint) as client:
        name = create(client, "id:S")
        server.set_status(name, "UPDATING")
        assert describe(client, name).status == "UPDATING"


def test_nobody_at_the_endpoint_is_told_within_seconds() -> None:
    with raw_server(lambda request: RESET) as server:
        gone = server.url
    begun = time.monotonic()
    with client_for(gone) as client, pytest.raises(BadConnection) as caught:
        describe(client, "cities")
    assert time.monotonic() - begun < 3
    assert str(caught.value) == (
        f'No answer from {gone} (region us-east-1). Could not connect to the endpoint URL: "{gone}/"'
        " (Connection refused). Check --endpoint-url, --region and the network."
    )


TABLE = json_reply(
    200,
    {
        "Table": {
            "TableName": "cities",
            "TableStatus": "ACTIVE",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        }
    },
)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (error_reply("AccessDeniedException", "not for you"), BadTable, "may not be read.*not for you"),
        (error_reply("UnrecognizedClientException", "who?"), BadConnection, "credentials.*who\\?"),
        (error_reply("ExpiredTokenException", "old"), BadConnection, "credentials.*old"),
        (http_reply(200, b"<html>a web page</html>"), BadConnection, "does not answer as DynamoDB does"),
        (http_reply(404, b"<html>not found</html>"), BadConnection, "does not answer.*404: <html>not found"),
        (error_reply("InternalServerError", "sorry", 500), BadConnection, "does not answer.*sorry"),
        (http_reply(200, b'{"Table":{"Tab', length=100), BadConnection, "does not answer"),
        (json_reply(200, {"Table": {"TableStatus": "ACTIVE"}}), BadConnection, "does not describe tables"),
        (json_reply(200, {"Table": []}), BadConnection, "does not describe tables"),
        (RESET, BadConnection, "No answer from .*Connection was closed"),
    ],
)
def test_an_endpoint_that_gives_no_description_is_refused(
    answer: bytes, kind: type[BadTable | BadConnection], said: str
) -> None:
    with raw_server(lambda request: answer) as server:
        with client_for(server.url) as client, pytest.raises(kind, match=said):
            describe(client, "cities")
        assert len(server.requests) <= 3


def test_a_description_is_asked_for_again_after_a_throttle_and_a_fault() -> None:
    answers = iter([error_reply("ThrottlingException"), http_reply(503, b""), RESET, TABLE])
    with raw_server(lambda request: next(answers)) as server:
        with client_for(server.url) as client:
            found = describe(client, "cities")
        assert len(server.requests) == 4
    # What a server leaves out is empty.
    assert found == TableDescription(
        name="cities",
        arn="",
        id="",
        created="",
        endpoint=server.url,
        status="ACTIVE",
        key=KeySchema(KeyPart("id", "S")),
    )


def test_what_a_table_and_its_index_take_on_demand(server: Server) -> None:
    server.create_table("warm", "id:S", gsis={"by-city": "city:S"}, warm=9000, on_demand_max=7000)
    server.set_description(
        "warm",
        {
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "by-city",
                    "WarmThroughput": {"WriteUnitsPerSecond": 5, "ReadUnitsPerSecond": 6},
                }
            ]
        },
    )
    with client_for(server.endpoint) as client:
        found = describe(client, "warm")
    assert (found.capacity.provisioned, found.capacity.maximum, found.capacity.warm) == (None, 7000, 9000)
    (index,) = found.indexes
    assert (index.capacity.provisioned, index.capacity.warm, index.capacity.warm_reads) == (None, 5, 6)


def test_what_a_load_would_set_off(server: Server) -> None:
    server.create_table("global", "id:S", stream="KEYS_ONLY")
    server.set_description(
        "global",
        {
            "TableArn": "arn:aws:dynamodb:eu-west-1:1:table/global",
            "TableSizeBytes": 123,
            "ItemCount": 4,
            "Replicas": [{"RegionName": name} for name in ("eu-west-1", "us-east-1", "ap-south-1")],
        },
    )
    with client_for(server.endpoint) as client:
        found = describe(client, "global")
    assert (found.stream, found.replicas) == ("KEYS_ONLY", ("us-east-1", "ap-south-1"))
    assert (found.item_count, found.size_bytes) == (4, 123)


@pytest.mark.parametrize("odd", [None, [], "x", -1, True, {}, [None], [{}], [{"RegionName": 5}]])
def test_odd_members_of_a_description_are_taken_for_nothing(odd: object) -> None:
    names = (
        "BillingModeSummary",
        "ProvisionedThroughput",
        "OnDemandThroughput",
        "WarmThroughput",
        "StreamSpecification",
        "Replicas",
        "ItemCount",
        "TableSizeBytes",
    )
    described = {**orjson.loads(TABLE.partition(b"\r\n\r\n")[2])["Table"], **dict.fromkeys(names, odd)}
    answer = json_reply(200, {"Table": described})
    with raw_server(lambda request: answer) as server, client_for(server.url) as client:
        found = describe(client, "cities")
    assert found.capacity == WriteCapacity()
    assert (found.item_count, found.size_bytes, found.stream, found.replicas) == (0, 0, "", ())


# --- time to live -------------------------------------------------------------------------------


def test_the_attribute_of_a_time_to_live(server: Server) -> None:
    with client_for(server.endpoint) as client:
        name = create(client, "id:S")
        assert time_to_live(client, name) == ""
        server.set_time_to_live(name, "expires")
        assert time_to_live(client, name) == "expires"


def test_other_servers_tell_of_no_time_to_live_or_nothing(client: TableClient) -> None:
    assert not time_to_live(client, create(client, "id:S"))


@pytest.mark.parametrize(
    "answer",
    [
        error_reply("AccessDeniedException"),
        error_reply("UnknownOperationException"),
        error_reply("ThrottlingException"),
        error_reply("InternalServerError", status=500),
        http_reply(200, b"<html>"),
        json_reply(200, {"TimeToLiveDescription": None}),
        json_reply(200, {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED"}}),
        RESET,
    ],
)
def test_a_time_to_live_that_cannot_be_found_out_is_asked_for_once(answer: bytes) -> None:
    with raw_server(lambda request: answer) as server:
        with client_for(server.url) as client:
            assert time_to_live(client, "cities") is None
        assert len(server.requests) == 1


# --- scan ---------------------------------------------------------------------------------------


def test_the_segments_of_a_scan_hold_every_item_once(client: TableClient) -> None:
    name = create(client, "id:S")
    # 1 MiB is a page: each segment has more than one.
    filler = "x" * 60_000
    for number in range(60):
        item = {"id": {"S": f"{number}"}, "n": {"N": "1.5"}, "blob": {"B": "AAE="}, "filler": {"S": filler}}
        assert client.call("PutItem", {"TableName": name, "Item": item}).status == 200

    def read(segment: int) -> list[dict[str, dict[str, object]]]:
        return [item for page in scan(client, name, segment, 2) for item in page]

    with ThreadPoolExecutor(2) as pool:
        items = [item for part in pool.map(read, range(2)) for item in part]
    assert sorted(int(str(item["id"]["S"])) for item in items) == list(range(60))
    assert all(item["n"] == {"N": "1.5"} and item["blob"] == {"B": "AAE="} for item in items)


def test_a_scan_of_an_empty_table_yields_nothing(client: TableClient) -> None:
    assert list(scan(client, create(client, "id:S"), 0, 1)) == []


def test_a_scan_goes_on_behind_empty_pages_throttles_and_faults() -> None:
    def page(items: list[str], next_id: str | None) -> bytes:
        members: dict[str, object] = {"Items": [{"id": {"S": item}} for item in items]}
        return json_reply(200, members | ({"LastEvaluatedKey": {"id": {"S": next_id}}} if next_id else {}))

    answers = iter(
        [
            page(["a"], "a"),
            error_reply("ProvisionedThroughputExceededException"),
            page([], "b"),
            RESET,
            http_reply(200, b""),
            error_reply("InternalServerError", status=500),
            page(["c", "d"], None),
        ]
    )

    def answer(request: Request) -> bytes:
        return next(answers)

    with raw_server(answer) as server:
        with client_for(server.url) as client:
            pages = list(scan(client, "cities", 1, 4))
        asked = [orjson.loads(request.body) for request in server.requests]
    assert pages == [[{"id": {"S": "a"}}], [{"id": {"S": "c"}}, {"id": {"S": "d"}}]]
    common = {"TableName": "cities", "Segment": 1, "TotalSegments": 4, "ConsistentRead": True}
    after_a, after_b = ({**common, "ExclusiveStartKey": {"id": {"S": key}}} for key in "ab")
    assert asked == [common, after_a, after_a, after_b, after_b, after_b, after_b]


def test_a_scan_that_may_not_be_made_is_refused() -> None:
    with (
        raw_server(lambda request: error_reply("AccessDeniedException", "no dynamodb:Scan")) as server,
        client_for(server.url) as client,
        pytest.raises(BadTable, match=r"may not be read with Scan .*no dynamodb:Scan"),
    ):
        list(scan(client, "cities", 0, 1))
