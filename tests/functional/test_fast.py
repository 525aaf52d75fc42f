"""The fast path on real sockets: what it sends, what it takes for a reply, and who goes on after a fault."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest

from loader.decisions.standing import STRIKES
from loader.decisions.wire import (
    CHECKSUM,
    UNREADABLE,
    Halt,
    Reply,
    Throttled,
    Transient,
    Written,
    read_reply,
    request_body,
)
from loader.edges.clients import ClientFactory, Credentials
from loader.edges.fast import Fallback, FastTransport
from loader.edges.target import Target
from loader.errors import ConnectionFault
from tests.functional.raw_server import (
    HANG_UP,
    RESET,
    STALL,
    Request,
    error_reply,
    http_reply,
    json_reply,
    raw_server,
)
from tests.server.client import Server, start
from tests.server.faults import FaultPlan

KEYS = Credentials("handedDown", "secret1")
KNOWN = Credentials("testAccessKey", "testSecretKey")
SUCCESS = json_reply(200, {"UnprocessedItems": {}})
BODY = request_body("cities", [b'{"id":{"S":"x"}}'], per_index=False)


def factory(url: str | None, credentials: Credentials = KEYS) -> ClientFactory:
    return ClientFactory("eu-west-1", url, credentials, 4)


def target_at(url: str, credentials: Credentials = KEYS) -> Target:
    with factory(url, credentials).table_client() as client:
        target = client.target("cities")
    assert target is not None
    return target


def no_other(_: Credentials) -> Any:
    raise AssertionError("botocore was asked")


def fast(url: str, credentials: Credentials = KEYS, **options: Any) -> FastTransport:
    """With a real boto3 client behind it."""
    fallback = Fallback(
        lambda keys: factory(url, keys).transport("cities"), lambda keys: target_at(url, keys)
    )
    options = {"fallback": fallback, **options}
    return FastTransport(target_at(url, credentials), credentials, **options)


def alone(url: str, **options: Any) -> FastTransport:
    """With nothing behind it: whatever asks for botocore fails the test."""
    return fast(url, fallback=Fallback(no_other, no_other), **options)


def by_boto3(request: Request) -> bool:
    return "amz-sdk-invocation-id" in request.headers


# --- what is sent -----------------------------------------------------------------------------------


def test_a_batch_leaves_as_botocore_would_send_it() -> None:
    body = request_body("cities", ['{"id":{"S":"Århus"}}'.encode()], per_index=True)
    keys = Credentials("handedDown", "secret1", "token/1+2=")
    with raw_server(lambda request: SUCCESS) as server:
        with closing(fast(server.url, keys)) as transport:
            assert transport.send(body).status == 200
        with closing(factory(server.url, keys).transport()) as transport:
            transport.send(body)
        ours, botocores = server.requests
    assert (ours.line, ours.body) == (botocores.line, botocores.body) == ("POST / HTTP/1.1", body)
    of_the_moment = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}
    for name in (ours.headers.keys() | botocores.headers.keys()) - of_the_moment:
        assert ours.headers.get(name) == botocores.headers.get(name), name
    assert ours.headers["authorization"].partition("Signature=")[0].replace(
        ours.headers["x-amz-date"][:8], ""
    ) == botocores.headers["authorization"].partition("Signature=")[0].replace(
        botocores.headers["x-amz-date"][:8], ""
    )


def test_a_body_of_8_mib_arrives_whole() -> None:
    body = bytes(range(256)) * (32 << 10)
    with raw_server(lambda request: http_reply(200, request.body)) as server:
        with closing(alone(server.url)) as transport:
            assert transport.send(body).body == body
        assert server.requests[0].body == body


def test_new_credentials_sign_from_the_next_request_on() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        with closing(alone(server.url)) as transport:
            transport.send(BODY)
            transport.use(Credentials("renewed", "secret2", "token2"))
            transport.send(BODY)
            transport.use(Credentials("again", "secret3"))
            transport.send(BODY)
        assert [request.access_key for request in server.requests] == ["handedDown", "renewed", "again"]
        tokens = [request.headers.get("x-amz-security-token") for request in server.requests]
        assert tokens == [None, "token2", None]
        assert server.accepted == 1


# --- connections ------------------------------------------------------------------------------------


def test_a_connection_is_used_again_and_again() -> None:
    with raw_server(lambda request: SUCCESS) as server, closing(alone(server.url)) as transport:
        for _ in range(20):
            transport.send(BODY)
        assert server.accepted == 1


def test_as_many_connections_as_requests_at_a_time() -> None:
    together = threading.Barrier(4)

    def answer(request: Request) -> bytes:
        together.wait(10)
        return SUCCESS

    with raw_server(answer) as server, closing(alone(server.url)) as transport, ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert [reply.status for reply in pool.map(transport.send, [BODY] * 4)] == [200] * 4
        assert server.accepted == 4


def test_the_connection_used_last_is_used_first() -> None:
    """The others grow idle, and the server can let them go."""
    together = threading.Barrier(4)
    served_by: list[int] = []

    def answer(request: Request) -> bytes:
        if request.body != BODY:
            together.wait(10)
        served_by.append(threading.get_ident())
        return SUCCESS

    with raw_server(answer) as server, closing(alone(server.url)) as transport, ThreadPoolExecutor(4) as pool:
        list(pool.map(transport.send, [b"{}"] * 4))
        for _ in range(10):
            transport.send(BODY)
    assert len(set(served_by[:4])) == 4
    assert len(set(served_by[4:])) == 1


def test_idle_connections_that_the_server_dropped_are_no_fault() -> None:
    together = threading.Barrier(4)

    def answer(request: Request) -> bytes:
        if request.body != BODY:
            together.wait(10)
        return SUCCESS

    with raw_server(answer) as server, closing(alone(server.url)) as transport, ThreadPoolExecutor(4) as pool:
        list(pool.map(transport.send, [b"{}"] * 4))
        for dropped in range(1, 4):
            server.drop_connections()
            transport.send(BODY)
            transport.send(BODY)
            assert server.accepted == 4 + dropped


def test_a_connection_that_said_more_than_its_reply_is_not_used_again() -> None:
    """What came unasked would be taken for the answer to the next batch."""
    listener = socket.create_server(("127.0.0.1", 0))
    said = threading.Event()

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(SUCCESS)
                time.sleep(0.05)
                connection.sendall(http_reply(200, b'{"UnprocessedItems":{},"of":"nobody"}'))
                said.set()
                # Closed by the client with something unread, which the kernel tells as a reset.
                with suppress(ConnectionResetError):
                    connection.recv(1 << 16)

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with closing(alone(url)) as transport:
        first = transport.send(BODY)
        assert said.wait(10)
        second = transport.send(BODY)
    thread.join(10)
    listener.close()
    assert first.body == second.body == SUCCESS.partition(b"\r\n\r\n")[2]


def test_connection_close_is_heeded() -> None:
    with (
        raw_server(lambda request: http_reply(200, b"{}", connection="close")) as server,
        closing(alone(server.url)) as transport,
    ):
        for number in range(1, 4):
            assert transport.send(BODY).body == b"{}"
            assert server.accepted == number


def test_what_is_closed_while_it_sends_leaves_nothing_behind(request: pytest.FixtureRequest) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def answer(request: Request) -> bytes:
        arrived.set()
        go_on.wait(10)
        return SUCCESS

    with raw_server(answer) as server, ThreadPoolExecutor(1) as pool:
        transport = alone(server.url)
        reply = pool.submit(transport.send, BODY)
        assert arrived.wait(10)
        transport.close()
        go_on.set()
        assert reply.result(10).status == 200
        _wait_until(lambda: not _open_to(server.port))


def test_threads_each_get_their_own_reply() -> None:
    def echo(request: Request) -> bytes:
        # The later half overtakes the earlier one.
        time.sleep(0.002 if len(request.body) % 2 else 0.0)
        return http_reply(200, request.body)

    def send(number: int) -> bool:
        body = b'{"n":%d}' % number
        return transport.send(body).body == body

    with (
        raw_server(echo) as server,
        closing(alone(server.url)) as transport,
        ThreadPoolExecutor(8) as pool,
    ):
        assert all(pool.map(send, range(400)))
        assert server.accepted <= 8


# --- replies ----------------------------------------------------------------------------------------

WHOLE = b'{"UnprocessedItems":{}}'
LARGE = b'{"UnprocessedItems":{},"x":"' + b"y" * 300_000 + b'"}'


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (http_reply(200, WHOLE), WHOLE),
        (http_reply(200, LARGE), LARGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE, WHOLE),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 23\r\n\r\n" + WHOLE, WHOLE),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12;a=b\r\n{"UnprocessedItems\r\n'
            b'5\r\n":{}}\r\n0\r\nX-Trailer: 1\r\n\r\n',
            WHOLE,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + http_reply(200, WHOLE), WHOLE),
    ],
    ids=["length", "large", "to the end", "HTTP 1.0", "chunked", "after an interim one"],
)
def test_every_way_to_end_a_reply_is_understood(answer: bytes, body: bytes) -> None:
    with raw_server(lambda request: answer) as server, closing(alone(server.url)) as transport:
        for _ in range(2):
            reply = transport.send(BODY)
            assert reply.body == body
            assert read_reply(reply, "cities") == Written((), 0.0)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http_reply(200, b""), UNREADABLE),
        (http_reply(200, b"<html>Log in first</html>", content_type="text/html"), UNREADABLE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE[:5], UNREADABLE),
        (http_reply(200, WHOLE, x_amz_crc32="1"), CHECKSUM),
        (http_reply(503, b"<html>busy</html>"), "503"),
        (http_reply(204, b""), "204"),
        (http_reply(302, b"", location="http://127.0.0.1:1/"), "302"),
        (error_reply("InternalServerError", status=500), "InternalServerError"),
    ],
)
def test_a_whole_reply_is_handed_on_whatever_it_says(answer: bytes, code: str) -> None:
    with raw_server(lambda request: answer) as server, closing(alone(server.url)) as transport:
        for _ in range(2):
            judged = read_reply(transport.send(BODY), "cities")
            assert isinstance(judged, Transient)
            assert judged.code == code
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RESET, "broke before a whole reply had come (Connection reset by peer)"),
        (HANG_UP, "the connection was closed before it came"),
        (b"\x00\x01\x02\r\n", "in the middle of its head"),
        (b"HTTP/1.1 200", "in the middle of its head"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no status line"),
        (http_reply(200, WHOLE[:-1], length=len(WHOLE)), "bytes missing: 1"),
        (http_reply(200, b"", length=len(WHOLE)), "bytes missing: 23"),
        (http_reply(200, WHOLE, length=5), "more follows"),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"U', "in the middle of its chunks"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", "not clear"),
    ],
)
def test_no_reply_or_half_of_one_is_a_fault_and_boto3_has_the_next_try(answer: bytes, said: str) -> None:
    answers = iter([answer, SUCCESS, SUCCESS])
    with raw_server(lambda request: next(answers)) as server, closing(fast(server.url)) as transport:
        with pytest.raises(ConnectionFault) as caught:
            transport.send(BODY)
        assert [reply.status for reply in (transport.send(BODY), transport.send(BODY))] == [200, 200]
        assert [by_boto3(request) for request in server.requests] == [False, True, False]
    assert caught.value.sent
    assert said in str(caught.value)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_reply_that_stalls_does_not_hang() -> None:
    with (
        raw_server(lambda request: STALL) as server,
        closing(fast(server.url, read_timeout=0.3)) as transport,
        pytest.raises(ConnectionFault, match=r"^No reply from 127.0.0.1:\d+ within 0.3 seconds\.$") as caught,
    ):
        transport.send(BODY)
    assert caught.value.sent


def test_a_reply_that_stalls_in_the_middle_does_not_hang() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(http_reply(200, WHOLE[:5], length=len(WHOLE)))
            over.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with (
        closing(alone(url, read_timeout=0.3)) as transport,
        pytest.raises(ConnectionFault, match=r"within 0\.3 seconds"),
    ):
        transport.send(BODY)
    over.set()
    thread.join(10)
    listener.close()


def test_a_reply_to_half_a_request_is_taken() -> None:
    """A server that refuses a body by its length closes before it has all of it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(http_reply(413, b"", connection="close"))

    thread = threading.Thread(target=serve)
    thread.start()
    with closing(alone(f"http://127.0.0.1:{listener.getsockname()[1]}")) as transport:
        assert transport.send(bytes(15 << 20)).status == 413
    thread.join(10)
    listener.close()


