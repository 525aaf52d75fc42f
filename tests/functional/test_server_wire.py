"""The tests' own server from outside: its HTTP, what it remembers, and its life as a process."""

import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator

import orjson
import pytest

from tests.server.client import ROOT, Server, ServerProblem, signed_form, start
from tests.server.drive import boto3_client, exchange, http_request, people


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with start(log_writes=True) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.reset()
    return shared


# --- the wire -----------------------------------------------------------------------------------


def test_every_reply_has_an_id_a_checksum_and_a_date(server: Server) -> None:
    good = http_request("ListTables", b"{}", Connection="close", **signed_form())
    bad = http_request("DescribeTable", b'{"TableName": "nil"}', Connection="close", **signed_form())
    ids = set()
    for request, status in ((good, "200 OK"), (bad, "400 Bad Request")):
        head, _, body = exchange(server, request).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert first == f"HTTP/1.1 {status}"
        assert headers["x-amz-crc32"] == str(zlib.crc32(body))
        assert headers["content-type"] == "application/x-amz-json-1.0"
        assert headers["date"].endswith(" gmt")
        ids.add(headers["x-amzn-requestid"])
    assert len(ids) == 2
    assert orjson.loads(body)["__type"] == "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**signed_form(), "Authorization": "Basic dGVzdDp0ZXN0"},
        {**signed_form(), "Authorization": signed_form()["Authorization"][:-1]},
        {**signed_form(), "X-Amz-Date": "20200101T000000Z"},
    ],
)
def test_a_request_that_is_not_signed_is_refused(server: Server, headers: dict[str, str]) -> None:
    reply = exchange(server, http_request("ListTables", b"{}", Connection="close", **headers))
    assert b" 400 " in reply.splitlines()[0]
    assert b"MissingAuthenticationTokenException" in reply
    assert server.stats()["violation_count"] == 1


def test_requests_share_a_connection_and_may_come_in_pieces(server: Server) -> None:
    one = http_request("ListTables", b"{}", **signed_form())
    last = http_request("ListTables", b"{}", Connection="close", **signed_form())
    before = server.stats()["connections"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for piece in (one[:10], one[10:-1], one[-1:] + one + last):
            connection.sendall(piece)
        replies = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert replies.count(b"HTTP/1.1 200 OK") == 3
    # The other connection is the one that asks.
    assert server.stats()["connections"] - before == 2
    assert server.stats()["requests"] == {"ListTables": 3}


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_refused_and_noted(server: Server, request_: bytes) -> None:
    assert exchange(server, request_).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    (violation,) = server.stats()["violations"]
    assert violation.startswith("bad HTTP")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"RequestItems": 5}', b'{"RequestItems": {"tab": 5}}'])
def test_a_body_of_another_shape_is_refused(server: Server, body: bytes) -> None:
    server.create_table("tab", "pk:S")
    reply = exchange(server, http_request("BatchWriteItem", body, Connection="close", **signed_form()))
    assert b"SerializationException" in reply
    assert server.stats()["violations"] == []


# --- what it remembers --------------------------------------------------------------------------


def test_it_remembers_what_it_was_asked_and_what_it_acknowledged(server: Server) -> None:
    server.create_table("tab", "pk:S")
    with boto3_client(server) as client:
        for count in (25, 25, 3):
            client.batch_write_item(RequestItems={"tab": people(count)})
    stats = server.stats()
    assert stats["requests"] == {"CreateTable": 1, "BatchWriteItem": 3}
    assert stats["batch_sizes"] == {"3": 1, "25": 2}
    assert (stats["min_items"], stats["max_items"]) == (3, 25)
    assert stats["items_acknowledged"] == stats["items_applied"] == 53
    assert [count for agent, count in stats["user_agents"].items() if "test-of-server" in agent] == [3]
    assert stats["violations"] == []
    assert stats["tables"]["tab"] == {
        "items": 25,
        "puts": 53,
        "overwrites": 28,
        "most_writes_of_a_key": 3,
        "write_units": 53.0,
        "older_over_newer": 0,
        "older_over_newer_examples": [],
        "without_place": 0,
    }
    assert len(server.writes("tab")) == 53
    assert server.writes("tab")[-1] == {"pk": {"S": "person 2"}, "age": {"N": "2"}}


def test_a_reset_forgets_all_or_spares_the_tables(server: Server) -> None:
    server.create_table("tab", "pk:S")
    server.call("BatchWriteItem", {"RequestItems": {"tab": people(2)}})
    server.reset(keep_tables=True)
    assert server.stats()["requests"] == {}
    assert len(server.items("tab")) == 2
    server.reset()
    assert server.stats()["tables"] == {}
    with pytest.raises(ServerProblem, match="KeyError"):
        server.items("tab")


def test_a_door_or_a_fault_that_does_not_exist_is_refused(server: Server) -> None:
    with pytest.raises(ServerProblem, match="no such door"):
        server.control("GET", "nothing")
    with pytest.raises(ServerProblem, match="has no made_up"):
        server.control("POST", "faults", {"made_up": 1})


def test_items_may_be_counted_in_place_of_kept() -> None:
    with start(count_only=True) as server:
        server.create_table("tab", "pk:S")
        for _ in range(2):
            server.call("BatchWriteItem", {"RequestItems": {"tab": people(25)}})
        assert server.items("tab") == []
        assert server.stats()["tables"]["tab"]["puts"] == 50
        with pytest.raises(ServerProblem, match="--log-writes"):
            server.writes("tab")


# --- the process --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["signal", "stdin"])
def test_it_ends_when_told_and_when_its_parent_dies(how: str) -> None:
    command = [sys.executable, "-m", "tests.server", "--until-stdin-ends"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline().startswith(b"listening 127.0.0.1:")
        if how == "signal":
            os.kill(process.pid, signal.SIGTERM)
        else:
            process.stdin.close()
        assert process.wait(10) == 0


def test_a_bad_fault_plan_is_refused_at_the_start() -> None:
    command = [sys.executable, "-m", "tests.server", "--faults", '{"throttle_share": 2}']
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2
    assert "between 0 and 1" in done.stderr
