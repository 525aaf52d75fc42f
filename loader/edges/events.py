"""The messages between coordinator and workers, and the queues they travel through."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Generic, TypeVar

from loader.capacity import Flow, Measures, Refusals
from loader.decisions.index import ChunkIndex
from loader.edges.clients import Credentials
from loader.errors import LoaderError
from loader.model import Counts, IndexTask, ShardOutcome, ShardTask

# --- to a worker --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish the requests in flight, report, and end; shards that are not finished are given up."""


@dataclass(frozen=True, slots=True)
class FreshCredentials:
    """What is known of credentials now; `serial` is their number, which grows with each that are new."""

    credentials: Credentials
    serial: int


@dataclass(frozen=True, slots=True)
class Share:
    """
    From now on this many write units a second, and at most `batch` of them in one request, but for a single
    item that takes more. None is no limit. The first request waits `phase` of the time that it costs.
    """

    rate: float | None = None
    batch: float | None = None
    phase: float = 0.0


ToWorker = IndexTask | ShardTask | Drain | FreshCredentials | Share

# --- from a worker ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkIndexed:
    window: int
    chunk: int
    index: ChunkIndex


@dataclass(frozen=True, slots=True)
class Report:
    """
    What became of rows since the last report: finished shards, and where the open ones stand.

    Both are of the same moment, so adding them up never counts a row twice. `given_up` are the
    unfinished shards of a worker that was told to drain, `senders` the threads that write, `fault` what
    stands between the worker and the service, which it waits for then. `flow`, `refusals` and `measures` are
    sums since the worker began. Of `refusals` None is as before; `measures` are made in a dry run only.
    """

    finished: tuple[ShardOutcome, ...]
    open: Counts
    given_up: tuple[ShardOutcome, ...] = ()
    senders: int = 0
    fault: str = ""
    flow: Flow = field(default_factory=Flow)
    refusals: Refusals | None = None
    measures: Measures = field(default_factory=Measures)


@dataclass(frozen=True, slots=True)
class Halted:
    """The worker cannot go on, and neither could another: the load ends with this error."""

    error: LoaderError


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker hit a bug and ends; its shards may be tried by another."""

    traceback: str


@dataclass(frozen=True, slots=True)
class Drained:
    """The last message of a worker that was told to drain."""


@dataclass(frozen=True, slots=True)
class NeedCredentials:
    """The service refuses the credentials of this number: perhaps there are newer ones."""

    serial: int


@dataclass(frozen=True, slots=True)
class Logged:
    """A line for the log, which the coordinator keeps; `level` as in logging."""

    logger: str
    level: int
    text: str


FromWorker = ChunkIndexed | Report | Halted | Crashed | Drained | NeedCredentials | Logged

# --- the queues ---------------------------------------------------------------------------------

M = TypeVar("M")


class QueueWriter(Generic[M]):
    """The end that puts. Its lock is one of this process alone: see `one_way_queue`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def put(self, message: M) -> None:
        """Wait while the pipe is full. Raises OSError once the process at the other end is gone."""
        with self._lock:
            self._connection.send(message)

    def close(self) -> None:
        self._connection.close()


class QueueReader(Generic[M]):
    """The end that gets; `connection` can be waited on with multiprocessing.connection.wait."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def get(self) -> M:
        """The next message. Raises EOFError once the process at the other end is gone."""
        try:
            message: M = self.connection.recv()
        except OSError as error:
            # It was killed in the middle of a message.
            raise EOFError from error
        return message

    def ready(self) -> bool:
        return self.connection.poll()

    def close(self) -> None:
        self.connection.close()


def one_way_queue(context: SpawnContext) -> tuple[Connection, Connection]:
    """
    The two ends (reader, writer) of a queue with one process at each end, to be wrapped where they are used.

    multiprocessing.Queue keeps both ends and a shared lock in every process: a worker killed in the middle
    of a put leaves the coordinator waiting for the rest for ever, or the lock taken. Here each process closes
    the end it does not use, so a death is an end of file on the other side, whenever it comes.
    """
    return context.Pipe(duplex=False)


class Coalescer:
    """Calls `report` when something happened, at most once in `interval` seconds, in its own thread."""

    def __init__(self, report: Callable[[], None], interval: float = 0.1) -> None:
        self._report = report
        self._interval = interval
        self._happened = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def happened(self) -> None:
        self._happened.set()

    def close(self) -> None:
        """Stop; what happened before is reported once more by whoever closes, if it matters."""
        self._closed.set()
        self._happened.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._happened.wait()
            if self._closed.is_set():
                return
            self._happened.clear()
            self._report()
            self._closed.wait(self._interval)
