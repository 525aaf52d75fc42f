"""The listening socket, the connections that came through it, and times when nobody answers there."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from tests.server.http import Connection
from tests.server.state import State

_ADDRESS = "127.0.0.1"
_BACKLOG = 1024
_PAUSE_SECONDS = 1.0


class Listener:
    """
    Takes connections on one port of 127.0.0.1.

    It accepts them itself: an asyncio.Server that is closed forgets those that it has just accepted, and
    their clients would wait for ever in an outage.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._held: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._arriving: set[asyncio.Task[None]] = set()

    def open(self, port: int) -> int:
        """Take connections on that port, on a free one where it is 0; returns which one it is."""
        bound = _bound(port)
        self._listen(bound)
        return int(bound.getsockname()[1])

    def close(self) -> None:
        """Take no more connections; those that are open stay so until the loop ends."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._held is not None:
            self._held.close()
            self._held = None

    # --- what connections say of themselves ---------------------------------------------------------

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._socket is None:
            # Accepted just before an outage began.
            connection.reset()

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def go_dark(self, seconds: float, spared: Connection) -> None:
        """Listen no more, reset every other connection, and listen on the same port again afterwards."""
        assert self._socket is not None
        begin = self._state.wall()
        port = int(self._socket.getsockname()[1])
        self.close()
        # Bound but not listening, the port refuses connections, and nobody else can take it meanwhile:
        # a client that tries again and again could otherwise be given it and so connect to itself.
        self._held = _bound(port)
        for connection in self._connections - {spared}:
            connection.reset()
        self._loop.call_later(seconds, self._return, begin)

    # --- listening ----------------------------------------------------------------------------------

    def _return(self, begin: float) -> None:
        held = self._held
        if held is None:
            # The server was stopped in the meantime.
            return
        self._held = None
        self._listen(held)
        self._state.stats.outages.append((begin, self._state.wall()))

    def _listen(self, bound: socket.socket) -> None:
        bound.setblocking(False)
        bound.listen(_BACKLOG)
        self._socket = bound
        self._loop.add_reader(bound, self._accept, bound)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors, most likely: it would be called again at once, and again.
                self._state.stats.violation(f"the server failed to take a connection: {error}")
                self._loop.remove_reader(listening)
                self._loop.call_later(_PAUSE_SECONDS, self._accept_again, listening)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._take(accepted))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _accept_again(self, listening: socket.socket) -> None:
        if self._socket is listening:
            self._loop.add_reader(listening, self._accept, listening)

    async def _take(self, accepted: socket.socket) -> None:
        await self._loop.connect_accepted_socket(lambda: Connection(self._state, self), accepted)


def _bound(port: int) -> socket.socket:
    """A socket that does not listen yet."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((_ADDRESS, port))
    except OSError:
        sock.close()
        raise
    return sock


async def serve(state: State, port: int, ready: Callable[[int], None], stopped: asyncio.Event) -> None:
    """Serve on 127.0.0.1 until `stopped`; `ready` is told the port once connections are taken."""
    loop = asyncio.get_running_loop()

    def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        state.stats.violation(f"the server failed: {context.get('message')}: {context.get('exception')!r}")
        loop.default_exception_handler(context)

    # What goes wrong outside of a request, in a late write for example, must not pass unseen.
    loop.set_exception_handler(fail)
    listener = Listener(state)
    ready(listener.open(port))
    try:
        await stopped.wait()
    finally:
        listener.close()
