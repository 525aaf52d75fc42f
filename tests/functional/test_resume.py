"""Loads that were interrupted, killed or refused, and given again."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.decisions import tally
from loader.decisions.checkpoint import Head, SourceFile
from loader.decisions.index import index_chunk
from loader.decisions.keys import KeySpec
from loader.decisions.plan import Chunk, LineTable
from loader.edges.journal import JOURNAL, Journal
from loader.edges.rejects import RejectFile
from loader.edges.source import Source
from loader.engines.coordinator import Stop
from loader.engines.ledger import Ledger
from loader.engines.pipeline import OpenWindow
from loader.engines.windows import Place
from loader.errors import BadState, EverythingRejected, SourceChanged, WorkerFailed
from loader.model import (
    Counts,
    Dialect,
    KeyPart,
    KeySchema,
    Problem,
    Reject,
    RejectCode,
    ShardOutcome,
    Summary,
)
from perf.processes import alive, children
from tests.loads import as_table, expected, load, rejected, write_csv
from tests.server.client import ROOT, Server, start
from tests.server.faults import FaultPlan

ROWS = 3000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start(log_writes=True) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset()
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(latency_ms=20))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Every fourth row repeats an earlier key, and every hundredth is bad."""
    body = [[f"k{n - n % 4 // 3}", "x" if n % 100 == 0 else str(n)] for n in range(ROWS)]
    return write_csv(tmp_path / "people.csv", [["id", "age"], *body])


OPTIONS: dict[str, Any] = {"types": {"age": "N"}, "shard_records": 100, "window_size": 16_000, "threads": 2}


def right(path: Path) -> object:
    return expected(path.read_text(), ["id"], {"age": "N"})


def interrupted(server: Server, path: Path, after: int, **options: Any) -> Summary:
    """Load until `after` requests were answered, then drain."""
    stop = Stop()

    def watch() -> None:
        while server.stats()["requests"].get("BatchWriteItem", 0) < after and stop.requested is None:
            time.sleep(0.01)
        stop.request("SIGINT")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return load(server.endpoint, "people", path, stop=stop, **(OPTIONS | options))
    finally:
        stop.request("over")
        watcher.join()


def test_an_interrupted_load_given_again_is_continued(server: Server, path: Path) -> None:
    first = interrupted(server, path, after=40)
    assert (first.interrupted, first.complete) == ("SIGINT", False)
    assert first.resume_hint is not None
    writes_before = len(server.writes("people"))

    second = load(server.endpoint, "people", path, **(OPTIONS | {"workers": 2, "threads": 3}))

    assert 0 < second.resumed < ROWS
    assert second.complete
    assert second.counts.rows == ROWS
    assert as_table(server.items("people"), ["id"]) == right(path)
    # What was recorded is not sent again: at most what a worker has open, and what was given up.
    assert len(server.writes("people")) - writes_before <= ROWS - second.resumed
    found = rejected(second.rejects_file)
    assert len(found) == second.counts.rejected == ROWS // 100
    assert [int(row["_line"]) for row in found] == [n + 2 for n in range(0, ROWS, 100)]
    assert not list(path.parent.glob("*.part"))


