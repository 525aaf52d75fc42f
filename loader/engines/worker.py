"""A worker process: a builder on the main thread, sender threads, and one that listens to the coordinator."""

import contextlib
import logging
import os
import queue
import signal
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

from loader.decisions.batch import batches
from loader.decisions.index import index_chunk
from loader.decisions.retry import RetryPolicy
from loader.decisions.rows import allow_large_cells
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
    QueueReader,
    QueueWriter,
    ToWorker,
)
from loader.edges.source import Source
from loader.edges.spool import read_entries
from loader.engines.builder import Builder, BuildRules
from loader.engines.outcomes import Outcomes
from loader.engines.writer import Draining, Writer, WriterRules
from loader.errors import LoaderError
from loader.model import FileSpan, IndexTask, ShardTask

OPEN_SHARDS = 4


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """Everything a worker is made of; picklable, and nothing in it is open."""

    files: tuple[FileSpan, ...]
    build: BuildRules
    factory: ClientFactory
    retry: RetryPolicy
    write: WriterRules
    seed: int


def run_worker(setup: WorkerSetup, tasks: Connection, events: Connection) -> None:
    """The life of a worker process; it ends when told to drain, when it fails, or with its parent."""
    # Signals are the parent's: it tells its workers to drain. A terminal sends them to all of its group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What matters is reported to the coordinator; a line on standard error would run into its progress bars.
    logging.getLogger().addHandler(logging.NullHandler())
    allow_large_cells()
    to_coordinator: QueueWriter[FromWorker] = QueueWriter(events)
    try:
        worker = _Worker(setup, QueueReader(tasks), to_coordinator)
    except LoaderError as error:
        to_coordinator.put(Halted(error))
        return
    worker.run()


class _Worker:
    def __init__(
        self, setup: WorkerSetup, tasks: QueueReader[ToWorker], events: QueueWriter[FromWorker]
    ) -> None:
        self._setup = setup
        self._tasks = tasks
        self._events = events
        self._todo: queue.SimpleQueue[IndexTask | ShardTask | None] = queue.SimpleQueue()
        self._failure: FromWorker | None = None
        self._reporter = Coalescer(self._report)
        self._outcomes = Outcomes(self._reporter.happened)
        self._source = Source.reopen(setup.files, setup.build.schema.header)
        self._builder = Builder(self._source, setup.build, self._outcomes)
        self._transport = setup.factory.transport(setup.write.table)
        self._writer = Writer(
            self._transport, setup.write, setup.retry, self._outcomes, self._builder, self._fail
        )

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        try:
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
        items = self._builder.items(task.shard, read_entries(task.spool, task.start, task.stop))
        for batch in batches(items, self._setup.write.batch_size):
            self._writer.submit(batch)
        self._outcomes.built(task.shard)

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
                self._transport.use(message.credentials)
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
                self._failure = Crashed("".join(traceback.format_exception(error)))
        self._stop()

    def _report(self) -> None:
        # A coordinator that is gone is the listener's business; a report to it is nobody's.
        with contextlib.suppress(BrokenPipeError):
            self._events.put(self._outcomes.report())

    def _end(self) -> None:
        self._writer.join()
        self._reporter.close()
        self._events.put(self._outcomes.final_report())
        self._events.put(self._failure or Drained())
        self._transport.close()
        self._source.close()
        self._events.close()
