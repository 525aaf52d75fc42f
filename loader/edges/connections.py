"""Kept-alive connections to one server: opened, checked, used by one thread at a time, and surely closed."""

import select
import socket
import ssl
import struct
from collections import deque
from contextlib import suppress

from loader.decisions.http1 import MalformedReply, ReplyReader
from loader.decisions.wire import Reply
from loader.errors import ConnectionFault

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Seconds. DynamoDB answers or gives up within a few; who waits longer than this waits for a lost reply."""

_FIRST_PIECE = 16 << 10
"""More than a common reply has, and as much as a TLS record holds, so that none is left inside TLS."""
_PIECE = 64 << 10

_CHECK_BUNDLE = "Check AWS_CA_BUNDLE and the endpoint's certificate."


class Connections:
    """
    Any number of connections to one server, for any number of threads; the one used last is used first.

    `ca_file` holds the certificates to trust, None is plain HTTP. Timeouts are seconds, for each step of
    connecting and each piece of a reply. Raises ValueError where `ca_file` cannot be read.
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
        self._idle: deque[_Connection] = deque()
        self._closed = False

    def exchange(self, head: bytes, body: bytes) -> Reply:
        """
        The whole reply to one request, sent once. Raises ConnectionFault; its `sent` is False where there was
        no connection to send anything on.
        """
        connection = self._take()
        reader = ReplyReader()
        try:
            reply = connection.exchange(head, body, reader)
        except MalformedReply as odd:
            connection.close()
            raise ConnectionFault(f"The reply of {self._where} cannot be used: {odd}.") from odd
        except OSError as error:
            connection.close()
            raise ConnectionFault(self._broken(error)) from error
        except BaseException:
            connection.close()
            raise
        if reader.keeps:
            self._give_back(connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Close those that are idle now, and those in use when they come back."""
        self._closed = True
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            connection.close()

    def _take(self) -> "_Connection":
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                # Another thread was quicker.
                break
            if connection.is_quiet():
                return connection
            connection.close()
        return self._connect()

    def _give_back(self, connection: "_Connection") -> None:
        self._idle.append(connection)
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
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
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

    def _broken(self, error: OSError) -> str:
        # A socket with a time limit of the kernel's says that it would block.
        if isinstance(error, TimeoutError | BlockingIOError):
            return f"No reply from {self._where} within {self._read_timeout:g} seconds."
        return f"The connection to {self._where} broke before a whole reply had come ({_words(error)})."


class _Connection:
    """A connection that is ready for a request. After any error it is good for nothing but to be closed."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._poll = select.poll()
        self._poll.register(opened, select.POLLIN)

    def is_quiet(self) -> bool:
        """Nothing came since the last reply: no end, and nothing that would be taken for the next one."""
        return not self._poll.poll(0)

    def exchange(self, head: bytes, body: bytes, reader: ReplyReader) -> Reply:
        """Raises MalformedReply and OSError."""
        # A server that has seen enough answers and closes before it has everything: the answer is there.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(head, body)
        data = self._socket.recv(_FIRST_PIECE)
        while data:
            reply = reader.feed(data)
            if reply is not None:
                return reply
            data = self._socket.recv(_PIECE)
        return reader.end()

    def close(self) -> None:
        self._socket.close()

    def _send(self, head: bytes, body: bytes) -> None:
        # In one piece: a head that leaves alone would cost a packet.
        self._socket.sendall(head + body)


class _TlsConnection(_Connection):
    def __init__(self, secured: ssl.SSLSocket, timeout: float) -> None:
        super().__init__(secured)
        secured.settimeout(timeout)


class _PlainConnection(_Connection):
    """Its time limit is the kernel's: Python's own would cost a call more to send and one more to receive."""

    def __init__(self, opened: socket.socket, timeout: float) -> None:
        super().__init__(opened)
        opened.settimeout(None)
        limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _send(self, head: bytes, body: bytes) -> None:
        sent = self._socket.sendmsg((head, body))
        if sent < len(head) + len(body):
            self._socket.sendall((head + body)[sent:])


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
