"""The pool of sender threads: batches in, outcomes out, and whatever the service answers dealt with."""

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from loader.decisions.batch import Item, fill, halves
from loader.decisions.keys import key_of_item
from loader.decisions.retry import Attempt, Done, Halt, Reject, Resend, RetryPolicy, Split, decide
from loader.decisions.tally import ALL_REFUSED_BATCHES
from loader.decisions.wire import Answer, Reply, Throttled, Transient, Written, read_reply, request_body
from loader.edges.clients import Credentials
from loader.engines.builder import Builder
from loader.engines.outcomes import Outcomes
from loader.errors import ConnectionFault, EverythingRejected
from loader.model import Counts, KeySchema, Problem, RejectCode

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
    way as long as the table takes less. What is left of a batch goes first into the sender's next one.
    `fail` is called, once for each sender that meets it, with an error after which nothing can be written.
    """

    def __init__(
        self,
        transport: Transport,
        rules: WriterRules,
        policy: RetryPolicy,
        outcomes: Outcomes,
        builder: Builder,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._transport = transport
        self._rules = rules
        self._policy = policy
        self._outcomes = outcomes
        self._builder = builder
        self._fail = fail
        self._random = random.Random()
        self._draining = threading.Event()
        self._changed = threading.Condition()
        self._queue: deque[list[Item]] = deque()
        self._bytes = 0
        self._refused_in_a_row = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"sender-{number}", daemon=True)
            for number in range(rules.threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: list[Item]) -> None:
        """Hand over a batch; waits while too much is in flight. Raises Draining once it is no use."""
        size = sum(len(item.json) for item in batch)
        with self._changed:
            while self._bytes and self._bytes + size > BYTES_IN_FLIGHT and not self.draining():
                self._changed.wait()
            if self.draining():
                raise Draining
            self._outcomes.under_way(batch)
            self._bytes += size
            self._queue.append(batch)
            self._changed.notify()

    def drain(self) -> None:
        """Let the requests in flight come to their end, and send nothing more."""
        self._draining.set()
        with self._changed:
            self._changed.notify_all()

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
                left, attempt = self._see_through(self._next_batch(left), attempt)
        except Draining:
            pass
        except BaseException as error:
            self._fail(error)

    def _next_batch(self, left: list[Item]) -> list[Item]:
        """Up to a batch's fill: what the sender has left first, then what is queued. Raises Draining."""
        with self._changed:
            while not left and not self._queue and not self.draining():
                self._changed.wait()
            if self.draining():
                raise Draining
            fresh = self._queue.popleft() if self._queue and len(left) < self._rules.batch_size else []
            batch, rest = fill(left, fresh, self._rules.batch_size)
            if rest:
                self._queue.appendleft(rest)
                self._changed.notify()
        return batch

    def _see_through(self, batch: list[Item], attempt: Attempt) -> tuple[list[Item], Attempt]:
        """
        Send until every item of the batch is settled. Only what a success handed back as unprocessed, when
        nothing else of the batch is still to do, is returned instead, to go first into the next batch.
        """
        parts = [batch]
        refused = 0
        while parts:
            if self.draining():
                raise Draining
            part = parts.pop()
            answer = self._ask(part)
            rest = self._left_of(part, answer)
            attempt = replace(attempt, failures=max(item.failures for item in part))
            decision = decide(self._policy, attempt, answer, self._random.random(), items=len(part))
            self._enter(part, rest, answer, retried=isinstance(decision, Resend))
            match decision:
                case Done():
                    attempt = Attempt()
                case Resend():
                    failed = decision.attempt.failures > attempt.failures
                    attempt = decision.attempt
                    self._pause(decision.wait)
                    if isinstance(answer, Written) and not parts:
                        return rest, attempt
                    parts.append(_failed_once_more(rest) if failed else rest)
                case Split():
                    parts.extend(halves(part))
                case Reject(code=RejectCode.UNKNOWN_OUTCOME):
                    parts += self._give_up(part, Problem(decision.code, decision.reason))
                case Reject():
                    refused += 1
                    parts += self._refuse(part[0], Problem(decision.code, decision.reason))
                case Halt():
                    raise decision.error
        self._note_refusals(refused >= len(batch))
        return [], attempt

    def _ask(self, part: Sequence[Item]) -> Answer | ConnectionFault:
        rules = self._rules
        body = request_body(rules.table, [item.json for item in part], per_index=rules.per_index)
        answer: Answer | ConnectionFault
        try:
            answer = read_reply(self._transport.send(body), rules.table)
            unanswered = isinstance(answer, Transient)
        except ConnectionFault as fault:
            answer = fault
            unanswered = fault.sent
        if unanswered:
            # Something on the way, or in the service, gave up waiting: the write may be applied later.
            self._outcomes.unanswered(part)
        return answer

    def _left_of(self, part: list[Item], answer: Answer | ConnectionFault) -> list[Item]:
        """The items that are not in the table, as far as the answer tells."""
        if not isinstance(answer, Written):
            return part
        if not answer.unprocessed:
            return []
        # By normalised key: the service hands numbers back in a spelling of its own.
        unprocessed = {key_of_item(self._rules.key, item) for item in answer.unprocessed}
        return [item for item in part if key_of_item(self._rules.key, orjson.loads(item.json)) in unprocessed]

    def _enter(
        self, part: list[Item], rest: list[Item], answer: Answer | ConnectionFault, *, retried: bool
    ) -> None:
        written = isinstance(answer, Written)
        took = Counts(
            write_units=answer.write_units if isinstance(answer, Written) else 0.0,
            requests=1,
            throttled=int(isinstance(answer, Throttled)),
            unprocessed=len(rest) if written else 0,
            retries=int(retried),
        )
        self._outcomes.request(part[0].shard, took)
        if written:
            left = {(item.shard, item.entry) for item in rest}
            done = [item for item in part if (item.shard, item.entry) not in left] if left else part
            self._outcomes.written(done)
            self._release(done)

    def _refuse(self, item: Item, problem: Problem) -> list[list[Item]]:
        """A bad item stands alone: the next older row of its key takes its place, if there is one."""
        self._builder.reject(item.shard, item.entry, problem)
        successor = self._builder.next_in_line(item)
        if successor is not None:
            self._hold([successor])
        self._outcomes.settled(item)
        self._release([item])
        return [] if successor is None else [[successor]]

    def _give_up(self, part: list[Item], problem: Problem) -> list[list[Item]]:
        """
        Items tried too often become rejects; the others of the part are returned. An older row does not take
        the place of one that may have been written, or may still be.
        """
        most = max(item.failures for item in part)
        for item in part:
            if item.failures == most:
                self._builder.reject(item.shard, item.entry, problem)
                self._outcomes.settled(item, superseded=len(item.older))
                self._release([item])
        others = _failed_once_more(item for item in part if item.failures < most)
        return [others] if others else []

    def _note_refusals(self, whole_batch: bool) -> None:
        with self._changed:
            self._refused_in_a_row = self._refused_in_a_row + 1 if whole_batch else 0
            systemic = self._refused_in_a_row >= ALL_REFUSED_BATCHES
        if systemic:
            raise EverythingRejected(
                f"The service refused every item of {ALL_REFUSED_BATCHES} batches in a row."
            )

    def _pause(self, seconds: float) -> None:
        if self._draining.wait(seconds):
            raise Draining

    def _hold(self, items: list[Item]) -> None:
        self._outcomes.under_way(items)
        with self._changed:
            self._bytes += sum(len(item.json) for item in items)

    def _release(self, items: list[Item]) -> None:
        with self._changed:
            self._bytes -= sum(len(item.json) for item in items)
            self._changed.notify_all()


def _failed_once_more(items: Iterable[Item]) -> list[Item]:
    return [item._replace(failures=item.failures + 1) for item in items]
