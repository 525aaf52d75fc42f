"""Requests that are answered, or stall, before they left whole."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from loader.edges.connections import Connections
from loader.errors import ConnectionFault
from tests.certificates import Authority
from tests.functional.raw_server import json_reply, raw_server
from tests.functional.test_connections import HEAD, connected
from tests.functional.test_fast import SUCCESS

LARGE = b"x" * (16 << 20)
EARLY = r"cannot be used: it came before the whole request was sent\.$"


def read_to_the_end(opened: socket.socket, size: int) -> None:
    # A connection that is given up in the middle of a request ends with a reset.
    with suppress(ConnectionResetError):
        while size > 0 and (data := opened.recv(1 << 20)):
            size -= len(data)


def answers_early(reply: bytes, over: threading.Event) -> Callable[[socket.socket], None]:
    """A server that answers the beginning of a request, and then takes the rest of it as if nothing were."""

    def talk(opened: socket.socket) -> None:
        opened.recv(1000)
        opened.sendall(reply)
        time.sleep(0.2)
        read_to_the_end(opened, len(LARGE) + len(HEAD) - 1000)
        over.wait(10)

    return talk


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_success_before_the_end_of_the_request_is_none_even_where_all_is_taken(interim: bytes) -> None:
    over = threading.Event()
    with connected(answers_early(interim + SUCCESS, over)) as to_server:
        try:
            with pytest.raises(ConnectionFault, match=EARLY) as caught:
                to_server.exchange(HEAD % len(LARGE), LARGE)
        finally:
            over.set()
        assert caught.value.sent
        assert not to_server._idle


def test_a_refusal_before_the_end_of_the_request_is_taken_and_its_connection_is_not_kept() -> None:
    over = threading.Event()
    with connected(answers_early(json_reply(413, {}), over)) as to_server:
        try:
            assert to_server.exchange(HEAD % len(LARGE), LARGE).status == 413
        finally:
            over.set()
        assert not to_server._idle


def test_an_interim_reply_before_the_end_of_the_request_is_no_reply_yet() -> None:
    request = HEAD % len(LARGE)

    def talk(opened: socket.socket) -> None:
        received = len(opened.recv(1000))
        opened.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.2)
        read_to_the_end(opened, len(request) + len(LARGE) - received)
        opened.sendall(SUCCESS)

    with connected(talk) as to_server:
        assert to_server.exchange(request, LARGE).status == 200
        assert len(to_server._idle) == 1


def test_a_refusal_in_two_pieces_before_the_end_of_the_request_is_read_whole() -> None:
    reply = json_reply(413, {"because": "it is too large"})

    def talk(opened: socket.socket) -> None:
        opened.recv(1000)
        opened.sendall(reply[:40])
        time.sleep(0.2)
        read_to_the_end(opened, 1 << 20)
        opened.sendall(reply[40:])
        read_to_the_end(opened, len(LARGE))

    with connected(talk) as to_server:
        assert to_server.exchange(HEAD % len(LARGE), LARGE).body == b'{"because":"it is too large"}'


def test_under_tls_a_success_before_the_end_of_the_request_is_none(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    context = authority.server_context("127.0.0.1")
    over = threading.Event()

    def talk(opened: socket.socket) -> None:
        with context.wrap_socket(opened, server_side=True) as secured:
            answers_early(SUCCESS, over)(secured)

    with connected(talk) as plain:
        to_server = Connections("127.0.0.1", plain._port, str(authority.path))
        try:
            with pytest.raises(ConnectionFault, match=EARLY):
                to_server.exchange(HEAD % len(LARGE), LARGE)
        finally:
            over.set()
        assert not to_server._idle


def test_under_tls_what_is_no_reply_comes_early_without_harm(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """TLS 1.3 sends tickets behind the handshake."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with raw_server(lambda request: SUCCESS, authority.server_context("127.0.0.1")) as server:
        to_server = Connections("127.0.0.1", server.port, str(authority.path))
        for _ in range(2):
            assert to_server.exchange(HEAD % len(LARGE), LARGE).status == 200
        assert server.accepted == 1
        to_server.close()


def test_a_server_that_stops_reading_is_told_as_such() -> None:
    over = threading.Event()

    def talk(opened: socket.socket) -> None:
        over.wait(10)

    with connected(talk, read_timeout=0.3) as to_server:
        expected = r"^127\.0\.0\.1:\d+ took nothing more of the request for 0\.3 seconds\.$"
        try:
            with pytest.raises(ConnectionFault, match=expected) as caught:
                to_server.exchange(HEAD % len(LARGE), LARGE)
        finally:
            over.set()
        assert caught.value.sent


def test_a_server_that_reads_ever_so_slowly_is_given_up() -> None:
    over = threading.Event()

    def talk(opened: socket.socket) -> None:
        while not over.wait(0.05) and opened.recv(200 << 10):
            pass

    began = time.monotonic()
    with connected(talk, read_timeout=0.2) as to_server:
        expected = r"^127\.0\.0\.1:\d+ had not taken the whole request after 0\.8 seconds\.$"
        try:
            with pytest.raises(ConnectionFault, match=expected):
                to_server.exchange(HEAD % (64 << 20), b"x" * (64 << 20))
        finally:
            over.set()
    assert 0.7 < time.monotonic() - began < 5
