"""What became of every row of the shards a worker has open; shared by its builder and its senders."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from loader.decisions.batch import Item
from loader.edges.events import Report
from loader.model import Counts, Reject, ShardOutcome, ShardTask


@dataclass(slots=True)
class _OpenShard:
    task: ShardTask
    counts: Counts = field(default_factory=Counts)
    rejects: list[Reject] = field(default_factory=list)
    unanswered: bool = False
    # Items not settled yet, and one for the builder while it still makes more.
    pending: int = 1

    def outcome(self) -> ShardOutcome:
        return ShardOutcome(
            self.task.window, self.task.shard, self.counts, tuple(self.rejects), self.unanswered
        )


class Outcomes:
    """
    The accounts of a worker. Every row is entered exactly once: as written, duplicate or rejected.

    A row with older rows of its key behind it settles those too: once it is written they are duplicates.
    `on_change` is called, outside the lock, after every entry.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._open: dict[int, _OpenShard] = {}
        self._finished: list[ShardOutcome] = []
        self._closed: list[int] = []

    def begin(self, task: ShardTask) -> None:
        with self._lock:
            self._open[task.shard] = _OpenShard(task)

    def built(self, shard: int) -> None:
        """The builder has handed out everything of this shard."""
        self._settle(shard, Counts())

    def under_way(self, items: Sequence[Item]) -> None:
        with self._lock:
            for item in items:
                self._open[item.shard].pending += 1

    def duplicates(self, shard: int, count: int) -> None:
        self._enter(shard, Counts(duplicates=count))

    def reject(self, shard: int, reject: Reject) -> None:
        with self._lock:
            state = self._open[shard]
            state.rejects.append(reject)
            state.counts += Counts(rejected=1)
        self._on_change()

    def request(self, shard: int, counts: Counts) -> None:
        """What a request took, apart from its rows; one for several shards counts with its first item's."""
        self._enter(shard, counts)

    def unanswered(self, items: Sequence[Item]) -> None:
        with self._lock:
            for item in items:
                self._open[item.shard].unanswered = True

    def written(self, items: Sequence[Item]) -> None:
        """These items are in the table; what they supersede is settled with them."""
        with self._changed:
            for shard, of_shard in groupby(items, attrgetter("shard")):
                older = [len(item.older) for item in of_shard]
                self._settle_some(shard, len(older), Counts(written=len(older), duplicates=sum(older)))
        self._on_change()

    def settled(self, item: Item, *, superseded: int = 0) -> None:
        """A rejected item that no older row replaces; `superseded` rows of its key count as duplicates."""
        self._settle(item.shard, Counts(duplicates=superseded))

    def report(self) -> Report:
        """Finished shards not reported before, and the sum over the open ones, of the same moment."""
        with self._lock:
            finished, self._finished = tuple(self._finished), []
            return Report(finished, self._sum_open())

    def final_report(self) -> Report:
        """What there is when the worker ends early: unfinished shards are given up."""
        with self._lock:
            finished, self._finished = tuple(self._finished), []
            given_up = tuple(state.outcome() for state in self._open.values())
            self._open.clear()
            return Report(finished, Counts(), given_up)

    def take_closed(self) -> list[int]:
        """Shards finished since the last call, so that what is kept for them can be let go."""
        with self._lock:
            closed, self._closed = self._closed, []
            return closed

    def wait_for_room(self, shards: int, give_up: Callable[[], bool]) -> None:
        """Until fewer than `shards` are open."""
        with self._changed:
            while len(self._open) >= shards and not give_up():
                self._changed.wait(0.1)

    def _sum_open(self) -> Counts:
        return sum((state.counts for state in self._open.values()), Counts())

    def _enter(self, shard: int, counts: Counts) -> None:
        with self._lock:
            state = self._open[shard]
            state.counts += counts
        self._on_change()

    def _settle(self, shard: int, counts: Counts) -> None:
        with self._changed:
            self._settle_some(shard, 1, counts)
        self._on_change()

    def _settle_some(self, shard: int, settled: int, counts: Counts) -> None:
        state = self._open[shard]
        state.counts += counts
        state.pending -= settled
        if state.pending == 0:
            del self._open[shard]
            self._finished.append(state.outcome())
            self._closed.append(shard)
            self._changed.notify_all()
