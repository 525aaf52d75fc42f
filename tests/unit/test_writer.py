"""The pool of senders: how far the builder may run ahead of them, and what they do with what comes back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import orjson
import pytest

from loader.decisions.batch import Batch
from loader.decisions.index import index_chunk
from loader.decisions.plan import entries, sort_window
from loader.decisions.retry import RetryPolicy
from loader.decisions.schema import build_schema
from loader.decisions.wire import Reply, join_items
from loader.edges.clients import Credentials
from loader.edges.events import Share
from loader.edges.source import Source
from loader.engines.builder import Builder, BuildRules, Draining
from loader.engines.outcomes import Outcomes
from loader.engines.writer import BYTES_IN_FLIGHT, QUEUED, Writer, WriterRules
from loader.errors import ConnectionFault, Fatal
from loader.model import Counts, Dialect, KeyPart, KeySchema, ShardTask, TableDescription

DIALECT = Dialect()
KEY = KeySchema(KeyPart("id", "S"))
SHARD = 2
SECONDS = 20.0
"""For what must come; it comes at once."""
PAUSE = 0.05
"""For what must not."""
IMPATIENT = RetryPolicy(base=0.001, throttle_cap=0.002)
UNLIMITED = Share()

Answer = Callable[[list[str]], list[str]]
"""Which of the keys of a request are handed back; may raise what a transport raises."""


class Line:
    """A transport behind which every request stands still until it is let through, and is then answered."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._changed = threading.Condition()
        self._open = 0.0
        self.requests: list[list[str]] = []

    def send(self, body: bytes) -> Reply:
        puts = orjson.loads(body)["RequestItems"]["t"]
        items = {put["PutRequest"]["Item"]["id"]["S"]: put for put in puts}
        with self._changed:
            self.requests.append(list(items))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open > 0)
            self._open -= 1
        back = [items[key] for key in self._answer(list(items))]
        said = {
            "UnprocessedItems": {"t": back} if back else {},
            "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": len(items) - len(back)}],
        }
        return Reply(200, {}, orjson.dumps(said))

    def probe(self, body: bytes) -> Reply:
        return Reply(400, {}, b'{"__type":"com.amazon.coral.validate#ValidationException"}')

    def use(self, credentials: Credentials) -> None:
        raise AssertionError("nobody has new credentials here")

    def close(self) -> None:
        self.let_through(float("inf"))

    def let_through(self, requests: float) -> None:
        with self._changed:
            self._open += requests
            self._changed.notify_all()

    def came(self, requests: int) -> None:
        """Wait until so many have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= requests, SECONDS), len(self.requests)


class Bench:
    """A writer, and the batches of a file of `rows` rows for it."""

    def __init__(
        self,
        path: Path,
        rows: int,
        size: int,
        threads: int,
        answer: Answer,
        policy: RetryPolicy,
        share: Share,
    ) -> None:
        path.write_text("id\n" + "".join(f"k{number}\n" for number in range(rows)))
        self.rows = rows
        self.source = Source.open([str(path)], DIALECT)
        table = TableDescription("t", "arn", "1", "0", "http://127.0.0.1:1", "ACTIVE", KEY)
        schema = build_schema(table, self.source.header, {})
        self.outcomes = Outcomes(lambda: None)
        builder = Builder(self.source, BuildRules(schema, DIALECT), self.outcomes)
        data = self.source.read(3, self.source.total - 3)
        index = index_chunk(data, 3, schema.key, DIALECT, 1, 1)
        found = np.concatenate(list(entries(sort_window([index]))))
        self.outcomes.begin(ShardTask(0, SHARD, 0, rows, "nowhere"))
        self.batches = list(builder.batches(SHARD, found, size))
        self.line = Line(answer)
        self.failures: list[BaseException] = []
        self.denied: list[int] = []
        rules = WriterRules("t", KEY, indexes=(), threads=threads, adapts=False, batch_size=size, share=share)
        self.writer = Writer(
            self.line,
            rules,
            policy,
            self.outcomes,
            builder,
            on_failure=self._fail,
            on_denied=self._denied,
            on_change=lambda: self._fail(AssertionError("outage, or a long wait")),
        )
        self.writer.resize(threads)
        # What a builder has handed over, in the thread that does.
        self.submitted = 0
        self.drained = False
        self._thread = threading.Thread(target=self._submit_all, name="builder")
        self._handed = threading.Condition()

    def _denied(self, serial: int) -> None:
        self.denied.append(serial)

    def keys(self, batch: int) -> list[str]:
        return [orjson.loads(item.json)["id"]["S"] for item in self.batches[batch].items]

    def begin(self) -> None:
        """The first batch is in a sender's hands, the builder at work on the others."""
        self._submit_one()
        self.line.came(1)
        self._thread.start()

    def has_submitted(self, batches: int) -> None:
        """So many, and waits to hand over the next."""
        with self._handed:
            assert self._handed.wait_for(lambda: self.submitted >= batches, SECONDS), self.submitted
        time.sleep(PAUSE)
        assert self.submitted == batches
        assert self._thread.is_alive()

    def builder_ended(self) -> None:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def finished(self) -> Counts:
        """Everything there is gets through; what became of it."""
        self.builder_ended()
        self.outcomes.built(SHARD)
        self.line.let_through(float("inf"))
        until = time.monotonic() + SECONDS
        while not (finished := self.outcomes.report().finished):
            assert time.monotonic() < until, self.outcomes.report()
            time.sleep(0.001)
        return finished[0].counts

    def close(self) -> None:
        self.writer.drain()
        self.line.close()
        self.writer.join()
        if self._thread.ident is not None:
            self._thread.join()
        self.source.close()

    def _submit_all(self) -> None:
        try:
            while self.submitted < len(self.batches):
                self._submit_one()
        except Draining:
            self.drained = True

    def _submit_one(self) -> None:
        self.writer.submit(self.batches[self.submitted])
        with self._handed:
            self.submitted += 1
            self._handed.notify_all()

    def _fail(self, error: BaseException) -> None:
        """As a worker does it."""
        self.failures.append(error)
        self.writer.drain()


Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(
            rows: int,
            *,
            size: int = 1,
            threads: int = 1,
            answer: Answer = lambda keys: [],
            policy: RetryPolicy = IMPATIENT,
            share: Share = UNLIMITED,
        ) -> Bench:
            made = Bench(tmp_path / "a.csv", rows, size, threads, answer, policy, share)
            stack.callback(made.close)
            return made

        yield make


