"""A worker process: a builder on the main thread, sender threads, and one that listens to the coordinator."""

import contextlib
import logging
import os
import queue
import signal
import threading
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from loader.capacity import Measures, Refusals
from loader.decisions.batch import Batch
from loader.decisions.bugs import trace
from loader.decisions.index import index_chunk
from loader.decisions.retry import RetryPolicy
from loader.decisions.rows import allow_large_cells
from loader.edges import machine
from loader.edges.clients import ClientFactory
from loader.edges.events import (
    ChunkIndexed,
    Coalescer,
    Crashed,
    Drain,
    Drained,
    FreshCredentials,
    FromWorker,
    Halted,
    Logged,
    NeedCredentials,
    QueueReader,
    QueueWriter,
    Report,
    Share,
    ToWorker,
)
from loader.edges.source import Source
from loader.edges.spool import read_entries
from loader.engines.builder import Builder, BuildRules, Draining
from loader.engines.measuring import Measurer
from loader.engines.outcomes import Outcomes
from loader.engines.tuner import Tuner
from loader.engines.writer import Writer, WriterRules
from loader.errors import LoaderError
from loader.model import FileSpan, IndexTask, ShardTask

OPEN_SHARDS = 4
PARENTS_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""A terminal, or whoever ends a service, sends them to all processes of a group."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """
    Everything a worker is made of; picklable, and nothing in it is open.

    `cores` are those that workers may keep to, one each; none: they run anywhere. In a `dry_run` batches are
    measured, and nothing is sent.
    """

    files: tuple[FileSpan, ...]
    build: BuildRules
    factory: ClientFactory
    retry: RetryPolicy
    write: WriterRules
    seed: int
    log_level: int
    cores: tuple[int, ...] = ()
    dry_run: bool = False


def run_worker(setup: WorkerSetup, slot: int, tasks: Connection, events: Connection) -> None:
    """
    The life of a worker process; it ends when told to drain, when it fails, or with its parent. No two that
    live have the same `slot`, counted from 0.
    """
    # Signals are the parent's: it tells its workers to drain. They were blocked until here.
    for number in PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENTS_SIGNALS)
    allow_large_cells()
    # Before there are threads, which would chase each other's lock from core to core.
    core = setup.cores[slot % len(setup.cores)] if setup.cores else None
    if core is not None and not machine.stay_on(core):
        core = None
    to_coordinator: QueueWriter[FromWorker] = QueueWriter(events)
    _log_to(to_coordinator, setup.log_level)
    try:
        worker = _Worker(setup, core, QueueReader(tasks), to_coordinator)
    except LoaderError as error:
        to_coordinator.put(Halted(error))
        return
    worker.run()


class _ToCoordinator(logging.Handler):
    """Log lines are the coordinator's to keep: on standard error they would run into its progress bars."""

    def __init__(self, events: QueueWriter[FromWorker]) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._events.put(Logged(record.name, record.levelno, record.getMessage()))


def _log_to(events: QueueWriter[FromWorker], level: int) -> None:
    root = logging.getLogger()
    root.handlers = [_ToCoordinator(events)]
    # Of other packages only what is wrong: at finer levels they log whole requests.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("loader").setLevel(level)