def test_a_load_interrupted_many_times_loses_nothing(server: Server, path: Path) -> None:
    for round_ in range(1, 4):
        summary = interrupted(server, path, after=round_ * 25, workers=1 + round_ % 2)
        assert summary.counts.rows <= ROWS
    done = load(server.endpoint, "people", path, **OPTIONS)

    assert (done.complete, done.counts.rows, done.counts.rejected) == (True, ROWS, ROWS // 100)
    assert as_table(server.items("people"), ["id"]) == right(path)
    assert len(rejected(done.rejects_file)) == ROWS // 100


def killed(server: Server, path: Path, after: int, **options: Any) -> list[int]:
    """Load in a process of its own until `after` requests were answered, then SIGKILL; its workers."""
    script = path.parent / "run.py"
    script.write_text(
        "from tests.loads import load; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        f"    load({server.endpoint!r}, 'people', Path({str(path)!r}), workers=2, **{OPTIONS | options!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL
    ) as process:
        while server.stats()["requests"].get("BatchWriteItem", 0) < after:
            assert process.poll() is None
            time.sleep(0.02)
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return workers


def test_a_killed_coordinator_leaves_no_worker_and_can_be_continued(server: Server, path: Path) -> None:
    workers = killed(server, path, after=40)
    deadline = time.monotonic() + 2.0
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    done = load(server.endpoint, "people", path, **OPTIONS)

    assert (done.complete, done.counts.rows, done.counts.rejected) == (True, ROWS, ROWS // 100)
    assert as_table(server.items("people"), ["id"]) == right(path)
    assert len(rejected(done.rejects_file)) == ROWS // 100


def test_a_kill_costs_what_the_workers_had_at_hand_however_fast_they_are(
    server: Server, tmp_path: Path
) -> None:
    server.set_faults(FaultPlan())
    path = write_csv(tmp_path / "people.csv", [["id", "v"], *([f"k{n}", str(n)] for n in range(40_000))])
    workers = killed(server, path, after=600, window_size=None, threads=None, types={})
    while any(alive(pid) for pid in workers):
        time.sleep(0.02)
    applied = server.stats()["items_applied"]
    assert applied < 40_000

    options = OPTIONS | {"window_size": None, "types": {}, "workers": 2, "threads": None}
    done = load(server.endpoint, "people", path, **options)

    assert (done.complete, done.counts.written) == (True, 40_000)
    # Two workers, four shards of each.
    assert 0 <= applied - done.resumed <= 2 * 4 * OPTIONS["shard_records"]


def test_a_table_made_anew_is_refused_until_restart(server: Server, path: Path) -> None:
    interrupted(server, path, after=20)
    server.call("DeleteTable", {"TableName": "people"})
    server.create_table("people", "id:S")

    with pytest.raises(BadState, match=r"made anew.*--restart"):
        load(server.endpoint, "people", path, **OPTIONS)
    assert server.items("people") == []

    done = load(server.endpoint, "people", path, restart=True, **OPTIONS)
    assert (done.resumed, done.counts.rows) == (0, ROWS)
    assert as_table(server.items("people"), ["id"]) == right(path)
    assert Path(done.rejects_file or "").name == "people.rejects.csv"


def test_a_changed_file_is_refused(server: Server, path: Path) -> None:
    interrupted(server, path, after=20)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"k1,", b"q1,"))

    with pytest.raises(BadState, match=r"people\.csv.*--restart"):
        load(server.endpoint, "people", path, **OPTIONS)

    # Only touched, with the bytes it had, it is the same file.
    path.write_bytes(content)
    assert load(server.endpoint, "people", path, **OPTIONS).complete


def test_what_a_drained_load_leaves_is_its_journal(server: Server, path: Path, own_environment: Path) -> None:
    # One window is being written then, and the next one waits.
    interrupted(server, path, after=15)
    assert left_in(own_environment) == {"journal.jsonl", "lock"}


def test_a_load_that_is_refused_by_the_service_leaves_no_index_either(
    server: Server, path: Path, own_environment: Path
) -> None:
    server.set_faults(FaultPlan(refuse_all=True))
    with pytest.raises(EverythingRejected):
        load(server.endpoint, "people", path, **OPTIONS)
    assert left_in(own_environment) == {"journal.jsonl", "lock"}


def left_in(home: Path) -> set[str]:
    """The names of all files with the checkpoints."""
    return {path.name for path in (home / "state").rglob("*") if path.is_file()}


def test_a_load_of_which_everything_was_refused_goes_on_once_that_is_mended(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "ALL_REJECTED_ROWS", 300)
    path = write_csv(tmp_path / "all.csv", [["id", "v"], *([f"k{n}", str(n)] for n in range(2000))])
    server.set_faults(FaultPlan(refuse_all=True))
    with pytest.raises(EverythingRejected):
        load(server.endpoint, "people", path, shard_records=50)

    server.set_faults(FaultPlan())
    done = load(server.endpoint, "people", path, shard_records=50)

    # Behind it are more rows without a single one written than end a load.
    assert done.resumed >= 300
    assert (done.complete, done.counts.rows, done.counts.rejected) == (True, 2000, done.resumed)
    assert len(server.items("people")) == 2000 - done.resumed
    assert len(rejected(done.rejects_file)) == done.resumed


# --- what was damaged between two runs --------------------------------------------------------------


def changed_seed(lines: list[bytes]) -> list[bytes]:
    return [
        re.sub(rb'"seed":(\d)', lambda found: b'"seed":%d' % (int(found[1]) % 9 + 1), lines[0]),
        *lines[1:],
    ]


def changed_shard(lines: list[bytes]) -> list[bytes]:
    """The first shard that is done is told to be another."""
    at = next(number for number, line in enumerate(lines) if line.startswith(b'{"shard":'))
    return [*lines[:at], lines[at].replace(b'{"shard":', b'{"shard":7', 1), *lines[at + 1 :]]


def left_out_shard(lines: list[bytes]) -> list[bytes]:
    at = next(number for number, line in enumerate(lines) if line.startswith(b'{"shard":'))
    return lines[:at] + lines[at + 1 :]


@pytest.mark.parametrize("damage", [changed_seed, changed_shard, left_out_shard])
def test_a_journal_that_was_damaged_and_reads_well_is_refused(
    server: Server, path: Path, own_environment: Path, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    interrupted(server, path, after=20)
    (journal,) = (own_environment / "state").rglob(JOURNAL)
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = damage(lines)
    assert damaged != lines
    journal.write_bytes(b"".join(damaged))
    before = len(server.writes("people"))

    with pytest.raises(BadState, match=r"journal\.jsonl, line \d+: .*--restart"):
        load(server.endpoint, "people", path, **OPTIONS)
    assert len(server.writes("people")) == before

    done = load(
        server.endpoint, "people", path, late_write_grace=0.1, restart=True, rejects="new.csv", **OPTIONS
    )
    assert (done.complete, done.resumed, done.counts.rows) == (True, 0, ROWS)
    assert as_table(server.items("people"), ["id"]) == right(path)


@pytest.mark.parametrize("edit", [lambda line: line + b"!", lambda line: line.replace(b"x", b"y", 1)])
def test_an_edited_reject_file_in_the_making_is_refused(
    server: Server, path: Path, edit: Callable[[bytes], bytes]
) -> None:
    interrupted(server, path, after=40)
    part = path.parent / "people.rejects.csv.part"
    content = part.read_bytes()
    first, second, rest = content.split(b"\r\n", 2)
    part.write_bytes(b"\r\n".join([first, edit(second), rest]))
    edited = part.read_bytes()
    assert edited != content

    with pytest.raises(BadState, match=r"people\.rejects\.csv\.part was changed.*--restart"):
        load(server.endpoint, "people", path, **OPTIONS)
    assert part.read_bytes() == edited

    part.write_bytes(content)
    done = load(server.endpoint, "people", path, **OPTIONS)
    assert len(rejected(done.rejects_file)) == done.counts.rejected == ROWS // 100


def test_a_reject_file_that_got_its_final_name_too_early_is_to_be_moved_back(
    server: Server, path: Path
) -> None:
    killed(server, path, after=40)
    part, final = (path.parent / f"people.rejects.csv{ending}" for ending in (".part", ""))
    part.rename(final)

    for _ in range(2):
        with pytest.raises(BadState, match=r"Move that file back to .*people\.rejects\.csv\.part, or"):
            load(server.endpoint, "people", path, **OPTIONS)

    final.rename(part)
    done = load(server.endpoint, "people", path, **OPTIONS)
    assert (done.complete, done.counts.rows, done.rejects_file) == (True, ROWS, str(final))
    assert len(rejected(done.rejects_file)) == ROWS // 100


# --- writes that come late ------------------------------------------------------------------------


def seconds_to_first_write(server: Server, path: Path, **options: Any) -> float:
    """From the call of a load, which has to complete, to its first batch."""
    server.reset(keep_tables=True)
    server.set_faults(FaultPlan())
    over = threading.Event()
    first: list[float] = []

    def watch() -> None:
        while not over.wait(0.01):
            if server.stats()["requests"].get("BatchWriteItem", 0):
                first.append(time.monotonic())
                return

    watcher = threading.Thread(target=watch)
    began = time.monotonic()
    watcher.start()
    try:
        # Large, so that it is still going on when the watcher looks.
        assert load(server.endpoint, "people", path, **OPTIONS, **options).complete
    finally:
        over.set()
        watcher.join()
    return first[0] - began


def test_a_fresh_load_waits_for_nothing(server: Server, path: Path) -> None:
    options = {"late_write_grace": 30.0, "limit": 1000}
    assert seconds_to_first_write(server, path, **options) < 20


@pytest.mark.parametrize("journal", ["as it was left", "garbled"])
def test_a_restart_waits_for_what_the_run_before_may_have_under_way(
    server: Server, path: Path, own_environment: Path, journal: str
) -> None:
    """That run may have been killed with an old value in a request which is applied seconds later."""
    interrupted(server, path, after=10)
    if journal == "garbled":
        (found,) = (own_environment / "state").rglob(JOURNAL)
        found.write_bytes(b"garbage\n" + found.read_bytes())
        # The head that names it is lost, and what is there is not overwritten.
        (path.parent / "people.rejects.csv.part").unlink()

    assert seconds_to_first_write(server, path, restart=True, late_write_grace=1.2) >= 1.2


def test_a_restart_of_a_load_that_wrote_nothing_waits_for_nothing(
    server: Server, path: Path, own_environment: Path
) -> None:
    stop = Stop()
    stop.request("SIGINT")
    load(server.endpoint, "people", path, stop=stop, **OPTIONS)
    assert list((own_environment / "state").rglob(JOURNAL))

    assert seconds_to_first_write(server, path, restart=True, late_write_grace=30.0, limit=1000) < 20


# --- the books ------------------------------------------------------------------------------------


class Books:
    """A ledger over a file of six rows that are all bad, `size` bytes each."""

    def __init__(self, path: Path) -> None:
        dialect = Dialect()
        self.source = source = Source.open([str(path)], dialect)
        start, stop = source.files[0].data_start, source.total
        index = index_chunk(source.read(start, stop - start), start, KeySpec((0,), ("S",)), dialect, 2, 1)
        self.starts: list[int] = index.starts.tolist()
        self.size = int(index.sizes[0])
        head = Head(
            table="t",
            arn="arn",
            table_id="",
            created="1",
            endpoint="http://127.0.0.1:1",
            key=KeySchema(KeyPart("id", "S")),
            sources=(SourceFile(str(path), source.total, 1, 2),),
            header=source.header,
            dialect=dialect,
            types={},
            seed=7,
            window_size=100,
            shard_records=2,
        )
        state = path.parent / "state"
        state.mkdir(exist_ok=True)
        resume = Journal.load(str(state))
        final = str(path.parent / "out.csv")
        self._rejects = RejectFile.open(
            final,
            source.header_record(),
            source.header,
            dialect,
            resume.rejects if resume is not None else None,
            all_done=resume is not None and resume.all_done,
        )
        self._journal = (
            Journal.create(str(state), head) if resume is None else Journal.resume(str(state), resume)
        )
        self.ledger = Ledger(source, self._journal, self._rejects, resume)
        self.window = OpenWindow(
            number=0,
            begin=Place(0, start, 2),
            end=Place(0, stop, 8),
            records=6,
            lines=LineTable([Chunk(0, start, stop, 2, 6)], [index]),
            todo=deque(),
        )
        self.ledger.window_begins(self.window)

    def outcome(self, shard: int) -> ShardOutcome:
        """Both rows of the shard are rejects."""
        problem = Problem(RejectCode.BAD_NUMBER, "no")
        rejects = [Reject(start, self.size, problem) for start in self.starts[2 * shard : 2 * shard + 2]]
        return ShardOutcome(0, shard, Counts(rejected=2), tuple(rejects))

    def close(self) -> None:
        self._rejects.close()
        self._journal.close()
        self.source.close()


def test_a_shard_whose_rejects_cannot_all_be_read_leaves_none_behind(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", [["id", "v"], *([f"row{n}", f"bad{n}"] for n in range(6))])
    content = path.read_bytes()
    books = Books(path)
    # The second row of shard 1 cannot be read for a moment, as on a disk that is failing.
    path.write_bytes(content[: books.starts[3]])
    with pytest.raises(SourceChanged):
        books.ledger.shard_done(books.outcome(1))
    path.write_bytes(content)
    # While the load ends, other workers still tell of theirs.
    books.ledger.shard_done(books.outcome(0))
    books.ledger.sync()
    books.close()

    again = Books(path)
    for shard in (1, 2):
        again.ledger.shard_done(again.outcome(shard))
    again.ledger.window_ends(again.window)
    assert again.ledger.complete() == str(tmp_path / "out.csv")
    again.close()

    found = [(row["id"], row["_line"]) for row in rejected(str(tmp_path / "out.csv"))]
    assert found == [(f"row{n}", str(n + 2)) for n in range(6)]


def test_a_window_does_not_end_before_every_row_has_an_outcome(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", [["id", "v"], *([f"row{n}", f"bad{n}"] for n in range(6))])
    books = Books(path)
    for shard in (0, 2):
        books.ledger.shard_done(books.outcome(shard))
    with pytest.raises(WorkerFailed, match=r"Window 0 .* has 6 rows, and outcomes of 4 were told.*--restart"):
        books.ledger.window_ends(books.window)
    with pytest.raises(WorkerFailed, match=r"has not ended.*--restart"):
        books.ledger.complete()
    books.ledger.sync()
    books.close()

    # What is missing can still be done: no window was told to be.
    again = Books(path)
    assert again.ledger.resumed == 4
    again.ledger.shard_done(again.outcome(1))
    again.ledger.window_ends(again.window)
    assert again.ledger.complete() == str(tmp_path / "out.csv")
    again.close()


def test_a_shard_whose_rejects_are_not_those_it_counts_is_not_entered(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", [["id", "v"], *([f"row{n}", f"bad{n}"] for n in range(6))])
    books = Books(path)
    outcome = books.outcome(1)
    for counts in (Counts(rejected=3), Counts(written=1, rejected=1)):
        with pytest.raises(WorkerFailed, match=r"Shard 1 of window 0 counts \d rejects and tells of 2"):
            books.ledger.shard_done(replace(outcome, counts=counts))
    books.ledger.shard_done(outcome)
    assert books.ledger.tally.counts == Counts(rejected=2)
    books.ledger.sync()
    books.close()


def test_other_types_are_refused(server: Server, path: Path) -> None:
    interrupted(server, path, after=20)

    with pytest.raises(BadState, match="--types"):
        load(server.endpoint, "people", path, **(OPTIONS | {"types": {}}))


def test_a_second_run_at_the_same_time_is_refused(server: Server, path: Path) -> None:
    # The first is still at work, however long the second takes to begin.
    server.set_faults(FaultPlan(latency_ms=1_000))
    stop = Stop()
    first = threading.Thread(
        target=load, args=(server.endpoint, "people", path), kwargs={"stop": stop, **OPTIONS}
    )
    first.start()
    try:
        while server.stats()["requests"].get("BatchWriteItem", 0) < 5:
            time.sleep(0.02)
        with pytest.raises(BadState, match=f"process {os.getpid()}"):
            load(server.endpoint, "people", path, **OPTIONS)
    finally:
        stop.request("over")
        first.join()
