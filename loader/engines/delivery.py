"""One batch on its way: what each answer means for its items, without sending, waiting or reading a clock."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import orjson

from loader.decisions.batch import Batch, Item, halves, shares_of
from loader.decisions.keys import key_of_item
from loader.decisions.retry import (
    Attempt,
    Decision,
    Done,
    Halt,
    Reject,
    Resend,
    RetryPolicy,
    Split,
    decide,
)
from loader.decisions.tally import ALL_REFUSED_BATCHES
from loader.decisions.wire import UNREADABLE, Answer, Throttled, Transient, Written
from loader.engines.builder import Builder
from loader.engines.outcomes import Outcomes
from loader.engines.refusals import RefusalLog
from loader.errors import ConnectionFault, EverythingRejected
from loader.model import Counts, KeySchema, Problem, RejectCode

_log = logging.getLogger(__name__)

_NO_ATTEMPT = Attempt()


class Settler:
    """
    Enters what became of items; shared by all senders of a worker.

    `on_bytes` is told how many bytes of items are newly under way, or with a minus settled.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        key: KeySchema,
        outcomes: Outcomes,
        builder: Builder,
        on_bytes: Callable[[int], None],
        refusals: RefusalLog,
    ) -> None:
        self.policy = policy
        self.key = key
        self.refusals = refusals
        self._outcomes = outcomes
        self._builder = builder
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._refused_in_a_row = 0

    def took(self, part: Batch, counts: Counts, *, unanswered: bool) -> None:
        """What a request for `part` took; `unanswered`: it may be applied later still."""
        if unanswered:
            self._outcomes.unanswered(part.shares)
        throttled = len(part) if counts.throttled else counts.unprocessed
        self._outcomes.request(part.shares[0].shard, counts, throttled=throttled)

    def wrote_all(self, part: Batch, write_units: float) -> None:
        """One request, and all its items are in the table."""
        self._outcomes.written(part.shares, requests=1, write_units=write_units)
        self._on_bytes(-part.bytes)

    def wrote(self, items: Sequence[Item]) -> None:
        """These items of a request that was entered before."""
        self._outcomes.written(shares_of(items))
        self._release(items)

    def refuse(self, item: Item, problem: Problem) -> list[Item]:
        """A bad item, found to be the one: the next older row of its key takes its place, if there is one."""
        self._builder.reject(item.shard, item.entry, problem)
        successor = self._builder.next_in_line(item)
        if successor is not None:
            self._outcomes.under_way(shares_of([successor]))
            self._on_bytes(len(successor.json))
        self._outcomes.settled(item)
        self._release([item])
        return [] if successor is None else [successor]

    def give_up(self, item: Item, problem: Problem) -> None:
        """An item tried too often. No older row takes its place: it may be in the table."""
        self._builder.reject(item.shard, item.entry, problem)
        self._outcomes.settled(item, superseded=len(item.older))
        self._release([item])

    def note(self, *, refused: bool, wrote: bool) -> None:
        """A batch is through. Raises EverythingRejected after too many in a row that wrote nothing."""
        if not refused and not wrote:
            return
        with self._lock:
            self._refused_in_a_row = 0 if wrote else self._refused_in_a_row + 1
            systemic = self._refused_in_a_row >= ALL_REFUSED_BATCHES
        if systemic:
            raise EverythingRejected(
                f"The service refused every item of {ALL_REFUSED_BATCHES} batches in a row."
            )

    def _release(self, items: Sequence[Item]) -> None:
        self._on_bytes(-sum(len(item.json) for item in items))


