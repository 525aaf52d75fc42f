"""HTTP/1.1 as far as an AWS client needs it: keep-alive, and bodies of a given length."""

import asyncio
import socket
import struct
import time
import zlib
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from itertools import count
from typing import Protocol

from tests.server.faults import Cut
from tests.server.limits import BODY_LIMIT
from tests.server.message import Reply, Request
from tests.server.service import answer
from tests.server.state import State

_HEAD_LIMIT = 64 << 10
_LINGER_NOT = struct.pack("ii", 1, 0)
_request_numbers = count(1)
_phrases = {status.value: status.phrase for status in HTTPStatus}


class BadRequest(Exception):
    """What came in is not HTTP as this server reads it."""


class Host(Protocol):
    """What a connection belongs to."""

    def joined(self, connection: "Connection") -> None: ...

    def left(self, connection: "Connection") -> None: ...

    def go_dark(self, seconds: float, spared: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One client connection; its requests are answered one after the other."""

    def __init__(self, state: State, host: Host) -> None:
        self._state = state
        self._host = host
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._awaited = 0
        self._dropped = 0
        self._replying = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._state.stats.connections += 1
        self._state.stats.connections_open += 1
        self._host.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.stats.connections_open -= 1
        self._host.left(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._replying:
            self._proceed()

    def _proceed(self) -> None:
        """Answer every request that is complete, up to one whose reply is held back."""
        try:
            while not self._replying and not self._transport.is_closing():
                request = self._next_request()
                if request is None:
                    return
                self._reply(request, answer(self._state, request))
        except BadRequest as error:
            self._state.stats.violation(f"bad HTTP: {error}")
            reply = Reply(400, str(error).encode(), "text/plain", signed=False)
            self._transport.write(render(reply, keep_alive=False))
            self._transport.close()

    def _next_request(self) -> Request | None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    raise BadRequest("the head is over 64 KiB")
                return None
            self._head = parse_head(self._buffer[:end])
            del self._buffer[: end + 4]
            self._awaited = content_length(self._head[2])
            self._dropped = 0
        if self._awaited > BODY_LIMIT:
            taken = min(len(self._buffer), self._awaited - self._dropped)
            del self._buffer[:taken]
            self._dropped += taken
            if self._dropped < self._awaited:
                return None
            body = b""
        else:
            if len(self._buffer) < self._awaited:
                return None
            body = bytes(self._buffer[: self._awaited])
            del self._buffer[: self._awaited]
        method, path, headers = self._head
        self._head = None
        return Request(method, path, headers, body, self._awaited)

    def _reply(self, request: Request, reply: Reply) -> None:
        keep_alive = request.headers.get("connection", "").lower() != "close"
        if reply.delay:
            self._replying = True
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(reply.delay, self._reply_late, reply, keep_alive)
        else:
            self._send(reply, keep_alive)

    def _reply_late(self, reply: Reply, keep_alive: bool) -> None:
        self._replying = False
        self._send(reply, keep_alive)
        self._proceed()

    def _send(self, reply: Reply, keep_alive: bool) -> None:
        if self._transport.is_closing():
            return
        if reply.reset:
            self.reset()
            return
        if reply.outage:
            keep_alive = False
        self._transport.write(render(reply, keep_alive))
        if reply.outage:
            # Before this connection is closed: who reads to its end knows that the outage has begun.
            self._host.go_dark(reply.outage, self)
        if not keep_alive or reply.cut in (Cut.LENGTH, Cut.CLOSE):
            self._transport.close()

    def reset(self) -> None:
        # With no time to linger, closing a socket sends RST in place of FIN.
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._transport.abort()


def parse_head(head: bytes | bytearray) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers (names in lower case); BadRequest for anything but HTTP/1.1."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        raise BadRequest(f"request line {lines[0][:100]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(f"header line {line[:100]!r}")
        headers[name.lower()] = value.strip()
    return words[0], words[1], headers


def content_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest("Transfer-Encoding is not supported, send Content-Length")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadRequest(f"Content-Length {text[:100]!r}")
    return int(text)


def render(reply: Reply, keep_alive: bool) -> bytes:
    """The bytes of a reply, or those of them that are sent where it is cut."""
    body = reply.body
    lines = [f"HTTP/1.1 {reply.status} {_phrases.get(reply.status, '')}"]
    if reply.signed:
        crc = zlib.crc32(body) if reply.crc is None else reply.crc
        lines += [f"x-amzn-requestid: {next(_request_numbers):052X}", f"x-amz-crc32: {crc}", "Server: Server"]
    lines += [f"Date: {_date(int(time.time()))}", f"Content-Type: {reply.content_type}"]
    half = body[: len(body) // 2] if reply.cut else body
    if reply.cut is not Cut.CLOSE:
        lines.append(f"Content-Length: {len(body if reply.cut is Cut.LENGTH else half)}")
    closing = not keep_alive or reply.cut is Cut.CLOSE
    lines += [f"Connection: {'close' if closing else 'keep-alive'}", "", ""]
    return "\r\n".join(lines).encode() + half


_last_date = (0, "")


def _date(now: int) -> str:
    global _last_date
    if _last_date[0] != now:
        _last_date = (now, formatdate(now, usegmt=True))
    return _last_date[1]
