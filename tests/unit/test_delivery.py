"""A batch on its way: what each answer means for its items, until every one of them is settled once."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from loader.decisions.batch import Batch, Item, batches, fill, shares_of
from loader.decisions.index import index_chunk
from loader.decisions.limits import UNTOLD
from loader.decisions.plan import entries, sort_window
from loader.decisions.retry import Attempt, RetryPolicy
from loader.decisions.schema import build_schema
from loader.decisions.tally import ALL_REFUSED_BATCHES
from loader.decisions.wire import Answer, Halt, Rejected, Throttled, Transient, Written
from loader.edges.source import Source
from loader.engines.builder import Builder, BuildRules
from loader.engines.delivery import Delivery, Settler
from loader.engines.outcomes import Outcomes
from loader.engines.refusals import ASK_SECONDS, RefusalLog
from loader.errors import ConnectionFault, Denied, EverythingRejected, TableGone
from loader.model import (
    Counts,
    Dialect,
    IndexDescription,
    KeyPart,
    KeySchema,
    Reject,
    RejectCode,
    ShardOutcome,
    ShardTask,
    TableDescription,
)

DIALECT = Dialect()
KEY = KeySchema(KeyPart("id", "N"))
BY_V = IndexDescription("by_v", False, (KeyPart("v", "S"),), (), "ALL")
HALF = 0.5
"""The draw of every test that says no other."""

Answered = Answer | ConnectionFault
Service = Callable[[list[str]], Answered]
"""What a service says to a request, which is given as the records of its rows."""

WRITTEN = Written((), 3.0)
REFUSED = Rejected("ValidationException", "no")
THROTTLED = Throttled("ThrottlingException", "slowly")
BROKEN = Transient("InternalServerError", "again")
EXPIRED = Halt("ExpiredTokenException", "old")


def back(*records: str) -> Written:
    """A success that hands these back, and charges 2 units."""
    cells = (record.split(",") for record in records)
    return Written(tuple({"id": {"N": key}, "v": {"S": value}} for key, value in cells), 2.0)


class Bench:
    """A settler over a file `id,v` (id a number), cut into shards of `size` rows whose items are all made."""

    def __init__(self, source: Source, policy: RetryPolicy, size: int) -> None:
        self._source = source
        table = TableDescription("t", "arn", "1", "0", "http://127.0.0.1:1", "ACTIVE", KEY)
        schema = build_schema(table, source.header, {})
        self.outcomes = Outcomes(lambda: None)
        builder = Builder(source, BuildRules(schema, DIALECT), self.outcomes)
        self.now = 0.0
        self.refusals = RefusalLog(KEY, (BY_V,), clock=lambda: self.now)
        # Reasons were asked for just now: items go by themselves only where a test lets time pass.
        self.refusals.asks()
        self.settler = Settler(policy, KEY, self.outcomes, builder, self._account, self.refusals)
        self.bytes = 0
        self.sent: list[list[str]] = []
        self.waits: list[float] = []
        (span,) = source.files
        start = span.base + span.data_start
        data = source.read(start, span.end - start)
        index = index_chunk(data, start, schema.key, DIALECT, schema.header.width, 1)
        index_entries: NDArray[np.void] = np.concatenate(list(entries(sort_window([index]))))
        self._shards = [index_entries[at : at + size] for at in range(0, len(index_entries), size)]
        found: list[Item] = []
        for shard, of_shard in enumerate(self._shards):
            self.outcomes.begin(ShardTask(0, shard, 0, len(of_shard), "nowhere"))
            items = [item for batch in builder.batches(shard, of_shard, 25) for item in batch.items]
            self.outcomes.under_way(shares_of(items))
            self.outcomes.built(shard)
            found += items
        self.items = sorted(found, key=self._place)
        self.bytes = sum(len(item.json) for item in self.items)

    def record(self, item: Item) -> str:
        entry = self._shards[item.shard][item.entry]
        return self._source.read(int(entry["start"]), int(entry["size"])).decode()

    def records(self, items: Sequence[Item]) -> list[str]:
        return list(map(self.record, items))

    def deliver(self, items: Sequence[Item], service: Service, attempt: Attempt | None = None) -> Delivery:
        """As a sender does it, without the waiting."""
        delivery = Delivery(self.settler, Batch(items), attempt or Attempt())
        while part := delivery.next_part():
            self.sent.append(self.records(part.items))
            self.waits.append(delivery.answered(part, service(self.sent[-1]), HALF))
        return delivery

    def finished(self) -> ShardOutcome:
        """The one shard, which must be done, with nothing under way."""
        report = self.outcomes.report()
        assert (report.open, self.bytes) == (Counts(), 0)
        (outcome,) = report.finished
        return outcome

    def rejects(self, outcome: ShardOutcome) -> list[tuple[str, RejectCode]]:
        return [(self._rejected(reject), reject.problem.code) for reject in outcome.rejects]

    def _rejected(self, reject: Reject) -> str:
        return self._source.read(reject.position, reject.size).decode()

    def _place(self, item: Item) -> int:
        return int(self._shards[item.shard][item.entry]["start"])

    def _account(self, size: int) -> None:
        self.bytes += size
        assert self.bytes >= 0


Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    opened: list[Source] = []

    def make(*records: str, policy: RetryPolicy | None = None, size: int = 1000) -> Bench:
        path = tmp_path / f"{len(opened)}.csv"
        path.write_text("".join(f"{line}\n" for line in ("id,v", *records)))
        opened.append(Source.open([str(path)], DIALECT))
        return Bench(opened[-1], policy or RetryPolicy(), size)

    yield make
    for source in opened:
        source.close()


def saying(*answers: Answered) -> Service:
    """One after the other, and then only successes."""
    left = list(answers)
    return lambda sent: left.pop(0) if left else WRITTEN


def refusing(*bad: str) -> Service:
    """Refuses every batch with one of these records in it."""
    return lambda sent: REFUSED if set(bad) & set(sent) else WRITTEN


# --- success, and what it hands back --------------------------------------------------------------


def test_a_success_settles_every_item(bench: Make) -> None:
    made = bench("1,a", "2,b", "3,c")
    delivery = made.deliver(made.items, saying())
    assert made.sent == [["1,a", "2,b", "3,c"]]
    assert (list(delivery.left), delivery.attempt, made.waits) == ([], Attempt(), [0.0])
    done = made.finished()
    assert done.counts == Counts(written=3, write_units=3.0, requests=1)
    assert not done.unanswered


def test_a_batch_that_is_written_whole_is_settled_in_every_shard(bench: Make) -> None:
    made = bench("1,a", "2,b", "3,c", "4,d", "5,e", size=2)
    counts = [len([item for item in made.items if item.shard == shard]) for shard in range(3)]
    delivery = made.deliver(made.items, saying())
    assert (len(made.sent), delivery.attempt) == (1, Attempt())
    report = made.outcomes.report()
    assert (report.open, made.bytes) == (Counts(), 0)
    done = {outcome.shard: outcome.counts for outcome in report.finished}
    assert [done[shard].written for shard in range(3)] == counts
    total = sum(done.values(), Counts())
    # The request and what it took count once, whatever the number of shards.
    assert total == Counts(written=5, write_units=3.0, requests=1)


def test_a_success_settles_the_older_rows_too(bench: Make) -> None:
    made = bench("1,a", "2,b", "1,c", "1,d")
    made.deliver(made.items, saying())
    assert made.sent == [["2,b", "1,d"]]
    assert made.finished().counts == Counts(written=2, duplicates=2, write_units=3.0, requests=1)


def test_a_success_behind_failures_begins_the_next_batch_anew(bench: Make) -> None:
    made = bench("1,a", "2,b")
    delivery = made.deliver(made.items, saying(BROKEN, THROTTLED, EXPIRED))
    assert (len(made.sent), delivery.attempt, list(delivery.left)) == (4, Attempt(), [])
    counts = made.finished().counts
    assert (counts.written, counts.requests, counts.retries, counts.throttled) == (2, 4, 3, 1)


def test_what_a_success_hands_back_is_left_for_the_next_batch(bench: Make) -> None:
    made = bench("1,a", "2,b", "3,c")
    delivery = made.deliver(made.items, saying(back("2,b")))
    assert made.sent == [["1,a", "2,b", "3,c"]]
    assert made.records(delivery.left) == ["2,b"]
    # Something was written, so the service is not asked for more patience than the first time.
    assert delivery.attempt == Attempt()
    assert made.waits == [RetryPolicy().base * HALF]
    assert made.bytes == len(delivery.left[0].json)
    open_counts = made.outcomes.report().open
    assert open_counts == Counts(written=2, write_units=2.0, requests=1, unprocessed=1, retries=1)

    made.deliver(delivery.left, saying(), delivery.attempt)
    assert made.finished().counts.written == 3


def test_a_success_that_hands_everything_back_is_a_throttle_that_goes_on(bench: Make) -> None:
    made = bench("1,a", "2,b")
    first = made.deliver(made.items, saying(back("1,a", "2,b")))
    assert made.records(first.left) == ["1,a", "2,b"]
    assert first.attempt == Attempt(throttles=1)
    second = made.deliver(first.left, saying(back("1,a", "2,b")), first.attempt)
    assert second.attempt == Attempt(throttles=2)
    assert made.waits == [RetryPolicy().base * HALF, RetryPolicy().base * HALF * 2]
    third = made.deliver(second.left, saying(), second.attempt)
    assert third.attempt == Attempt()
    # Patience is no failure: nothing of it counts towards the tries that are allowed.
    assert made.finished() == ShardOutcome(
        0,
        0,
        Counts(written=2, write_units=7.0, requests=3, unprocessed=4, retries=2),
        (),
        False,
    )


@pytest.mark.parametrize("spelled", ["5", "5.0", "0.5e1"])
def test_numbers_handed_back_in_another_spelling_are_known_again(bench: Make, spelled: str) -> None:
    made = bench("05.00,a", "1e2,b", "7,c")
    delivery = made.deliver(made.items, saying(back("100,b", f"{spelled},a")))
    assert made.records(delivery.left) == ["05.00,a", "1e2,b"]
    assert made.outcomes.report().open.written == 1


@pytest.mark.parametrize(
    "handed_back",
    [("9,z",), ("1,a", "9,z"), ("1,a", "2,b", "3,c"), ("1,a", "1,a"), ("x,a",)],
    ids=["a stranger", "one and a stranger", "more than were sent", "one twice", "no key"],
)
def test_a_reply_that_hands_back_what_was_not_sent_is_no_success(
    bench: Make, handed_back: tuple[str, ...]
) -> None:
    made = bench("1,a", "2,b")
    delivery = Delivery(made.settler, Batch(made.items), Attempt())
    part = delivery.next_part()
    assert part is not None
    before = made.bytes
    assert delivery.answered(part, back(*handed_back), HALF) > 0

    # Nothing is taken for written, and what was sent may be applied later still.
    assert made.bytes == before
    assert made.outcomes.report().open == Counts(requests=1, retries=1)
    again = delivery.next_part()
    assert again is not None
    assert made.records(again.items) == ["1,a", "2,b"]
    assert [item.failures for item in again.items] == [1, 1]
    assert again.failures == 1
    delivery.answered(again, WRITTEN, HALF)
    assert delivery.next_part() is None
    done = made.finished()
    assert (done.counts.written, done.unanswered) == (2, True)


def test_such_replies_for_ever_use_up_the_tries(bench: Make) -> None:
    made = bench("1,a", "2,b", policy=RetryPolicy(max_retries=2))
    made.deliver(made.items, lambda sent: back("9,z"))
    assert len(made.sent) == 3
    done = made.finished()
    assert made.rejects(done) == [(f"{n},{v}", RejectCode.UNKNOWN_OUTCOME) for n, v in ((1, "a"), (2, "b"))]
    assert "hands back items that were not sent" in done.rejects[0].problem.reason


def test_items_of_two_shards_are_told_apart(bench: Make) -> None:
    made = bench("1,a", "2,b", size=1)
    # Both are the first of their shard.
    assert sorted((item.shard, item.entry) for item in made.items) == [(0, 0), (1, 0)]
    delivery = made.deliver(made.items, saying(BROKEN, back("1,a")))
    assert made.records(delivery.left) == ["1,a"]
    made.deliver(delivery.left, saying())
    outcomes = made.outcomes.report().finished
    assert [outcome.counts.written for outcome in outcomes] == [1, 1]
    # The failure was the batch's; it counts once, and either shard may have a late write now.
    assert [outcome.unanswered for outcome in outcomes] == [True, True]
    assert sum(outcome.counts.requests for outcome in outcomes) == 3
    assert made.bytes == 0


# --- learning why -------------------------------------------------------------------------------


REASONED = Throttled(
    "ProvisionedThroughputExceededException",
    "slowly",
    (("TableWriteKeyRangeThroughputExceeded", "arn:aws:dynamodb:us-east-1:1:table/t"),),
)


def due(made: Bench) -> Bench:
    """Time has passed: a reason is asked for at the next chance."""
    made.now += ASK_SECONDS
    return made


def test_one_of_the_items_handed_back_goes_by_itself_when_it_is_time_to_learn_why(bench: Make) -> None:
    made = due(bench("1,a", "2,b", "3,c", "4,d"))
    delivery = made.deliver(made.items, saying(back("2,b", "3,c", "4,d")))
    assert made.sent == [["1,a", "2,b", "3,c", "4,d"], ["2,b"]]
    # It goes at once, and what is to be waited comes before the others.
    assert made.waits == [0.0, RetryPolicy().base * HALF]
    assert (made.records(delivery.left), delivery.attempt) == (["3,c", "4,d"], Attempt())
    made.deliver(delivery.left, saying(), delivery.attempt)
    done = made.finished()
    assert done.counts == Counts(written=4, write_units=8.0, requests=3, unprocessed=3, retries=1)
    assert not done.unanswered


@pytest.mark.parametrize("answer", [REASONED, THROTTLED, back("2,b")], ids=["why", "no reason", "back again"])
def test_one_that_is_refused_by_itself_waits_with_the_others(bench: Make, answer: Answered) -> None:
    made = due(bench("1,a", "2,b", "3,c"))
    delivery = made.deliver(made.items, saying(back("2,b", "3,c"), answer))
    assert made.sent == [["1,a", "2,b", "3,c"], ["2,b"]]
    assert (made.records(delivery.left), delivery.attempt) == (["2,b", "3,c"], Attempt(throttles=1))
    assert made.waits == [0.0, RetryPolicy().base * HALF]
    made.deliver(delivery.left, saying(), delivery.attempt)
    counts = made.finished().counts
    assert (counts.written, counts.requests, counts.retries) == (3, 3, 2)
    assert counts.throttled == isinstance(answer, Throttled)
    assert counts.unprocessed == 2 + isinstance(answer, Written)


def test_it_is_the_largest_of_the_items_which_a_table_short_of_capacity_takes_last(bench: Make) -> None:
    made = due(bench("1,a", "2,b", "3,large", "4,d"))
    delivery = made.deliver(made.items, saying(back("2,b", "3,large", "4,d"), REASONED))
    assert made.sent[1] == ["3,large"]
    assert made.records(delivery.left) == ["3,large", "2,b", "4,d"]


def test_it_is_urgent_and_nothing_else_is(bench: Make) -> None:
    made = due(bench("1,a", "2,b", "3,c"))
    delivery = Delivery(made.settler, Batch(made.items), Attempt())
    urgent = []
    for answer in (THROTTLED, back("2,b", "3,c"), BROKEN, REASONED):
        part = delivery.next_part()
        assert part is not None
        urgent.append(delivery.urgent)
        delivery.answered(part, answer, HALF)
    assert urgent == [False, False, True, False]
    assert delivery.next_part() is None


def test_the_answer_to_it_tells_the_reason_and_counts_its_key_once_more(bench: Make) -> None:
    made = due(bench("1,a", "2.0,b", "3,c"))
    made.deliver(made.items, saying(back("2,b", "3,c"), REASONED))
    report = made.refusals.report()
    assert report.reasons == {UNTOLD: 1, REASONED.reasons[0]: 1}
    assert report.keys == {"": (("2", 2), ("3", 1))}


def test_a_reason_is_asked_for_once_in_so_long_a_time(bench: Make) -> None:
    made = due(bench("1,a", "2,b", "3,c", "4,d"))
    first = made.deliver(made.items, saying(back("2,b", "3,c", "4,d"), REASONED))
    second = made.deliver(first.left, saying(back("3,c", "4,d")), first.attempt)
    assert (len(made.sent), made.records(second.left)) == (3, ["3,c", "4,d"])
    third = made.deliver(second.left, saying(back("3,c", "4,d")), second.attempt)
    due(made)
    fourth = made.deliver(third.left, saying(back("4,d"), WRITTEN), third.attempt)
    assert (made.sent[-1], list(fourth.left)) == (["4,d"], [])
    assert made.finished().counts.written == 4


def test_an_item_that_is_by_itself_already_is_not_sent_again_for_a_reason(bench: Make) -> None:
    made = due(bench("1,a"))
    delivery = made.deliver(made.items, saying(back("1,a")))
    assert (made.sent, made.records(delivery.left)) == ([["1,a"]], ["1,a"])
    # Nor is the next chance spent on it.
    assert made.refusals.asks()


def test_a_reason_is_asked_for_also_while_other_parts_are_to_do(bench: Make) -> None:
    made = due(bench("1,a", "2,b", "3,c", "4,d"))
    made.deliver(made.items, saying(REFUSED, back("3,c", "4,d")))
    assert made.sent[1:] == [["3,c", "4,d"], ["3,c"], ["4,d"], ["1,a", "2,b"]]


def test_what_is_refused_by_itself_goes_behind_the_other_parts(bench: Make) -> None:
    made = due(bench("1,a", "2,b", "3,c", "4,d"))
    made.deliver(made.items, saying(REFUSED, back("3,c", "4,d"), REASONED))
    assert made.sent[1:] == [["3,c", "4,d"], ["3,c"], ["4,d"], ["1,a", "2,b"], ["3,c"]]
    assert made.finished().counts.written == 4


def test_one_that_fails_by_itself_is_tried_again_by_itself(bench: Make) -> None:
    made = due(bench("1,a", "2,b", "3,c"))
    delivery = made.deliver(made.items, saying(back("2,b", "3,c"), BROKEN, REASONED))
    assert made.sent[1:] == [["2,b"], ["2,b"]]
    assert [(made.record(item), item.failures) for item in delivery.left] == [("2,b", 1), ("3,c", 0)]
    made.deliver(delivery.left, saying(), delivery.attempt)
    done = made.finished()
    assert (done.counts.written, done.unanswered) == (3, True)


def test_an_older_row_whose_newer_one_is_refused_by_itself_loses_nothing_that_waits(bench: Make) -> None:
    made = due(bench("2,old", "1,a", "2,b", "3,c"))
    delivery = made.deliver(made.items, saying(back("2,b", "3,c"), REFUSED, THROTTLED))
    assert made.sent == [["1,a", "2,b", "3,c"], ["2,b"], ["2,old"]]
    assert made.records(delivery.left) == ["2,old", "3,c"]
    made.deliver(delivery.left, saying(), delivery.attempt)
    done = made.finished()
    assert (done.counts.written, made.rejects(done)) == (3, [("2,b", RejectCode.REFUSED)])


def test_a_whole_batch_that_is_throttled_counts_its_keys_and_charges_are_told_by_index(bench: Make) -> None:
    made = bench("1,a", "2,b")
    charged = Written((), 6.0, {"by_v": 4.0})
    made.deliver(made.items, saying(THROTTLED, charged))
    report = made.refusals.report()
    assert report.keys == {"": (("1", 1), ("2", 1))}
    assert report.reasons == {(THROTTLED.code, ""): 1}
    assert report.units == {"by_v": 4.0}


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_handed_back_and_throttled_no_item_is_lost_or_doubled(bench: Make, seed: int) -> None:
    random = Random(seed)
    records = [f"{n},v" for n in range(30)]
    made = due(bench(*records))
    written: list[str] = []

    def service(sent: list[str]) -> Answered:
        made.now += random.choice((0.0, 0.6))
        draw = random.random()
        if draw < 0.2:
            return random.choice((THROTTLED, REASONED))
        if draw < 0.3:
            return random.choice((BROKEN, ConnectionFault("gone", sent=False)))
        handed_back = [record for record in sent if random.random() < 0.4]
        written.extend(record for record in sent if record not in handed_back)
        return back(*handed_back) if handed_back else WRITTEN

    waiting, attempt = list(made.items), Attempt()
    left: list[Item] = []
    while waiting or left:
        batch, waiting = fill(left, waiting, 10)
        delivery = made.deliver(batch, service, attempt)
        left, attempt = list(delivery.left), delivery.attempt
    assert sorted(written) == sorted(records)
    assert any(len(sent) == 1 for sent in made.sent)
    counts = made.finished().counts
    assert (counts.written, counts.requests) == (30, len(made.sent))


# --- splitting ------------------------------------------------------------------------------------


def test_a_refused_batch_is_halved_down_to_the_bad_item(bench: Make) -> None:
    rows = [f"{n},v" for n in range(8)]
    made = bench(*rows)
    delivery = made.deliver(made.items, refusing("2,v"))
    assert made.sent == [rows, rows[4:], rows[:4], rows[2:4], ["3,v"], ["2,v"], rows[:2]]
    assert (list(delivery.left), set(made.waits)) == ([], {0.0})
    done = made.finished()
    assert made.rejects(done) == [("2,v", RejectCode.REFUSED)]
    assert done.rejects[0].problem.reason == "Refused by the service (ValidationException: no)"
    assert (done.counts.written, done.counts.rejected, done.counts.requests) == (7, 1, 7)
    assert (done.unanswered, done.counts.retries) == (False, 0)


def test_what_is_handed_back_in_the_middle_of_a_split_is_sent_again_at_once(bench: Make) -> None:
    made = bench("1,a", "2,b", "3,c", "4,d")
    delivery = made.deliver(made.items, saying(REFUSED, back("3,c")))
    # The other half is still to do, so it does not wait for the sender's next batch.
    assert made.sent == [["1,a", "2,b", "3,c", "4,d"], ["3,c", "4,d"], ["3,c"], ["1,a", "2,b"]]
    assert list(delivery.left) == []
    assert made.finished().counts.written == 4


def test_what_the_last_part_of_a_split_hands_back_is_left(bench: Make) -> None:
    made = bench("1,a", "2,b", "3,c", "4,d")
    delivery = made.deliver(made.items, saying(REFUSED, WRITTEN, back("1,a")))
    assert len(made.sent) == 3
    assert made.records(delivery.left) == ["1,a"]
    made.deliver(delivery.left, saying())
    assert made.finished().counts.written == 4


@pytest.mark.parametrize("answer", [THROTTLED, BROKEN, ConnectionFault("gone", sent=True)], ids=str)
def test_a_part_that_fails_is_sent_again_before_the_others(bench: Make, answer: Answered) -> None:
    made = bench("1,a", "2,b", "3,c", "4,d")
    made.deliver(made.items, saying(REFUSED, answer))
    assert made.sent[1:] == [["3,c", "4,d"], ["3,c", "4,d"], ["1,a", "2,b"]]
    done = made.finished()
    assert done.counts.written == 4
    assert done.counts.throttled == (answer is THROTTLED)
    assert done.unanswered == (answer is not THROTTLED)


def test_a_request_that_was_never_sent_leaves_no_late_write(bench: Make) -> None:
    made = bench("1,a")
    made.deliver(made.items, saying(ConnectionFault("no route", sent=False)))
    done = made.finished()
    assert (done.unanswered, done.counts.retries) == (False, 1)


# --- the next row of a key ------------------------------------------------------------------------


def test_an_older_row_takes_the_place_of_a_refused_one(bench: Make) -> None:
    made = bench("1,old", "2,b", "1,new", "01,newest")
    made.deliver(made.items, refusing("01,newest"))
    assert made.sent == [["2,b", "01,newest"], ["01,newest"], ["1,new"], ["2,b"]]
    done = made.finished()
    assert made.rejects(done) == [("01,newest", RejectCode.REFUSED)]
    counts = done.counts
    assert (counts.written, counts.duplicates, counts.rejected) == (2, 1, 1)


def test_where_every_row_of_a_key_is_refused_each_is_a_reject(bench: Make) -> None:
    made = bench("1,old", "2,b", "1,new")
    made.deliver(made.items, refusing("1,old", "1,new"))
    done = made.finished()
    assert made.rejects(done) == [("1,new", RejectCode.REFUSED), ("1,old", RejectCode.REFUSED)]
    assert (done.counts.written, done.counts.duplicates, done.counts.rejected) == (1, 0, 2)


def test_a_successor_is_under_way_before_the_shard_could_end(bench: Make) -> None:
    made = bench("1,much longer than the one behind it", "1,b")
    delivery = Delivery(made.settler, Batch(made.items), Attempt())
    part = delivery.next_part()
    assert part is not None
    delivery.answered(part, REFUSED, HALF)
    assert made.outcomes.report().finished == ()
    successor = delivery.next_part()
    assert successor is not None
    assert made.bytes == successor.bytes == len(successor.items[0].json)
    delivery.answered(successor, WRITTEN, HALF)
    made.finished()


# --- giving up ------------------------------------------------------------------------------------


def test_only_the_items_tried_most_are_given_up(bench: Make) -> None:
    made = bench("1,old", "1,a", "2,b", "3,c", policy=RetryPolicy(max_retries=1))
    a, b, c = made.items
    first = made.deliver([a, b], saying(BROKEN, back("1,a")))
    assert [(made.record(item), item.failures) for item in first.left] == [("1,a", 1)]
    made.sent.clear()

    batch, rest = fill(first.left, [c], 25)
    assert rest == []
    made.deliver(batch, saying(BROKEN), first.attempt)

    assert made.sent == [["1,a", "3,c"], ["3,c"]]
    done = made.finished()
    assert made.rejects(done) == [("1,a", RejectCode.UNKNOWN_OUTCOME)]
    # The older row does not take the place of one that may be in the table.
    assert (done.counts.written, done.counts.duplicates, done.counts.rejected) == (2, 1, 1)
    assert done.unanswered


def test_the_others_have_one_try_less_then(bench: Make) -> None:
    made = bench("1,a", "2,b", "3,c", policy=RetryPolicy(max_retries=1))
    a, b, c = made.items
    first = made.deliver([a, b], saying(BROKEN, back("1,a")))
    made.deliver([*first.left, c], lambda sent: BROKEN, first.attempt)
    assert made.sent[2:] == [["1,a", "3,c"], ["3,c"]]
    done = made.finished()
    assert [record for record, _ in made.rejects(done)] == ["1,a", "3,c"]


def test_tries_are_counted_for_each_item(bench: Make) -> None:
    made = bench("1,a", "2,b", "3,c", "4,d", policy=RetryPolicy(max_retries=1))
    made.deliver(made.items, saying(REFUSED, BROKEN, BROKEN, BROKEN))
    halves = ["1,a", "2,b"], ["3,c", "4,d"]
    assert made.sent[1:] == [halves[1], halves[1], halves[0], halves[0]]
    # The other half's failures are its own: this one had a further try, after a first short wait.
    assert made.waits == [0.0, 0.025, 0.0, 0.025, 0.0]
    assert [record for record, _ in made.rejects(made.finished())] == halves[1]


def test_without_a_limit_nothing_is_given_up(bench: Make) -> None:
    made = bench("1,a")
    made.deliver(made.items, saying(*[BROKEN] * 30))
    assert len(made.sent) == 31
    assert made.waits[:3] == [0.025, 0.05, 0.1]
    assert max(made.waits) == RetryPolicy().failure_cap * HALF
    assert made.finished().counts.retries == 30


# --- batches that write nothing -------------------------------------------------------------------


def refuse_batches(made: Bench, items: list[Item], count: int) -> None:
    for _ in range(count):
        made.deliver([items.pop(0), items.pop(0)], lambda sent: REFUSED)


def many(bench: Make, count: int = 400) -> tuple[Bench, list[Item]]:
    made = bench(*(f"{n},v" for n in range(count)))
    return made, list(made.items)


def test_so_many_batches_refused_whole_in_a_row_end_the_load(bench: Make) -> None:
    made, items = many(bench)
    refuse_batches(made, items, ALL_REFUSED_BATCHES - 1)
    with pytest.raises(EverythingRejected, match="every item of 20 batches in a row"):
        refuse_batches(made, items, 1)
    # What was found out is kept.
    assert made.outcomes.report().open.rejected == 2 * ALL_REFUSED_BATCHES


@pytest.mark.parametrize(
    "service",
    [
        lambda sent: WRITTEN,
        lambda sent: REFUSED if len(sent) > 1 or int(sent[0][:-2]) % 2 else WRITTEN,
        lambda sent: back(sent[0]) if len(sent) > 1 else WRITTEN,
    ],
    ids=["a success", "a batch refused in part", "a success in part"],
)
def test_any_write_begins_the_count_anew(bench: Make, service: Service) -> None:
    made, items = many(bench)
    refuse_batches(made, items, ALL_REFUSED_BATCHES - 1)
    made.deliver([items.pop(0), items.pop(0)], service)
    refuse_batches(made, items, ALL_REFUSED_BATCHES - 1)
    with pytest.raises(EverythingRejected):
        refuse_batches(made, items, 1)


def test_an_older_row_that_is_written_begins_the_count_anew(bench: Make) -> None:
    """Newer rows that are all bad, one to a batch, are not a service that refuses everything."""
    count = 3 * ALL_REFUSED_BATCHES
    news = [f"{n},new" for n in range(count)]
    made = bench(*(f"{n},old" for n in range(count)), *news)
    for item in made.items:
        made.deliver([item], refusing(*news))
    counts = made.finished().counts
    assert (counts.written, counts.duplicates, counts.rejected) == (count, 0, count)


def test_a_batch_that_only_waits_neither_counts_nor_begins_anew(bench: Make) -> None:
    made, items = many(bench)
    refuse_batches(made, items, ALL_REFUSED_BATCHES - 1)
    waiting: Sequence[Item] = [items.pop(0)]
    for _ in range(ALL_REFUSED_BATCHES):
        waiting = made.deliver(waiting, lambda sent: back(*sent)).left
    with pytest.raises(EverythingRejected):
        refuse_batches(made, items, 1)


def test_items_given_up_are_not_refused(bench: Make) -> None:
    made = bench(*(f"{n},v" for n in range(60)), policy=RetryPolicy(max_retries=0))
    for item in made.items:
        made.deliver([item], lambda sent: BROKEN)
    assert made.finished().counts.rejected == 60


# --- credentials, and the table -------------------------------------------------------------------


def test_refused_credentials_are_told_of_and_the_batch_waits_for_new_ones(bench: Make) -> None:
    made = bench("1,a", "2,b")
    delivery = made.deliver(made.items, saying(EXPIRED, EXPIRED))
    # Never near 0, so that new ones get here.
    assert [wait >= 0.5 for wait in made.waits] == [True, True, False]
    assert delivery.attempt == Attempt()
    done = made.finished()
    assert (done.counts.written, done.unanswered, done.counts.retries) == (2, False, 2)


def test_credentials_that_stay_refused_end_the_load(bench: Make) -> None:
    made = bench("1,a")
    with pytest.raises(Denied, match="Renew them"):
        made.deliver(made.items, lambda sent: EXPIRED)
    assert len(made.sent) == RetryPolicy().max_denials + 1
    assert made.bytes == len(made.items[0].json)


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDeniedException", Denied), ("ResourceNotFoundException", TableGone)]
)
def test_other_halts_end_the_load_at_once(bench: Make, code: str, error: type[Exception]) -> None:
    made = bench("1,a")
    with pytest.raises(error):
        made.deliver(made.items, lambda sent: Halt(code, "no"))
    assert len(made.sent) == 1
    assert made.outcomes.report().open == Counts(requests=1)


# --- whatever comes -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_answered_every_row_is_entered_once(bench: Make, seed: int) -> None:
    chance = Random(seed)
    policy = RetryPolicy(max_retries=chance.choice([None, 0, 2]), max_denials=1000)
    made = bench(*(f"{n % 40},{n}" for n in range(100)), policy=policy)
    bad = {f"{n % 40},{n}" for n in range(100) if chance.random() < 0.15}

    def service(sent: list[str]) -> Answered:
        if bad & set(sent):
            return REFUSED
        some = chance.sample(sent, chance.randint(1, len(sent)))
        gone = ConnectionFault("gone", sent=True)
        answers: list[Answered] = [WRITTEN, WRITTEN, back(*some), THROTTLED, BROKEN, gone, EXPIRED]
        return chance.choice(answers)

    left: Sequence[Item] = ()
    attempt = Attempt()
    queue = list(batches(made.items, 7))
    while queue or left:
        batch, rest = fill(left, queue.pop(0).items if queue else (), 7)
        queue[:0] = [Batch(rest)] if rest else []
        delivery = made.deliver(batch, service, Attempt(attempt.failures, attempt.throttles))
        left, attempt = delivery.left, delivery.attempt

    counts = made.finished().counts
    assert counts.rows == 100
    assert counts.requests == len(made.sent)


def test_the_log_tells_of_tries_without_what_is_in_them(
    bench: Make, caplog: pytest.LogCaptureFixture
) -> None:
    made = bench("471100,secret", "2,b")
    told = Transient("InternalServerError", "471100 secret")
    throttled = Throttled("ThrottlingException", "471100 secret")
    with caplog.at_level(logging.DEBUG, "loader"):
        made.deliver(made.items, saying(told, throttled, ConnectionFault("gone", sent=True), back("2,b")))
    texts = [record.getMessage() for record in caplog.records if record.name == "loader.engines.delivery"]
    assert texts == [
        "2 items: InternalServerError; again in 0.03 s",
        "2 items: ThrottlingException; again in 0.03 s",
        "2 items: gone; again in 0.05 s",
        "1 items: 1 unprocessed; again in 0.03 s",
    ]
