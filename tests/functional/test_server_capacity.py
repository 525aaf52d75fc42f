"""Metering by table, index, partition and account in the tests' own server."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server.capacity import Capacity
from tests.server.client import Server, ServerProblem, start, table_request, windows
from tests.server.drive import boto3_client, people, put

TABLE_ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/tab"
INDEX_ARN = f"{TABLE_ARN}/index/by-city"
PROVISIONED = "TableWriteProvisionedThroughputExceeded"
KEY_RANGE = "TableWriteKeyRangeThroughputExceeded"
# A rate so low that nothing comes back within a test: what is in a bucket at its start is all there is.
TRICKLE = 0.001
# An item with it costs 59 units.
LARGE = {"S": "t" * 60_000}


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
    """Made by the client, for a table is of the region of whoever makes it."""
    client.create_table(**table_request("tab", "pk:S", **indexes))


def holding(units: float, **capacity: Any) -> Capacity:
    """A table with so many units in its bucket, and next to nothing that comes after them."""
    return Capacity(table=TRICKLE, burst=units / TRICKLE, **capacity)


def write(client: Any, requests: list[dict[str, Any]], table: str = "tab") -> list[str]:
    """The partition keys that came back."""
    left = client.batch_write_item(RequestItems={table: requests})["UnprocessedItems"]
    return [request["PutRequest"]["Item"]["pk"]["S"] for request in left.get(table, [])]


def reasons(caught: pytest.ExceptionInfo[ClientError]) -> list[tuple[str, str]]:
    response = caught.value.response
    assert response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    told: list[dict[str, str]] = response["ThrottlingReasons"]
    return [(each["reason"], each["resource"]) for each in told]


def refused(client: Any, requests: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The throttling reasons of a batch of which nothing was written."""
    with pytest.raises(ClientError) as caught:
        write(client, requests)
    return reasons(caught)


def residents(count: int, city: str) -> list[dict[str, Any]]:
    return [put(pk={"S": f"{city} {number}"}, city={"S": city}) for number in range(count)]


# --- what is refused, and how -------------------------------------------------------------------


def test_the_rest_of_a_batch_is_left_untried_once_the_table_has_refused(server: Server, client: Any) -> None:
    table(client)
    server.set_capacity("tab", holding(10))
    large = [put(pk={"S": "large"}, text={"S": "t" * 8_000})]
    left = write(client, [*people(5), *large, *people(9)[5:]])
    assert left == ["large", "person 5", "person 6", "person 7", "person 8"]
    assert write(client, people(9)[5:]) == []
    stats = server.stats()
    assert stats["tables"]["tab"]["write_units"] == 9
    assert stats["metered"] == {"items": 5, "requests": 0}
    assert stats["capacity"]["tab"]["accepted_items"] == 9
    assert stats["capacity"]["tab"]["refused_items"] == 5
    assert stats["capacity"]["tab"]["refused_by_reason"] == {PROVISIONED: 5}


def test_a_batch_of_which_nothing_fits_names_the_table(server: Server, client: Any) -> None:
    table(client)
    server.set_capacity("tab", holding(25))
    assert write(client, people(25)) == []
    assert refused(client, people(25)) == [(PROVISIONED, TABLE_ARN)]
    stats = server.stats()
    assert stats["metered"] == {"items": 0, "requests": 1}
    assert stats["write_units"] == 25
    assert stats["items_applied"] == 25


def test_a_full_partition_refuses_its_own_writes_and_no_others(server: Server, client: Any) -> None:
    client.create_table(**table_request("tab", "pk:S,sk:N"))
    server.set_capacity("tab", Capacity(table=1_000, partition=1))
    # It goes through as the partition's bucket is full, and leaves it in debt for a minute.
    assert write(client, [put(pk={"S": "hot"}, sk={"N": "0"}, text=LARGE)]) == []
    hot = [put(pk={"S": "hot"}, sk={"N": str(number)}) for number in range(1, 6)]
    cold = [put(pk={"S": f"cold {number}"}, sk={"N": "0"}) for number in range(20)]
    assert write(client, [*hot, *cold]) == ["hot"] * 5
    assert refused(client, hot) == [(KEY_RANGE, TABLE_ARN)]
    usage = server.stats()["capacity"]["tab"]
    assert usage["accepted_items"] == 21
    assert usage["refused_items"] == 10
    assert usage["refused_by_reason"] == {KEY_RANGE: 10}
    assert usage["refused_by_partition"] == [["hot", 10]]


def test_a_full_index_refuses_what_it_has_an_entry_of(server: Server, client: Any) -> None:
    table(client, gsis={"by-city": "city:S", "by-age": "age:N"})
    server.set_capacity("tab", Capacity(table=1_000, indexes={"by-city": 1}))
    assert write(client, [put(pk={"S": "large"}, city={"S": "x"}, text=LARGE)]) == []
    left = write(client, [*residents(3, "x"), *people(3), *residents(2, "y")])
    assert left == ["x 0", "x 1", "x 2", "y 0", "y 1"]
    assert refused(client, residents(2, "x")) == [("IndexWriteProvisionedThroughputExceeded", INDEX_ARN)]
    assert server.stats()["capacity"]["tab"]["refused_by_index_partition"] == {}


