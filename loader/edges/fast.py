"""The fast path: batches signed and sent by ourselves, with botocore behind for all that is unusual."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from loader.decisions.sigv4 import Signer
from loader.decisions.standing import STRIKES, Standing
from loader.decisions.wire import Reply, Transient, read_result
from loader.edges.connections import (
    CONNECT_TIMEOUT,
    PROBE_TIMEOUT,
    READ_TIMEOUT,
    Connections,
    StaleConnection,
)
from loader.edges.credentials import Credentials
from loader.edges.target import Target
from loader.errors import BadConnection, ConnectionFault, Fatal

_log = logging.getLogger(__name__)

CLIENT_PROBE_SECONDS = 5.0
"""So often boto3 probes too, where the fast path has a fault."""


class Client(Protocol):
    """It can all that a FastTransport can, at ten times the cost."""

    def send(self, body: bytes) -> Reply: ...
    def probe(self, body: bytes) -> Reply: ...
    def use(self, credentials: Credentials) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Fallback:
    """
    botocore, asked only when it is needed, since to import it takes a worker a quarter of a second.

    `client` makes one that sends (raises Fatal); `target` finds where to send for other credentials, None
    where only botocore can (raises BadConnection).
    """

    client: Callable[[Credentials], Client]
    target: Callable[[Credentials], Target | None]


@dataclass(frozen=True, slots=True)
class _Route:
    """One way to the service; replaced as a whole, so that no request is made of two."""

    target: Target
    start: bytes
    signer: Signer
    connections: Connections

    def send(self, body: bytes, now: float) -> Reply:
        return self.connections.exchange(self._head(body, now), body)

    def probe(self, body: bytes, now: float) -> Reply:
        """As `send`, on a connection of its own, and without much patience."""
        with closing(self.connections.apart(PROBE_TIMEOUT)) as connections:
            return connections.exchange(self._head(body, now), body)

    def _head(self, body: bytes, now: float) -> bytes:
        return b"%b%bContent-Length: %d\r\n\r\n" % (self.start, self.signer.sign(body, now), len(body))


class _OfThread(threading.local):
    """The fault of this thread's last try: the round of standing that it began in, and its text."""

    fault: tuple[int, str] | None = None


class FastTransport:
    """
    Sends batches over connections of its own, from any number of threads, and tries nothing twice.

    After a fault the thread's next try is botocore's. Where that gets answers again and again and the fast
    path does not, everything is botocore's from then on, as where botocore alone can reach the service.
    """

    def __init__(
        self,
        target: Target,
        credentials: Credentials,
        fallback: Fallback,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self._credentials = credentials
        self._botocore = fallback
        self._timeouts = {"connect_timeout": connect_timeout, "read_timeout": read_timeout}
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._standing = Standing()
        self._mine = _OfThread()
        self._without_client = False
        self._next_client_probe = 0.0
        self._target = target
        self._route = self._route_for(credentials, target, None)

    def send(self, body: bytes) -> Reply:
        """
        The reply to one try of BatchWriteItem.

        Raises ConnectionFault where there is none, and Fatal where none can be asked for.
        """
        route = self._route
        if route is None:
            return self._fallback().send(body)
        fault, self._mine.fault = self._mine.fault, None
        if fault is not None and (client := self._client_after_fault()) is not None:
            return self._send_after_fault(client, body, *fault)
        began = self._standing.round
        try:
            reply = route.send(body, time.time())
        except StaleConnection:
            # The next try is on a new connection, and tells whether there is more to it.
            raise
        except ConnectionFault as trouble:
            self._mine.fault = began, str(trouble)
            raise
        if self._standing.strikes:
            self._note(Standing.answered)
        return reply

    def probe(self, body: bytes) -> Reply:
        """
        The reply to a request that tells only whether the service can be reached, by botocore if not by us.

        Says nothing of the fast path's standing. Raises as `send`.
        """
        route = self._route
        if route is None:
            return self._fallback().probe(body)
        try:
            return route.probe(body, time.time())
        except ConnectionFault:
            now = time.monotonic()
            if now < self._next_client_probe:
                raise
            self._next_client_probe = now + CLIENT_PROBE_SECONDS
            client = self._client_after_fault()
            if client is None:
                raise
            return client.probe(body)

    def use(self, credentials: Credentials) -> None:
        """
        Sign with these from the next request on. Another account may have another address.

        Where no way to it is found batches go through boto3, until there are new credentials again.
        """
        with self._lock:
            self._credentials = credentials
            if self._client is not None:
                self._client.use(credentials)
            target, route, lost = self._target, self._route, self._standing.lost
        if not lost:
            self._take_route(credentials, self._route_for(credentials, target, route))

    def close(self) -> None:
        with self._lock:
            route, client = self._route, self._client
        if route is not None:
            route.connections.close()
        if client is not None:
            client.close()

    def _client_after_fault(self) -> Client | None:
        """None where it cannot be made, such as for want of descriptors: that is no reason to end a load."""
        try:
            return self._fallback()
        except Fatal as problem:
            if not self._without_client:
                self._without_client = True
                _log.warning("After a fault batches are not tried through boto3: %s", problem)
            return None

    def _send_after_fault(self, client: Client, body: bytes, began: int, fault: str) -> Reply:
        """A try after a fault of one that began in round `began`."""
        try:
            reply = client.send(body)
        except ConnectionFault:
            self._note(Standing.failed)
            raise
        # botocore takes what is cut short for a reply, which is no better than a fault.
        if isinstance(read_result(reply, "UnprocessedItems"), Transient):
            self._note(Standing.failed)
        elif self._note(lambda standing: standing.overtaken(began)):
            _log.warning(
                "The fast path had a fault %d times in a row where boto3 got through: from now on batches go"
                " through boto3. The last fault: %s",
                STRIKES,
                fault,
            )
        return reply

    def _note(self, change: Callable[[Standing], Standing]) -> bool:
        """Whether the fast path steps aside by this."""
        with self._lock:
            before, self._standing = self._standing, change(self._standing)
            if before.lost or not self._standing.lost:
                return False
            route, self._route = self._route, None
        if route is not None:
            route.connections.close()
        return True

    def _fallback(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = self._botocore.client(self._credentials)
            return self._client

    def _take_route(self, credentials: Credentials, route: _Route | None) -> None:
        """From the next request on, unless it is too late for that: see `use` and `_note`."""
        with self._lock:
            left = route
            if self._credentials is credentials and not self._standing.lost:
                left, self._route = self._route, route
                if route is not None:
                    self._target = route.target
            stays = self._route
        if left is not None and (stays is None or stays.connections is not left.connections):
            left.connections.close()

    def _route_for(self, credentials: Credentials, target: Target, before: _Route | None) -> _Route | None:
        """To `target` if that is their account's; `before` is the present one. None: only botocore can."""
        try:
            if target.account_id != credentials.account_id:
                found = self._botocore.target(credentials)
                if found is None:
                    return None
                target = found
            kept = before.connections if before is not None and before.target is target else None
            return _Route(
                target,
                target.request_start(),
                target.signer(credentials),
                kept or Connections(target.host, target.port, target.ca_file, **self._timeouts),
            )
        except (BadConnection, ValueError) as problem:
            _log.warning("Batches go through boto3: %s", problem)
            return None
