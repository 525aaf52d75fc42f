"""Which task comes next: windows one behind the other, and no old write overtaking a new one."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader.decisions.index import ChunkIndex, index_chunk
from loader.decisions.keys import KeySpec
from loader.edges.source import Source
from loader.edges.spool import Spool, read_entries
from loader.engines.pipeline import BUSY_SHARDS, OpenWindow, Pipeline, WindowBegins, WindowEnds
from loader.engines.windows import Cutter, Place
from loader.errors import SourceChanged
from loader.model import Dialect, IndexTask, ShardTask

DIALECT = Dialect()
GRACE = 10.0
FOUR_A_WINDOW = 16
"""The window size for four of the records of `rows`."""


def rows(count: int, first: int = 0) -> list[str]:
    return [f"k{number:02}" for number in range(first, first + count)]


class Road:
    """A pipeline over one file, and a worker that indexes when it is told to."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        *,
        window_size: int = FOUR_A_WINDOW,
        limit: int | None = None,
        first_window: int = 0,
        start: Place | None = None,
        not_before: float = 0.0,
        chunk_size: int = 8,
    ) -> None:
        span = source.files[0]
        self.source = source
        self.folder = folder
        place = start or Place(0, span.base + span.data_start, span.first_line)
        self.pipeline = Pipeline(
            Cutter(source, DIALECT, window_size, limit, place, chunk_size=chunk_size),
            Spool(str(folder)),
            first_window=first_window,
            shard_records=1,
            grace=GRACE,
            not_before=not_before,
        )
        self.written: list[str] = []

    def advance(self, now: float = 0.0) -> list[tuple[str, int]]:
        """What happened, such as ("begins", 0)."""
        names = {WindowBegins: "begins", WindowEnds: "ends"}
        return [(names[type(change)], change.window.number) for change in self.pipeline.advance(now)]

    def index(self, task: IndexTask) -> ChunkIndex:
        data = self.source.read(task.start, task.stop - task.start)
        return index_chunk(data, task.start, KeySpec((0,), ("S",)), DIALECT, 1, 7)

    def indexed(self, task: IndexTask) -> None:
        self.pipeline.indexed(task.window, task.chunk, self.index(task))

    def chunk(self) -> IndexTask | None:
        """The next chunk, taken by a worker that has shards enough."""
        task = self.pipeline.next_task(BUSY_SHARDS)
        if isinstance(task, ShardTask):
            # There are no chunks any more; nobody has seen this shard.
            window = self.pipeline.writing
            assert window is not None
            window.todo.appendleft(window.out.pop(task.shard))
            return None
        return task

    def index_all(self) -> None:
        """Every chunk of the window that is being cut."""
        while (task := self.chunk()) is not None:
            self.indexed(task)

    def shard(self) -> ShardTask:
        task = self.pipeline.next_task(0)
        assert isinstance(task, ShardTask)
        return task

    def shards(self) -> list[ShardTask]:
        """All shards of the window that is being written that can be had."""
        window = self.pipeline.writing
        assert window is not None
        return [self.shard() for _ in range(len(window.todo))]

    def done(self, *shards: ShardTask, unanswered: bool = False) -> None:
        for task in shards:
            found = read_entries(task.spool, task.start, task.stop)
            self.written += [
                self.source.read(int(entry["start"]), int(entry["size"])).decode() for entry in found
            ]
            self.pipeline.shard_done(task.shard, unanswered=unanswered)

    def begin(self, now: float = 0.0) -> None:
        """Up to where shards of the first window can be had."""
        self.advance(now)
        self.index_all()
        assert [what for what, _ in self.advance(now)] == ["begins"]

    def run(self, now: float = 0.0) -> list[tuple[str, int]]:
        """To the end, one task after the other; what happened on the way."""
        happened: list[tuple[str, int]] = []
        for _ in range(1_000):
            happened += self.advance(now)
            if self.pipeline.finished:
                return happened
            task = self.pipeline.next_task(0)
            if isinstance(task, IndexTask):
                self.indexed(task)
            elif isinstance(task, ShardTask):
                self.done(task)
        raise AssertionError(f"no end of it: {happened}")

    def spools(self) -> list[str]:
        return sorted(os.listdir(self.folder))


