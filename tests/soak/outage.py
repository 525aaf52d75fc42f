"""An endpoint that is dead in mid-load: nothing is rejected, and soon it goes on at full speed."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.server.client import start
from tests.server.faults import FaultPlan
from tests.soak.checks import TABLE, Checks
from tests.soak.files import KEY, ORDER, TYPES, make
from tests.soak.processes import Load
from tests.soak.result import Figure, Fold, Job, Result, Scale

CASE = "outage"
SECONDS = 20.0
RETURN_SECONDS = 2.0
"""After so long the rate is what it was before."""
WRITING_SECONDS = 25.0
"""Of the load, the outage not counted: it comes in the middle."""
STEADY_SECONDS = 3.0
"""Of writing before the outage, over which the rate is taken."""
MEAN_TENTHS = 5
FULL = 0.9
WORKERS, THREADS = 2, 4
_LATENCY = 0.05
_RATE = WORKERS * THREADS * 25 / _LATENCY
"""Rows a second, which the latency sets and not the machine."""
_TIMEOUT = 300.0


def jobs(scale: Scale) -> list[Job]:
    seconds = 5.0 if scale.quick else SECONDS
    return [
        Job(
            CASE,
            cell(transport, max_retries),
            1,
            asked(seconds),
            partial(run, transport, max_retries, seconds),
        )
        for transport in ("fast", "boto3")
        for max_retries in (None, 3)
    ]


def cell(transport: str, max_retries: int | None) -> str:
    return transport if max_retries is None else f"{transport}, --max-retries {max_retries}"


def asked(seconds: float) -> str:
    return (
        f"nobody answers for {seconds:g} s in mid-load: no rejects, {FULL:.0%} of the rate within"
        f" {RETURN_SECONDS:g} s of the return"
    )


def run(
    transport: str,
    max_retries: int | None,
    seconds: float,
    folder: Path,
    *,
    writing: float = WRITING_SECONDS,
) -> Result:
    """One load of `writing` seconds and an outage of `seconds` in its middle."""
    began = time.monotonic()
    file = make(folder / "soak.csv", int(_RATE * writing), 1)
    right = file.right(file.size)
    checks = Checks()
    options = {
        "workers": WORKERS,
        "threads": THREADS,
        "transport": transport,
        "max_retries": max_retries,
        "types": TYPES,
    }
    with start(faults=FaultPlan(latency_ms=_LATENCY * 1000), order_by=ORDER) as server:
        server.create_table(TABLE, KEY)
        with Load(server.endpoint, TABLE, file.path, options) as load:
            # The first tenths are those of processes that start.
            tenths = 10 * max(writing / 2, STEADY_SECONDS + 0.5)
            load.wait_until(lambda: len(server.stats()["timeline"]) >= tenths, "the rate was steady")
            before = server.stats()
            server.outage(seconds)
            time.sleep(seconds)
            load.wait_until(lambda: _is_back(server.control), "the endpoint was back")
            back = server.stats()
            ended = load.wait(_TIMEOUT)
        stats = server.stats()
        checks.ended_well(ended, right)
        checks.table_is(server, file)
        checks.nothing_overtaken(server)
        checks.nothing_left(folder)
    (dead_from, dead_to), *_ = stats["outages"]
    rate = rate_before(stats["timeline"], dead_from)
    recovery = recovered(stats["timeline"], dead_to, FULL * rate)
    checks.that(recovery is not None, f"the rate of {10 * rate:,.0f} rows/s never came back")
    checks.that(
        (recovery or 0.0) <= RETURN_SECONDS, f"the rate came back {recovery or 0.0:.1f} s after the endpoint"
    )
    if transport == "fast":
        share = share_of_main_agent(before["user_agents"], back["user_agents"], stats["user_agents"])
        checks.that(share >= FULL, f"only {share:.0%} of the requests afterwards go by the fast path")
        aside = [text for text in ended.warnings if "through boto3" in text]
        checks.that(not aside, f"the fast path stepped aside: {aside}")
    return Result(
        CASE,
        cell(transport, max_retries),
        1,
        asked(seconds),
        (
            Figure("dead for", dead_to - dead_from, Fold.MOST, " s", 1),
            Figure("rows/s before", 10 * rate, Fold.MEDIAN),
            Figure("full speed after", recovery if recovery is not None else -1.0, Fold.MOST, " s", 1),
            Figure("rejects", ended.rejected, Fold.SUM),
        ),
        tuple(checks.failures),
        time.monotonic() - began,
    )


Timeline = Sequence[tuple[int, int]]
"""Items by tenth of a second since the epoch; one without any may be missing."""


def rate_before(timeline: Timeline, when: float) -> float:
    """Items of the median tenth among those of the STEADY_SECONDS before `when`, in epoch seconds."""
    items = dict(timeline)
    last = int(when * 10)
    return median(items.get(tenth, 0) for tenth in range(last - int(10 * STEADY_SECONDS), last))


def recovered(timeline: Timeline, since: float, enough: float) -> float | None:
    """
    Seconds from `since` until half a second is over in which a tenth has `enough` items on average; None
    where that never comes.
    """
    items = dict(timeline)
    first = int(since * 10)
    for tenth in range(first, max(items, default=first) + 1):
        if sum(items.get(tenth + more, 0) for more in range(MEAN_TENTHS)) >= MEAN_TENTHS * enough:
            return (tenth + MEAN_TENTHS) / 10 - since
    return None


def share_of_main_agent(
    before: Mapping[str, int], back: Mapping[str, int], at_end: Mapping[str, int]
) -> float:
    """
    Of the requests since `back` the share that came as most of those until `before` did: the fast path has
    one text for all workers, each boto3 client most often another. The tests' own requests have none.
    """
    (main, _), *_ = sorted(
        ((agent, count) for agent, count in before.items() if agent), key=lambda pair: -pair[1]
    )
    since = {agent: count - back.get(agent, 0) for agent, count in at_end.items() if agent}
    return since.get(main, 0) / max(1, sum(since.values()))


def _is_back(control: Any) -> bool:
    try:
        control("GET", "stats")
    except OSError:
        return False
    return True
