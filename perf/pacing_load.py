"""Simulated loads on one table: workers that keep to their shares, and the real budget over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from loader.capacity import Flow
from loader.decisions.pacing import Pace
from loader.engines.budget import Budget
from loader.engines.pacer import SLACK_SECONDS
from perf.pacing_table import Table

STEP = 0.005
TICK = 0.1
"""Seconds: of the simulation, and of reports and of the coordinator."""
LATENCY, BACKOFF = 0.01, 0.05
BATCH = 25

Keys = Callable[[float, Random], int]


@dataclass(frozen=True, slots=True)
class Work:
    """
    What a load has to write. `units` are an item's (the index's included), `client` what one worker can do
    in units a second at most; `keys` draws the key of an item at a time, `busy` tells whether there is work.
    """

    units: float = 1.0
    client: float = 50_000.0
    keys: Keys = lambda now, random: 0
    busy: Callable[[float], bool] = lambda now: True


@dataclass(slots=True)
class Worker:
    work: Work
    random: Random
    rate: float | None
    most: float | None
    next_report: float
    balance: float = 0.0
    room: float = 0.0
    used: float = 0.0
    refused: float = 0.0
    held: float = 0.0
    told: tuple[float, float, float] = (0.0, 0.0, 0.0)
    again: list[tuple[float, int]] = field(default_factory=list)
    replies: list[tuple[float, float, float]] = field(default_factory=list)

    def step(self, now: float, table: Table) -> tuple[float, float]:
        """Send what may be sent in a step; units accepted and refused."""
        if self.rate is not None:
            earned = self.balance + self.rate * STEP
            self.balance = min(earned, max(self.balance, self.rate * SLACK_SECONDS))
        self.room = min(self.room + self.work.client * STEP, self.work.client * STEP)
        accepted = refused = 0.0
        if self.work.busy(now):
            while self.room >= 0 and (self.rate is None or self.balance >= 0):
                taken, back = self._send(now, table)
                accepted, refused = accepted + taken, refused + back
            if self.room >= 0:
                self.held += STEP
        while self.replies and self.replies[0][0] <= now:
            _, used, failed = self.replies.pop(0)
            self.used += used
            self.refused += failed
        return accepted, refused

    def report(self, now: float) -> Flow | None:
        """What it says at its time; as in the program, who has nothing to say is silent."""
        if now < self.next_report:
            return None
        self.next_report = now + TICK + self.random.random() * 0.01
        told, self.told = self.told, (self.used, self.refused, self.held)
        if told == self.told:
            return None
        written, refused = (round(of / self.work.units) for of in (self.used, self.refused))
        return Flow(written, refused, self.used, self.refused, self.held)

    def _send(self, now: float, table: Table) -> tuple[float, float]:
        units = self.work.units
        items = BATCH if self.most is None else max(1, min(BATCH, int(self.most / units)))
        keys: list[int] = []
        if table.keyed:
            while self.again and self.again[0][0] <= now and len(keys) < items:
                keys.append(self.again.pop(0)[1])
            keys += [self.work.keys(now, self.random) for _ in range(items - len(keys))]
        taken, back = table.write(now, keys, items, units)
        self.again += [(now + BACKOFF, key) for key in back]
        if self.rate is not None:
            self.balance -= items * units
        self.room -= items * units
        used, refused = taken * units, (items - taken) * units
        self.replies.append((now + LATENCY, used, refused))
        return used, refused


class Load:
    """All processes of one load, which begins at `start` seconds."""

    def __init__(self, pace: Pace, workers: int, work: Work, seed: int, start: float = 0.0) -> None:
        self.pace = pace
        self.start = start
        self.seed = seed
        self._random = Random(seed)
        self._budget = Budget(pace, workers, start)
        share = self._budget.first_share()
        self.workers = [
            Worker(
                work,
                self._random,
                share.rate,
                share.batch,
                start + self._random.random() * TICK,
                # Workers do not begin in step.
                -self._random.random() * max(work.units, share.batch or 0.0),
            )
            for _ in range(workers)
        ]
        self._next = start + TICK
        self._mail: list[tuple[float, int, float | None, float | None]] = []

    @property
    def rate(self) -> float | None:
        """Write units a second that all workers together may ask for now."""
        rates = [worker.rate for worker in self.workers if worker.rate is not None]
        return sum(rates) if len(rates) == len(self.workers) else None

    def hear(self, now: float) -> None:
        """Let the workers know their shares."""
        while self._mail and self._mail[0][0] <= now:
            _, number, rate, most = self._mail.pop(0)
            worker = self.workers[number]
            worker.rate, worker.most = rate, most

    def talk(self, now: float) -> None:
        """Reports of workers, and what the coordinator makes of them."""
        for number, worker in enumerate(self.workers):
            flow = worker.report(now)
            if flow is not None:
                self._budget.hear(number, flow, now)
        if now >= self._next:
            self._next = now + TICK
            for number, share in self._budget.shares(now).items():
                self._mail.append((now + LATENCY, number, share.rate, share.batch))


@dataclass(slots=True)
class Tick:
    """
    What happened in a tenth of a second that ended at `at`; units, by load where there are several. A load
    has no rate before it begins, nor while it has no limit. `saved` is what buckets held in the end.
    """

    at: float
    accepted: list[float]
    refused: list[float]
    rates: list[float | None]
    capacity: float
    saved: float


def run(
    table: Table, loads: Sequence[Load], seconds: float, capacity: Callable[[float], float]
) -> list[Tick]:
    """Play it; `capacity` is what could be accepted, for comparison."""
    ticks = []
    per_tick = round(TICK / STEP)
    accepted, refused = [0.0] * len(loads), [0.0] * len(loads)
    random = Random(loads[0].seed)
    for number in range(round(seconds / STEP)):
        now = number * STEP
        begun = [(of, load) for of, load in enumerate(loads) if now >= load.start]
        order = [(of, worker) for of, load in begun for worker in load.workers]
        # Nobody is always first at what the bucket has gained in a step.
        random.shuffle(order)
        for _, load in begun:
            load.hear(now)
        for of, worker in order:
            taken, back = worker.step(now, table)
            accepted[of] += taken
            refused[of] += back
        for _, load in begun:
            load.talk(now)
        if (number + 1) % per_tick == 0:
            at = (number + 1) * STEP
            rates = [load.rate if now >= load.start else None for load in loads]
            ticks.append(Tick(at, accepted, refused, rates, capacity(now), table.saved(at)))
            accepted, refused = [0.0] * len(loads), [0.0] * len(loads)
    return ticks