Pave = Callable[..., Road]


@pytest.fixture
def pave(tmp_path: Path) -> Iterator[Pave]:
    opened: list[Source] = []
    state = tmp_path / "state"
    state.mkdir()

    def make(*records: str, **options: Any) -> Road:
        path = tmp_path / f"{len(opened)}.csv"
        path.write_text("".join(f"{record}\n" for record in ("id", *records)))
        opened.append(Source.open([str(path)], DIALECT))
        return Road(opened[-1], state, **options)

    yield make
    for source in opened:
        source.close()


# --- one window behind the other ------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 5, 12, 13])
def test_every_record_is_written_once_window_by_window(pave: Pave, count: int) -> None:
    road = pave(*rows(count))
    windows = -(-count // 4)
    assert road.run() == [(what, number) for number in range(windows) for what in ("begins", "ends")]
    assert sorted(road.written) == rows(count)
    for number in range(windows):
        assert sorted(road.written[4 * number : 4 * number + 4]) == rows(count)[4 * number : 4 * number + 4]
    assert road.spools() == []


def test_no_shard_is_handed_out_before_the_one_before_has_ended(pave: Pave) -> None:
    road = pave(*rows(8))
    road.begin()
    first = road.shards()
    assert {task.window for task in first} == {0}
    # The next one is cut, indexed and sorted meanwhile, and waits.
    road.advance()
    road.index_all()
    assert road.advance() == []
    assert road.spools() == ["window-0.index", "window-1.index"]
    assert road.pipeline.next_task(0) is None
    road.done(*first[:-1])
    assert road.advance() == []
    assert road.pipeline.next_task(0) is None
    assert not road.pipeline.waits

    road.done(first[-1])
    assert road.advance() == [("ends", 0), ("begins", 1)]
    assert {task.window for task in road.shards()} == {1}


def test_a_window_that_is_not_all_handed_out_has_not_ended(pave: Pave) -> None:
    road = pave(*rows(8))
    road.begin()
    road.done(road.shard())
    road.advance()
    road.index_all()
    assert road.advance() == []
    assert road.shard().window == 0


def test_one_window_is_ready_and_the_next_but_one_is_not_begun_before_its_time(pave: Pave) -> None:
    road = pave(*rows(16))
    road.begin()
    for _ in range(4):
        road.index_all()
        assert road.advance() == []
    assert road.spools() == ["window-0.index", "window-1.index"]
    road.done(*road.shards())
    assert road.chunk() is None
    assert road.advance() == [("ends", 0), ("begins", 1)]
    assert road.spools() == ["window-1.index"]
    road.index_all()
    road.advance()
    assert road.spools() == ["window-1.index", "window-2.index"]


def test_the_spool_file_lasts_until_the_end_has_been_noted(pave: Pave) -> None:
    road = pave(*rows(2))
    road.begin()
    road.done(*road.shards())
    for change in road.pipeline.advance(0.0):
        assert isinstance(change, WindowEnds)
        assert road.spools() == ["window-0.index"]
    assert road.spools() == []


def test_a_load_that_ends_for_now_leaves_no_spool_files(pave: Pave) -> None:
    road = pave(*rows(12))
    road.pipeline.discard()
    ready_behind_an_open_one(road, 0.0)
    assert road.spools() == ["window-0.index", "window-1.index"]
    road.pipeline.discard()
    assert road.spools() == []


def test_a_window_knows_its_place_its_records_and_their_lines(pave: Pave) -> None:
    road = pave(*rows(6))
    begun: list[OpenWindow] = []
    for _ in range(2):
        road.advance()
        road.index_all()
        begun += [change.window for change in road.pipeline.advance(0.0) if isinstance(change, WindowBegins)]
        road.done(*road.shards())
    assert [(window.begin, window.end, window.records) for window in begun] == [
        (Place(0, 3, 2), Place(0, 19, 6), 4),
        (Place(0, 19, 6), Place(1, 27, 0), 2),
    ]
    assert [window.lines.line_of(window.begin.position + 4) for window in begun] == [3, 7]


def test_shards_of_a_window_have_numbers_and_bounds_of_their_own(pave: Pave) -> None:
    road = pave(*rows(4))
    road.begin()
    spool = str(road.folder / "window-0.index")
    assert road.shards() == [ShardTask(0, shard, shard, shard + 1, spool) for shard in range(4)]


def test_rows_of_one_key_are_in_one_shard(pave: Pave) -> None:
    road = pave("k01", "k02", "k01", "k01")
    road.begin()
    assert sorted(task.stop - task.start for task in road.shards()) == [1, 3]


# --- who gets what --------------------------------------------------------------------------------


def test_a_worker_with_few_shards_writes_first_and_one_with_enough_indexes(pave: Pave) -> None:
    road = pave(*rows(8))
    road.begin()
    assert isinstance(road.pipeline.next_task(0), ShardTask)
    assert isinstance(road.pipeline.next_task(BUSY_SHARDS - 1), ShardTask)
    assert isinstance(road.pipeline.next_task(BUSY_SHARDS), IndexTask)


def test_whoever_finds_nothing_of_the_one_does_the_other(pave: Pave) -> None:
    road = pave(*rows(4))
    road.advance()
    assert isinstance(road.pipeline.next_task(0), IndexTask)
    road = pave(*rows(4))
    road.begin()
    # There is no other window to index.
    assert isinstance(road.pipeline.next_task(BUSY_SHARDS), ShardTask)


def test_each_chunk_is_handed_out_once(pave: Pave) -> None:
    road = pave(*rows(4))
    road.advance()
    tasks = []
    while (task := road.chunk()) is not None:
        tasks.append(task)
    assert [(task.chunk, task.start, task.stop) for task in tasks] == [(0, 3, 11), (1, 11, 19)]
    # None has come back: the window waits for them, in whatever order.
    assert road.advance() == []
    for task in reversed(tasks):
        assert road.advance() == []
        road.indexed(task)
    assert road.advance() == [("begins", 0)]
    road.done(*road.shards())
    assert sorted(road.written) == rows(4)


# --- late writes ----------------------------------------------------------------------------------


def ready_behind_an_open_one(road: Road, now: float) -> list[ShardTask]:
    """The shards of the first window, all out, with the second one ready."""
    road.begin(now)
    shards = road.shards()
    road.advance(now)
    road.index_all()
    assert road.advance(now) == []
    return shards


def test_the_next_window_waits_where_an_attempt_got_no_answer(pave: Pave) -> None:
    road = pave(*rows(8))
    shards = ready_behind_an_open_one(road, 100.0)
    road.done(shards[0], unanswered=True)
    road.done(*shards[1:])
    assert road.advance(107.5) == [("ends", 0)]
    # From the end of the window on, not from the attempt.
    assert road.pipeline.waits
    for now in (108.0, 117.0, 117.499):
        assert road.advance(now) == []
        assert road.pipeline.next_task(0) is None
        assert road.pipeline.waits
    assert road.advance(117.5) == [("begins", 1)]
    assert not road.pipeline.waits
    assert road.shard().window == 1


def test_it_does_not_wait_where_every_attempt_got_one(pave: Pave) -> None:
    road = pave(*rows(8))
    road.done(*ready_behind_an_open_one(road, 100.0))
    assert road.advance(107.5) == [("ends", 0), ("begins", 1)]
    assert not road.pipeline.waits


def test_the_wait_is_for_the_window_before_alone(pave: Pave) -> None:
    road = pave(*rows(12))
    road.done(*ready_behind_an_open_one(road, 0.0), unanswered=True)
    road.advance(1.0)
    road.index_all()
    assert road.advance(11.0) == [("begins", 1)]
    road.index_all()
    road.advance(11.0)
    road.done(*road.shards())
    assert road.advance(11.0) == [("ends", 1), ("begins", 2)]


def test_the_wait_goes_on_while_the_next_window_is_indexed(pave: Pave) -> None:
    road = pave(*rows(8))
    road.begin(50.0)
    road.done(*road.shards(), unanswered=True)
    assert road.advance(50.0) == [("ends", 0)]
    assert not road.pipeline.waits
    road.index_all()
    assert road.advance(59.0) == []
    assert road.pipeline.waits
    assert road.advance(60.0) == [("begins", 1)]


def test_behind_the_last_window_nobody_waits(pave: Pave) -> None:
    road = pave(*rows(2))
    road.begin()
    road.done(*road.shards(), unanswered=True)
    assert road.advance(5.0) == [("ends", 0)]
    assert road.pipeline.finished


def test_a_resumed_load_writes_nothing_before_its_time(pave: Pave) -> None:
    road = pave(*rows(8), not_before=110.0, first_window=3, start=Place(0, 19, 6))
    road.advance(100.0)
    road.index_all()
    assert road.advance(109.9) == []
    assert road.pipeline.waits
    assert road.pipeline.next_task(0) is None
    assert road.advance(110.0) == [("begins", 3)]
    road.done(*road.shards())
    assert sorted(road.written) == rows(4, first=4)
    assert road.advance(110.0) == [("ends", 3)]
    assert road.pipeline.finished


def test_a_window_of_which_nothing_is_left_ends_at_once(pave: Pave) -> None:
    road = pave(*rows(8))
    road.advance()
    road.index_all()
    for change in road.pipeline.advance(0.0):
        # As the ledger does where an earlier run has finished all shards, but not said so.
        assert isinstance(change, WindowBegins)
        change.window.todo.clear()
        change.window.unanswered = True
    road.index_all()
    assert road.advance(20.0) == [("ends", 0)]
    assert road.advance(29.0) == []
    assert road.advance(30.0) == [("begins", 1)]


# --- workers that die -----------------------------------------------------------------------------


def test_shards_of_a_dead_worker_are_handed_out_again_before_others(pave: Pave) -> None:
    road = pave(*rows(4))
    road.begin()
    lost = [road.shard(), road.shard()]
    road.pipeline.give_back(lost)
    again = road.shards()
    assert len(again) == 4
    assert {task.shard for task in again[:2]} == {task.shard for task in lost}
    road.done(*again)
    assert road.advance() == [("ends", 0)]
    assert sorted(road.written) == rows(4)


def test_a_window_does_not_end_while_a_shard_given_back_is_to_be_done(pave: Pave) -> None:
    road = pave(*rows(4))
    road.begin()
    *done, lost = road.shards()
    road.done(*done)
    road.pipeline.give_back([lost])
    assert road.advance() == []
    assert road.shard() == lost
    assert road.advance() == []
    road.done(lost)
    assert road.advance() == [("ends", 0)]


def test_what_a_dead_worker_sent_may_be_applied_late(pave: Pave) -> None:
    road = pave(*rows(8))
    shards = ready_behind_an_open_one(road, 0.0)
    road.pipeline.give_back([shards[2]])
    assert road.shard() == shards[2]
    # The second try of it got all its answers, the first one did not.
    road.done(*shards)
    assert road.advance(0.0) == [("ends", 0)]
    assert road.advance(GRACE - 0.1) == []
    assert road.advance(GRACE) == [("begins", 1)]


def test_a_chunk_of_a_dead_worker_is_indexed_by_another(pave: Pave) -> None:
    road = pave(*rows(8))
    road.begin()
    shards = road.shards()
    lost, kept = road.chunk(), road.chunk()
    assert lost is not None
    assert kept is not None
    road.indexed(kept)
    assert road.chunk() is None
    road.pipeline.give_back([lost])
    road.done(*shards)
    # It had written nothing, so nothing is waited for; but without the chunk there is no window.
    assert road.advance() == [("ends", 0)]
    assert road.pipeline.next_task(0) == lost
    road.indexed(lost)
    assert road.advance() == [("begins", 1)]
    road.done(*road.shards())
    assert sorted(road.written) == rows(8)


def test_a_worker_may_lose_shards_and_chunks_together(pave: Pave) -> None:
    road = pave(*rows(8))
    road.begin()
    shard, chunk = road.shard(), road.chunk()
    assert chunk is not None
    road.pipeline.give_back([chunk, shard])
    assert road.chunk() == chunk
    assert road.shard() == shard
    road.pipeline.give_back([])
    road.indexed(chunk)
    road.index_all()
    road.done(shard, *road.shards())
    assert road.advance(0.0) == [("ends", 0)]
    assert road.run(GRACE) == [("begins", 1), ("ends", 1)]
    assert sorted(road.written) == rows(8)


def test_an_index_that_comes_twice_counts_once(pave: Pave) -> None:
    road = pave(*rows(4))
    road.advance()
    first, second = road.chunk(), road.chunk()
    assert first is not None
    assert second is not None
    road.indexed(first)
    road.indexed(first)
    assert road.chunk() is None
    assert road.advance() == []
    road.indexed(second)
    assert road.advance() == [("begins", 0)]
    # Its window is being written, the next one is not cut yet.
    road.indexed(second)
    road.done(*road.shards())
    assert sorted(road.written) == rows(4)


# --- sources that are not what they seem ----------------------------------------------------------


@pytest.mark.parametrize("found", [0, 1, 3])
def test_another_number_of_records_in_the_same_bytes_is_a_changed_source(pave: Pave, found: int) -> None:
    road = pave(*rows(4))
    road.advance()
    task = road.chunk()
    assert task is not None
    index = index_chunk(b"x\n" * found, task.start, KeySpec((0,), ("S",)), DIALECT, 1, 7)
    with pytest.raises(SourceChanged) as caught:
        road.pipeline.indexed(task.window, task.chunk, index)
    assert str(caught.value) == (
        f"The source has changed while it was read: the same bytes held 2 records, then {found}. "
        "Give the command again, with --restart, when the file no longer changes."
    )


def test_an_index_of_another_window_is_left_alone(pave: Pave) -> None:
    road = pave(*rows(4))
    road.advance()
    task = road.chunk()
    assert task is not None
    nothing = road.index(task)._replace(starts=np.empty(0, np.int64))
    road.pipeline.indexed(task.window + 1, task.chunk, nothing)
    road.indexed(task)
    road.index_all()
    assert road.advance() == [("begins", 0)]


@pytest.mark.parametrize("records", [(), ("", ""), ("",) * 100])
def test_a_source_without_records_has_no_windows(pave: Pave, records: tuple[str, ...]) -> None:
    road = pave(*records)
    assert not road.pipeline.finished
    assert road.run() == []
    assert road.spools() == []


def test_blank_lines_make_no_window_and_take_no_number(pave: Pave) -> None:
    road = pave(*[""] * 50, *rows(4), *[""] * 50, *rows(4, first=4), *[""] * 50)
    assert road.run() == [("begins", 0), ("ends", 0), ("begins", 1), ("ends", 1)]
    assert sorted(road.written) == rows(8)


def test_a_limit_ends_the_load(pave: Pave) -> None:
    road = pave(*rows(12), limit=6)
    assert road.run() == [("begins", 0), ("ends", 0), ("begins", 1), ("ends", 1)]
    assert sorted(road.written) == rows(6)


def test_a_limit_of_nothing_is_done_before_it_begins(pave: Pave) -> None:
    road = pave(*rows(4), limit=0)
    assert road.pipeline.finished
    assert road.advance() == []
    assert road.pipeline.next_task(0) is None


def test_a_load_is_finished_when_its_last_window_has_ended_and_not_before(pave: Pave) -> None:
    road = pave(*rows(4))
    seen = [road.pipeline.finished]
    road.begin()
    seen.append(road.pipeline.finished)
    shards = road.shards()
    road.advance()
    seen.append(road.pipeline.finished)
    road.done(*shards)
    seen.append(road.pipeline.finished)
    assert not any(seen)
    assert road.advance() == [("ends", 0)]
    assert road.pipeline.finished
    assert road.pipeline.writing is None
    assert road.pipeline.next_task(0) is None