# --- how far ahead --------------------------------------------------------------------------------


def test_the_builder_waits_while_many_batches_lie_ready_and_goes_on_when_half_are_gone(bench: Make) -> None:
    made = bench(QUEUED + 60)
    made.begin()
    # One is in the sender's hands.
    made.has_submitted(1 + QUEUED)
    made.line.let_through(QUEUED // 2 - 1)
    made.line.came(QUEUED // 2)
    made.has_submitted(1 + QUEUED)
    made.line.let_through(1)
    made.builder_ended()
    assert (made.submitted, made.drained) == (QUEUED + 60, False)
    assert made.finished() == Counts(
        written=QUEUED + 60, requests=QUEUED + 60, write_units=float(QUEUED + 60)
    )
    assert made.failures == []


def test_the_builder_waits_as_often_as_it_must(bench: Make) -> None:
    made = bench(4 * QUEUED, threads=3)
    made.begin()
    made.line.let_through(float("inf"))
    assert made.finished().written == 4 * QUEUED
    assert sorted(key for request in made.line.requests for key in request) == sorted(
        f"k{number}" for number in range(4 * QUEUED)
    )


def test_the_builder_waits_while_much_is_in_flight_and_goes_on_when_half_is_settled(bench: Make) -> None:
    made = bench(5)
    # Three of them are below the limit, four are not.
    large = b"x" * (BYTES_IN_FLIGHT * 9 // 32)
    made.batches = [
        Batch.ready(SHARD, [entry], b'{"id":{"S":"k%d"},"t":{"S":"%b"}}' % (entry, large))
        for entry in range(5)
    ]
    made.begin()
    made.has_submitted(3)
    made.line.let_through(1)
    made.line.came(2)
    # Two are not settled, which is more than half.
    made.has_submitted(3)
    made.line.let_through(1)
    made.builder_ended()
    assert made.finished().written == 5


def test_what_is_handed_back_stays_in_flight(bench: Make) -> None:
    """So bytes are reckoned until an item is settled, whatever batches it was in."""
    again = iter([["k0"]])
    made = bench(5, answer=lambda keys: next(again, []))
    large = b"x" * (BYTES_IN_FLIGHT * 9 // 32)
    made.batches = [
        Batch.ready(SHARD, [entry], b'{"id":{"S":"k%d"},"t":{"S":"%b"}}' % (entry, large))
        for entry in range(5)
    ]
    made.begin()
    made.has_submitted(3)
    made.line.let_through(2)
    made.line.came(3)
    made.has_submitted(3)
    assert made.line.requests == [["k0"], ["k0"], ["k1"]]
    made.line.let_through(1)
    assert made.finished().written == 5


# --- draining -------------------------------------------------------------------------------------


def test_draining_ends_a_builder_that_waits(bench: Make) -> None:
    made = bench(QUEUED + 60)
    made.begin()
    made.has_submitted(1 + QUEUED)
    made.writer.drain()
    made.builder_ended()
    assert (made.submitted, made.drained) == (1 + QUEUED, True)
    with pytest.raises(Draining):
        made.writer.submit(made.batches[-1])
    # The request in flight comes to its end, and nothing more is sent.
    made.line.close()
    made.writer.join()
    assert len(made.line.requests) == 1
    (state,) = made.outcomes.final_report().given_up
    assert state.counts == Counts(written=1, requests=1, write_units=1.0)


def test_draining_ends_senders_that_have_nothing_to_do(bench: Make) -> None:
    made = bench(1, threads=5)
    made.writer.drain()
    made.writer.join()
    assert made.line.requests == []


def test_draining_ends_a_sender_that_waits_for_its_next_try(bench: Make) -> None:
    made = bench(2, size=2, answer=lambda keys: keys, policy=RetryPolicy(base=1e6, throttle_cap=1e6))
    made.begin()
    made.line.let_through(2)
    until = time.monotonic() + SECONDS
    while made.outcomes.report().open.unprocessed < 3:
        assert time.monotonic() < until
        time.sleep(0.001)
    made.writer.drain()
    made.writer.join()
    assert made.line.requests == [made.keys(0), made.keys(0)[:1]]
    (state,) = made.outcomes.final_report().given_up
    assert (state.counts.written, state.counts.unprocessed) == (0, 3)


def test_a_failure_of_a_sender_ends_a_builder_that_waits(bench: Make) -> None:
    def gone(keys: list[str]) -> list[str]:
        raise Fatal("the table is gone")

    made = bench(QUEUED + 60, answer=gone)
    made.begin()
    made.has_submitted(1 + QUEUED)
    made.line.let_through(1)
    made.builder_ended()
    assert made.drained
    assert list(map(str, made.failures)) == ["the table is gone"]


# --- what comes back ------------------------------------------------------------------------------


def test_what_is_handed_back_goes_first_into_the_next_batch(bench: Make) -> None:
    handed_back: list[str] = []

    def answer(keys: list[str]) -> list[str]:
        if handed_back:
            return []
        handed_back.extend([keys[1], keys[3]])
        return [keys[3], keys[1]]

    made = bench(15, size=5, answer=answer)
    first, second, third = (made.keys(batch) for batch in range(3))
    made.begin()
    made.builder_ended()
    counts = made.finished()
    sent = made.line.requests
    # One by itself, since a refusal of that says why. Then the others, as they were in their batch, and as
    # much of a fresh one as there is room for.
    assert sent[:3] == [first, [first[1]], [first[3], *second[:4]]]
    # What there was no room for is not forgotten, and waits its turn.
    assert sorted(sent[3:]) == sorted([second[4:], third])
    assert counts == Counts(written=15, requests=5, write_units=15.0, unprocessed=2, retries=1)


def test_where_nothing_lies_ready_what_is_handed_back_goes_alone(bench: Make) -> None:
    again = iter([1])
    made = bench(5, size=5, answer=lambda keys: keys[: next(again, 0)])
    made.begin()
    counts = made.finished()
    assert made.line.requests == [made.keys(0), made.keys(0)[:1]]
    assert (counts.written, counts.requests, counts.unprocessed) == (5, 2, 1)


def test_a_whole_batch_handed_back_takes_nothing_fresh(bench: Make) -> None:
    again = iter([5, 5])
    made = bench(10, size=5, answer=lambda keys: keys[: next(again, 0)])
    made.begin()
    made.builder_ended()
    counts = made.finished()
    first, second = made.keys(0), made.keys(1)
    assert made.line.requests == [first, first[:1], first, second]
    assert (counts.written, counts.unprocessed, counts.retries) == (10, 6, 2)


def test_a_batch_that_failed_is_sent_again_as_it_was(bench: Make) -> None:
    faults = iter([ConnectionFault("reset", sent=True)])

    def answer(keys: list[str]) -> list[str]:
        if (fault := next(faults, None)) is not None:
            raise fault
        return []

    made = bench(10, size=5, answer=answer)
    made.begin()
    made.builder_ended()
    counts = made.finished()
    assert made.line.requests == [made.keys(0), made.keys(0), made.keys(1)]
    assert (counts.written, counts.requests, counts.retries) == (10, 3, 1)


def test_a_body_is_what_the_batch_holds(bench: Make) -> None:
    made = bench(3, size=3)
    (batch,) = made.batches
    assert batch.json == join_items([b'{"id":{"S":"%b"}}' % key.encode() for key in made.keys(0)])
    made.begin()
    made.finished()
    assert made.line.requests == [made.keys(0)]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_whatever_is_handed_back_every_row_is_written_once(bench: Make, threads: int) -> None:
    lock = threading.Lock()
    written: list[str] = []
    calls = iter(range(10**6))

    def answer(keys: list[str]) -> list[str]:
        with lock:
            # Never all, so that it comes to an end; another number each time.
            left = keys[: next(calls) % len(keys)]
            written.extend(keys[len(left) :])
            return left

    made = bench(700, size=7, threads=threads, answer=answer)
    made.begin()
    made.line.let_through(float("inf"))
    counts = made.finished()
    assert sorted(written) == sorted(f"k{number}" for number in range(700))
    assert (counts.written, counts.rows) == (700, 700)
    assert max(map(len, made.line.requests)) == 7
    assert counts.requests == len(made.line.requests)
    assert made.failures == []


# --- how many senders -----------------------------------------------------------------------------


def test_more_senders_send_at_once(bench: Make) -> None:
    made = bench(10, threads=1)
    made.begin()
    made.writer.resize(4)
    made.line.came(4)
    time.sleep(PAUSE)
    assert (len(made.line.requests), made.writer.senders) == (4, 4)
    assert made.finished().written == 10


def senders_alive() -> int:
    return sum(thread.name == "sender" for thread in threading.enumerate())


def wait_for_senders(count: int) -> None:
    until = time.monotonic() + SECONDS
    while senders_alive() > count:
        assert time.monotonic() < until, senders_alive()
        time.sleep(0.001)


def test_senders_that_are_too_many_end_after_what_they_are_sending(bench: Make) -> None:
    made = bench(40, threads=8)
    made.begin()
    made.line.came(8)
    made.builder_ended()
    made.writer.resize(2)
    made.line.let_through(8)
    wait_for_senders(2)
    assert made.finished() == Counts(written=40, requests=40, write_units=40.0)


def test_throttled_senders_that_are_too_many_end_too(bench: Make) -> None:
    throttling = True
    made = bench(4000, size=10, threads=16, answer=lambda keys: keys[1:] if throttling else [])
    made.line.let_through(float("inf"))
    made.begin()
    made.writer.resize(3)
    wait_for_senders(3)
    throttling = False
    assert made.finished().written == 4000


def test_senders_wanted_again_before_they_ended_go_on(bench: Make) -> None:
    made = bench(20, threads=4)
    made.begin()
    made.line.came(4)
    made.writer.resize(1)
    made.writer.resize(5)
    made.line.came(5)
    made.line.let_through(10)
    made.line.came(15)
    assert senders_alive() == 5
    assert made.finished().written == 20


def test_however_often_senders_come_and_go_every_row_is_written_once(bench: Make) -> None:
    seen: set[str] = set()

    def half_at_first(keys: list[str]) -> list[str]:
        back = [key for key in keys[::2] if key not in seen]
        seen.update(keys)
        return back

    made = bench(400, size=5, threads=3, answer=half_at_first)
    made.line.let_through(float("inf"))
    made.begin()
    for senders in (1, 9, 2, 30, 1, 4):
        made.writer.resize(senders)
        time.sleep(0.005)
    assert made.finished().written == 400
    assert made.failures == []


def test_senders_that_come_while_it_drains_end_at_once(bench: Make) -> None:
    made = bench(3)
    made.writer.drain()
    made.writer.resize(20)
    made.writer.join()
    assert senders_alive() == 0


def test_a_batch_goes_in_requests_that_the_share_allows(bench: Make) -> None:
    made = bench(12, size=6, share=Share(1e6, 2.0))
    made.begin()
    made.builder_ended()
    counts = made.finished()
    first, second = made.keys(0), made.keys(1)
    assert made.line.requests == [batch[at : at + 2] for batch in (first, second) for at in (0, 2, 4)]
    assert (counts.written, counts.requests) == (12, 6)


def test_a_batch_that_is_refused_as_a_whole_is_cut_when_the_share_got_smaller(bench: Make) -> None:
    faults = iter([ConnectionFault("reset", sent=True)])

    def answer(keys: list[str]) -> list[str]:
        if (fault := next(faults, None)) is not None:
            made.writer.take_share(Share(1e6, 2.0))
            raise fault
        return []

    made = bench(4, size=4, answer=answer)
    made.begin()
    made.builder_ended()
    counts = made.finished()
    keys = made.keys(0)
    assert made.line.requests == [keys, keys[:2], keys[2:]]
    assert counts.written == 4
