"""The pool of sender threads: batches in, requests out, each batch seen through to its outcome."""

import contextlib
import logging
import queue
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from loader.capacity import Flow, Refusals
from loader.decisions.batch import Batch, Item, fill
from loader.decisions.outage import PROBE, unreached
from loader.decisions.retry import Attempt, RetryPolicy
from loader.decisions.wire import Answer, Reply, read_reply, request_body
from loader.edges.clients import Credentials
from loader.edges.events import Share
from loader.engines.builder import Builder, Draining
from loader.engines.delivery import Delivery, Settler
from loader.engines.denial import Denial
from loader.engines.outcomes import Outcomes
from loader.engines.pacer import Pacer
from loader.engines.reach import Reach
from loader.engines.refusals import RefusalLog
from loader.errors import ConnectionFault, Fatal
from loader.model import IndexDescription, KeySchema

_log = logging.getLogger(__name__)

BYTES_IN_FLIGHT = 32 << 20
"""Items handed over and not settled, a worker; the builder waits while there are more."""
QUEUED = 256
"""Batches that wait for a sender; the builder rests until half of them are gone."""


class Transport(Protocol):
    """Whatever carries a BatchWriteItem body to the service; shared by all sender threads."""

    def send(self, body: bytes) -> Reply:
        """The reply as it came. Raises ConnectionFault where there is none, Fatal where there can be none."""

    def probe(self, body: bytes) -> Reply:
        """As `send`, for a body of which only counts whether anything answers, by whatever way."""

    def use(self, credentials: Credentials) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WriterRules:
    """
    With `indexes` the write units of each are asked for, which costs a larger reply. `threads` are the
    senders to begin with; `adapts`: there may be more or fewer of them later. `share` is the part of the rate
    that this worker begins with, `serial` the number of the first credentials.
    """

    table: str
    key: KeySchema
    indexes: tuple[IndexDescription, ...]
    threads: int
    adapts: bool
    batch_size: int
    share: Share = field(default_factory=Share)
    serial: int = 0


