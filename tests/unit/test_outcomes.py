"""A worker's accounts: each row entered once, a shard finished exactly when nothing of it is left."""

import random
import sys
import threading
from collections.abc import Iterator

import pytest

from loader.decisions.batch import Item, shares_of
from loader.edges.events import Report
from loader.engines.outcomes import Outcomes
from loader.model import Counts, Problem, Reject, RejectCode, ShardOutcome, ShardTask

PROBLEM = Problem(RejectCode.REFUSED, "no")


def task(shard: int, window: int = 3) -> ShardTask:
    return ShardTask(window, shard, 0, 100, "nowhere")


def item(shard: int, entry: int = 0, *older: int) -> Item:
    return Item(b"{}", shard, entry, older)


def reject(position: int = 0) -> Reject:
    return Reject(position, 10, PROBLEM)


def opened(*shards: int) -> Outcomes:
    outcomes = Outcomes(lambda: None)
    for shard in shards:
        outcomes.begin(task(shard))
    return outcomes


# --- when a shard is finished ---------------------------------------------------------------------


def test_a_shard_without_items_is_finished_when_it_is_built() -> None:
    outcomes = opened(5)
    outcomes.duplicates(5, 4)
    assert outcomes.report() == Report((), Counts(duplicates=4))
    outcomes.built(5)
    assert outcomes.report() == Report((ShardOutcome(3, 5, Counts(duplicates=4)),), Counts())


def test_a_shard_is_not_finished_while_its_builder_makes_more() -> None:
    outcomes = opened(5)
    outcomes.under_way(shares_of([item(5)]))
    outcomes.written(shares_of([item(5)]))
    assert outcomes.report() == Report((), Counts(written=1))
    outcomes.under_way(shares_of([item(5, 1)]))
    outcomes.built(5)
    assert outcomes.report() == Report((), Counts(written=1))
    outcomes.written(shares_of([item(5, 1)]))
    assert outcomes.report().finished == (ShardOutcome(3, 5, Counts(written=2)),)


def test_a_shard_is_not_finished_while_an_item_is_under_way() -> None:
    outcomes = opened(5)
    items = [item(5, entry) for entry in range(3)]
    outcomes.under_way(shares_of(items))
    outcomes.built(5)
    outcomes.written(shares_of(items[:1]))
    outcomes.reject(5, reject())
    assert outcomes.report().finished == ()
    outcomes.settled(items[1])
    assert outcomes.report().finished == ()
    outcomes.written(shares_of(items[2:]))
    (finished,) = outcomes.report().finished
    assert finished.counts == Counts(written=2, rejected=1)


def test_a_refused_item_keeps_its_shard_open_while_an_older_row_takes_its_place() -> None:
    outcomes = opened(5)
    outcomes.under_way(shares_of([item(5, 7, 1, 4)]))
    outcomes.built(5)
    outcomes.reject(5, reject(70))
    outcomes.under_way(shares_of([item(5, 4, 1)]))
    outcomes.settled(item(5, 7, 1, 4))
    assert outcomes.report().finished == ()
    outcomes.written(shares_of([item(5, 4, 1)]))
    (finished,) = outcomes.report().finished
    assert finished.counts == Counts(written=1, duplicates=1, rejected=1)
    assert finished.rejects == (reject(70),)


def test_a_finished_shard_is_reported_once() -> None:
    outcomes = opened(5)
    outcomes.built(5)
    assert len(outcomes.report().finished) == 1
    assert outcomes.report() == Report((), Counts())
    assert outcomes.final_report() == Report((), Counts())


def test_a_shard_can_be_done_again() -> None:
    outcomes = opened(5)
    outcomes.duplicates(5, 1)
    outcomes.built(5)
    outcomes.begin(task(5))
    outcomes.built(5)
    assert [each.counts for each in outcomes.report().finished] == [Counts(duplicates=1), Counts()]


