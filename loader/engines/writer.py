"""The pool of sender threads: batches in, requests out, each batch seen through to its outcome."""

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from loader.decisions.batch import Item, fill
from loader.decisions.retry import Attempt, RetryPolicy
from loader.decisions.wire import Answer, Reply, read_reply, request_body
from loader.edges.clients import Credentials
from loader.engines.builder import Builder
from loader.engines.delivery import Delivery, Settler
from loader.engines.outcomes import Outcomes
from loader.errors import ConnectionFault
from loader.model import KeySchema

BYTES_IN_FLIGHT = 32 << 20
"""Items handed over and not settled, a worker; the builder waits while there are more."""


class Transport(Protocol):
    """Whatever carries a BatchWriteItem body to the service; shared by all sender threads."""

    def send(self, body: bytes) -> Reply:
        """The reply as it came. Raises ConnectionFault where there is none, Fatal where there can be none."""

    def use(self, credentials: Credentials) -> None: ...
    def close(self) -> None: ...


class Draining(Exception):
    """The worker is to end: no more items are taken."""


@dataclass(frozen=True, slots=True)
class WriterRules:
    """`per_index`: ask for the write units of each index, which costs a larger reply."""

    table: str
    key: KeySchema
    per_index: bool
    threads: int
    batch_size: int


class Writer:
    """
    Takes batches of items and sees each item to its outcome, in `outcomes`.

    A sender that is throttled waits, with what it could not write in its hands: so fewer requests are under
    way as long as the table takes less. `on_failure` is called, by each sender that meets it, with an error
    after which nothing can be written; `on_denied` when the credentials are refused.
    """

    def __init__(
        self,
        transport: Transport,
        rules: WriterRules,
        policy: RetryPolicy,
        outcomes: Outcomes,
        builder: Builder,
        *,
        on_failure: Callable[[BaseException], None],
        on_denied: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._rules = rules
        self._outcomes = outcomes
        self._settler = Settler(policy, rules.key, outcomes, builder, self._account, on_denied)
        self._on_failure = on_failure
        self._random = random.Random()
        self._draining = threading.Event()
        lock = threading.Lock()
        # Two conditions over one lock: senders wait for work, the builder for room.
        self._work = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._queue: deque[list[Item]] = deque()
        self._bytes = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"sender-{number}", daemon=True)
            for number in range(rules.threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: list[Item]) -> None:
        """Hand over a batch; waits while too much is in flight. Raises Draining once it is no use."""
        size = sum(len(item.json) for item in batch)
        with self._room:
            while self._bytes and self._bytes + size > BYTES_IN_FLIGHT and not self.draining():
                self._room.wait()
            if self.draining():
                raise Draining
            self._outcomes.under_way(batch)
            self._bytes += size
            self._queue.append(batch)
            self._work.notify()

    def drain(self) -> None:
        """Let the requests in flight come to their end, and send nothing more."""
        self._draining.set()
        with self._work:
            self._work.notify_all()
            self._room.notify_all()

    def draining(self) -> bool:
        return self._draining.is_set()

    def join(self) -> None:
        """Wait for the senders to end, after `drain`."""
        for thread in self._threads:
            thread.join()

    # --- a sender -------------------------------------------------------------------------------

    def _run(self) -> None:
        left: list[Item] = []
        attempt = Attempt()
        try:
            while True:
                delivery = Delivery(self._settler, self._next_batch(left), attempt)
                while part := delivery.next_part():
                    wait = delivery.answered(part, self._ask(part), self._random.random())
                    if self._draining.wait(wait) if wait else self.draining():
                        raise Draining
                left, attempt = delivery.left, delivery.attempt
        except Draining:
            pass
        except BaseException as error:
            self._on_failure(error)

    def _next_batch(self, left: list[Item]) -> list[Item]:
        """Up to a batch's fill: what the sender has left first, then what is queued. Raises Draining."""
        with self._work:
            while not left and not self._queue and not self.draining():
                self._work.wait()
            if self.draining():
                raise Draining
            fresh = self._queue.popleft() if self._queue and len(left) < self._rules.batch_size else []
            batch, rest = fill(left, fresh, self._rules.batch_size)
            if rest:
                self._queue.appendleft(rest)
                self._work.notify()
        return batch

    def _ask(self, part: list[Item]) -> Answer | ConnectionFault:
        rules = self._rules
        body = request_body(rules.table, [item.json for item in part], per_index=rules.per_index)
        try:
            return read_reply(self._transport.send(body), rules.table)
        except ConnectionFault as fault:
            return fault

    def _account(self, size: int) -> None:
        with self._room:
            self._bytes += size
            if size < 0:
                self._room.notify()
