"""What the pace is tried on: tables, loads, and what of it is measured."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from loader.capacity import WriteCapacity
from loader.decisions.pacing import first_pace
from perf.pacing_load import TICK, Load, Tick, Work, run
from perf.pacing_table import Table, Units

UNKNOWN = WriteCapacity()


@dataclass(frozen=True, slots=True)
class Measured:
    """
    Of one run: `used` is the share of all units that could be had from `steady` on, those in buckets
    included, so that it is 1 at most; `refused` the share of what was asked then, `reached` the seconds after
    `step` until 90 % of the capacity was accepted for 0.3 s, `parts` each load's share of what was accepted,
    `window` the least and most accepted a second in any ten seconds.
    """

    used: float
    refused: float
    reached: float
    parts: tuple[float, ...]
    window: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    `loads` makes them from a seed; `steady` and `step` are seconds of the run. `refill` are the units that
    buckets gain from `steady` on besides `capacity`: in pauses, or by being new. Not `banked`: what limits
    the load has no bucket.
    """

    name: str
    told: str
    seconds: float
    capacity: Units
    table: Callable[[], Table]
    loads: Callable[[int], list[Load]]
    steady: float
    step: float = 0.0
    refill: float = 0.0
    banked: bool = True

    def play(self, seed: int) -> list[Tick]:
        return run(self.table(), self.loads(seed), self.seconds, self.capacity)


def measure(scenario: Scenario, ticks: list[Tick]) -> Measured:
    steady = [tick for tick in ticks if tick.at > scenario.steady]
    accepted = sum(sum(tick.accepted) for tick in steady)
    refused = sum(sum(tick.refused) for tick in steady)
    by_load = [sum(tick.accepted[of] for tick in steady) for of in range(len(steady[0].accepted))]
    windows = [sum(sum(tick.accepted) for tick in ticks[at : at + 100]) / 10 for at in range(len(ticks) - 99)]
    return Measured(
        accepted / _there(scenario, ticks),
        refused / max(1.0, accepted + refused),
        _reached(scenario, ticks),
        tuple(part / max(1.0, accepted) for part in by_load),
        (min(windows, default=math.nan), max(windows, default=math.nan)),
    )


def _there(scenario: Scenario, ticks: list[Tick]) -> float:
    """Units that could be had from `steady` on."""
    there = sum(tick.capacity for tick in ticks if tick.at > scenario.steady) * TICK + scenario.refill
    if not scenario.banked:
        return there
    before = [tick.saved for tick in ticks if tick.at <= scenario.steady]
    # What was taken on credit in the end was there too.
    return there + before[-1] - min(0.0, ticks[-1].saved)


def _reached(scenario: Scenario, ticks: list[Tick]) -> float:
    after = [tick for tick in ticks if tick.at > scenario.step]
    for at in range(2, len(after)):
        rate = sum(sum(tick.accepted) for tick in after[at - 2 : at + 1]) / 0.3
        if rate >= 0.9 * after[at].capacity:
            return after[at].at - scenario.step
    return math.inf


def steps(*edges: tuple[float, float]) -> Units:
    """A capacity that changes: from each of these seconds on, so many write units a second."""

    def units(now: float) -> float:
        return next(rate for at, rate in reversed(edges) if now >= at)

    return units


def load(
    seed: int,
    told: WriteCapacity,
    work: Work | None = None,
    *,
    workers: int = 4,
    cap: float | None = None,
    start: float = 0.0,
) -> Load:
    return Load(first_pace([told], cap), workers, work or Work(), seed, start)


def _provisioned(units: int) -> WriteCapacity:
    return WriteCapacity(provisioned=units)


def _one(
    name: str,
    told: str,
    seconds: float,
    capacity: Units,
    described: WriteCapacity,
    *,
    steady: float,
    step: float = 0.0,
    burst: float = 1.0,
    work: Work | None = None,
    cap: float | None = None,
    table: Callable[[], Table] | None = None,
    refill: float = 0.0,
) -> Scenario:
    return Scenario(
        name,
        told,
        seconds,
        capacity,
        table or (lambda: Table(capacity, burst)),
        lambda seed: [load(seed, described, work, cap=cap)],
        steady,
        step,
        refill,
        cap is None,
    )


def _pair(name: str, told: str, start: float, workers: tuple[int, int], described: WriteCapacity) -> Scenario:
    capacity = steps((0, 5_000))
    return Scenario(
        name,
        told,
        start + 60,
        capacity,
        lambda: Table(capacity),
        lambda seed: [
            load(2 * seed, described, workers=workers[0]),
            load(2 * seed + 1, described, workers=workers[1], start=start),
        ],
        start + 15,
    )


def _of_four(now: float, random: Random) -> int:
    return random.randrange(4)


