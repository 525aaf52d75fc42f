"""
HTTP/1.1 without a connection: the head of a request out, the bytes of a reply in.

Whatever leaves in doubt where a reply ends, or whether it is whole, is a MalformedReply: that is the line
between what the service said and what became of it on the way.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from loader.decisions.wire import Reply

MAX_HEAD = 64 << 10
MAX_BODY = 64 << 20
"""A reply can hand back a whole request, 16 MiB, in a longer spelling."""

_END_OF_HEAD = b"\r\n\r\n"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?")
_NO_LINE_OF_ITS_OWN = re.compile(r"[\r\n\0]")
# Instead of a length: it comes in chunks, or goes on to the end of the connection.
_CHUNKED, _OPEN = -1, -2
_QUOTED = 60


class MalformedReply(Exception):
    """What came is not one whole reply. The message goes on from "the reply cannot be used: "."""


def request_start(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """
    Request line and header lines, each with its CRLF: the head but for its end. Raises ValueError for what
    would not stay in its line.
    """
    for text in (method, path, *headers, *headers.values()):
        if _NO_LINE_OF_ITS_OWN.search(text):
            raise ValueError(f"a line end within {text!r}")
    lines = (f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "")
    return "\r\n".join(lines).encode()


class _Body(Protocol):
    """Takes a body in pieces: True when it is whole. `content` is what came of it."""

    def feed(self, data: bytes) -> bool: ...
    def end(self) -> None:
        """No more will come. Raises MalformedReply where the body is not whole."""

    def content(self) -> bytes: ...


class ReplyReader:
    """
    Reads one reply, fed in pieces of any size. Whoever gets its Reply looks at `keeps` then.

    `keeps`: the connection can be used for another request.
    """

    def __init__(self) -> None:
        self.keeps = False
        self._start = b""
        self._skipped = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: _Body | None = None

    @property
    def began(self) -> bool:
        """Something of a reply came."""
        return bool(self._start or self._skipped or self._status)

    @property
    def answered(self) -> bool:
        """The head of a reply came, and not of an interim one alone."""
        return self._status >= 200

    def feed(self, data: bytes) -> Reply | None:
        """The reply once it is whole. Raises MalformedReply."""
        if self._body is not None:
            return self._reply(self._body.content()) if self._body.feed(data) else None
        if self._start:
            data = self._start + data
        while True:
            end = data.find(_END_OF_HEAD)
            if end < 0:
                _limit("head", self._skipped + len(data), MAX_HEAD)
                self._start = data
                return None
            _limit("head", self._skipped + end, MAX_HEAD)
            length = self._read_head(data[:end])
            data = data[end + 4 :]
            if self._status >= 200:
                break
            self._skipped += end + 4
        if length == len(data):
            # Nearly always: a small reply that came in one piece.
            return self._reply(data)
        self._body = _Chunks() if length == _CHUNKED else _ToTheEnd() if length == _OPEN else _Counted(length)
        return self._reply(self._body.content()) if self._body.feed(data) else None

    def end(self) -> Reply:
        """The reply where its end is that of the connection. Raises MalformedReply where more should come."""
        if self._body is None:
            raise MalformedReply(
                "the connection was closed in the middle of its head"
                if self._start or self._skipped
                else "the connection was closed before it came"
            )
        self._body.end()
        return self._reply(self._body.content())

    def _reply(self, body: bytes) -> Reply:
        return Reply(self._status, self._headers, body)

    def _read_head(self, head: bytes) -> int:
        """Status and headers; returns the length of the body, or one of the two marks for what has none."""
        text = head.decode("latin-1")
        lines = text.split("\r\n")
        ends = len(lines) - 1
        if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
            raise MalformedReply("its head has control characters")
        match = _STATUS_LINE.fullmatch(lines[0])
        if match is None:
            raise MalformedReply(f"it begins with {_quoted(lines[0])}, which is no status line")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise MalformedReply(f"it has the header line {_quoted(line)}")
            name = _lower(name)
            value = value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._status = status = int(match[2])
        self._headers = headers
        return self._framing(status, modern=match[1] == "1")

    def _framing(self, status: int, *, modern: bool) -> int:
        headers = self._headers
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        connection = headers.get("connection")
        self.keeps = modern and (connection is None or "close" not in _tokens(connection))
        if status == 101:
            raise MalformedReply("it changes to another protocol")
        if coding is not None and (length is not None or coding.lower() != "chunked" or not modern):
            raise MalformedReply(f"where it ends is not clear (Transfer-Encoding {_quoted(coding)})")
        if length is not None and not (length.isascii() and length.isdigit() and len(length) < 20):
            raise MalformedReply(f"it has a Content-Length of {_quoted(length)}")
        if status < 200 or status in (204, 304):
            return 0
        if coding is not None:
            return _CHUNKED
        if length is None:
            self.keeps = False
            return _OPEN
        _limit("body", int(length), MAX_BODY)
        return int(length)


class _Counted:
    """As many bytes as were announced."""

    def __init__(self, length: int) -> None:
        self._left = length
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        self._pieces.append(data)
        self._left -= len(data)
        if self._left < 0:
            raise _more_follows(-self._left)
        return self._left == 0

    def end(self) -> None:
        raise MalformedReply(f"the connection was closed before its end (bytes missing: {self._left:,})")

    def content(self) -> bytes:
        return b"".join(self._pieces)


class _ToTheEnd:
    """All that comes until the connection is closed."""

    def __init__(self) -> None:
        self._size = 0
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        self._pieces.append(data)
        self._size += len(data)
        _limit("body", self._size, MAX_BODY)
        return False

    def end(self) -> None:
        return None

    def content(self) -> bytes:
        return b"".join(self._pieces)


class _Chunks:
    """
    Chunks: a line with the size, so many bytes, CRLF; one of size 0 is the last, and trailers follow. No
    line is quoted: where chunks are not what they say, it is a piece of somebody's data.

    `_left` counts the bytes of the chunk that are still to come, None between chunks.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._left: int | None = None
        self._size = 0
        self._trailers: int | None = None
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        data = self._rest + data
        at = 0
        while True:
            if self._left:
                piece = data[at : at + self._left]
                self._pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
            end = data.find(b"\r\n", at)
            if self._left or end < 0:
                self._rest = data[at:]
                _limit("line between chunks", len(self._rest), MAX_HEAD)
                return False
            line = data[at:end]
            at = end + 2
            if self._read_line(line):
                if at < len(data):
                    raise _more_follows(len(data) - at)
                return True

    def end(self) -> None:
        raise MalformedReply("the connection was closed in the middle of its chunks")

    def content(self) -> bytes:
        return b"".join(self._pieces)

    def _read_line(self, line: bytes) -> bool:
        """One that is not data; True for the last of all."""
        if self._trailers is not None:
            self._trailers += len(line)
            _limit("trailer", self._trailers, MAX_HEAD)
            if line and _TRAILER_LINE.match(line) is None:
                raise MalformedReply(f"its trailer has a line of {len(line):,} bytes that is no header")
            return not line
        if self._left == 0:
            if line:
                raise MalformedReply(f"a chunk goes on for {len(line):,} bytes behind its end")
            self._left = None
            return False
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise MalformedReply("a chunk begins without its size")
        size = int(match[1], 16)
        self._size += size
        _limit("body", self._size, MAX_BODY)
        if size:
            self._left = size
        else:
            self._trailers = 0
        return False


@lru_cache(maxsize=256)
def _lower(name: str) -> str:
    """A header's name in lower case. Services send the same few again and again."""
    if _TOKEN.fullmatch(name) is None:
        raise MalformedReply(f"it has a header named {_quoted(name)}")
    return name.lower()


def _tokens(value: str) -> list[str]:
    return [token.strip(" \t").lower() for token in value.split(",")]


def _limit(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise MalformedReply(f"its {what} is longer than {limit:,} bytes")


def _more_follows(count: int) -> MalformedReply:
    return MalformedReply(f"more follows than is part of it (bytes: {count:,})")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…")
