"""The worker processes: started, listened to, watched, replaced, and surely gone at the end."""

import contextlib
import itertools
import multiprocessing
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import ModuleType

from loader.edges.events import (
    Drain,
    FreshCredentials,
    FromWorker,
    QueueReader,
    QueueWriter,
    Share,
    ToWorker,
    one_way_queue,
)
from loader.engines.spawned import begin
from loader.engines.worker import PARENTS_SIGNALS, WorkerSetup
from loader.errors import WorkerFailed
from loader.model import IndexTask, ShardTask

OPEN_TASKS = 4
"""Tasks a worker has at a time: enough to build one shard while others are being sent."""


@dataclass(slots=True)
class Worker:
    """
    One process and the ends of its two queues that are ours; `open` are tasks without a result. A `slot` is
    taken over by who replaces a worker, a number never.
    """

    number: int
    slot: int
    process: BaseProcess
    tasks: QueueWriter[ToWorker]
    events: QueueReader[FromWorker]
    open: list[IndexTask | ShardTask] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Died:
    """A worker ended without being asked to; `status` as in Process.exitcode."""

    status: int | None
    open: tuple[IndexTask | ShardTask, ...]


@contextlib.contextmanager
def _as_a_worker_should_find_it() -> Iterator[None]:
    """
    What a process that is spawned takes over: no main module, and the parent's signals blocked.

    It would import the script that the user runs again, though it needs nothing of it: a script without a
    guard around its load would load again in every worker. And until it ignores signals itself, one sent to
    the whole group would end it with a traceback.
    """
    # It is started with the first process, and lets signals through again then.
    resource_tracker.ensure_running()
    main = sys.modules["__main__"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS_SIGNALS)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool:
    """
    `size` spawned processes. The numbers of workers are never used twice, so a late message is nobody else's.
    """

    def __init__(self, setup: Callable[[], WorkerSetup], size: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._setup = setup
        self._next = 0
        self._workers: dict[int, Worker] = {}
        try:
            for _ in range(size):
                self.start_one()
        except BaseException:
            self.stop(0.0)
            raise

    def __len__(self) -> int:
        return len(self._workers)

    def start_one(self) -> None:
        """Raises WorkerFailed where the machine has no room for one more."""
        try:
            self._start(self._next)
        except OSError as error:
            raise WorkerFailed(
                f"Worker process {len(self) + 1} cannot be started: {error.strerror}. "
                "Ask for fewer with --workers."
            ) from error
        self._next += 1

    def _start(self, number: int) -> None:
        taken = {worker.slot for worker in self._workers.values()}
        slot = next(slot for slot in itertools.count() if slot not in taken)
        task_reader, task_writer = one_way_queue(self._context)
        event_reader, event_writer = one_way_queue(self._context)
        process = self._context.Process(
            target=begin,
            args=(pickle.dumps(self._setup()), slot, task_reader, event_writer),
            name=f"ddbload-worker-{number}",
            daemon=True,
        )
        try:
            with _as_a_worker_should_find_it():
                process.start()
            # Held here, these would hide the death of the other side.
            task_reader.close()
            event_writer.close()
            self._workers[number] = Worker(
                number, slot, process, QueueWriter(task_writer), QueueReader(event_reader)
            )
        except BaseException:
            # Such as a KeyboardInterrupt; Python would wait at its end for a process that heeds no signal.
            if process.pid is not None:
                process.kill()
            raise

    def free(self) -> Iterator[Worker]:
        """Workers that can take a task, the least busy first."""
        while True:
            worker = min(self._workers.values(), key=lambda worker: len(worker.open), default=None)
            if worker is None or len(worker.open) >= OPEN_TASKS:
                return
            yield worker

    def give(self, worker: Worker, task: IndexTask | ShardTask) -> None:
        worker.open.append(task)
        self._put(worker, task)

    def settle(self, number: int, done: Callable[[IndexTask | ShardTask], bool]) -> None:
        """The task of worker `number` for which `done` holds has its result."""
        worker = self._workers[number]
        worker.open = [task for task in worker.open if not done(task)]

    def broadcast(self, message: Drain | FreshCredentials) -> None:
        for worker in self._workers.values():
            self._put(worker, message)

    def tell(self, number: int, message: Share) -> None:
        """Nobody hears it where that worker has gone."""
        worker = self._workers.get(number)
        if worker is not None:
            self._put(worker, message)

    def events(self, timeout: float) -> Iterator[tuple[int, FromWorker | Died]]:
        """What the workers have to say, in the order of each; waits up to `timeout` seconds for the first."""
        by_connection = {worker.events.connection: worker for worker in self._workers.values()}
        for ready in wait(list(by_connection), timeout):
            worker = by_connection[ready]  # type: ignore[index]
            yield from self._messages(worker)

    def stop(self, timeout: float) -> None:
        """End every process within `timeout` seconds: those that do not end by themselves are killed."""
        deadline = time.monotonic() + timeout
        for worker in self._workers.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
        for worker in self._workers.values():
            self._close(worker)
        self._workers.clear()

    def _put(self, worker: Worker, message: ToWorker) -> None:
        # A worker that is gone is noticed by the end of its events, and its open tasks go to another.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.tasks.put(message)

    def _messages(self, worker: Worker) -> Iterator[tuple[int, FromWorker | Died]]:
        while worker.number in self._workers and worker.events.ready():
            try:
                message = worker.events.get()
            except EOFError:
                del self._workers[worker.number]
                self._close(worker)
                yield worker.number, Died(worker.process.exitcode, tuple(worker.open))
                return
            yield worker.number, message

    def _close(self, worker: Worker) -> None:
        """The process has ended, or closed its queue on the way out of life."""
        worker.process.join(1.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.tasks.close()
        worker.events.close()
