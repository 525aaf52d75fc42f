"""How the tests' own server tells that an older row took the place of a newer one."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.client import Server, start
from tests.server.drive import boto3_client, put
from tests.server.faults import FaultPlan
from tests.server.waiting import until


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with start(order_by="n") as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.reset()
    shared.create_table("tab", "pk:S")
    return shared


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with boto3_client(server) as client:
        yield client


def write(client: Any, **places: int) -> None:
    """A batch of one item for each key, from the row of that place."""
    requests = [put(pk={"S": key}, n={"N": str(place)}) for key, place in places.items()]
    client.batch_write_item(RequestItems={"tab": requests})


def told(server: Server) -> tuple[int, list[list[Any]], int]:
    table = server.stats()["tables"]["tab"]
    return table["older_over_newer"], table["older_over_newer_examples"], table["without_place"]


def test_newer_rows_over_older_ones_are_as_they_should_be(server: Server, client: Any) -> None:
    write(client, a=1, b=9)
    write(client, a=10, b=9)
    assert told(server) == (0, [], 0)


def test_an_older_row_over_a_newer_one_is_told_with_its_places(server: Server, client: Any) -> None:
    write(client, a=10, b=2, c=7)
    write(client, a=9, b=3, c=1)
    assert told(server) == (2, [["a", 10, 9], ["c", 7, 1]], 0)
    client.put_item(TableName="tab", Item={"pk": {"S": "b"}, "n": {"S": "0"}})
    assert told(server) == (3, [["a", 10, 9], ["c", 7, 1], ["b", 3, 0]], 0)


def test_a_late_write_over_a_newer_one_is_told(server: Server, client: Any) -> None:
    server.set_faults(FaultPlan(late_share=1, late_seconds=0.8))
    with pytest.raises(Exception, match="onnection"):
        write(client, a=1)
    server.set_faults(FaultPlan())
    write(client, a=2)
    assert told(server) == (0, [], 0)
    until(lambda: server.stats()["applied_late"] == 1)
    assert told(server) == (1, [["a", 2, 1]], 0)
    assert [item["n"]["N"] for item in server.items("tab")] == ["1"]


def test_an_item_that_does_not_tell_its_place_is_counted(server: Server, client: Any) -> None:
    client.put_item(TableName="tab", Item={"pk": {"S": "a"}, "n": {"S": "x"}})
    client.put_item(TableName="tab", Item={"pk": {"S": "b"}})
    assert told(server) == (0, [], 2)


def test_it_counts_without_keeping_items() -> None:
    with start(order_by="n", count_only=True) as server, boto3_client(server) as client:
        server.create_table("tab", "pk:S")
        write(client, a=2)
        write(client, a=1)
        assert told(server) == (1, [["a", 2, 1]], 0)
        assert server.items("tab") == []


def test_it_counts_nothing_unless_told_which_attribute() -> None:
    with start() as server, boto3_client(server) as client:
        server.create_table("tab", "pk:S")
        write(client, a=2)
        write(client, a=1)
        assert told(server) == (0, [], 0)