def _changing(now: float, random: Random) -> int:
    return int(now // 10) * 4 + random.randrange(4)


def _in_windows(now: float) -> bool:
    return now % 10 < 7


_FLAT = steps((0, 5_000))
_DOUBLING = steps(*((at * 20.0, 4_000.0 * 2**at) for at in range(4)))
_SCALING = steps(*((at * 60.0, 1_000.0 * (1 + at)) for at in range(4)))

SCENARIOS = (
    _one("steady", "5,000 units, described", 60, _FLAT, _provisioned(5_000), steady=5),
    _one("undescribed", "5,000 units, nothing known", 60, _FLAT, UNKNOWN, steady=5),
    _one(
        "under-described",
        "5,000 units, 1,000 described",
        60,
        _FLAT,
        _provisioned(1_000),
        steady=8,
    ),
    _one("over-described", "5,000 units, 20,000 described", 60, _FLAT, _provisioned(20_000), steady=8),
    _one(
        "step up",
        "1,000, from 20.3 s on 4,000",
        60,
        steps((0, 1_000), (20.3, 4_000)),
        _provisioned(1_000),
        steady=28,
        step=20.3,
    ),
    _one(
        "step down",
        "4,000, from 20.3 s on 1,000",
        60,
        steps((0, 4_000), (20.3, 1_000)),
        _provisioned(4_000),
        steady=24,
        step=20.3,
    ),
    _one(
        "burst",
        "1,000 with a bucket of 300 s, full",
        120,
        steps((0, 1_000)),
        _provisioned(1_000),
        steady=60,
        burst=300,
    ),
    _one(
        "doubling",
        "on demand: 4,000, doubled every 20 s",
        80,
        _DOUBLING,
        WriteCapacity(warm=4_000),
        steady=5,
        step=60,
    ),
    _one(
        "auto scaling",
        "1,000 more every 60 s",
        240,
        _SCALING,
        _provisioned(1_000),
        steady=5,
        step=180,
    ),
    _pair("two together", "two loads on 5,000", 0, (4, 4), _provisioned(5_000)),
    _pair("two apart", "the second 20 s later", 20, (4, 4), _provisioned(5_000)),
    _pair("two unequal", "the second 20 s later with twice the workers", 20, (3, 6), _provisioned(5_000)),
    _pair("two undescribed", "the second 20 s later, nothing known", 20, (4, 4), UNKNOWN),
    _one(
        "partitions",
        "4 keys of 1,000, table 40,000",
        60,
        steps((0, 4_000)),
        WriteCapacity(warm=40_000),
        steady=10,
        work=Work(keys=_of_four),
        table=lambda: Table(steps((0, 40_000)), partition=1_000),
    ),
    _one(
        "changing keys",
        "other 4 keys every 10 s",
        60,
        steps((0, 4_000)),
        WriteCapacity(warm=40_000),
        steady=10,
        work=Work(keys=_changing),
        table=lambda: Table(steps((0, 40_000)), partition=1_000),
        # Five times four new keys, the bucket of each full.
        refill=5 * 4 * 1_000,
    ),
    _one(
        "no limit",
        "4,000 described, the client does 200,000",
        10,
        steps((0, 200_000)),
        WriteCapacity(warm=4_000),
        steady=4,
        table=Table,
    ),
    _one(
        "large items",
        "400 units each, 5,000 a second",
        90,
        _FLAT,
        _provisioned(5_000),
        steady=10,
        work=Work(units=400),
    ),
    _one(
        "large items, undescribed",
        "400 units each, 5,000 a second, nothing known",
        90,
        _FLAT,
        UNKNOWN,
        steady=10,
        work=Work(units=400),
    ),
    _one(
        "items larger than the table",
        "400 units each, 100 a second, bucket of 300 s",
        900,
        steps((0, 100)),
        _provisioned(100),
        steady=600,
        burst=300,
        work=Work(units=400),
    ),
    _one(
        "items larger than the bucket",
        "400 units each, 100 a second, bucket of 1 s",
        400,
        steps((0, 100)),
        _provisioned(100),
        steady=60,
        work=Work(units=400),
    ),
    _one(
        "middling items",
        "100 units each, 2,000 a second",
        90,
        steps((0, 2_000)),
        _provisioned(2_000),
        steady=10,
        work=Work(units=100),
    ),
    _one(
        "capped",
        "--max-wcu 2000, table of 5,000 with an index",
        60,
        steps((0, 2_000)),
        _provisioned(5_000),
        steady=0,
        cap=2_000,
        work=Work(units=2),
        table=lambda: Table(_FLAT, index=5_000),
    ),
    _one(
        "hot key",
        "0.2 % of what is sent is refused, whatever the rate",
        60,
        _FLAT,
        _provisioned(5_000),
        steady=5,
        table=lambda: Table(_FLAT, flaky=0.002),
    ),
    _one(
        "pauses",
        "nothing to write for 3 s of every 10",
        60,
        lambda now: 5_000.0 * _in_windows(now),
        _provisioned(5_000),
        steady=5,
        work=Work(busy=_in_windows),
        table=lambda: Table(_FLAT),
        # Five pauses, in each of which the bucket gets full.
        refill=5 * 5_000,
    ),
)