def test_a_row_of_a_shard_that_is_not_open_is_a_bug() -> None:
    outcomes = opened(5)
    outcomes.built(5)
    with pytest.raises(KeyError):
        outcomes.duplicates(5, 1)
    with pytest.raises(KeyError):
        outcomes.reject(5, reject())
    with pytest.raises(KeyError):
        outcomes.under_way(shares_of([item(5)]))
    with pytest.raises(KeyError):
        outcomes.written(shares_of([item(5)]))
    with pytest.raises(KeyError):
        outcomes.built(5)


# --- rows -----------------------------------------------------------------------------------------


def test_a_written_item_settles_the_older_rows_of_its_key() -> None:
    outcomes = opened(0)
    items = [item(0, 3, 0, 1, 2), item(0, 4), item(0, 6, 5)]
    outcomes.under_way(shares_of(items))
    outcomes.written(shares_of(items))
    outcomes.built(0)
    (finished,) = outcomes.report().finished
    assert finished.counts == Counts(written=3, duplicates=4)
    assert finished.counts.rows == 7


def test_rows_behind_an_item_of_unknown_outcome_are_superseded() -> None:
    outcomes = opened(0)
    outcomes.under_way(shares_of([item(0, 3, 1, 2)]))
    outcomes.reject(0, reject())
    outcomes.settled(item(0, 3, 1, 2), superseded=2)
    outcomes.built(0)
    (finished,) = outcomes.report().finished
    assert finished.counts == Counts(duplicates=2, rejected=1)


def test_a_batch_of_several_shards_is_entered_in_each() -> None:
    outcomes = opened(0, 1, 2)
    batch = [item(0), item(1, 1, 0), item(0, 1), item(2), item(2, 1)]
    outcomes.under_way(shares_of(batch))
    for shard in (0, 1, 2):
        outcomes.built(shard)
    outcomes.request(0, Counts(write_units=5.0, requests=1, unprocessed=1, retries=1))
    outcomes.written(shares_of(batch[:-1]))
    report = outcomes.report()
    assert {each.shard: each.counts for each in report.finished} == {
        0: Counts(written=2, write_units=5.0, requests=1, unprocessed=1, retries=1),
        1: Counts(written=1, duplicates=1),
    }
    assert report.open == Counts(written=1)
    outcomes.written(shares_of(batch[-1:]))
    assert [each.shard for each in outcomes.report().finished] == [2]


def test_what_a_request_of_several_shards_took_is_entered_once() -> None:
    outcomes = opened(0, 1)
    batch = [item(1), item(0, 0, 7, 8), item(1, 1), item(0, 1)]
    outcomes.under_way(shares_of(batch))
    outcomes.written(shares_of(batch), requests=1, write_units=4.5)
    outcomes.under_way(shares_of([item(0, 2)]))
    outcomes.written(shares_of([item(0, 2)]), requests=1, write_units=0.5)
    outcomes.request(0, Counts(requests=1, throttled=1, retries=1))
    for shard in (0, 1):
        outcomes.built(shard)
    assert {each.shard: each.counts for each in outcomes.report().finished} == {
        0: Counts(written=3, duplicates=2, write_units=0.5, requests=2, throttled=1, retries=1),
        1: Counts(written=2, write_units=4.5, requests=1),
    }


def test_nothing_written_is_nothing_entered() -> None:
    outcomes = opened(0)
    outcomes.written(shares_of([]))
    outcomes.under_way(shares_of([]))
    assert outcomes.report() == Report((), Counts())


def test_what_a_request_took_is_no_row() -> None:
    outcomes = opened(0)
    outcomes.request(0, Counts(write_units=2.5, requests=1, throttled=1))
    outcomes.request(0, Counts(write_units=0.5, requests=1))
    assert outcomes.report().open == Counts(write_units=3.0, requests=2, throttled=1)
    assert outcomes.report().open.rows == 0


def test_rejects_are_kept_in_the_order_they_came() -> None:
    outcomes = opened(0)
    for position in (30, 10, 20):
        outcomes.reject(0, reject(position))
    outcomes.built(0)
    (finished,) = outcomes.report().finished
    assert [each.position for each in finished.rejects] == [30, 10, 20]


