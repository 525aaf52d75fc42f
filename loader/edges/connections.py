"""Kept-alive connections to one server: opened, checked, used by one thread at a time, and surely closed."""

import select
import socket
import ssl
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from copy import copy

from loader.decisions.http1 import MalformedReply, ReplyReader
from loader.decisions.wire import Reply
from loader.errors import ConnectionFault

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Seconds. DynamoDB answers or gives up within a few; who waits longer than this waits for a lost reply."""

PROBE_TIMEOUT = 3.0
"""Seconds for each step of a probe: while it waits, so may all senders."""

_FIRST_PIECE = 16 << 10
"""More than a common reply has, and as much as a TLS record holds, so that none is left inside TLS."""
_PIECE = 64 << 10
_SENT_AT_ONCE = 256 << 10
"""Of a request that is longer a piece of so many bytes; between pieces it is seen whether a reply came."""

IDLE_SECONDS = 60.0
"""A connection that lay idle for longer is not used again: who stands in between may have forgotten it."""
_PATIENCE = 4
"""What goes or comes in pieces may take so many times the time limit of one piece."""
# Asked after a minute without a byte, then every ten seconds: gone after three questions without an answer.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

DROP_UNSENT = struct.pack("ii", 1, 0)
"""
SO_LINGER: what was not acknowledged when a connection is closed, by us or by our death, is not sent any
more. Else the kernel goes on with it for minutes where packets are lost, and an old value arrives behind a
newer one.
"""
_FIN = struct.pack("ii", 0, 0)

_CHECK_BUNDLE = "Check AWS_CA_BUNDLE and the endpoint's certificate."


class StaleConnection(ConnectionFault):
    """A connection broke that had lain idle: perhaps it was gone before, which says nothing of new ones."""


class _UntakenRequest(OSError):
    """The server does not read. The message goes on from its address."""


class Connections:
    """
    Any number of connections to one server, for any number of threads; the one used last is used first.

    `ca_file` holds the certificates to trust, None is plain HTTP. Timeouts are seconds, for each step of
    connecting, each piece of a request and each of a reply. Raises ValueError where `ca_file` cannot be read.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ca_file: str | None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = None if ca_file is None else _tls_context(ca_file)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # Each with the time it came back; the last one is used first.
        self._idle: deque[tuple[_Connection, float]] = deque()
        self._closed = False

    def exchange(self, head: bytes, body: bytes) -> Reply:
        """
        The whole reply to one request, sent once. Raises ConnectionFault; its `sent` is False where there was
        no connection to send anything on. Where it is a StaleConnection, the next one will be new.
        """
        connection = self._take()
        reused = connection is not None
        if connection is None:
            connection = self._connect()
        reader = ReplyReader()
        try:
            reply = connection.exchange(head, body, reader)
        except (MalformedReply, OSError) as trouble:
            connection.drop()
            told = self._broken(trouble)
            if not reused or reader.began:
                raise ConnectionFault(told) from trouble
            self._close_idle()
            raise StaleConnection(told) from trouble
        except BaseException:
            connection.drop()
            raise
        if reader.keeps:
            self._give_back(connection)
        else:
            connection.close()
        return reply

    def apart(self, timeout: float) -> "Connections":
        """Others to the same server, none of them open yet, with one time limit for every step."""
        others = copy(self)
        others._connect_timeout = others._read_timeout = timeout
        others._idle = deque()
        others._closed = False
        return others

    def close(self) -> None:
        """Close those that are idle now, and those in use when they come back."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        # Another thread may be quicker with any of them.
        with suppress(IndexError):
            while True:
                self._idle.pop()[0].close()

    def _take(self) -> "_Connection | None":
        """One that is idle and still there."""
        oldest = time.monotonic() - IDLE_SECONDS
        with suppress(IndexError):
            while True:
                connection, since = self._idle.pop()
                if since > oldest and connection.is_quiet():
                    return connection
                connection.close()
        return None

    def _give_back(self, connection: "_Connection") -> None:
        now = time.monotonic()
        self._idle.append((connection, now))
        # One at a time is enough: each that comes back takes one away. Others may have taken all meanwhile.
        with suppress(IndexError):
            if self._idle[0][1] < now - IDLE_SECONDS:
                self._idle.popleft()[0].close()
        # After it is there: a close() that did not see it was not over.
        if self._closed:
            self.close()

    def _connect(self) -> "_Connection":
        address = (self._host, self._port)
        try:
            opened = socket.create_connection(address, self._connect_timeout)
        except (OSError, UnicodeError) as error:
            raise ConnectionFault(self._unreachable(error), sent=False) from error
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DROP_UNSENT)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):
                    opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            if self._tls is None:
                return _PlainConnection(opened, self._read_timeout)
            secured = self._tls.wrap_socket(opened, server_hostname=self._host)
            return _TlsConnection(secured, self._read_timeout)
        except (OSError, ValueError) as error:
            opened.close()
            raise ConnectionFault(self._unsecured(error), sent=False) from error

    # --- what went wrong, in words --------------------------------------------------------------

    def _unreachable(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                return f"Could not connect to {self._where} within {self._connect_timeout:g} seconds."
            case socket.gaierror() | UnicodeError():
                return f"Could not find the address of {self._host} ({_words(error)})."
        return f"Could not connect to {self._where} ({_words(error)})."

    def _unsecured(self, error: Exception) -> str:
        match error:
            case ssl.SSLCertVerificationError():
                why = error.verify_message or _words(error)
                return f"The certificate of {self._where} is not accepted ({why}). {_CHECK_BUNDLE}"
            case TimeoutError():
                return f"{self._where} did not agree on TLS within {self._connect_timeout:g} seconds."
        return f"Could not agree on TLS with {self._where} ({_words(error)}). {_CHECK_BUNDLE}"

    def _broken(self, error: MalformedReply | OSError) -> str:
        match error:
            case MalformedReply():
                return f"The reply of {self._where} cannot be used: {error}."
            case _UntakenRequest():
                return f"{self._where} {error}."
            case TimeoutError() | BlockingIOError():
                return f"No reply from {self._where} within {self._read_timeout:g} seconds."
        return f"The connection to {self._where} broke before a whole reply had come ({_words(error)})."


class _Connection(ABC):
    """A connection that is ready for a request. After any error it is good for nothing but to be closed."""

    def __init__(self, opened: socket.socket, timeout: float) -> None:
        self._socket = opened
        self._timeout = timeout
        self._patience = _PATIENCE * timeout
        self._poll = select.poll()
        self._poll.register(opened, select.POLLIN)

    def is_quiet(self) -> bool:
        """Nothing came since the last reply: no end, and nothing that would be taken for the next one."""
        return not self._poll.poll(0)

    def exchange(self, head: bytes, body: bytes, reader: ReplyReader) -> Reply:
        """Raises MalformedReply and OSError."""
        reply = None
        try:
            reply = self._send(head, body, reader)
            whole = not reader.answered
        except (BrokenPipeError, ConnectionResetError):
            # A server that has seen enough answers and closes before it has everything.
            whole = False
        except (TimeoutError, BlockingIOError) as error:
            # The latter is how a time limit of the kernel's is told.
            raise _UntakenRequest(
                f"took nothing more of the request for {self._timeout:g} seconds"
            ) from error
        if reply is None:
            reply = self._receive(reader)
        if not whole:
            reader.keeps = False
            # What did not go out whole can be refused, and nothing else.
            if reply.status < 400:
                raise MalformedReply("it came before the whole request was sent")
        return reply

    def close(self) -> None:
        """With nothing under way: in the way that the other side expects."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FIN)
        self._socket.close()

    def drop(self) -> None:
        """With a request under way, which ends here as far as it can."""
        self._socket.close()

    def _send(self, head: bytes, body: bytes, reader: ReplyReader) -> Reply | None:
        """
        Send all of it, or less where a reply begins before that: `reader.answered` then, and returned is the
        reply if it is whole.
        """
        # Joined: a head that leaves alone would cost a packet.
        return self._send_in_pieces(memoryview(head + body), reader)

    def _send_in_pieces(self, rest: memoryview, reader: ReplyReader) -> Reply | None:
        rest = rest[self._socket.send(rest[:_SENT_AT_ONCE]) :]
        until = time.monotonic() + self._patience if rest else 0.0
        while rest:
            if not self.is_quiet() and (early := self._receive_now()):
                reply = reader.feed(early)
                if reader.answered:
                    return reply
            if time.monotonic() > until:
                raise _UntakenRequest(f"had not taken the whole request after {self._patience:g} seconds")
            rest = rest[self._socket.send(rest[:_SENT_AT_ONCE]) :]
        return None

    def _receive(self, reader: ReplyReader) -> Reply:
        data = self._socket.recv(_FIRST_PIECE)
        until = 0.0
        while data:
            reply = reader.feed(data)
            if reply is not None:
                return reply
            now = time.monotonic()
            until = until or now + self._patience
            if now > until:
                raise MalformedReply(f"it was not whole after {self._patience:g} seconds")
            data = self._socket.recv(_PIECE)
        return reader.end()

    @abstractmethod
    def _receive_now(self) -> bytes:
        """What came already; nothing also where the other side has closed, which the next call tells."""


