"""The write units of a second for all workers together: what they report sets the rate, each gets a share."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from loader.capacity import Flow, Spent
from loader.decisions.pacing import Pace, Sample
from loader.decisions.shares import Demand, allot
from loader.edges.events import Share

BATCH_SECONDS = 0.1
"""The part of a second's share that one request may cost: that much a window can be exceeded by."""
SILENT_SECONDS = 0.3
"""A worker that says nothing for so long does nothing: one that waits for its share would say so."""
_HELD = 0.1
# Smaller changes are not worth a message.
_CHANGE = 0.001


@dataclass(slots=True)
class _Worker:
    """
    What was last heard, and when; rates (a second) between the last two answers told of; the share that it
    was told.
    """

    flow: Flow
    heard: float
    share: float | None
    held: bool = True
    items: float = 0.0
    used: float = 0.0
    refused: float = 0.0

    def hear(self, flow: Flow, now: float) -> None:
        self.held = flow.held - self.flow.held > _HELD * (now - self.heard)
        seconds = flow.at - self.flow.at
        if seconds > 0:
            self.items = (flow.written - self.flow.written) / seconds
            self.used = (flow.used - self.flow.used) / seconds
            self.refused = (flow.refused - self.flow.refused) / seconds
        self.flow, self.heard = flow, now


class Budget:
    """Kept by the coordinator. `workers` is how many there are going to be; times are monotonic seconds."""

    def __init__(self, pace: Pace, workers: int, now: float) -> None:
        self._pace = pace
        self._size = workers
        self._at = now
        self._workers: dict[int, _Worker] = {}
        self._waits = False
        self.spent = Spent()

    def first_share(self) -> Share:
        """For a worker that is started now; it holds until there is a better one."""
        rate = self._pace.rate
        return _share(None if rate is None else rate / self._size)

    def hear(self, worker: int, flow: Flow, now: float) -> None:
        known = self._workers.get(worker)
        before = known.flow.used if known is not None else 0.0
        self.spent = replace(self.spent, units=self.spent.units + flow.used - before)
        if known is None:
            self._workers[worker] = _Worker(flow, now, self.first_share().rate)
        else:
            known.hear(flow, now)

    def forget(self, worker: int) -> None:
        """It has ended: its share goes to the others."""
        self._workers.pop(worker, None)

    @property
    def waits(self) -> bool:
        """Whether nothing but the budget keeps the load from writing."""
        return self._waits

    def shares(self, now: float) -> dict[int, Share]:
        """The rate by what was heard since the last time, and the shares that are to be told."""
        active = {
            number: state for number, state in self._workers.items() if now - state.heard <= SILENT_SECONDS
        }
        held = any(state.held for state in active.values())
        items = sum(state.items for state in active.values())
        refused = sum(state.refused for state in active.values())
        used = sum(state.used for state in active.values())
        seconds, self._at = now - self._at, now
        if used:
            capped = seconds if held and self._pace.at_cap else 0.0
            spent = self.spent
            self.spent = replace(spent, seconds=spent.seconds + seconds, capped=spent.capped + capped)
        self._pace = self._pace.after(
            Sample(
                seconds,
                items * seconds,
                used * seconds,
                refused * seconds,
                held,
            )
        )
        self._waits = held and not refused
        return self._told(self._allotted(active))

    def _allotted(self, active: Collection[int]) -> dict[int, float | None]:
        rate = self._pace.rate
        if rate is None:
            return dict.fromkeys(self._workers)
        idle = Demand(0.0, False)
        # Those that are being started have theirs from the beginning.
        unheard = max(0, self._size - len(self._workers))
        return dict(
            allot(
                rate * (1 - unheard / self._size),
                {
                    number: Demand(state.used + state.refused, state.held) if number in active else idle
                    for number, state in self._workers.items()
                },
            )
        )

    def _told(self, allotted: dict[int, float | None]) -> dict[int, Share]:
        told = {}
        for number, rate in allotted.items():
            state = self._workers[number]
            if _differs(rate, state.share):
                state.share = rate
                told[number] = _share(rate)
        return told


def _share(rate: float | None) -> Share:
    return Share(rate, None if rate is None else rate * BATCH_SECONDS)


def _differs(new: float | None, old: float | None) -> bool:
    if new is None or old is None:
        return new is not old
    return abs(new - old) > _CHANGE * old