class Writer:
    """
    Takes batches of items and sees each item to its outcome, in `outcomes`.

    A sender that is throttled waits, with what it could not write in its hands: so fewer requests are under
    way as long as the table takes less. `on_failure` is called, by each sender that meets it, with an error
    after which nothing can be written; `on_denied` with the number of credentials that are refused;
    `on_change` when something but an outcome is to be told: an outage, or a wait for the share of the rate.
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
        on_denied: Callable[[int], None],
        on_change: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._rules = rules
        self._outcomes = outcomes
        self._refusals = RefusalLog(rules.key, rules.indexes)
        self._settler = Settler(policy, rules.key, outcomes, builder, self._account, self._refusals)
        self._denial = Denial(rules.serial, on_denied)
        self._on_failure = on_failure
        self._random = random.Random()
        self._draining = threading.Event()
        self._reach = Reach(self._probe, self._draining, on_change, self._random.random)
        self._pacer = Pacer(rules.share, len(rules.indexes), self._draining, on_change)
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        # For the builder to wait on, and what it waits for.
        self._room = threading.Condition()
        self._full = False
        self._bytes = 0
        # So many there shall be, and so many more there are that have not ended yet.
        self._wanted = 0
        self._surplus = 0
        self._threads: list[threading.Thread] = []

    def resize(self, senders: int) -> None:
        """
        Have so many from now on, or as many as the system allows: the first call begins. One that is too many
        ends after its next request, and leaves what it still has to do to the others. Raises Fatal where not
        even one can be started.
        """
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        with self._room:
            missing = senders - self._wanted - self._surplus
            self._surplus = max(0, -missing)
            self._wanted = senders
        for started in range(missing):
            if not self._start_one():
                self._wanted -= missing - started
                return

    def _start_one(self) -> bool:
        thread = threading.Thread(target=self._run, name="sender", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise Fatal(f"No thread can be started to send requests: {error}.") from error
            _log.warning("Only %d threads send requests: %s.", len(self._threads), error)
            return False
        self._threads.append(thread)
        if self.draining():
            # It may have come too late for those that drain() lets go.
            self._queue.put(None)
        return True

    @property
    def senders(self) -> int:
        return self._wanted

    @property
    def fault(self) -> str:
        """What keeps the service out of reach now; empty where nothing does."""
        return self._reach.fault

    @property
    def disturbances(self) -> int:
        """How often an outage has begun or ended: odd while there is one."""
        return self._reach.changes

    def use(self, credentials: Credentials, serial: int) -> None:
        """Sign with these from now on. They may be the old ones: then there are no others."""
        self._transport.use(credentials)
        self._denial.heard(serial)

    def take_share(self, share: Share) -> None:
        """Ask no more of the table than this, from now on."""
        self._pacer.take_share(share)

    def flow(self) -> Flow:
        """Write units asked of the table, and the time that batches waited for their share."""
        return self._pacer.flow()

    def refusals(self) -> Refusals:
        """The same object until there is something new."""
        return self._refusals.report()

    def waiting(self) -> bool:
        """Batches lie ready that no sender has taken."""
        return not self._queue.empty()

    def submit(self, batch: Batch) -> None:
        """Hand over a batch; waits while too much is in flight. Raises Draining once it is no use."""
        size = batch.bytes
        with self._room:
            self._full = self._queue.qsize() >= QUEUED or bool(
                self._bytes and self._bytes + size > BYTES_IN_FLIGHT
            )
            while self._full and not self.draining():
                self._room.wait()
            if self.draining():
                raise Draining
            self._bytes += size
        self._outcomes.under_way(batch.shares)
        self._queue.put(batch)

    def drain(self) -> None:
        """Let the requests in flight come to their end, and send nothing more."""
        self._draining.set()
        self._denial.stop()
        self._pacer.stop()
        for _ in self._threads:
            self._queue.put(None)
        with self._room:
            self._room.notify_all()

    def draining(self) -> bool:
        return self._draining.is_set()

    def join(self) -> None:
        """Wait for the senders to end, after `drain`."""
        for thread in self._threads:
            thread.join()

    # --- a sender -------------------------------------------------------------------------------

    def _run(self) -> None:
        left: Sequence[Item] = ()
        attempt = Attempt()
        try:
            while True:
                batch = self._next_batch(left)
                if self._is_surplus():
                    self._queue.put(batch)
                    return
                delivery = Delivery(self._settler, batch, attempt)
                while part := delivery.next_part():
                    part, rest = self._pacer.cut(part)
                    if rest is not None:
                        delivery.put_off(rest)
                    units = self._pacer.take(part, at_once=delivery.urgent)
                    if self.draining():
                        raise Draining
                    serial, denials = self._denial.serial, delivery.attempt.denials
                    answer, in_outage = self._try(part)
                    self._pacer.settle(part, units, answer)
                    wait = delivery.answered(part, answer, self._random.random(), in_outage=in_outage)
                    if delivery.attempt.denials > denials:
                        self._denial.wait(serial)
                    if self._draining.wait(wait) if wait else self.draining():
                        raise Draining
                left, attempt = delivery.left, delivery.attempt
        except Draining:
            pass
        except BaseException as error:
            self._on_failure(error)

    def _is_surplus(self) -> bool:
        """Whether this sender is one too many, and to end."""
        if not self._surplus:
            return False
        with self._room:
            surplus = self._surplus > 0
            self._surplus -= surplus
        return surplus

    def _next_batch(self, left: Sequence[Item]) -> Batch:
        """Up to a batch's fill: what the sender has left first, then what is queued. Raises Draining."""
        if self.draining():
            raise Draining
        batch = self._with_what_is_left(left) if left else self._queue.get()
        if batch is None or self.draining():
            raise Draining
        if self._full:
            self._account(0)
        return batch

    def _with_what_is_left(self, left: Sequence[Item]) -> Batch:
        fresh: Sequence[Item] = ()
        if len(left) < self._rules.batch_size:
            with contextlib.suppress(queue.Empty):
                queued = self._queue.get_nowait()
                # None lies there only while it drains, for those that wait.
                fresh = queued.items if queued is not None else ()
        batch, rest = fill(left, fresh, self._rules.batch_size)
        if rest:
            self._queue.put(Batch(rest))
        return Batch(batch)

    def _try(self, part: Batch) -> tuple[Answer | ConnectionFault, bool]:
        """The answer to one try, and whether it fell into an outage, which is over by then."""
        number = self._reach.begin()
        answer = self._ask(part)
        if unreached(answer):
            return answer, self._reach.lost(number)
        self._reach.answered(number)
        return answer, False

    def _ask(self, part: Batch) -> Answer | ConnectionFault:
        rules = self._rules
        body = request_body(rules.table, (part.json,), per_index=bool(rules.indexes))
        try:
            return read_reply(self._transport.send(body), rules.table)
        except ConnectionFault as fault:
            return fault

    def _probe(self) -> str | None:
        try:
            answer = read_reply(self._transport.probe(PROBE), self._rules.table)
        except ConnectionFault as fault:
            return str(fault)
        return "What answers there is not the service." if unreached(answer) else None

    def _account(self, size: int) -> None:
        with self._room:
            self._bytes += size
            if self._full and self._bytes <= BYTES_IN_FLIGHT // 2 and self._queue.qsize() <= QUEUED // 2:
                self._full = False
                self._room.notify()