class Delivery:
    """
    A batch until every item is settled. A shell sends what `next_part` gives, hands the answer to `answered`
    and waits as long as that says; the shells of threads and of an event loop differ in nothing else.

    What a success handed back as unprocessed, when nothing else of the batch is still to do, ends up in
    `left`, to go first into the sender's next batch, as try `attempt`. No reason comes with such items: when
    it is time to learn one, one of them goes once more by itself, for a refusal of that is told why.
    """

    def __init__(self, settler: Settler, batch: Batch, attempt: Attempt) -> None:
        self.attempt = attempt
        self.left: Sequence[Item] = ()
        self._settler = settler
        self._parts = [batch]
        # The next part goes to learn a reason; the one under way did; what is to be waited after it.
        self._urgent = False
        self._asking = False
        self._owed = 0.0
        self._refused = False
        self._wrote = False

    @property
    def urgent(self) -> bool:
        """Whether the next part goes to learn a reason: should it wait, there may be none any more."""
        return self._urgent

    def next_part(self) -> Batch | None:
        """The next request; None when there is none."""
        if self._parts:
            return self._parts.pop()
        self._settler.note(refused=self._refused, wrote=self._wrote)
        return None

    def put_off(self, rest: Batch) -> None:
        """What of a part is not to go in its request is the next one."""
        self._parts.append(rest)

    def answered(
        self, part: Batch, answer: Answer | ConnectionFault, random: float, *, in_outage: bool = False
    ) -> float:
        """
        Settle what `answer` tells of `part`; the seconds to wait before the next request. `random` is from
        [0, 1); `in_outage`: the try fell into one. Raises Fatal, or EverythingRejected, where nothing more
        can be written.
        """
        owed, self._owed = self._owed, 0.0
        self._asking, self._urgent = self._urgent, False
        return max(owed, self._settle(part, answer, random, in_outage=in_outage))

    def _settle(
        self, part: Batch, answer: Answer | ConnectionFault, random: float, *, in_outage: bool
    ) -> float:
        answer, rest = self._read(part, answer)
        if isinstance(answer, Written) and answer.index_units:
            self._settler.refusals.charged(answer.index_units)
        if self.attempt.failures != part.failures:
            self.attempt = replace(self.attempt, failures=part.failures)
        decision = decide(
            self._settler.policy, self.attempt, answer, random, items=len(part), in_outage=in_outage
        )
        if isinstance(decision, Done) and isinstance(answer, Written):
            # So nearly all go, and none of their items is looked at.
            self._settler.wrote_all(part, answer.write_units)
            self._wrote = True
            self.attempt = _NO_ATTEMPT
            return 0.0
        self._enter(part, rest, answer, retried=isinstance(decision, Resend))
        if not isinstance(decision, Resend):
            # Whatever the verdict, it is one on the batch: the credentials were good.
            self.attempt = replace(self.attempt, denials=0)
        return self._follow(decision, part, rest, answer)

    def _read(
        self, part: Batch, answer: Answer | ConnectionFault
    ) -> tuple[Answer | ConnectionFault, Sequence[Item]]:
        """The answer, and the items that are not in the table as far as it tells."""
        if not isinstance(answer, Written):
            return answer, part.items
        if not answer.unprocessed:
            return answer, ()
        # By normalised key: the service hands numbers back in a spelling of its own.
        key = self._settler.key
        unprocessed = {key_of_item(key, item) for item in answer.unprocessed}
        rest = [item for item in part.items if key_of_item(key, orjson.loads(item.json)) in unprocessed]
        if len(rest) != len(answer.unprocessed):
            return Transient(UNREADABLE, "A reply hands back items that were not sent."), part.items
        return answer, rest

    def _enter(
        self, part: Batch, rest: Sequence[Item], answer: Answer | ConnectionFault, *, retried: bool
    ) -> None:
        counts = Counts(requests=1, throttled=int(isinstance(answer, Throttled)), retries=int(retried))
        if isinstance(answer, Written):
            counts = replace(counts, write_units=answer.write_units, unprocessed=len(rest))
        # A 5xx or an odd reply counts too: something on the way, or in the service, gave up waiting.
        unanswered = answer.sent if isinstance(answer, ConnectionFault) else isinstance(answer, Transient)
        self._settler.took(part, counts, unanswered=unanswered)
        if isinstance(answer, Throttled):
            self._settler.refusals.throttled(answer, part.items)
        elif isinstance(answer, Written):
            self._settler.refusals.unprocessed(answer.unprocessed)
        if isinstance(answer, Written) and len(rest) < len(part):
            left = {(item.shard, item.entry) for item in rest}
            self._settler.wrote([item for item in part.items if (item.shard, item.entry) not in left])
            self._wrote = True

    def _follow(
        self, decision: Decision, part: Batch, rest: Sequence[Item], answer: Answer | ConnectionFault
    ) -> float:
        match decision:
            case Resend():
                return self._again(decision, part, rest, answer)
            case Split():
                self._parts.extend(halves(part.items))
            case Reject(code=RejectCode.UNKNOWN_OUTCOME):
                self._give_up(part.items, Problem(decision.code, decision.reason))
            case Reject():
                self._refused = True
                self._add(self._settler.refuse(part.items[0], Problem(decision.code, decision.reason)))
            case Halt():
                raise decision.error
        return 0.0

    def _again(
        self, decision: Resend, part: Batch, rest: Sequence[Item], answer: Answer | ConnectionFault
    ) -> float:
        _log.debug("%d items: %s; again in %.2f s", len(rest), _told(answer), decision.wait)
        failed = decision.attempt.failures > self.attempt.failures
        self.attempt = decision.attempt
        if isinstance(answer, Written) and len(part) > 1 and self._settler.refusals.asks():
            return self._ask(rest, decision.wait)
        if self._parts and self._asking:
            # Behind the others: by itself it would only be asked for again and again.
            self._parts.insert(0, Batch(_failed_once_more(rest) if failed else rest))
        elif self._parts or not isinstance(answer, Written | Throttled):
            self._add(_failed_once_more(rest) if failed else rest)
        elif self._asking or self.left:
            # What went by itself, or what took its place, waits with the others from now on.
            self.left = [*rest, *self.left]
        elif isinstance(answer, Throttled):
            self._add(rest)
        else:
            self.left = rest
        return decision.wait

    def _ask(self, rest: Sequence[Item], wait: float) -> float:
        """
        The largest item by itself, and at once: another, or a little later, would rather be taken, and
        nothing learned. What was to be waited comes behind it.
        """
        largest = max(rest, key=lambda item: len(item.json))
        others = [item for item in rest if item is not largest]
        if self._parts:
            self._add(others)
        else:
            self.left = others
        self._add([largest])
        self._urgent = True
        self._owed = wait
        return 0.0

    def _give_up(self, items: Sequence[Item], problem: Problem) -> None:
        """The items that were tried most are rejects; the others get their further tries."""
        for item in items:
            if item.failures == self.attempt.failures:
                self._settler.give_up(item, problem)
        self._add(_failed_once_more(item for item in items if item.failures < self.attempt.failures))

    def _add(self, items: Sequence[Item]) -> None:
        if items:
            self._parts.append(Batch(items))


def _failed_once_more(items: Iterable[Item]) -> list[Item]:
    return [item._replace(failures=item.failures + 1) for item in items]


def _told(answer: Answer | ConnectionFault) -> str:
    """For the log: no cell values, which messages of the service's may hold."""
    match answer:
        case Written():
            return f"{len(answer.unprocessed)} unprocessed"
        case ConnectionFault():
            return str(answer)
    return answer.code
