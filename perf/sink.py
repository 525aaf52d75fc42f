"""
A server that takes batches and remembers only their sum: cheaper than any client that is measured against it.

    python -m perf.sink [--port 0] [--tls FILE]

Prints its port. Answers DescribeTable and BatchWriteItem, the latter after a latency that is set by
`POST /reset?latency_ms=10`; `GET /stats` tells what came since. One thread, one epoll, replies made before.
"""

import argparse
import json
import re
import select
import socket
import ssl
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import orjson
import xxhash

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_BETWEEN = b'}},{"PutRequest":{"Item":'
_COMPACT = re.compile(rb'\{"RequestItems":\{"[^"]*":\[\{"PutRequest":\{"Item":')
_END = re.compile(rb'\}\}\]\}(?:,"ReturnConsumedCapacity":"[A-Z]+")?\}\Z')
_SUM = (1 << 64) - 1
_PIECE = 1 << 18
_KEPT = b"Connection: keep-alive\r\nx-amzn-RequestId: " + b"A1B2C3D4E5F6" * 4 + b"ABCD\r\n"


def reply(body: bytes, kind: bytes = b"application/x-amz-json-1.0") -> bytes:
    """With the headers that DynamoDB sends."""
    return (
        b"HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: %b\r\n"
        b"Content-Length: %d\r\n%bx-amz-crc32: %d\r\n\r\n%b"
    ) % (kind, len(body), _KEPT, zlib.crc32(body), body)


def items_of(body: bytes) -> list[bytes]:
    """The items of a BatchWriteItem, each as compact JSON with its attributes in the order sent."""
    begin, end = _COMPACT.match(body), _END.search(body, len(body) - 64)
    # One byte is looked for first, since that is ten times as quick.
    escapes = b"\\" in body and b"\\u" in body
    if begin and end and not escapes:
        # As orjson would spell it. Within a string quotes are escaped, so only items are separated like this.
        return body[begin.end() : end.start()].split(_BETWEEN)
    (requests,) = orjson.loads(body)["RequestItems"].values()
    return [orjson.dumps(request["PutRequest"]["Item"]) for request in requests]


def checksum(items: list[bytes]) -> int:
    """The same in whatever order they come."""
    return sum(map(xxhash.xxh3_64_intdigest, items))


_WRITTEN = [
    reply(b'{"ConsumedCapacity":[{"CapacityUnits":%d.0,"TableName":"t"}],"UnprocessedItems":{}}' % count)
    for count in range(26)
]
_WRITTEN_SILENTLY = reply(b'{"UnprocessedItems":{}}')
_TABLE = {
    "TableId": "00000000-0000-0000-0000-000000000000",
    "TableStatus": "ACTIVE",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    "CreationDateTime": 1767225600.0,
    "ItemCount": 0,
}


@dataclass(slots=True)
class Stats:
    """What came since the last reset; times are unix seconds, `cpu` seconds of the sink's own."""

    items: int = 0
    requests: int = 0
    checksum: int = 0
    first: float = 0.0
    last: float = 0.0
    cpu_before: float = field(default_factory=time.process_time)

    def add(self, items: list[bytes]) -> None:
        self.last = time.time()
        self.first = self.first or self.last
        self.requests += 1
        self.items += len(items)
        self.checksum = (self.checksum + checksum(items)) & _SUM

    def told(self) -> bytes:
        return json.dumps(
            {
                "items": self.items,
                "requests": self.requests,
                "checksum": self.checksum,
                "first": self.first,
                "last": self.last,
                "cpu": time.process_time() - self.cpu_before,
            }
        ).encode()


class _Connection:
    __slots__ = ("missing", "pieces", "socket")

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.pieces: list[bytes] = []
        # Bytes of the request still to come; 0 while its head is not whole.
        self.missing = 0


class Sink:
    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._tls = tls
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._open: dict[int, _Connection] = {}
        # The latency is the same for all, so what is due first stands first.
        self._due: deque[tuple[float, _Connection, bytes]] = deque()
        self._latency = 0.0
        self._stats = Stats()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def serve(self) -> None:
        listener, poll, due = self._listener.fileno(), self._epoll.poll, self._due
        watched = self._epoll.fileno()
        while True:
            if due:
                # An epoll waits for whole milliseconds, rounded up; select on it for microseconds.
                select.select([watched], [], [], max(0.0, due[0][0] - time.monotonic()))
            for number, _ in poll(0 if due else None):
                if number == listener:
                    self._accept()
                else:
                    self._read(self._open[number])
            now = time.monotonic()
            while due and due[0][0] <= now:
                _, connection, answer = due.popleft()
                self._send(connection, answer)

    def _accept(self) -> None:
        opened, _ = self._listener.accept()
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        if self._tls is not None:
            # The handshake is made by the first reads: nobody waits for a client that is slow at it.
            opened = self._tls.wrap_socket(opened, server_side=True, do_handshake_on_connect=False)
        self._open[opened.fileno()] = _Connection(opened)
        self._epoll.register(opened, select.EPOLLIN)

    def _read(self, connection: _Connection) -> None:
        # TLS may hold more than the socket shows: that is read until there is none.
        more = True
        while more:
            try:
                data = connection.socket.recv(_PIECE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                data = b""
            if not data:
                self._close(connection)
                return
            self._take(connection, data)
            more = self._tls is not None and connection.socket.fileno() >= 0

    def _take(self, connection: _Connection, data: bytes) -> None:
        connection.pieces.append(data)
        if connection.missing:
            connection.missing -= len(data)
        else:
            request = b"".join(connection.pieces)
            connection.pieces = [request]
            end = request.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(request, 0, end)
            connection.missing = end + 4 + (int(length[1]) if length else 0) - len(request)
        if connection.missing <= 0:
            request = b"".join(connection.pieces)
            connection.pieces, connection.missing = [], 0
            self._answer(connection, request)

    def _answer(self, connection: _Connection, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        if b".BatchWriteItem" in head:
            items = items_of(body)
            self._stats.add(items)
            answer = _WRITTEN[len(items)] if b'"ReturnConsumedCapacity"' in body[-64:] else _WRITTEN_SILENTLY
            if self._latency:
                self._due.append((time.monotonic() + self._latency, connection, answer))
                return
        elif b".DescribeTable" in head:
            name = orjson.loads(body)["TableName"]
            arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}"
            answer = reply(orjson.dumps({"Table": {"TableName": name, "TableArn": arn, **_TABLE}}))
        else:
            answer = reply(self._control(head.split(b" ", 2)[1].decode()), b"application/json")
        self._send(connection, answer)

    def _control(self, target: str) -> bytes:
        address = urlsplit(target)
        if address.path == "/reset":
            self._latency = float(parse_qs(address.query).get("latency_ms", ["0"])[0]) / 1000
            self._stats = Stats()
        return self._stats.told()

    def _send(self, connection: _Connection, answer: bytes) -> None:
        try:
            connection.socket.sendall(answer)
        except OSError:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        number = connection.socket.fileno()
        if number >= 0:
            del self._open[number]
            self._epoll.unregister(number)
            connection.socket.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.sink", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", metavar="FILE", help="with its key and certificate")
    asked = parser.parse_args()
    tls = None
    if asked.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(asked.tls)
    sink = Sink(asked.port, tls)
    print(sink.port, flush=True)
    sink.serve()


if __name__ == "__main__":
    main()
