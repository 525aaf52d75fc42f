"""Windows on their way: one is written while the next is cut, indexed and sorted."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from loader.decisions.index import ChunkIndex
from loader.decisions.plan import LineTable, cut_shards, entries, repeats, sort_window
from loader.edges.spool import Spool
from loader.engines.windows import Cutter, Place, WindowIndex
from loader.errors import SourceChanged
from loader.model import IndexTask, ShardTask

BUSY_SHARDS = 2
"""A worker with so many shards at hand can index a chunk of the next window in between."""


@dataclass(slots=True)
class OpenWindow:
    """
    A window whose shards can be written. `unanswered`: a write of it may still be applied late. `repeats` are
    the records whose key, most likely, another one of it has too and comes first with.
    """

    number: int
    begin: Place
    end: Place
    records: int
    lines: LineTable
    todo: deque[ShardTask]
    out: dict[int, ShardTask] = field(default_factory=dict)
    unanswered: bool = False
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class WindowBegins:
    window: OpenWindow


@dataclass(frozen=True, slots=True)
class WindowEnds:
    """Every row of the window has its outcome."""

    window: OpenWindow


class Pipeline:
    """
    Decides which task comes next. Writes of a window wait until every row of the one before has its outcome,
    and `grace` seconds more where an attempt of that one got no answer: so no old value overtakes a new one.
    """

    def __init__(
        self,
        cutter: Cutter,
        spool: Spool,
        *,
        first_window: int,
        shard_records: int,
        grace: float,
        not_before: float,
    ) -> None:
        self._cutter = cutter
        self._spool = spool
        self._number = first_window
        self._shard_records = shard_records
        self._grace = grace
        self._not_before = not_before
        self._indexing: WindowIndex | None = None
        self._again: deque[IndexTask] = deque()
        self._ready: OpenWindow | None = None
        self._writing: OpenWindow | None = None

    @property
    def writing(self) -> OpenWindow | None:
        return self._writing

    @property
    def waits(self) -> bool:
        """Whether an indexed window waits for late writes of the one before."""
        return self._writing is None and self._ready is not None

    @property
    def finished(self) -> bool:
        return (
            self._cutter.exhausted
            and self._indexing is None
            and self._ready is None
            and self._writing is None
        )

    def advance(self, now: float) -> Iterator[WindowBegins | WindowEnds]:
        """Move windows on as far as they can go, saying what happened. `now` is monotonic seconds."""
        writing = self._writing
        if writing is not None and not writing.todo and not writing.out:
            if writing.unanswered:
                self._not_before = now + self._grace
            yield WindowEnds(writing)
            self._spool.remove(writing.number)
            self._writing = None
        if self._indexing is not None and self._indexing.whole and self._ready is None:
            self._ready, self._indexing = self._sorted(self._indexing), None
        if self._writing is None and self._ready is not None and now >= self._not_before:
            self._writing, self._ready = self._ready, None
            yield WindowBegins(self._writing)
        # One window ahead, no more: each takes memory for its index.
        if self._indexing is None and self._ready is None and not self._cutter.exhausted:
            self._indexing = WindowIndex(self._number, self._cutter.place)

    def next_task(self, shards_at_hand: int) -> IndexTask | ShardTask | None:
        """Something to do for a worker that has so many shards already."""
        if shards_at_hand >= BUSY_SHARDS:
            return self._next_chunk() or self._next_shard()
        return self._next_shard() or self._next_chunk()

    def indexed(self, window: int, chunk: int, index: ChunkIndex) -> None:
        indexing = self._indexing
        if indexing is None or indexing.number != window:
            return
        if len(index.starts) != indexing.chunks[chunk].records:
            raise SourceChanged(
                "The source has changed while it was read: the same bytes held "
                f"{indexing.chunks[chunk].records:,} records, then {len(index.starts):,}. "
                "Give the command again, with --restart, when the file no longer changes."
            )
        indexing.add_index(chunk, index)

    def shard_done(self, shard: int, *, unanswered: bool) -> None:
        if self._writing is not None:
            self._writing.out.pop(shard, None)
            self._writing.unanswered |= unanswered

    def give_back(self, tasks: Iterable[IndexTask | ShardTask]) -> None:
        """Tasks of a worker that died; what it had sent may still be applied."""
        for task in tasks:
            if isinstance(task, ShardTask) and self._writing is not None:
                self._writing.unanswered = True
                self._writing.out.pop(task.shard, None)
                self._writing.todo.appendleft(task)
            elif isinstance(task, IndexTask) and self._indexing is not None:
                self._again.append(task)

    def discard(self) -> None:
        """The load ends here for now: what lies in the spool is of no use to the run that continues."""
        for window in (self._writing, self._ready):
            if window is not None:
                self._spool.remove(window.number)

    def _next_shard(self) -> ShardTask | None:
        if self._writing is None or not self._writing.todo:
            return None
        task = self._writing.todo.popleft()
        self._writing.out[task.shard] = task
        return task

    def _next_chunk(self) -> IndexTask | None:
        indexing = self._indexing
        if self._again:
            return self._again.popleft()
        if indexing is None or indexing.end is not None:
            return None
        chunk = self._cutter.next_chunk(indexing)
        if chunk is None:
            indexing.end = self._cutter.place
            return None
        return IndexTask(indexing.number, chunk.number, chunk.start, chunk.stop)

    def _sorted(self, indexing: WindowIndex) -> OpenWindow | None:
        if not indexing.records or indexing.end is None:
            return None
        number, self._number = indexing.number, indexing.number + 1
        indexes = [index for index in indexing.indexes if index is not None]
        indexing.indexes.clear()
        lines = LineTable(indexing.chunks, indexes)
        window = sort_window(indexes)
        # The window has hashes and sizes now, the line table the positions: the rest would be a second copy.
        del indexes
        spool = self._spool.write(number, entries(window))
        shards = cut_shards(window, self._shard_records)
        return OpenWindow(
            number,
            indexing.begin,
            indexing.end,
            indexing.records,
            lines,
            deque(ShardTask(number, shard, *bounds, spool) for shard, bounds in enumerate(shards)),
            repeats=repeats(window),
        )
