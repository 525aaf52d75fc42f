"""A server on loopback that answers each HTTP request with bytes of the test's choosing, or does worse."""

import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import orjson


@dataclass(frozen=True, slots=True)
class Request:
    """`line` is the request line; header names are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def access_key(self) -> str:
        """Who signed it."""
        return self.headers["authorization"].partition("Credential=")[2].partition("/")[0]


RESET = b"reset"
HANG_UP = b"hang up"
STALL = b"stall"

Answer = Callable[[Request], bytes]
"""The whole reply, head included, or one of the above; after what has no length the server hangs up."""


def http_reply(status: int, body: bytes, length: int | None = None, **headers: str) -> bytes:
    """A reply that announces `length` bytes, by default those it has, and its checksum if `crc="right"`."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    if headers.pop("crc", None):
        lines.append(f"x-amz-crc32: {zlib.crc32(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_reply(status: int, members: object) -> bytes:
    return http_reply(status, orjson.dumps(members), crc="right", content_type="application/x-amz-json-1.0")


def error_reply(code: str, message: str = "because", status: int = 400) -> bytes:
    return json_reply(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})


class RawServer:
    """What it was asked is in `requests`; `accepted` counts connections. With `tls` it speaks HTTPS."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.accepted = 0
        self._tls = tls
        self._answer = answer
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._start(self._accept)

    def drop_connections(self) -> None:
        """As a server does with those that were idle for long."""
        with self._lock:
            connections, self._connections = self._connections, []
        for each in connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._stopping.set()
        # Closing alone does not wake whoever waits in accept or recv.
        with self._lock:
            sockets = [self._listener, *self._connections]
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in sockets:
            each.close()

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._start(self._serve_one, connection)

    def _serve_one(self, connection: socket.socket) -> None:
        if self._tls is not None:
            connection.settimeout(5)
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with self._lock:
            self._connections.append(connection)
        self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, suppress(OSError):
            while (request := _read_request(stream)) is not None:
                with self._lock:
                    self.requests.append(request)
                answer = self._answer(request)
                if answer == STALL:
                    self._stopping.wait(30)
                    return
                if answer == RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if answer in (RESET, HANG_UP):
                    return
                connection.sendall(answer)
                if not _is_whole(answer):
                    return


def _read_request(stream: BinaryIO) -> Request | None:
    line = stream.readline().decode().strip()
    if not line:
        return None
    headers = {}
    while header := stream.readline().decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Request(line, headers, stream.read(int(headers.get("content-length", 0))))


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 1"):
        return _is_whole(body)
    if b"chunked" in head:
        return b"\r\n0\r\n" in body and body.endswith(b"\r\n\r\n")
    return f"Content-Length: {len(body)}".encode() in head


@contextmanager
def raw_server(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    server = RawServer(answer, tls)
    try:
        yield server
    finally:
        server.stop()