class _TlsConnection(_Connection):
    def __init__(self, secured: ssl.SSLSocket, timeout: float) -> None:
        super().__init__(secured, timeout)
        secured.settimeout(timeout)

    def _receive_now(self) -> bytes:
        self._socket.settimeout(0)
        try:
            return self._socket.recv(_FIRST_PIECE)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            # It was TLS's own, such as a ticket to begin another session with.
            return b""
        finally:
            self._socket.settimeout(self._timeout)


class _PlainConnection(_Connection):
    """Its time limit is the kernel's: Python's own would cost a call more to send and one more to receive."""

    def __init__(self, opened: socket.socket, timeout: float) -> None:
        super().__init__(opened, timeout)
        opened.settimeout(None)
        limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _send(self, head: bytes, body: bytes, reader: ReplyReader) -> Reply | None:
        if len(body) > _SENT_AT_ONCE:
            return super()._send(head, body, reader)
        sent = self._socket.sendmsg((head, body))
        if sent < len(head) + len(body):
            return self._send_in_pieces(memoryview(head + body)[sent:], reader)
        return None

    def _receive_now(self) -> bytes:
        try:
            return self._socket.recv(_FIRST_PIECE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""


def _tls_context(ca_file: str) -> ssl.SSLContext:
    """Chain and host name are verified. Raises ValueError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ValueError(f"{ca_file} holds no certificates that can be read ({_words(error)})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # From 3.13 on Python asks more of a CA's certificate than botocore does, and than many a company's has.
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


def _words(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return " ".join((said or str(error) or type(error).__name__).split()).rstrip(".")