def test_only_the_shards_of_unanswered_items_are_marked() -> None:
    outcomes = opened(0, 1, 2)
    outcomes.unanswered(shares_of([item(0), item(2), item(0, 1)]))
    for shard in (0, 1, 2):
        outcomes.built(shard)
    assert [each.unanswered for each in outcomes.report().finished] == [True, False, True]


# --- reports --------------------------------------------------------------------------------------


def test_a_report_sums_the_open_shards() -> None:
    outcomes = opened(0, 1)
    outcomes.duplicates(0, 2)
    outcomes.duplicates(1, 30)
    outcomes.reject(1, reject())
    assert outcomes.report() == Report((), Counts(duplicates=32, rejected=1))
    outcomes.built(0)
    report = outcomes.report()
    assert report.open == Counts(duplicates=30, rejected=1)
    assert [each.counts for each in report.finished] == [Counts(duplicates=2)]


def test_a_worker_that_ends_early_gives_up_what_is_open() -> None:
    outcomes = opened(0, 1, 2)
    outcomes.built(0)
    outcomes.under_way(shares_of([item(1), item(1, 1)]))
    outcomes.written(shares_of([item(1)]))
    outcomes.unanswered(shares_of([item(1, 1)]))
    outcomes.reject(1, reject(7))
    report = outcomes.final_report()
    assert [each.shard for each in report.finished] == [0]
    assert report.open == Counts()
    assert report.given_up == (
        ShardOutcome(3, 1, Counts(written=1, rejected=1), (reject(7),), unanswered=True),
        ShardOutcome(3, 2, Counts()),
    )
    assert outcomes.final_report() == Report((), Counts())


def test_finished_shards_can_be_let_go_once() -> None:
    outcomes = opened(4, 5, 6)
    outcomes.built(6)
    outcomes.built(4)
    outcomes.report()
    assert outcomes.take_closed() == [6, 4]
    assert outcomes.take_closed() == []
    outcomes.built(5)
    assert outcomes.take_closed() == [5]


def test_every_entry_is_a_change_that_can_be_reported_at_once() -> None:
    seen: list[Counts] = []
    outcomes = Outcomes(lambda: seen.append(outcomes.report().open))
    outcomes.begin(task(0))
    outcomes.under_way(shares_of([item(0), item(0, 1, 2)]))
    assert seen == []
    outcomes.duplicates(0, 1)
    outcomes.reject(0, reject())
    outcomes.settled(item(0))
    outcomes.request(0, Counts(requests=1))
    outcomes.written(shares_of([item(0, 1, 2)]))
    assert [counts.rows for counts in seen] == [1, 2, 2, 2, 4]
    outcomes.built(0)
    assert seen[-1] == Counts()


# --- room for another shard -----------------------------------------------------------------------


def test_there_is_room_below_the_limit() -> None:
    opened(0, 1).wait_for_room(3, lambda: False)


def test_waiting_for_room_can_be_given_up() -> None:
    opened(0, 1).wait_for_room(2, lambda: True)


def test_a_finished_shard_makes_room() -> None:
    outcomes = opened(0, 1)
    waiter = threading.Thread(target=outcomes.wait_for_room, args=(2, lambda: False))
    waiter.start()
    try:
        waiter.join(0.02)
        assert waiter.is_alive()
    finally:
        outcomes.built(1)
        waiter.join(10)
    assert not waiter.is_alive()


# --- threads --------------------------------------------------------------------------------------

