"""Faults of the tests' own server that take time: slow and late writes, tokens, outages, the timeline."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from tests.server.client import Server, ServerProblem, signed_form, start
from tests.server.drive import boto3_client, exchange, http_request, people
from tests.server.faults import FaultPlan
from tests.server.waiting import until


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with start() as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    until(lambda: shared.stats()["late_pending"] == 0)
    shared.reset()
    shared.create_table("tab", "pk:S")
    return shared


def write_request(count: int = 25) -> bytes:
    body = orjson.dumps({"RequestItems": {"tab": people(count)}})
    return http_request("BatchWriteItem", body, Connection="close", **signed_form())


def write_late(server: Server, longest: float) -> float:
    """Send a batch that is applied late; when its connection was reset."""
    server.set_faults(FaultPlan(late_share=1, late_seconds=longest, latency_ms=5_000))
    with pytest.raises(ConnectionResetError):
        exchange(server, write_request())
    return time.time()


# --- slow and late ------------------------------------------------------------------------------


def test_a_slow_write_is_applied_before_its_reply_comes(server: Server) -> None:
    server.set_faults(FaultPlan(slow_share=1, slow_seconds=60))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(write_request())
        until(lambda: len(server.items("tab")) == 25)
        assert not select.select([connection], [], [], 0)[0]


def test_a_slow_write_is_acknowledged_after_its_time(server: Server) -> None:
    server.set_faults(FaultPlan(slow_share=1, slow_seconds=0.3, latency_ms=100))
    begin = time.monotonic()
    reply = exchange(server, write_request())
    assert time.monotonic() - begin >= 0.4
    assert reply.endswith(b'{"UnprocessedItems":{}}')
    stats = server.stats()
    assert stats["faults"] == {"slow": 1}
    assert stats["items_acknowledged"] == stats["items_applied"] == 25


def test_a_connection_is_reset_at_once_when_its_write_comes_late() -> None:
    with start() as server:
        server.create_table("tab", "pk:S")
        begin = time.time()
        assert write_late(server, 120) - begin < 4
        stats = server.stats()
        assert (stats["items_applied"], stats["applied_late"], stats["late_pending"]) == (0, 0, 25)
        assert stats["faults"] == {"late": 1}


def test_a_late_write_is_applied_when_its_time_has_come(server: Server) -> None:
    begin = time.time()
    write_late(server, 0.6)
    until(lambda: server.stats()["applied_late"] == 25)
    assert 0.3 <= time.time() - begin < 4
    assert len(server.items("tab")) == 25
    stats = server.stats()
    assert (stats["items_applied"], stats["late_pending"]) == (25, 0)
    assert stats["items_acknowledged"] == 0


def test_a_late_write_comes_though_faults_and_counts_are_set_anew(server: Server) -> None:
    write_late(server, 0.8)
    server.reset(keep_tables=True)
    server.set_faults(FaultPlan())
    until(lambda: server.stats()["applied_late"] == 25)
    assert len(server.items("tab")) == 25


def test_a_late_write_does_not_come_into_a_table_made_anew(server: Server) -> None:
    write_late(server, 0.8)
    server.call("DeleteTable", {"TableName": "tab"})
    server.create_table("tab", "pk:S")
    until(lambda: server.stats()["late_pending"] == 0)
    assert server.items("tab") == []
    stats = server.stats()
    assert stats["applied_late"] == 0
    assert stats["violations"] == []


# --- tokens -------------------------------------------------------------------------------------


def test_a_token_is_good_until_the_time_it_names(server: Server) -> None:
    server.set_faults(FaultPlan(expiring_tokens=True))
    end = time.time() + 1.5
    with boto3_client(server, session_token=f"until-{end:.3f}-second-key") as client:
        client.batch_write_item(RequestItems={"tab": people(1)})
        until(lambda: time.time() > end + 0.01)
        for operation, parameters in (
            ("batch_write_item", {"RequestItems": {"tab": people(2)}}),
            ("describe_table", {"TableName": "tab"}),
            ("scan", {"TableName": "tab"}),
        ):
            with pytest.raises(ClientError) as caught:
                getattr(client, operation)(**parameters)
            assert caught.value.response["Error"]["Code"] == "ExpiredTokenException"
    with boto3_client(server, session_token=f"until-{time.time() + 60:.3f}") as client:
        client.describe_table(TableName="tab")
    # Those without a session token go on as well, and the tests' own door asks for none.
    server.call("DescribeTable", {"TableName": "tab"})
    assert server.stats()["faults"] == {"expired_token": 3}
    assert len(server.items("tab")) == 1


def test_a_token_does_not_expire_unless_planned(server: Server) -> None:
    with boto3_client(server, session_token="until-1") as client:
        client.describe_table(TableName="tab")
    assert server.stats()["faults"] == {}


# --- outages ------------------------------------------------------------------------------------


def test_nobody_answers_in_an_outage_and_the_same_port_serves_afterwards(server: Server) -> None:
    exchange(server, write_request(3))
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    waiting = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    with idle, waiting:
        server.set_faults(FaultPlan(latency_ms=60_000))
        waiting.sendall(write_request(3))
        until(lambda: server.stats()["requests"].get("BatchWriteItem") == 2)
        server.set_faults(FaultPlan())
        asked = time.time()
        server.outage(1.0)
        for connection in (idle, waiting):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
    refused = 0
    while time.time() < asked + 0.5:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=10)
        refused += 1
        time.sleep(0.02)
    assert refused > 2
    until(lambda: accepts(server))
    back = time.time()
    assert back - asked < 5
    assert exchange(server, write_request(5)).startswith(b"HTTP/1.1 200 OK")
    stats = server.stats()
    ((begin, end),) = stats["outages"]
    assert asked <= begin <= end <= back
    assert end - begin >= 1.0
    assert stats["violations"] == []
    # Nothing else than the connection that asks.
    assert stats["connections_open"] == 1
    assert len(server.items("tab")) == 5


def accepts(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_outages_come_one_after_the_other(server: Server) -> None:
    for _ in range(3):
        server.outage(0.05)
        until(lambda: accepts(server))
    outages = server.stats()["outages"]
    assert len(outages) == 3
    assert sorted(outages) == outages


def test_an_outage_resets_connections_that_are_busy(server: Server) -> None:
    # The replies that come in between are whole: what is cut off is cut off by a reset.
    replies: list[bytes] = []
    faults: list[type[OSError]] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            try:
                replies.append(exchange(server, write_request()))
            except OSError as error:
                faults.append(type(error))
                time.sleep(0.005)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    try:
        until(lambda: len(replies) > 20)
        server.outage(0.2)
        until(lambda: accepts(server))
        before = len(replies)
        until(lambda: len(replies) > before + 20)
    finally:
        stop.set()
        for sender in senders:
            sender.join()
    assert all(reply.endswith(b'{"UnprocessedItems":{}}') for reply in replies)
    assert ConnectionRefusedError in faults
    assert set(faults) <= {ConnectionRefusedError, ConnectionResetError, BrokenPipeError}
    assert server.stats()["violations"] == []


def test_late_writes_are_applied_in_an_outage(server: Server) -> None:
    write_late(server, 0.8)
    server.outage(0.9)
    until(lambda: accepts(server))
    stats = server.stats()
    assert stats["applied_late"] == 25
    ((begin, end),) = stats["outages"]
    ((tenth, items),) = stats["timeline"]
    assert items == 25
    assert begin - 0.1 <= tenth / 10 <= end


@pytest.mark.parametrize("seconds", [0, -1, 4_000, "long", True, None])
def test_an_outage_of_no_length_is_refused(server: Server, seconds: Any) -> None:
    with pytest.raises(ServerProblem, match="seconds of an outage are more than 0"):
        server.outage(seconds)
    assert accepts(server)


def test_a_server_in_an_outage_can_be_stopped() -> None:
    with start() as server:
        server.outage(30)
        begin = time.monotonic()
    assert time.monotonic() - begin < 4
    assert server.process.returncode == 0


# --- the timeline -------------------------------------------------------------------------------


def test_the_timeline_tells_when_items_were_applied(server: Server) -> None:
    begin = time.time()
    exchange(server, write_request(3))
    middle = time.time()
    time.sleep(0.25)
    again = time.time()
    exchange(server, write_request(5))
    end = time.time()
    timeline = server.stats()["timeline"]
    assert timeline == sorted(timeline)
    assert sum(items for _, items in timeline) == 8
    early = sum(items for tenth, items in timeline if int(begin * 10) <= tenth <= int(middle * 10))
    late = sum(items for tenth, items in timeline if int(again * 10) <= tenth <= int(end * 10))
    assert (early, late) == (3, 5)
    server.reset(keep_tables=True)
    assert server.stats()["timeline"] == []