def test_a_full_partition_of_an_index_refuses_its_entries_only(server: Server, client: Any) -> None:
    table(client, gsis={"by-city": "city:S"})
    server.set_capacity("tab", Capacity(table=1_000, index_partition=1))
    assert write(client, [put(pk={"S": "large"}, city={"S": "x"}, text=LARGE)]) == []
    left = write(client, [*residents(3, "x"), *people(3), *residents(1, "y"), *residents(1, "z")])
    assert left == ["x 0", "x 1", "x 2"]
    assert refused(client, residents(2, "x")) == [("IndexWriteKeyRangeThroughputExceeded", INDEX_ARN)]
    usage = server.stats()["capacity"]["tab"]
    assert usage["refused_by_index_partition"] == {"by-city": [["x", 5]]}
    assert usage["refused_by_partition"] == [["x 0", 2], ["x 1", 2], ["x 2", 1]]


def test_local_indexes_take_the_tables_units_and_global_ones_their_own(server: Server, client: Any) -> None:
    indexes: dict[str, Any] = {"gsis": {"by-city": "city:S"}, "lsis": {"by-age": "age:N"}}
    client.create_table(**table_request("tab", "pk:S,sk:S", **indexes))
    requests = [
        put(pk={"S": f"p {number}"}, sk={"S": "s"}, city={"S": "x"}, age={"N": str(number)})
        for number in range(12)
    ]
    server.set_capacity("tab", holding(20))
    assert write(client, requests) == ["p 10", "p 11"]
    assert refused(client, requests[10:]) == [(PROVISIONED, TABLE_ARN)]
    ((_, of_table, of_indexes),) = server.stats()["capacity"]["tab"]["units_timeline"]
    assert (of_table, of_indexes) == (10, {"by-city": 10, "by-age": 10})
    assert [units for _, units in server.units("tab")] == [30]


def test_every_reason_met_in_a_batch_is_told_once(server: Server, client: Any) -> None:
    table(client, gsis={"by-city": "city:S"})
    server.set_capacity("tab", Capacity(table=1_000, indexes={"by-city": 1}, partition=1))
    assert write(client, [put(pk={"S": "large"}, city={"S": "x"}, text=LARGE)]) == []
    assert write(client, [put(pk={"S": "hot"}, text=LARGE)]) == []
    assert refused(client, [put(pk={"S": "hot"}), *residents(5, "x")]) == [
        (KEY_RANGE, TABLE_ARN),
        ("IndexWriteProvisionedThroughputExceeded", INDEX_ARN),
    ]


def test_an_on_demand_maximum_is_told_as_such(server: Server, client: Any) -> None:
    table(client)
    server.set_capacity("tab", holding(1, filled=0, on_demand_max=True))
    assert refused(client, people(2)) == [("TableWriteMaxOnDemandThroughputExceeded", TABLE_ARN)]


def test_the_accounts_capacity_is_shared_by_the_tables_that_have_one(server: Server, client: Any) -> None:
    for name in ("tab", "other", "third"):
        client.create_table(**table_request(name, "pk:S", gsis={"by-city": "city:S"}))
    for name in ("tab", "other"):
        server.set_capacity(name, Capacity(account=1))
    assert write(client, [put(pk={"S": "a"}, text=LARGE)], "other") == []
    assert refused(client, residents(2, "x")) == [("TableWriteAccountLimitExceeded", TABLE_ARN)]
    assert write(client, residents(2, "x"), "third") == []
    # As after the start: the account owes nothing any more.
    server.reset()
    table(client)
    server.set_capacity("tab", Capacity(account=1))
    assert write(client, [put(pk={"S": "a"}, text=LARGE)]) == []


def test_a_put_item_is_metered_as_a_batch_is(server: Server, client: Any) -> None:
    table(client, gsis={"by-city": "city:S"})
    server.set_capacity("tab", Capacity(indexes={"by-city": 1}))
    large = {"pk": {"S": "large"}, "city": {"S": "x"}, "text": LARGE}
    reply = client.put_item(TableName="tab", Item=large, ReturnConsumedCapacity="INDEXES")
    assert reply["ConsumedCapacity"]["GlobalSecondaryIndexes"] == {"by-city": {"CapacityUnits": 59}}
    client.put_item(TableName="tab", Item={"pk": {"S": "of no city"}})
    with pytest.raises(ClientError) as caught:
        client.put_item(TableName="tab", Item={"pk": {"S": "a"}, "city": {"S": "x"}})
    assert reasons(caught) == [("IndexWriteProvisionedThroughputExceeded", INDEX_ARN)]
    stats = server.stats()
    assert stats["items_acknowledged"] == len(server.items("tab")) == 2
    assert stats["metered"] == {"items": 0, "requests": 1}


