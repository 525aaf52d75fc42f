"""Everything that can refuse a load, before its first row is written."""

import contextlib
import logging
import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, replace

from loader.config import WINDOW_SIZE, LoadConfig
from loader.decisions.checkpoint import Head, Resume, SourceFile
from loader.decisions.plan import shard_records
from loader.decisions.retry import RetryPolicy
from loader.decisions.rows import allow_large_cells
from loader.decisions.schema import ItemSchema, build_schema
from loader.decisions.senders import FIRST, MOST
from loader.edges import machine
from loader.edges.clients import Session, open_session
from loader.edges.journal import LOCK, Journal, default_state_dir, make_state_directory, state_name
from loader.edges.lock import FileLock
from loader.edges.rejects import RejectFile, default_path, discard_part, require_free
from loader.edges.source import Source
from loader.edges.spool import Spool
from loader.edges.sweep import sweep
from loader.edges.table import describe
from loader.edges.target import Target
from loader.engines.builder import BuildRules
from loader.engines.ledger import Ledger
from loader.engines.pipeline import Pipeline
from loader.engines.windows import Cutter, Place
from loader.engines.worker import WorkerSetup
from loader.engines.writer import WriterRules
from loader.errors import BadState, DiskFailed
from loader.model import Dialect, TableDescription

MIN_DEFAULT_WINDOW = 16 << 20
BYTES_A_WORKER = 1 << 20
"""A worker costs a quarter of a second to start; by default there is none for less than this."""

