"""A load whose processes are killed at random moments, and that is started again after each death."""

import os
import signal
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from perf.processes import alive
from tests.server.client import Server, start
from tests.server.faults import FaultPlan
from tests.soak.checks import TABLE, Checks
from tests.soak.files import KEY, ORDER, TYPES, make
from tests.soak.processes import POLL, Load
from tests.soak.result import Figure, Fold, Job, Result, Scale

CASE = "kills"
KILLS, SEEDS = 20, 5
WORKERS, THREADS = 2, 2
SHARD_RECORDS = 100
OPEN_SHARDS = 4
"""Of each worker: what a death can make the loader send again."""
ROWS_A_KILL = 2_500
SHARDS, WINDOWS = 60, 3
NOTICED_SECONDS = 1.0
"""By then a dead worker has a successor."""
ORPHANED_SECONDS = 2.0
"""By then the workers of a dead coordinator are gone."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 2.5
"""Between a start, or a death, and the next kill: some fall into the start, most into the writing."""
DEATHS_A_RUN = 2
"""Workers killed before the coordinator is: a third death over one shard would rightly end the load."""
_SLOW = FaultPlan(latency_ms=80.0)
_TIMEOUT = 120.0


def jobs(scale: Scale) -> list[Job]:
    kills = 4 if scale.quick else KILLS
    seeds = scale.seeds or (1 if scale.quick else SEEDS)
    return [
        Job(CASE, cell(kills), seed, asked(kills), partial(run, seed, kills)) for seed in range(1, seeds + 1)
    ]


def cell(kills: int) -> str:
    return f"{kills} kills"


def asked(kills: int) -> str:
    return (
        f"{kills} times SIGKILL to the coordinator or one of {WORKERS} workers, shards of {SHARD_RECORDS}:"
        f" table = file, rejects whole, at most {bound(kills):,} rows sent again, a worker replaced within"
        f" {NOTICED_SECONDS:g} s"
    )


def bound(kills: int) -> int:
    """Rows that so many deaths may make the loader send again."""
    return kills * WORKERS * OPEN_SHARDS * SHARD_RECORDS


@dataclass(slots=True)
class Deaths:
    """
    What was killed. `applied` are the items that the server had applied at each death, ascending; `replaced`
    the seconds until a worker had its successor, `orphaned` those by which one outlived its coordinator.
    """

    applied: list[int] = field(default_factory=list)
    replaced: list[float] = field(default_factory=list)
    orphaned: list[float] = field(default_factory=list)
    workers: int = 0
    coordinators: int = 0


class Killer:
    """Starts a load with `begin`, kills it or one of its workers at random moments, and starts it again."""

    def __init__(self, server: Server, begin: Callable[[], Load], random: Random) -> None:
        self._server = server
        self._begin = begin
        self._random = random
        self._deaths = Deaths()
        self._orphans: dict[int, float] = {}
        """Workers of dead coordinators, and when those died."""

    def kill(self, times: int) -> Deaths:
        """Raises LoadProblem where a load ends by itself, or a worker is not replaced."""
        deaths = self._deaths
        while len(deaths.applied) < times:
            load, of_this_run = self._begin(), 0
            while not load.over:
                self._pass(load)
                workers = load.workers()
                coordinator = len(workers) < WORKERS or self._random.random() < 0.5
                if coordinator or of_this_run == DEATHS_A_RUN or len(deaths.applied) == times - 1:
                    self._kill_coordinator(load, workers)
                else:
                    of_this_run += 1
                    self._kill_worker(load, self._random.choice(workers))
        while self._orphans:
            self._look_after_orphans()
            time.sleep(POLL)
        return deaths

    def _kill_worker(self, load: Load, worker: int) -> None:
        before, at = set(load.workers()), time.monotonic()
        os.kill(worker, signal.SIGKILL)
        self._note()
        self._deaths.workers += 1
        load.wait_until(lambda: bool(set(load.workers()) - before), "a dead worker was replaced")
        self._deaths.replaced.append(time.monotonic() - at)

    def _kill_coordinator(self, load: Load, workers: list[int]) -> None:
        at = time.monotonic()
        load.kill()
        self._note()
        self._deaths.coordinators += 1
        self._orphans.update(dict.fromkeys(workers, at))

    def _pass(self, load: Load) -> None:
        """Let a random time go by. Raises LoadProblem where the load ends in it."""
        deadline = time.monotonic() + self._random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)
        while time.monotonic() < deadline:
            if load.over:
                raise load.problem(f"it ended by itself after {len(self._deaths.applied)} kills")
            self._look_after_orphans()
            time.sleep(POLL)

    def _look_after_orphans(self) -> None:
        for orphan, since in list(self._orphans.items()):
            seconds = time.monotonic() - since
            # One that stays is told of, not waited for.
            if not alive(orphan) or seconds > 2 * ORPHANED_SECONDS:
                self._deaths.orphaned.append(seconds)
                del self._orphans[orphan]

    def _note(self) -> None:
        self._deaths.applied.append(int(self._server.stats()["items_applied"]))


def run(seed: int, kills: int, folder: Path) -> Result:
    began = time.monotonic()
    random = Random(seed)
    file = make(folder / "soak.csv", max(2 * SHARDS * SHARD_RECORDS, kills * ROWS_A_KILL), seed, bad=0.01)
    window_size = file.window_size(WINDOWS)
    right = file.right(window_size)
    checks = Checks()
    options = {
        "workers": WORKERS,
        "threads": THREADS,
        "window_size": window_size,
        "shard_records": SHARD_RECORDS,
        "types": TYPES,
        # Nothing is applied late here but what was under way to the server at a death.
        "late_write_grace": 0.5,
    }
    checks.that(right.windows >= WINDOWS, f"the file has {right.windows} windows only")
    checks.that(
        min(len(right.rejects), right.duplicates) > 0, "the file has no bad row, or no key twice in a window"
    )
    with ExitStack() as stack:
        server = stack.enter_context(start(faults=_SLOW, log_writes=True, order_by=ORDER))
        server.create_table(TABLE, KEY)

        def begin() -> Load:
            # To leave its block would end the workers of one that was killed: they have to do it themselves.
            return stack.enter_context(Load(server.endpoint, TABLE, file.path, options))

        deaths = Killer(server, begin, random).kill(kills)
        server.set_faults(FaultPlan())
        ended = begin().wait(_TIMEOUT)
        checks.ended_well(ended, right)
        checks.table_is(server, file)
        checks.nothing_overtaken(server)
        checks.rejects_are(ended.rejects_file, right)
        checks.nothing_left(folder)
        writes = server.writes(TABLE)
    again = sent_again([int(item["n"]["N"]) for item in writes], deaths.applied)
    total = len(writes) - right.written
    checks.that(total <= bound(kills), f"{total:,} rows were sent again, more than {bound(kills):,}")
    worst, orphaned = max(deaths.replaced, default=0.0), max(deaths.orphaned, default=0.0)
    checks.that(worst <= NOTICED_SECONDS, f"a dead worker had its successor after {worst:.2f} s")
    checks.that(orphaned <= ORPHANED_SECONDS, f"a worker outlived its coordinator by {orphaned:.2f} s")
    return Result(
        CASE,
        cell(kills),
        seed,
        asked(kills),
        (
            Figure("coordinators killed", deaths.coordinators, Fold.SUM),
            Figure("workers killed", deaths.workers, Fold.SUM),
            Figure("rows sent again in all", total, Fold.MOST),
            Figure("rows sent again after a kill, median", median(again) if again else 0, Fold.MEDIAN),
            Figure("rows sent again after a kill, most", max(again, default=0), Fold.MOST),
            Figure("a worker replaced after", worst, Fold.MOST, " s", 2),
            Figure("workers gone after their coordinator", orphaned, Fold.MOST, " s", 2),
            Figure("rejects", ended.rejected, Fold.SUM),
        ),
        tuple(checks.failures),
        time.monotonic() - began,
    )


def sent_again(writes: list[int], applied: list[int]) -> list[int]:
    """
    How many rows were sent again after each kill and before the next. `writes` are the rows that the server
    applied, in order; `applied` how many it had at each kill. What came again before the first counts as its.
    """
    again = [0] * len(applied)
    seen: set[int] = set()
    for place, row in enumerate(writes):
        if row in seen and applied:
            again[max(0, bisect_right(applied, place) - 1)] += 1
        seen.add(row)
    return again