def test_a_refused_delete_deletes_nothing(server: Server, client: Any) -> None:
    table(client)
    write(client, people(1))
    server.set_capacity("tab", holding(1, filled=0))
    delete = {"DeleteRequest": {"Key": {"pk": {"S": "person 0"}}}}
    assert refused(client, [delete]) == [(PROVISIONED, TABLE_ARN)]
    assert len(server.items("tab")) == 1


# --- setting it ---------------------------------------------------------------------------------


def test_setting_a_capacity_again_fills_no_bucket(server: Server, client: Any) -> None:
    table(client)
    for _ in range(3):
        server.set_capacity("tab", holding(30))
        if not server.items("tab"):
            assert write(client, people(25)) == []
    assert len(write(client, people(25))) == 20
    server.reset(keep_tables=True)
    assert refused(client, people(25)) == [(PROVISIONED, TABLE_ARN)]


def test_a_capacity_can_be_raised_and_taken_away_in_mid_load(server: Server, client: Any) -> None:
    table(client)
    server.set_capacity("tab", Capacity(table=TRICKLE))
    assert write(client, [put(pk={"S": "large"}, text=LARGE)]) == []
    assert refused(client, people(25)) == [(PROVISIONED, TABLE_ARN)]
    server.set_capacity("tab", Capacity(table=1_000))
    # A debt of 59 units stays one, and is soon paid at the new rate.
    time.sleep(0.2)
    assert write(client, people(25)) == []
    server.set_capacity("tab", Capacity(table=TRICKLE))
    # What was in the bucket does not fit any more; the one write that it lets through leaves a debt.
    assert len(write(client, people(25))) == 24
    assert refused(client, people(25)) == [(PROVISIONED, TABLE_ARN)]
    server.set_capacity("tab", Capacity())
    assert write(client, people(25)) == []


def test_a_table_takes_its_rate_and_no_more(server: Server, client: Any) -> None:
    table(client)
    server.set_capacity("tab", Capacity(table=200, filled=0))
    begun = time.time()
    requests = people(300)
    while requests:
        try:
            reply = client.batch_write_item(RequestItems={"tab": requests[:25]})
        except ClientError:
            continue
        requests = reply["UnprocessedItems"].get("tab", []) + requests[25:]
    # The bucket was empty, so 300 units take a second and a half.
    assert 1.4 < time.time() - begun < 10
    units = server.units("tab")
    assert sum(of for _, of in units) == 300
    assert begun - 0.1 <= units[0][0] <= units[-1][0] <= time.time()
    # Whoever was away for a moment finds the bucket full: it holds another second's worth.
    assert 100 < max(windows(units, 1.0)) <= 200 + 200


def test_a_table_made_anew_has_buckets_of_its_own(server: Server, client: Any) -> None:
    table(client)
    server.set_capacity("tab", holding(1, filled=0))
    assert refused(client, people(1)) == [(PROVISIONED, TABLE_ARN)]
    client.delete_table(TableName="tab")
    table(client)
    assert write(client, people(25)) == []


def test_every_table_can_have_a_capacity_from_the_start() -> None:
    capacity = holding(10, indexes={"by-city": 1_000})
    with start(capacity=capacity) as server, boto3_client(server) as client:
        table(client)
        assert len(write(client, people(25))) == 15
        server.reset()
        table(client)
        assert len(write(client, people(25))) == 15


def test_without_a_capacity_a_tables_wcu_hold_its_units_too() -> None:
    with start(wcu=1) as server, boto3_client(server) as client:
        table(client, gsis={"by-city": "city:S"})
        assert write(client, [put(pk={"S": "large"}, city={"S": "x"}, text=LARGE)]) == []
        assert refused(client, people(2)) == [(PROVISIONED, TABLE_ARN)]
        usage = server.stats()["capacity"]["tab"]
        assert [usage["accepted_items"], usage["refused_items"]] == [1, 2]
        assert usage["refused_by_reason"] == {PROVISIONED: 2}
        assert [units for _, units in server.units("tab")] == [118]
        server.set_capacity("tab", Capacity(table=1_000))
        assert write(client, people(2)) == []


def test_a_capacity_that_makes_no_sense_is_refused(server: Server, client: Any) -> None:
    table(client, gsis={"by-city": "city:S"})
    with pytest.raises(ServerProblem, match="no global index by-age"):
        server.set_capacity("tab", Capacity(indexes={"by-age": 5}))
    with pytest.raises(ServerProblem, match="no tabel"):
        server.control("POST", "capacity?table=tab", {"tabel": 5})
    with pytest.raises(ServerProblem, match="KeyError"):
        server.set_capacity("none", Capacity())


def test_units_of_a_table_that_was_never_written_are_none(server: Server, client: Any) -> None:
    table(client)
    assert server.units("tab") == []
