"""What became of every row of the shards a worker has open; shared by its builder and its senders."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from loader.capacity import Flow
from loader.decisions.batch import Item, Share
from loader.edges.events import Report
from loader.model import Counts, Reject, ShardOutcome, ShardTask


@dataclass(slots=True)
class _OpenShard:
    task: ShardTask
    # Most requests write all they carry: those are only added up, which is cheaper than making Counts.
    written: int = 0
    older: int = 0
    requests: int = 0
    write_units: float = 0.0
    others: Counts = field(default_factory=Counts)
    rejects: list[Reject] = field(default_factory=list)
    unanswered: bool = False
    # Items not settled yet, and one for the builder while it still makes more.
    pending: int = 1

    @property
    def counts(self) -> Counts:
        return self.others + Counts(self.written, self.older, 0, self.write_units, self.requests)

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
        self._written = 0
        self._throttled = 0

    def begin(self, task: ShardTask) -> None:
        with self._lock:
            self._open[task.shard] = _OpenShard(task)

    def built(self, shard: int) -> None:
        """The builder has handed out everything of this shard."""
        self._settle(shard, Counts())

    def under_way(self, shares: Iterable[Share]) -> None:
        with self._lock:
            for shard, items, _ in shares:
                self._open[shard].pending += items

    def duplicates(self, shard: int, count: int) -> None:
        with self._lock:
            self._open[shard].others += Counts(duplicates=count)
        self._on_change()

    def reject(self, shard: int, reject: Reject) -> None:
        with self._lock:
            state = self._open[shard]
            state.rejects.append(reject)
            state.others += Counts(rejected=1)
        self._on_change()

    def request(self, shard: int, counts: Counts, *, throttled: int = 0) -> None:
        """
        What a request took, apart from its rows; one for several shards counts with its first item's.
        `throttled` of its items were not taken for want of capacity.
        """
        with self._lock:
            self._open[shard].others += counts
            self._throttled += throttled
        self._on_change()

    def unanswered(self, shares: Iterable[Share]) -> None:
        with self._lock:
            for share in shares:
                self._open[share.shard].unanswered = True

    def written(self, shares: Iterable[Share], *, requests: int = 0, write_units: float = 0.0) -> None:
        """
        These items are in the table; what they supersede is settled with them. `requests` and `write_units`
        are what that took, as far as it was not entered before.
        """
        with self._changed:
            for shard, items, older in shares:
                self._written += items
                state = self._open[shard]
                state.written += items
                state.older += older
                state.requests += requests
                state.write_units += write_units
                # One request may be for several shards.
                requests, write_units = 0, 0.0
                self._settle_some(state, items)
        self._on_change()

    def settled(self, item: Item, *, superseded: int = 0) -> None:
        """A rejected item that no older row replaces; `superseded` rows of its key count as duplicates."""
        self._settle(item.shard, Counts(duplicates=superseded))

    def flow(self) -> Flow:
        """Items since the worker began; their write units are counted elsewhere."""
        with self._lock:
            return Flow(written=self._written, throttled=self._throttled)

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

    def _settle(self, shard: int, counts: Counts) -> None:
        with self._changed:
            state = self._open[shard]
            state.others += counts
            self._settle_some(state, 1)
        self._on_change()

    def _settle_some(self, state: _OpenShard, items: int) -> None:
        state.pending -= items
        if state.pending == 0:
            shard = state.task.shard
            del self._open[shard]
            self._finished.append(state.outcome())
            self._closed.append(shard)
            self._changed.notify_all()