class _Worker:
    def __init__(
        self,
        setup: WorkerSetup,
        core: int | None,
        tasks: QueueReader[ToWorker],
        events: QueueWriter[FromWorker],
    ) -> None:
        self._setup = setup
        self._tasks = tasks
        self._events = events
        self._todo: queue.SimpleQueue[IndexTask | ShardTask | None] = queue.SimpleQueue()
        self._failure: FromWorker | None = None
        self._told: Refusals | None = None
        self._reporter = Coalescer(self._report)
        self._outcomes = Outcomes(self._reporter.happened)
        self._source = Source.reopen(setup.files, setup.build.schema.header)
        self._builder = Builder(self._source, setup.build, self._outcomes, lambda: self._writer.draining())
        self._transport = setup.factory.transport(setup.write.table)
        self._writer = Writer(
            self._transport,
            setup.write,
            setup.retry,
            self._outcomes,
            self._builder,
            on_failure=self._fail,
            on_denied=self._ask_for_credentials,
            on_change=self._reporter.happened,
        )
        self._measurer = Measurer(setup.write.key, setup.write.indexes) if setup.dry_run else None
        self._tuner = Tuner(
            self._writer,
            lambda: self._outcomes.flow() + self._writer.flow(),
            self._fail,
            adapts=setup.write.adapts,
            core=core,
            cores=setup.cores,
        )

    def run(self) -> None:
        try:
            threading.Thread(target=self._listen, name="listener", daemon=True).start()
            self._tuner.start()
            # Last: where threads are few, these are the ones that can be fewer.
            self._writer.resize(self._setup.write.threads)
            self._reporter.happened()
            while (task := self._todo.get()) is not None:
                if isinstance(task, IndexTask):
                    self._index(task)
                else:
                    self._write(task)
        except Draining:
            pass
        except BaseException as error:
            self._fail(error)
        self._end()

    def _index(self, task: IndexTask) -> None:
        build = self._setup.build
        data = self._source.read(task.start, task.stop - task.start)
        index = index_chunk(
            data, task.start, build.schema.key, build.dialect, build.schema.header.width, self._setup.seed
        )
        self._events.put(ChunkIndexed(task.window, task.chunk, index))

    def _write(self, task: ShardTask) -> None:
        self._outcomes.wait_for_room(OPEN_SHARDS, self._writer.draining)
        for shard in self._outcomes.take_closed():
            self._builder.forget(shard)
        self._outcomes.begin(task)
        entries = read_entries(task.spool, task.start, task.stop)
        for batch in self._builder.batches(task.shard, entries, self._setup.write.batch_size):
            if self._measurer is None:
                self._writer.submit(batch)
            else:
                self._measure(self._measurer, batch)
        if self._measurer is not None:
            self._measurer.shard_ends()
        self._outcomes.built(task.shard)

    def _measure(self, measurer: Measurer, batch: Batch) -> None:
        """Instead of sending it: its rows would be written."""
        if self._writer.draining():
            raise Draining
        self._outcomes.under_way(batch.shares)
        measurer.add(batch)
        self._outcomes.written(batch.shares)

    def _listen(self) -> None:
        """Messages that cannot wait until the builder has time."""
        while True:
            try:
                message = self._tasks.get()
            except (EOFError, OSError):
                # The coordinator is gone. What is in flight may still be applied: a restart waits for that.
                os._exit(1)
            if isinstance(message, Drain):
                self._stop()
            elif isinstance(message, FreshCredentials):
                try:
                    self._writer.use(message.credentials, message.serial)
                except Exception as error:
                    # It ends the load, but whoever listens has to hear of that too.
                    self._fail(error)
            elif isinstance(message, Share):
                self._writer.take_share(message)
            else:
                self._todo.put(message)

    def _stop(self) -> None:
        self._writer.drain()
        self._todo.put(None)

    def _fail(self, error: BaseException) -> None:
        """From any thread: the first failure is what the coordinator hears of, at the end."""
        if self._failure is None:
            if isinstance(error, LoaderError):
                self._failure = Halted(error)
            else:
                self._failure = Crashed(trace(error))
        self._stop()

    def _ask_for_credentials(self, serial: int) -> None:
        self._events.put(NeedCredentials(serial))

    def _report(self) -> None:
        # A coordinator that is gone is the listener's business; a report to it is nobody's.
        with contextlib.suppress(BrokenPipeError):
            self._events.put(self._with_news(self._outcomes.report()))

    def _with_news(self, report: Report) -> Report:
        writer = self._writer
        refusals, told = writer.refusals(), self._told
        self._told = refusals
        return replace(
            report,
            senders=writer.senders,
            fault=writer.fault,
            flow=self._outcomes.flow() + writer.flow(),
            refusals=None if refusals is told else refusals,
            measures=Measures() if self._measurer is None else self._measurer.report(),
        )

    def _end(self) -> None:
        self._tuner.close()
        self._writer.join()
        self._reporter.close()
        report = self._with_news(self._outcomes.final_report())
        if isinstance(self._failure, Crashed):
            # Another worker does these shards anew, and tells of every row of them.
            report = replace(report, given_up=())
        self._events.put(report)
        self._events.put(self._failure or Drained())
        self._transport.close()
        self._source.close()
        self._events.close()