SHARDS, ROWS, SENDERS = 150, 24, 4


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Senders:
    """Takes items as they are built, from several threads, and settles each in one of the ways there are."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._lock = threading.Lock()
        self._queue: list[Item] = []
        self._closed = False
        self.failures: list[BaseException] = []
        self.done = dict.fromkeys(range(SHARDS), Counts())

    def take(self) -> list[Item] | None:
        with self._lock:
            batch, self._queue = self._queue[:7], self._queue[7:]
            return None if self._closed and not batch else batch

    def put(self, batch: list[Item]) -> None:
        with self._lock:
            self._queue += batch

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def run(self, seed: int) -> None:
        try:
            chance = random.Random(seed)
            while (batch := self.take()) is not None:
                self._settle(batch, chance)
        except BaseException as error:
            self.failures.append(error)

    def _settle(self, batch: list[Item], chance: random.Random) -> None:
        # As a batch is settled that is written whole, and as one that is not.
        whole = chance.random() < 0.5
        written = [each for each in batch if whole or chance.random() < 0.5]
        if batch:
            self._enter(batch[0].shard, Counts(requests=1))
            if not whole:
                self._outcomes.request(batch[0].shard, Counts(requests=1))
        for each in batch:
            if each in written:
                self._enter(each.shard, Counts(written=1, duplicates=len(each.older)))
            elif each.older:
                # Refused: an older row takes its place, as the next item under way.
                successor = each._replace(entry=each.older[-1], older=each.older[:-1])
                self._outcomes.reject(each.shard, reject(each.entry))
                self._enter(each.shard, Counts(rejected=1))
                self._outcomes.under_way(shares_of([successor]))
                self._outcomes.settled(each)
                self.put([successor])
            else:
                self._outcomes.reject(each.shard, reject(each.entry))
                self._enter(each.shard, Counts(rejected=1))
                self._outcomes.settled(each)
        self._outcomes.written(shares_of(written), requests=int(whole and bool(batch)))

    def _enter(self, shard: int, counts: Counts) -> None:
        with self._lock:
            self.done[shard] += counts


def test_entries_of_many_threads_add_up(switching_often: None) -> None:
    reports: list[Report] = []
    outcomes = opened()
    senders = Senders(outcomes)
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            reports.append(outcomes.report())

    threads = [threading.Thread(target=senders.run, args=(seed,)) for seed in range(SENDERS)]
    threads.append(threading.Thread(target=watch))
    for thread in threads:
        thread.start()
    try:
        for shard in range(SHARDS):
            outcomes.wait_for_room(3, lambda: bool(senders.failures))
            outcomes.begin(task(shard))
            # Rows 0 1 2 have one key, 3 is a duplicate, and so on: four rows an item.
            for entry in range(0, ROWS, 4):
                made = [item(shard, entry + 2, entry, entry + 1)]
                outcomes.duplicates(shard, 1)
                outcomes.under_way(shares_of(made))
                senders.put(made)
            outcomes.built(shard)
    finally:
        senders.close()
        for thread in threads[:-1]:
            thread.join(60)
        over.set()
        threads[-1].join(60)
    reports.append(outcomes.report())
    assert senders.failures == []

    finished = {each.shard: each for report in reports for each in report.finished}
    assert sum(len(report.finished) for report in reports) == len(finished) == SHARDS
    for shard, outcome in finished.items():
        assert outcome.counts == senders.done[shard] + Counts(duplicates=ROWS // 4)
        assert outcome.counts.rows == ROWS
        assert len(outcome.rejects) == outcome.counts.rejected
        assert len({each.position for each in outcome.rejects}) == len(outcome.rejects)
    # Finished and open are of one moment: their sum never goes back, nor past what there is.
    total, seen = Counts(), [0]
    for report in reports:
        total = sum((each.counts for each in report.finished), total)
        seen.append((total + report.open).rows)
    assert seen == sorted(seen)
    assert seen[-1] == SHARDS * ROWS
    assert reports[-1].open == Counts()
    assert total.requests == sum(done.requests for done in senders.done.values())


def test_no_row_is_missing_from_a_report_while_its_shard_finishes(switching_often: None) -> None:
    made = range(60)
    outcomes = opened(*made)
    for shard in made:
        outcomes.duplicates(shard, 1)

    def finish() -> None:
        for shard in made:
            outcomes.built(shard)

    finisher = threading.Thread(target=finish)
    finisher.start()
    finished, rows = 0, []
    while finished < len(made):
        report = outcomes.report()
        finished += len(report.finished)
        rows.append(finished + report.open.rows)
    finisher.join()
    assert set(rows) == {len(made)}
