"""The write units of a second for all workers together: what they report sets the rate, each gets a share."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from loader.capacity import Flow, Spent
from loader.decisions.pacing import Pace, Sample
from loader.decisions.shares import Demand, allot
from loader.edges.events import Share

BATCH_SECONDS = 0.1
"""The part of a second's share that one request may cost: that much a window can be exceeded by."""
ITEM_SECONDS = 0.5
"""The same where single items are dearer: fewer workers have a share then, so that all owe no more."""
SILENT_SECONDS = 0.3
"""A worker that says nothing for so long does nothing: one that waits for its share would say so."""
PATIENT_SECONDS = 0.15
"""For so long a sample waits for the reports of all workers."""
FRUITLESS = 20
"""Answers in a row that wrote nothing, from which on it is not the budget that a load waits for."""
_HELD = 0.1
# Smaller changes are not worth a message.
_CHANGE = 0.001


@dataclass(slots=True)
class _Worker:
    """
    What was last heard, and when; what of that was in a sample already, and when that was heard; what it asks
    for a second; the share it was told, and whether that was when it was silent.
    """

    flow: Flow
    heard: float
    share: float | None
    counted: Flow
    counted_at: float
    rate: float = 0.0
    held: bool = True
    told_silent: bool = False

    def hear(self, flow: Flow, now: float) -> None:
        seconds = max(now - self.heard, 1e-3)
        self.rate = (flow.used + flow.refused - self.flow.used - self.flow.refused) / seconds
        self.held = flow.held - self.flow.held > _HELD * seconds
        self.flow, self.heard, self.told_silent = flow, now, False

    def sample(self) -> Sample:
        """What is new since the last one, each part of it once."""
        new, old = self.flow, self.counted
        seconds = min(self.heard - self.counted_at, SILENT_SECONDS)
        self.counted, self.counted_at = new, self.heard
        items = new.written + new.throttled - old.written - old.throttled
        return Sample(seconds, items, new.used - old.used, new.refused - old.refused, self.held)


class Budget:
    """Kept by the coordinator. `workers` is how many there are going to be; times are monotonic seconds."""

    def __init__(self, pace: Pace, workers: int, now: float) -> None:
        self._pace = pace
        self._size = workers
        self._at = now
        self._workers: dict[int, _Worker] = {}
        self._started = 0
        self._held = False
        self._fruitless = 0
        self.spent = Spent()

    def first_share(self) -> Share:
        """For a worker that is started now; it holds until there is a better one."""
        rate = self._pace.rate
        # In turn, from the first request on.
        phase, self._started = self._started % self._size / self._size, self._started + 1
        return replace(_share(None if rate is None else rate / self._size), phase=phase)

    def hear(self, worker: int, flow: Flow, now: float) -> None:
        known = self._workers.get(worker)
        before = known.flow if known is not None else Flow()
        self.spent = replace(self.spent, units=self.spent.units + flow.used - before.used)
        self._fruitless = (
            0 if flow.used > before.used else self._fruitless + flow.fruitless - before.fruitless
        )
        if known is None:
            rate = self._pace.rate
            share = None if rate is None else rate / self._size
            self._workers[worker] = _Worker(flow, now, share, Flow(), now - PATIENT_SECONDS)
        else:
            known.hear(flow, now)

    def forget(self, worker: int) -> None:
        """It has ended: its share goes to the others."""
        self._workers.pop(worker, None)

    @property
    def waits(self) -> bool:
        """Whether it is the budget that keeps the load from writing: what it lets through is written."""
        return self._held and self._fruitless < FRUITLESS

    def shares(self, now: float) -> dict[int, Share]:
        """The rate by what was heard since the last time, and the shares that are to be told."""
        active = {
            number: state for number, state in self._workers.items() if now - state.heard <= SILENT_SECONDS
        }
        self._held = any(state.held for state in active.values())
        fresh = [state for state in active.values() if state.heard > state.counted_at]
        if len(fresh) < len(active) and now - self._at < PATIENT_SECONDS:
            return {}
        if fresh:
            self._take(fresh, now - self._at)
        self._at = now
        return self._told(self._allotted(active), active)

    def _take(self, fresh: Sequence[_Worker], seconds: float) -> None:
        samples = [state.sample() for state in fresh]
        used = sum(sample.used for sample in samples)
        if used:
            capped = seconds if self._held and self._pace.at_cap else 0.0
            spent = self.spent
            self.spent = replace(spent, seconds=spent.seconds + seconds, capped=spent.capped + capped)
        self._pace = self._pace.after(
            Sample(
                # Of the reports, which is what the sums are of: they come when they come.
                sum(sample.seconds for sample in samples) / len(samples),
                sum(sample.items for sample in samples),
                used,
                sum(sample.refused for sample in samples),
                self._held,
            )
        )

    def _allotted(self, active: Collection[int]) -> dict[int, float | None]:
        rate = self._pace.rate
        if rate is None:
            return dict.fromkeys(self._workers)
        # Those that are being started have theirs from the beginning.
        unheard = max(0, self._size - len(self._workers))
        demands = {
            number: Demand(state.rate, state.held) if number in active else Demand(0.0, False)
            for number, state in self._workers.items()
        }
        most = max(1, int(rate * ITEM_SECONDS / self._pace.item))
        some = sorted(demands, key=lambda number: (not demands[number].held, not self._workers[number].share))
        shares: dict[int, float | None] = dict.fromkeys(demands, 0.0)
        shares.update(
            allot(rate * (1 - unheard / self._size), {number: demands[number] for number in some[:most]})
        )
        return shares

    def _told(self, allotted: dict[int, float | None], active: Collection[int]) -> dict[int, Share]:
        told = {}
        for number, rate in allotted.items():
            state = self._workers[number]
            # One that is stopped reads nothing: its queue must not fill up.
            if _differs(rate, state.share) and (number in active or not state.told_silent):
                state.share, state.told_silent = rate, number not in active
                told[number] = _share(rate)
        return told


def _share(rate: float | None) -> Share:
    return Share(rate, None if rate is None else rate * BATCH_SECONDS)


def _differs(new: float | None, old: float | None) -> bool:
    if new is None or old is None:
        return new is not old
    return abs(new - old) > _CHANGE * old