UNITS_A_WORKER = 25_000
"""Write units a second that a worker is sure to use up: less than a fifth of what one does (RESULTS.md)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """
    A load that can begin, or go on: `resume` is what an earlier run has done of it.

    `late_writes`: writes of an earlier run may still be applied that the first ones of this run must not
    overtake. `target` is where the fast path sends to; None where batches go through boto3. `threads` is how
    many senders each worker begins with.
    """

    config: LoadConfig
    session: Session
    table: TableDescription
    source: Source
    schema: ItemSchema
    head: Head
    resume: Resume | None
    late_writes: bool
    target: Target | None
    ledger: Ledger
    spool: Spool
    workers: int
    threads: int
    cores: tuple[int, ...]

    def worker_setup(self) -> WorkerSetup:
        """For a worker that is started now: credentials are those of this moment."""
        head = self.head
        return WorkerSetup(
            files=self.source.files,
            build=BuildRules(self.schema, head.dialect, head.winner, head.include_superseded),
            factory=replace(self.session.factory(self.config.threads or MOST), target=self.target),
            retry=RetryPolicy(max_retries=self.config.max_retries),
            write=WriterRules(
                table=self.table.name,
                key=self.table.key,
                per_index=bool(self.table.indexes),
                threads=self.threads,
                adapts=self.config.threads is None,
                batch_size=self.config.batch_size,
                serial=self.session.serial,
            ),
            seed=head.seed,
            log_level=logging.getLogger("loader").getEffectiveLevel(),
            cores=self.cores,
        )

    def pipeline(self, now: float) -> Pipeline:
        """The windows that are still to be written; `now` is monotonic seconds."""
        head, resume = self.head, self.resume
        grace = self.config.late_write_grace
        done = sum(window.records for window in resume.finished) if resume is not None else 0
        return Pipeline(
            Cutter(
                self.source,
                head.dialect,
                head.window_size,
                None if head.limit is None else head.limit - done,
                _first_place(self.source, resume),
            ),
            self.spool,
            first_window=len(resume.finished) if resume is not None else 0,
            shard_records=head.shard_records,
            grace=grace,
            not_before=now + grace if self.late_writes else now,
        )


def prepare(config: LoadConfig, stack: ExitStack) -> Prepared:
    """Check everything and open what the load needs; `stack` closes it. Raises Refused."""
    allow_large_cells()
    dialect = Dialect()
    source = Source.open(config.sources, dialect)
    stack.callback(source.close)
    session = open_session(config.connection)
    with session.factory(1).table_client() as client:
        table = describe(client, config.table)
        target = client.target(table.name) if config.transport == "fast" else None
    schema = build_schema(table, source.header, config.types, source.files[0].identity.shown)
    workers = config.workers or _default_workers(source.total, table)
    now = _head(config, table, source, dialect, workers)
    directory = make_state_directory(
        config.state_dir or default_state_dir(os.environ),
        state_name(table.endpoint, table.arn, [span.identity.path for span in source.files]),
    )
    lock = stack.enter_context(_lock(directory))
    sweep(os.path.dirname(directory), directory)
    head, resume, late_writes = _resume_or_begin(config, directory, now, source)
    try:
        rejects = RejectFile.open(
            head.rejects,
            source.header_record(),
            source.header,
            dialect,
            resume.rejects if resume is not None else None,
        )
        stack.callback(rejects.close)
        journal = Journal.create(directory, head) if resume is None else Journal.resume(directory, resume)
    except BaseException as error:
        if resume is None:
            _forget(directory, lock)
        if isinstance(error, DiskFailed):
            # Nothing is under way yet that would have to be kept.
            raise BadState(f"{error} Make room there, or choose another --state-dir.") from error
        raise
    stack.callback(journal.close)
    return Prepared(
        config=config,
        session=session,
        table=table,
        source=source,
        schema=schema,
        head=head,
        resume=resume,
        late_writes=late_writes,
        target=target,
        ledger=Ledger(source, journal, rejects, resume),
        spool=Spool(directory),
        workers=workers,
        threads=config.threads or FIRST,
        cores=_cores(),
    )


def _cores() -> tuple[int, ...]:
    """Those that workers may keep to. Each load begins at another, so that two loads do not meet on one."""
    cores = machine.cores()
    if len(cores) < 2:
        return ()
    first = secrets.randbelow(len(cores))
    return cores[first:] + cores[:first]


def _default_workers(source_bytes: int, table: TableDescription) -> int:
    """No more than there are processors for, rows for, and capacity for as far as it is known."""
    units = table.provisioned_write_units or table.on_demand_write_units
    fed = machine.cpus() if units is None else -(-units // UNITS_A_WORKER)
    return max(1, min(machine.cpus(), source_bytes // BYTES_A_WORKER, fed))


def _default_window_size() -> int:
    """
    Less than a GiB where memory is short. With rows of 100 bytes the indexes of two windows, one written and
    one in the making, take half of a window's size.
    """
    return max(MIN_DEFAULT_WINDOW, min(WINDOW_SIZE, machine.memory() // 4))


def _head(
    config: LoadConfig, table: TableDescription, source: Source, dialect: Dialect, workers: int
) -> Head:
    """What this run would begin with, were there no checkpoint."""
    window_size = config.window_size or _default_window_size()
    return Head(
        table=table.name,
        arn=table.arn,
        table_id=table.id,
        created=table.created,
        endpoint=table.endpoint,
        key=table.key,
        sources=tuple(
            SourceFile(span.identity.path, span.identity.size, span.identity.modified_ns, span.identity.inode)
            for span in source.files
        ),
        header=source.header,
        dialect=dialect,
        types=dict(config.types),
        # Keyed, so that nobody can make a file whose keys all fall into one place.
        seed=secrets.randbits(63),
        window_size=window_size,
        shard_records=config.shard_records or shard_records(min(source.total, window_size), workers),
        limit=config.limit,
        include_superseded=config.include_superseded,
        rejects="" if config.rejects is None else os.path.abspath(config.rejects),
    )


def _resume_or_begin(
    config: LoadConfig, directory: str, now: Head, source: Source
) -> tuple[Head, Resume | None, bool]:
    """
    The head that holds, what was done under it, and whether writes of an earlier run may come late. Raises
    BadState where a checkpoint does not fit.
    """
    named = replace(now, rejects=now.rejects or default_path(config.sources[0], os.getcwd()))
    try:
        resume = Journal.load(directory)
    except BadState:
        if not config.restart:
            raise
        return named, None, True
    if resume is None:
        return named, None, False
    if config.restart:
        anew = replace(now, rejects=now.rejects or resume.head.rejects)
        # Refused before anything of the old load is given up.
        require_free(anew.rejects)
        with contextlib.suppress(FileNotFoundError):
            discard_part(resume.head.rejects)
        return anew, None, resume.last is not None
    if config.window_size is None:
        # Found by the free memory of that time, which is no reason not to continue.
        now = replace(now, window_size=resume.head.window_size)
    difference = resume.head.mismatch(now) or _changed_content(resume, now, source)
    if difference is not None:
        raise BadState(
            f"This load was begun before and cannot be continued. {difference} "
            "Undo the change to continue it, or give --restart to load everything anew."
        )
    # A run that ended between two windows may have left writes of the last one under way.
    between = bool(resume.finished) and (resume.open is None or not resume.open.shards)
    return resume.head, resume, between


def _changed_content(resume: Resume, now: Head, source: Source) -> str | None:
    """Files whose times changed may still hold the same bytes: of what was read, the digests tell."""
    if not resume.head.touched(now):
        return None
    windows = (*resume.finished, *((resume.open.line,) if resume.open is not None else ()))
    for window in windows:
        if source.digest(window.start, window.stop - window.start) != window.digest:
            shown = source.span_at(window.start).identity.shown
            return f"The content of {shown} has changed since (at byte {window.start:,} or behind it)."
    return None


def _first_place(source: Source, resume: Resume | None) -> Place:
    if resume is not None and resume.open is not None:
        line = resume.open.line
        return Place(line.file, line.start, line.line)
    if resume is not None and resume.finished:
        line = resume.finished[-1]
        return Place(line.next_file, line.stop, line.next_line)
    first = source.files[0]
    return Place(0, first.base + first.data_start, first.first_line)


def _lock(directory: str) -> FileLock:
    try:
        return FileLock(os.path.join(directory, LOCK))
    except BadState:
        # Where there is anything in it, such as the lock of another run, it stays.
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        raise


def _forget(directory: str, lock: FileLock) -> None:
    """A load that is refused before it began leaves nothing."""
    with contextlib.suppress(OSError):
        os.unlink(lock.path)
        os.rmdir(directory)
