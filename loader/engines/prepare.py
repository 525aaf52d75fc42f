"""Everything that can refuse a load, before its first row is written."""

import contextlib
import logging
import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from loader.config import WINDOW_SIZE, LoadConfig
from loader.decisions.checkpoint import Head, Resume, SourceFile, printable
from loader.decisions.plan import shard_records
from loader.decisions.retry import RetryPolicy
from loader.decisions.rows import allow_large_cells
from loader.decisions.schema import ItemSchema, build_schema
from loader.decisions.senders import FIRST, MOST
from loader.edges import machine
from loader.edges.clients import Session, open_session
from loader.edges.events import Share
from loader.edges.journal import JOURNAL, LOCK, Journal, default_state_dir, make_state_directory, state_name
from loader.edges.lock import FileLock, require_own_at
from loader.edges.reject_names import default_path, part_path
from loader.edges.rejects import RejectFile, discard_part, require_free
from loader.edges.source import Source
from loader.edges.spool import Spool
from loader.edges.staged import StagedJournal
from loader.edges.sweep import sweep
from loader.edges.table import TTL_PATIENCE, describe, time_to_live
from loader.edges.target import Target
from loader.engines.builder import BuildRules
from loader.engines.dry_run import open_books, open_directory
from loader.engines.ledger import Ledger
from loader.engines.pipeline import Pipeline
from loader.engines.windows import Cutter, Place
from loader.engines.worker import WorkerSetup
from loader.engines.writer import WriterRules
from loader.errors import BadOption, BadState, DiskFailed
from loader.model import Dialect, TableDescription

_log = logging.getLogger(__name__)

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

    def worker_setup(self, share: Share) -> WorkerSetup:
        """For a worker that is started now: credentials are those of this moment."""
        return WorkerSetup(
            files=self.source.files,
            build=self.build_rules(),
            factory=replace(self.session.factory(self.config.threads or MOST), target=self.target),
            retry=RetryPolicy(max_retries=self.config.max_retries),
            write=WriterRules(
                table=self.table.name,
                key=self.table.key,
                indexes=self.table.indexes,
                threads=self.threads,
                adapts=self.config.threads is None,
                batch_size=self.config.batch_size,
                share=share,
                serial=self.session.serial,
            ),
            seed=self.head.seed,
            log_level=logging.getLogger("loader").getEffectiveLevel(),
            cores=self.cores,
            dry_run=self.config.dry_run,
        )

    def build_rules(self) -> BuildRules:
        head = self.head
        return BuildRules(self.schema, head.dialect, head.winner, head.include_superseded)

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
    with session.factory(1).table_client(TTL_PATIENCE) as client:
        table = replace(table, ttl=time_to_live(client, table.name))
    schema = build_schema(table, source.header, config.types, source.files[0].identity.shown)
    workers = workers_of(config, source.total, table)
    now = _head(config, table, source, dialect, workers)
    prepared = partial(
        Prepared,
        config=config,
        session=session,
        table=table,
        source=source,
        schema=schema,
        target=target,
        workers=workers,
        threads=config.threads or FIRST,
        cores=_cores(),
    )
    if config.dry_run:
        directory = open_directory(config.state_dir, stack)
        books = Ledger(source, *open_books(now, source, directory, stack), None)
        return prepared(head=now, resume=None, late_writes=False, ledger=books, spool=Spool(directory))
    directory, lock = _locked_directory(
        config.state_dir or default_state_dir(os.environ),
        state_name(table.endpoint, table.arn, [span.identity.path for span in source.files]),
    )
    stack.callback(lock.close)
    sweep(os.path.dirname(directory), directory)
    staged = None
    try:
        start = _resume_or_begin(config, directory, now, source)
        head, resume, late_writes = start.head, start.resume, start.late_writes
        _require_apart(head.rejects, source, None if resume is not None else directory)
        # First what can fail and leaves no trace; the old load is given up as the last.
        if start.replaces:
            staged = StagedJournal.create(directory, head)
        in_place = start.discards is not None and _same_part(start.discards, head.rejects)
        if start.discards is not None and in_place:
            discard_part(start.discards)
        rejects = RejectFile.open(
            head.rejects,
            source.header_record(),
            source.header,
            dialect,
            resume.rejects if resume is not None else None,
            all_done=resume is not None and resume.all_done,
        )
        stack.callback(rejects.close)
        # Now it is known for ours.
        require_own_at(rejects.part)
        if resume is not None:
            journal = Journal.resume(directory, resume)
        else:
            journal = Journal.create(directory, head) if staged is None else staged.put()
    except BaseException as error:
        if staged is not None:
            staged.remove()
        _forget(directory, lock)
        if isinstance(error, DiskFailed):
            # Nothing is under way yet that would have to be kept.
            raise BadState(f"{error} Make room there, or choose another --state-dir.") from error
        raise
    stack.callback(journal.close)
    if start.discards is not None and not in_place:
        _discard(start.discards)
    return prepared(
        head=head,
        resume=resume,
        late_writes=late_writes,
        ledger=Ledger(source, journal, rejects, resume),
        spool=Spool(directory),
    )