def test_nobody_at_the_endpoint_is_a_fault_of_which_nothing_was_sent() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        gone = server.url
    expected = rf"^Could not connect to 127.0.0.1:{server.port} \(Connection refused\)\.$"
    with closing(alone(gone)) as transport, pytest.raises(ConnectionFault, match=expected) as caught:
        transport.send(BODY)
    assert not caught.value.sent


def test_an_address_that_cannot_be_is_a_fault_of_which_nothing_was_sent() -> None:
    target = replace(target_at("http://127.0.0.1:1"), host="x" * 70)
    with (
        closing(FastTransport(target, KEYS, Fallback(no_other, no_other))) as transport,
        pytest.raises(ConnectionFault, match=r"^Could not find the address of x{70} \(.+\)\.$") as caught,
    ):
        transport.send(BODY)
    assert not caught.value.sent


def test_a_server_that_takes_no_connection_is_not_waited_for() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    # The backlog takes a few more than it is told.
    waiting = [socket.socket() for _ in range(4)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(listener.getsockname())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    expected = r"^Could not connect to 127.0.0.1:\d+ within 0.3 seconds\.$"
    with (
        closing(alone(url, connect_timeout=0.3)) as transport,
        pytest.raises(ConnectionFault, match=expected) as caught,
    ):
        transport.send(BODY)
    for each in (*waiting, listener):
        each.close()
    assert not caught.value.sent


# --- boto3 behind -----------------------------------------------------------------------------------


def only_boto3_gets_through(request: Request) -> bytes:
    return SUCCESS if by_boto3(request) else HANG_UP


def test_where_only_boto3_gets_through_everything_goes_through_it(caplog: pytest.LogCaptureFixture) -> None:
    with raw_server(only_boto3_gets_through) as server, closing(fast(server.url)) as transport:
        for _ in range(STRIKES):
            assert not caplog.records
            with pytest.raises(ConnectionFault):
                transport.send(BODY)
            assert transport.send(BODY).status == 200
        for _ in range(3):
            assert transport.send(BODY).status == 200
        assert [by_boto3(request) for request in server.requests] == [False, True] * STRIKES + [True] * 3
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "from now on batches go through boto3" in warning.getMessage()
    assert f"127.0.0.1:{server.port}" in warning.getMessage()


@pytest.mark.parametrize("between", ["an answer", "a fault of boto3 too"])
def test_faults_that_are_not_in_a_row_do_not_give_the_fast_path_up(between: str) -> None:
    rescued = [HANG_UP, SUCCESS]
    breath = [SUCCESS] if between == "an answer" else [HANG_UP, HANG_UP]
    answers = (rescued * (STRIKES - 1) + breath) * 3
    given = iter([*answers, SUCCESS])
    with raw_server(lambda request: next(given)) as server, closing(fast(server.url)) as transport:
        for answer in answers:
            if answer == HANG_UP:
                with pytest.raises(ConnectionFault):
                    transport.send(BODY)
            else:
                transport.send(BODY)
        transport.send(BODY)
        assert not by_boto3(server.requests[-1])


def test_many_threads_that_lose_their_connections_at_once_do_not_give_the_fast_path_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    together = threading.Barrier(8)
    broken = threading.Event()

    def answer(request: Request) -> bytes:
        if by_boto3(request) or not broken.is_set():
            return SUCCESS
        together.wait(10)
        return RESET

    def send(_: int) -> str:
        try:
            return str(transport.send(BODY).status)
        except ConnectionFault:
            # The next try of all is behind this one.
            together.wait(10)
            return "fault"

    with (
        raw_server(answer) as server,
        closing(fast(server.url)) as transport,
        ThreadPoolExecutor(8, initializer=together.wait) as pool,
    ):
        broken.set()
        assert list(pool.map(send, range(8))) == ["fault"] * 8
        broken.clear()
        assert list(pool.map(send, range(40))) == ["200"] * 40
        assert sum(map(by_boto3, server.requests)) <= 8
        before = len(server.requests)
        for _ in range(20):
            transport.send(BODY)
        assert not all(map(by_boto3, server.requests[before:]))
    assert not [record for record in caplog.records if record.name.startswith("loader")]


def test_a_service_that_is_away_for_both_does_not_give_the_fast_path_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with raw_server(lambda request: HANG_UP if away else SUCCESS) as server:
        away = True
        with closing(fast(server.url)) as transport:
            for _ in range(4 * STRIKES):
                with pytest.raises(ConnectionFault):
                    transport.send(BODY)
            away = False
            assert transport.send(BODY).status == 200
            assert not by_boto3(server.requests[-1])
    assert not caplog.records


def test_half_a_reply_to_boto3_is_nothing_in_its_favour(caplog: pytest.LogCaptureFixture) -> None:
    cut = http_reply(200, WHOLE[:-1], length=len(WHOLE))
    with raw_server(lambda request: cut) as server, closing(fast(server.url)) as transport:
        for _ in range(2 * STRIKES):
            with pytest.raises(ConnectionFault):
                transport.send(BODY)
            assert isinstance(read_reply(transport.send(BODY), "cities"), Transient)
    assert not caplog.records


def test_the_client_behind_is_made_once_and_has_the_newest_credentials() -> None:
    made = []
    with raw_server(only_boto3_gets_through) as server:

        def client(keys: Credentials) -> Any:
            made.append(keys)
            return factory(server.url, keys).transport("cities")

        with closing(fast(server.url, fallback=Fallback(client, no_other))) as transport:
            transport.use(Credentials("second", "s"))
            for _ in range(2):
                with pytest.raises(ConnectionFault):
                    transport.send(BODY)
                transport.send(BODY)
                transport.use(Credentials("third", "s"))
        keys = [request.access_key for request in server.requests]
    assert made == [Credentials("second", "s")]
    assert keys == ["second", "second", "third", "third"]


def test_credentials_of_another_account_go_to_its_own_address() -> None:
    with raw_server(lambda request: SUCCESS) as first, raw_server(lambda request: SUCCESS) as second:
        asked = []

        def other_target(keys: Credentials) -> Target:
            asked.append(keys.account_id)
            return target_at(second.url, keys)

        keys = Credentials("a", "s", None, "111122223333")
        with closing(fast(first.url, keys, fallback=Fallback(no_other, other_target))) as transport:
            transport.send(BODY)
            transport.use(Credentials("b", "s", None, "111122223333"))
            transport.send(BODY)
            transport.use(Credentials("c", "s", None, "444455556666"))
            transport.send(BODY)
            _wait_until(lambda: not _open_to(first.port))
        assert [request.access_key for request in first.requests] == ["a", "b"]
        assert [request.access_key for request in second.requests] == ["c"]
    assert asked == ["444455556666"]


def test_a_worker_that_starts_with_credentials_of_another_account_asks_first() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        target = target_at(server.url, Credentials("a", "s", None, "111122223333"))
        other = replace(target, port=1)
        fallback = Fallback(no_other, lambda keys: target_at(server.url, keys))
        with closing(FastTransport(other, Credentials("b", "s"), fallback)) as transport:
            assert transport.send(BODY).status == 200


def test_a_factory_finds_the_address_of_another_account_by_itself() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        made = replace(factory(server.url), target=target_at(server.url))
        with closing(made.transport("cities")) as transport:
            transport.use(Credentials("b", "s", None, "111122223333"))
            transport.send(BODY)
        (request,) = server.requests
    assert (request.access_key, by_boto3(request)) == ("b", False)


@pytest.mark.parametrize("how", ["none", "bad"])
def test_where_the_new_account_cannot_be_reached_fast_boto3_goes_on(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with raw_server(lambda request: SUCCESS) as server:

        def other_target(keys: Credentials) -> Target | None:
            return None if how == "none" else replace(target_at(server.url, keys), ca_file="/no/such.pem")

        client = Fallback(lambda keys: factory(server.url, keys).transport("cities"), other_target)
        with closing(fast(server.url, fallback=client)) as transport:
            transport.send(BODY)
            transport.use(Credentials("b", "s", None, "444455556666"))
            transport.send(BODY)
        assert [by_boto3(request) for request in server.requests] == [False, True]
        assert [request.access_key for request in server.requests] == ["handedDown", "b"]
    told = [record.getMessage() for record in caplog.records]
    if how == "bad":
        assert (
            len(told) == 1 and told[0].startswith("Batches go through boto3:") and "/no/such.pem" in told[0]
        )


# --- a server that knows DynamoDB ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        running.create_table("cities", "id:S")
        yield running


@pytest.mark.parametrize("way", ["fast", "boto3"])
@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        (FaultPlan(), Written),
        (FaultPlan(unprocessed_share=1), Written),
        (FaultPlan(throttle_share=1), Throttled),
        (FaultPlan(throttle_share=1, throttle_code="ThrottlingException"), Throttled),
        (FaultPlan(error500_share=1), Transient),
        (FaultPlan(error503_html_share=1), Transient),
        (FaultPlan(reset_before_share=1), ConnectionFault),
        (FaultPlan(reset_after_share=1), ConnectionFault),
        # botocore hands over what came of it.
        (FaultPlan(cut_reply_share=1, cut_reply_how="length"), {"fast": ConnectionFault, "boto3": Transient}),
        (FaultPlan(cut_reply_share=1, cut_reply_how="close"), Transient),
        (FaultPlan(cut_reply_share=1, cut_reply_how="short"), Transient),
        (FaultPlan(empty200_share=1), Transient),
        (FaultPlan(html200_share=1), Transient),
        (FaultPlan(wrong_crc_share=1), Transient),
    ],
    ids=lambda value: (
        str(sorted(k for k, v in value.shares() if v)) if isinstance(value, FaultPlan) else None
    ),
)
def test_every_fault_of_the_server_is_told_apart(
    plan: FaultPlan, kind: type | dict[str, type], way: str, server: Server
) -> None:
    server.set_faults(plan)
    items = [b'{"id":{"S":"%d"}}' % number for number in range(25)]
    transport = (
        alone(server.endpoint, credentials=KNOWN)
        if way == "fast"
        else factory(server.endpoint, KNOWN).transport()
    )
    with closing(transport):
        try:
            answer: object = read_reply(
                transport.send(request_body("cities", items, per_index=True)), "cities"
            )
        except ConnectionFault as fault:
            answer = fault
    assert isinstance(answer, kind[way] if isinstance(kind, dict) else kind)
    if isinstance(answer, Written):
        assert bool(answer.unprocessed) == (plan.unprocessed_share > 0)
        assert answer.write_units == 25 - len(answer.unprocessed)
    if isinstance(answer, Throttled):
        assert [resource.rpartition("/")[2] for _, resource in answer.reasons] == ["cities"]


def test_the_server_compares_signatures(server: Server) -> None:
    server.set_faults(FaultPlan())

    def judged(keys: Credentials) -> object:
        replies: list[Reply] = []
        with closing(alone(server.endpoint, credentials=keys)) as transport:
            replies.append(transport.send(BODY))
        with closing(factory(server.endpoint, keys).transport()) as transport:
            replies.append(transport.send(BODY))
        one, other = (read_reply(reply, "cities") for reply in replies)
        assert type(one) is type(other)
        return one

    assert isinstance(judged(KNOWN), Written)
    assert isinstance(judged(replace(KNOWN, token="session")), Written)
    refused = judged(replace(KNOWN, secret_key="another"))
    assert isinstance(refused, Halt) and refused.code == "InvalidSignatureException"


def test_moto_closes_every_connection_and_is_understood(moto: str) -> None:
    with closing(alone(moto)) as transport:
        for _ in range(3):
            reply = transport.send(BODY)
            assert reply.status == 400 and b"ResourceNotFoundException" in reply.body


# --------------------------------------------------------------------------------------------------------


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _open_to(port: int) -> list[str]:
    """This process's own connections to `port` that are established, as the kernel lists them."""
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]
