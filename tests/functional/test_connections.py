"""Kept-alive connections that turn out to be no good, and replies that come at the wrong moment."""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from loader.decisions.standing import STRIKES
from loader.edges import connections
from loader.edges.clients import Credentials
from loader.edges.connections import Connections, StaleConnection
from loader.edges.fast import Fallback
from loader.errors import ConnectionFault, Fatal
from tests.functional.raw_server import HANG_UP, RESET, Request, json_reply, raw_server
from tests.functional.test_fast import BODY, SUCCESS, alone, by_boto3, fast, no_other

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@contextmanager
def connected(talk: Callable[[socket.socket], None], **options: float) -> Iterator[Connections]:
    """Connections to a server that deals with each in its own way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    opened, _ = listener.accept()
                except OSError:
                    return
                with opened:
                    talk(opened)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with closing(Connections("127.0.0.1", listener.getsockname()[1], None, **options)) as found:
                yield found
        finally:
            # Wakes accept(), which close() does not.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("way", [HANG_UP, RESET])
def test_connections_that_went_stale_together_cost_one_fault(
    way: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a gateway has forgotten all flows that lay idle."""
    together = threading.Barrier(2 * STRIKES)
    known: set[threading.Thread] = set()
    stale = False

    def answer(request: Request) -> bytes:
        if stale and threading.current_thread() in known:
            return way
        if not stale:
            known.add(threading.current_thread())
            together.wait(10)
        return SUCCESS

    with raw_server(answer) as server, closing(alone(server.url)) as transport:
        with ThreadPoolExecutor(2 * STRIKES) as pool:
            list(pool.map(transport.send, [BODY] * 2 * STRIKES))
        assert len(known) == 2 * STRIKES
        stale = True
        with pytest.raises(StaleConnection) as caught:
            transport.send(BODY)
        assert caught.value.sent
        for _ in range(10):
            assert transport.send(BODY).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_connections_that_lay_idle_too_long_are_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
    with raw_server(lambda request: SUCCESS) as server, closing(alone(server.url)) as transport:
        transport.send(BODY)
        transport.send(BODY)
        assert server.accepted == 1
        time.sleep(0.1)
        transport.send(BODY)
        assert server.accepted == 2


def test_idle_connections_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
    together = threading.Barrier(5)
    first = [True]

    def answer(request: Request) -> bytes:
        if first[0]:
            together.wait(10)
        return SUCCESS

    with raw_server(answer) as server, closing(alone(server.url)) as transport:
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(transport.send, [BODY] * 5))
        first[0] = False
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            transport.send(BODY)
        route = transport._route
        assert route is not None
        assert len(route.connections._idle) == 1


def test_a_client_that_cannot_be_made_is_no_reason_to_end_a_load(caplog: pytest.LogCaptureFixture) -> None:
    def none(_: Credentials) -> Any:
        raise Fatal("Too many open files.")

    answers = iter([HANG_UP, SUCCESS, HANG_UP, SUCCESS])
    with raw_server(lambda request: next(answers)) as server:
        with closing(fast(server.url, fallback=Fallback(none, no_other))) as transport:
            for _ in range(2):
                with pytest.raises(ConnectionFault):
                    transport.send(BODY)
                assert transport.send(BODY).status == 200
        assert not any(map(by_boto3, server.requests))
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "Too many open files" in warning.getMessage()


def test_a_fault_is_the_business_of_the_thread_that_had_it() -> None:
    answers = iter([HANG_UP, SUCCESS])
    with raw_server(lambda request: next(answers)) as server, closing(alone(server.url)) as transport:
        with ThreadPoolExecutor(1) as pool, pytest.raises(ConnectionFault):
            pool.submit(transport.send, BODY).result()
        # Threads' numbers are used again.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(transport.send, BODY).result().status == 200


def test_a_success_that_comes_before_the_whole_request_left_is_none() -> None:
    def talk(opened: socket.socket) -> None:
        opened.recv(1000)
        opened.sendall(SUCCESS)

    body = b"x" * (16 << 20)
    with connected(talk) as to_server:
        with pytest.raises(ConnectionFault) as caught:
            to_server.exchange(HEAD % len(body), body)
        assert caught.value.sent


def test_a_refusal_that_comes_before_the_whole_request_left_is_one() -> None:
    def talk(opened: socket.socket) -> None:
        opened.recv(1000)
        opened.sendall(json_reply(413, {}))
        opened.shutdown(socket.SHUT_WR)
        # It is read by the other side before the connection breaks.
        time.sleep(0.2)

    body = b"x" * (16 << 20)
    with connected(talk) as to_server:
        try:
            reply = to_server.exchange(HEAD % len(body), body)
        except ConnectionFault as fault:
            # The system may throw away what came when the connection breaks.
            assert fault.sent
        else:
            assert reply.status == 413
        assert not to_server._idle


def test_a_reply_that_trickles_in_for_ever_is_given_up() -> None:
    def talk(opened: socket.socket) -> None:
        opened.recv(1000)
        try:
            for number in SUCCESS:
                opened.sendall(bytes([number]))
                time.sleep(0.05)
        except OSError:
            return

    began = time.monotonic()
    with connected(talk, read_timeout=0.2) as to_server:
        with pytest.raises(ConnectionFault, match=r"not whole after 0\.8 seconds"):
            to_server.exchange(HEAD % 2, b"{}")
        assert 0.7 < time.monotonic() - began < 3


class Taken(deque[Any]):
    """A stack of which another thread takes at once what is put on it."""

    def append(self, item: Any) -> None:
        self.took = item


def test_another_thread_may_take_at_once_what_is_given_back() -> None:
    with raw_server(lambda request: SUCCESS) as server, closing(alone(server.url)) as transport:
        route = transport._route
        assert route is not None
        taken = route.connections._idle = Taken()
        assert transport.send(BODY).status == 200
        taken.took[0].close()