def _cores() -> tuple[int, ...]:
    """Those that workers may keep to. Each load begins at another, so that two loads do not meet on one."""
    cores = machine.cores()
    if len(cores) < 2:
        return ()
    first = secrets.randbelow(len(cores))
    return cores[first:] + cores[:first]


def workers_of(config: LoadConfig, source_bytes: int, table: TableDescription) -> int:
    """By default no more than there are processors, rows and, as far as anything is sent, capacity for."""
    if config.workers is not None:
        return config.workers
    limits = (table.capacity.provisioned, table.capacity.maximum, config.max_wcu)
    known = [] if config.dry_run else [units for units in limits if units]
    fed = -(-min(known) // UNITS_A_WORKER) if known else machine.cpus()
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


@dataclass(frozen=True, slots=True)
class _Start:
    """
    The head that holds, what was done under it, and whether writes of an earlier run may come late.

    `replaces` says that there is a checkpoint which this load takes the place of, and `discards` is the final
    path of the reject file that goes with it.
    """

    head: Head
    resume: Resume | None
    late_writes: bool
    replaces: bool = False
    discards: str | None = None


def _resume_or_begin(config: LoadConfig, directory: str, now: Head, source: Source) -> _Start:
    """Changes nothing. Raises BadState where a checkpoint does not fit, BadOption for rejects in its way."""
    named = replace(now, rejects=now.rejects or default_path(config.sources[0], os.getcwd()))
    try:
        resume = Journal.load(directory)
    except BadState:
        if not config.restart:
            raise
        return _Start(named, None, True, replaces=True)
    if resume is None:
        return _Start(named, None, False)
    if config.restart:
        if not _is_of(resume.head, now):
            # Copied here, say: that load may go on elsewhere, and its rejects are not ours to take away.
            return _Start(named, None, True, replaces=True)
        anew = replace(now, rejects=now.rejects or resume.head.rejects)
        require_free(anew.rejects)
        return _Start(anew, None, resume.last is not None, True, resume.head.rejects)
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
    return _Start(resume.head, resume, between)


def _require_apart(rejects: str, source: Source, directory: str | None) -> None:
    """
    Raises BadOption for a reject file that would be in the way of what else the load has: while it is made it
    is a source, or it lies in the load's own state directory (`directory`), which goes when the load is done.
    """
    with contextlib.suppress(OSError):
        part = os.stat(part_path(rejects))
        for span in source.files:
            if (part.st_dev, part.st_ino) == (span.identity.device, span.identity.inode):
                raise BadOption(
                    f"The reject file would be made in {printable(part_path(rejects))}, which is a source of "
                    "this load. Name another with --rejects."
                )
    if directory is not None:
        own, place = os.path.realpath(directory), os.path.realpath(os.path.dirname(rejects))
        if os.path.commonpath((own, place)) == own:
            raise BadOption(
                f"The reject file {printable(rejects)} would be in the load's own state directory, which is "
                "removed at the end. Name another with --rejects."
            )


def _is_of(head: Head, now: Head) -> bool:
    """Whether a checkpoint is of the load that its place is for: this table, and these files."""
    here = (now.arn, now.endpoint, [file.path for file in now.sources])
    return (head.arn, head.endpoint, [file.path for file in head.sources]) == here


def _same_part(final_path: str, other_path: str) -> bool:
    """Whether the rejects of both are made in one file, be it by two ways to one directory."""
    if final_path == other_path:
        return True
    with contextlib.suppress(OSError):
        return os.path.samefile(part_path(final_path), part_path(other_path))
    return False


def _discard(final_path: str) -> None:
    """What the load that was replaced left; where it cannot be removed it is in nobody's way."""
    try:
        discard_part(final_path)
    except BadState as error:
        _log.warning("The rejects of the load that was given up are left: %s", error)


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


def _locked_directory(base: str, name: str) -> tuple[str, FileLock]:
    """The state directory of this load and the lock of it. Raises BadState."""
    directory = make_state_directory(base, name)
    try:
        return directory, FileLock(os.path.join(directory, LOCK))
    except BadState:
        if not os.path.lexists(directory):
            # The sweep of another run, which took it for one that nobody would ask for again.
            return _locked_directory(base, name)
        # Where there is anything in it, such as the lock of another run, it stays.
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        raise


def _forget(directory: str, lock: FileLock) -> None:
    """A load that is refused before it began leaves nothing; the checkpoint of one that can go on stays."""
    if not os.path.lexists(os.path.join(directory, JOURNAL)):
        with contextlib.suppress(OSError):
            os.unlink(lock.path)
            os.rmdir(directory)
