"""A load whose process, workers and disk come to grief, and what has to hold of it all the while."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from loader.config import LoadConfig
from loader.decisions.checkpoint import BadLine, ShardLine
from loader.decisions.index import index_chunk
from loader.edges import journal, rejects, spool
from loader.edges.journal import JOURNAL, LOCK, decode_line
from loader.edges.spool import read_entries
from loader.engines import prepare
from loader.engines.pipeline import Pipeline, WindowBegins, WindowEnds
from loader.engines.worker import OPEN_SHARDS
from loader.errors import BadOption, BadState, DiskFailed
from loader.model import Counts, IndexTask, ShardOutcome, ShardTask
from tests.property import small_load
from tests.property.fragile_disk import FragileDisk, Killed, Tear
from tests.property.no_service import surroundings
from tests.property.small_load import FIRST_LINE, Fate, Row, as_rejects, fate_of, rejects_in

GRACE = 10.0
Shard = tuple[int, int]
"""Its window and its number there."""


@dataclass(slots=True)
class Run:
    """One process that loads, with its workers and the tasks they have; `given_up` are counts of its end,
    `open` what each worker has told of unfinished shards."""

    stack: ExitStack
    prepared: prepare.Prepared
    pipeline: Pipeline
    workers: list[list[IndexTask | ShardTask]]
    given_up: Counts = field(default_factory=Counts)
    open: dict[int, Counts] = field(default_factory=dict)


class CrashingLoad:
    """
    One command, given again and again until the load is done: the steps are those of the coordinator.

    `entered` is what the books say, as far as the process that keeps them knows; `safe` what of it was on
    disk when that process ended; `late` when a window last had a write under way that got no answer.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Sequence[tuple[str, str, str]]],
        *,
        window_size: int,
        shard_records: int,
        chunk_size: int,
        seed: int,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.final = self.folder / "out.rejects.csv"
        self.part = self.folder / "out.rejects.csv.part"
        self.disk = FragileDisk()
        self.now = 100.0
        self.run: Run | None = None
        self.completing = self.done = False
        self.entered: dict[Shard, Fate] = {}
        self.safe: set[Shard] = set()
        self.rows_of: dict[Shard, tuple[Row, ...]] = {}
        self.late: dict[int, float] = {}
        self.tears: tuple[Tear, Tear] | None = None
        self.finishing = 0
        self.rows = small_load.write_files(self.folder, files)
        self.at = {row.position: row for row in self.rows}
        self.windows = small_load.windows_of(self.rows, window_size)
        self.config = LoadConfig(
            sources=tuple(str(path) for path in sorted(self.folder.glob("part-*.csv"))),
            table="t",
            transport="boto3",
            types={"v": "N"},
            rejects=str(self.final),
            state_dir=str(self.folder / "state"),
            window_size=window_size,
            shard_records=shard_records,
            late_write_grace=GRACE,
        )
        self.cleanup = ExitStack()
        self.cleanup.enter_context(self.disk.under(journal, rejects, spool, prepare))
        self.cleanup.enter_context(surroundings(seed, chunk_size))

    def abandon(self) -> None:
        """Whatever is open is closed, and nothing is left of the load."""
        self.disk.kill()
        if self.run is not None:
            self.close(self.run)
        self.cleanup.close()
        shutil.rmtree(self.folder)

    def again(self) -> None:
        """What is done is looked at and taken away: the next command begins anew."""
        self.check_final()
        if self.final.exists():
            self.disk.remove(str(self.final))
        self.completing = self.done = False
        self.entered, self.safe, self.late = {}, set(), {}

    def check_books(self) -> None:
        if self.run is not None:
            ledger = self.run.prepared.ledger
            assert ledger.tally.finished_counts == self.told + self.run.given_up
            assert ledger.tally.counts == sum(self.run.open.values(), ledger.tally.finished_counts)
            assert ledger.tally.counts.rows <= len(self.rows)
            assert 0 <= ledger.bytes_done <= self.run.prepared.source.total

    def drive(self) -> None:
        """To the end, whatever trouble is still to come."""
        for _ in range(1_000):
            if self.done:
                return
            with self.process():
                if self.run is None:
                    self.begin(2)
                worked = False
                for worker in range(len(self.run.workers) if self.run is not None else 0):
                    self.hand_out(worker)
                    worked = self.finish(worker, False) or worked
                if not worked:
                    self.now += GRACE / 3
        raise AssertionError("the load comes to no end")

    def check_final(self) -> None:
        bad = [row for window in self.windows for row in fate_of(window).rejects]
        expected = as_rejects(sorted(bad, key=lambda row: row.position))
        assert (rejects_in(self.final) if self.final.exists() else []) == expected
        names = {path.name for path in self.folder.iterdir() if not path.name.startswith("part-")}
        assert names == {"state"} | ({self.final.name} if expected else set())

    # --- a run ----------------------------------------------------------------------------------

    def begin(self, workers: int) -> None:
        stack = ExitStack()
        try:
            prepared = prepare.prepare(self.config, stack)
        except BaseException:
            stack.close()
            raise
        self.run = Run(stack, prepared, prepared.pipeline(self.now), [[] for _ in range(workers)])
        resume = prepared.resume
        finished = len(resume.finished) if resume is not None else 0
        recorded = {shard for shard in self.entered if shard[0] < finished}
        if resume is not None and resume.open is not None:
            recorded |= {(resume.open.line.window, shard) for shard in resume.open.shards}
        assert self.safe <= recorded <= self.entered.keys()
        self.entered = {shard: self.entered[shard] for shard in recorded}
        assert all(self.is_settled(window) for window in range(finished))
        assert prepared.ledger.resumed == self.told.rows
        if resume is None:
            self.rows_of.clear()

    @contextmanager
    def process(self) -> Iterator[None]:
        """What ends a load ends it here, as the coordinator would."""
        failures = self.disk.failures
        try:
            try:
                yield
            except (DiskFailed, BadOption, BadState):
                if self.disk.failures == failures:
                    raise
                self.end_early()
        except Killed:
            self.die()

    def end_early(self) -> None:
        if self.run is not None:
            try:
                self.wind_down()
            except DiskFailed:
                # The disk fails but once: the second try is the one that a load which is ended makes.
                self.wind_down()

    def wind_down(self) -> None:
        """Some shards are finished still, the rest is given up: what is bad in it is known."""
        run = self.run
        assert run is not None
        ledger = run.prepared.ledger
        for worker in range(len(run.workers)):
            for _ in range(self.finishing):
                self.finish(worker, False)
            self.may_come_late(self.shards_at(worker))
            for task in self.shards_at(worker):
                fate = self.fate(task)
                counts = Counts(rejected=len(fate.rejects))
                run.given_up += counts
                ledger.shard_given_up(self.outcome(task, counts, False))
            run.workers[worker] = []
            self.tell(run, worker, Counts())
        ledger.sync()
        run.pipeline.discard()
        assert self.on_disk() == self.entered.keys()
        self.close(run)
        self.safe = set(self.entered)
        assert {path.name for path in self.state()} == {JOURNAL, LOCK}

    def die(self) -> None:
        """The process is dead already; what it had written and not synced may be lost as well."""
        starting = self.run is None
        if self.run is not None:
            for worker in range(len(self.run.workers)):
                self.may_come_late(self.shards_at(worker))
            self.close(self.run)
        self.disk.boot()
        self.safe = self.on_disk()
        if self.completing and self.journal is None:
            assert {path.name for path in self.state()} <= {LOCK}
            for path in self.state():
                path.unlink()
            self.done = True
        elif self.tears is not None:
            of_journal, of_rejects = self.tears
            if self.journal is not None:
                if b"\n" not in self.disk.durable(str(self.journal)):
                    # A whole first line that is garbled may be of any load, and is not taken for torn.
                    of_journal = replace(of_journal, garbage=of_journal.garbage.rstrip(b"\n"))
                self.disk.power_fails(str(self.journal), of_journal)
            if self.part.exists():
                self.disk.power_fails(str(self.part), of_rejects)
            found = self.part.read_bytes() if starting and self.part.exists() else b""
            if not FIRST_LINE.startswith(found[: len(FIRST_LINE)]):
                # Its first line was lost while it was made, and is nobody's: the message is to move it away.
                assert not any(self.entered[shard].rejects for shard in self.safe)
                self.disk.remove(str(self.part))

    def close(self, run: Run) -> None:
        """Closes what is open. One that was killed leaves the disk as it is."""
        self.run = None
        run.stack.close()

    def work(self, rounds: int) -> None:
        """The workers get more than they finish, until they have enough."""
        for number in range(rounds):
            self.hand_out(number)
            self.hand_out(number)
            self.finish(number + 1, False)
            if self.run is not None and self.run.pipeline.waits:
                self.now += GRACE / 4

    def advance(self) -> None:
        run = self.run
        assert run is not None
        ledger = run.prepared.ledger
        for change in run.pipeline.advance(self.now):
            run.prepared.source.check_unchanged()
            match change:
                case WindowBegins(window):
                    ledger.window_begins(window)
                case WindowEnds(window):
                    assert self.is_settled(window.number)
                    ledger.window_ends(window)
        if run.pipeline.finished:
            self.complete(run)

    def complete(self, run: Run) -> None:
        expected = sum((fate_of(window).counts for window in self.windows), Counts())
        assert run.prepared.ledger.tally.counts == self.told == expected
        assert sorted(row.position for fate in self.entered.values() for row in fate.rows) == list(self.at)
        self.completing = True
        path = run.prepared.ledger.complete()
        assert path == (str(self.final) if expected.rejected else None)
        assert not self.state()
        self.close(run)
        self.done = True

    # --- a worker -------------------------------------------------------------------------------

    def hand_out(self, worker: int) -> None:
        if self.run is not None:
            # At the end of each round of the coordinator's, before it gives out more.
            self.run.prepared.ledger.sync()
            assert self.on_disk() == self.entered.keys()
            self.advance()
        run = self.run
        if run is None:
            return
        worker %= len(run.workers)
        if len(run.workers[worker]) >= OPEN_SHARDS:
            return
        task = run.pipeline.next_task(len(self.shards_at(worker)))
        if isinstance(task, ShardTask):
            self.check_handed_out(task)
        if task is not None:
            assert all(task not in tasks for tasks in run.workers)
            run.workers[worker].append(task)

    def check_handed_out(self, task: ShardTask) -> None:
        shard = (task.window, task.shard)
        assert shard not in self.entered
        assert self.journal is not None
        assert b'{"window":%d,"start":' % task.window in self.disk.durable(str(self.journal))
        for before in range(task.window):
            assert self.is_settled(before)
            assert self.now >= self.late.get(before, 0.0) + GRACE
        starts = read_entries(task.spool, task.start, task.stop)["start"].tolist()
        rows = tuple(self.at[start] for start in starts)
        assert self.rows_of.setdefault(shard, rows) == rows

    def finish(self, worker: int, unanswered: bool) -> bool:
        """The oldest task of a worker; whether there was one."""
        run = self.run
        if run is None or not run.workers[worker % len(run.workers)]:
            return False
        worker %= len(run.workers)
        task = run.workers[worker].pop(0)
        if isinstance(task, IndexTask):
            source, schema, head = run.prepared.source, run.prepared.schema, run.prepared.head
            data = source.read(task.start, task.stop - task.start)
            width = schema.header.width
            index = index_chunk(data, task.start, schema.key, head.dialect, width, head.seed)
            run.pipeline.indexed(task.window, task.chunk, index)
            return True
        fate = self.fate(task)
        if unanswered:
            self.may_come_late([task])
        run.pipeline.shard_done(task.shard, unanswered=unanswered)
        self.entered[task.window, task.shard] = fate
        run.prepared.ledger.shard_done(self.outcome(task, fate.counts, unanswered))
        self.tell(run, worker, Counts())
        return True

    def tell(self, run: Run, worker: int, counts: Counts | None) -> None:
        run.prepared.ledger.underway(worker, counts)
        run.open[worker] = counts or Counts()

    def busiest(self, number: int) -> int:
        """The worker that has the most tasks but for so many others."""
        assert self.run is not None
        workers = sorted(range(len(self.run.workers)), key=lambda worker: -len(self.shards_at(worker)))
        return workers[number % len(workers)]

    def lose_worker(self, worker: int) -> None:
        """It dies, and a new one takes its place."""
        run = self.run
        assert run is not None
        worker = self.busiest(worker)
        self.may_come_late(self.shards_at(worker))
        tasks, run.workers[worker] = run.workers[worker], []
        self.tell(run, worker, None)
        run.pipeline.give_back(tasks)

    def outcome(self, task: ShardTask, counts: Counts, unanswered: bool) -> ShardOutcome:
        told = tuple(row.reject for row in self.fate(task).rejects)
        return ShardOutcome(task.window, task.shard, counts, told, unanswered)

    # --- what is known --------------------------------------------------------------------------

    @property
    def told(self) -> Counts:
        return sum((fate.counts for fate in self.entered.values()), Counts())

    def fate(self, task: ShardTask) -> Fate:
        return fate_of(self.rows_of[task.window, task.shard])

    def shards_at(self, worker: int) -> list[ShardTask]:
        assert self.run is not None
        return [task for task in self.run.workers[worker] if isinstance(task, ShardTask)]

    def may_come_late(self, tasks: list[ShardTask]) -> None:
        for task in tasks:
            self.late[task.window] = self.now

    def is_settled(self, window: int) -> bool:
        rows = [row for shard, fate in self.entered.items() if shard[0] == window for row in fate.rows]
        return sorted(row.position for row in rows) == [row.position for row in self.windows[window]]

    @property
    def journal(self) -> Path | None:
        return next((path for path in self.state() if path.name == JOURNAL), None)

    def state(self) -> list[Path]:
        return [path for path in (self.folder / "state").rglob("*") if path.is_file()]

    def on_disk(self) -> set[Shard]:
        """Shards that the journal knows of however hard the machine goes down now."""
        if self.journal is None:
            return set()
        lines = self.disk.durable(str(self.journal)).split(b"\n")[1:-1]
        shards = set()
        for number, line in enumerate(lines, 1):
            try:
                told = decode_line(line + b"\n")
            except BadLine:
                # Garbled when the power failed before.
                assert number == len(lines)
                break
            if isinstance(told, ShardLine):
                shards.add((told.window, told.shard))
        return shards
