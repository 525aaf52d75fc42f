"""Memory of every process over a long load with faults: it does not grow."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from tests.server.client import start
from tests.server.faults import FaultPlan
from tests.soak import faults
from tests.soak.checks import TABLE, Checks
from tests.soak.files import KEY, TYPES, make
from tests.soak.processes import Load, resident
from tests.soak.result import Figure, Fold, Job, Result, Scale

CASE = "memory"
SECONDS = 300.0
INTERVAL = 1.0
GROWTH = 1.10
MARGIN = 2 << 20
"""Bytes that the last quarter of the time may have over GROWTH times the second, both medians of samples."""
WINDOWS = 8
WORKERS, THREADS = 2, 8
_LATENCY = 0.1
_RATE = WORKERS * THREADS * 25 / _LATENCY
_LATE_SECONDS, _GRACE = 0.3, 0.5
_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes of a process, medians of the second and of the last quarter of its samples."""

    second: float
    last: float

    @property
    def flat(self) -> bool:
        return self.last <= GROWTH * self.second + MARGIN


def jobs(scale: Scale) -> list[Job]:
    seconds = 30.0 if scale.quick else SECONDS
    return [Job(CASE, "", 1, asked(seconds), partial(run, seconds))]


def asked(seconds: float) -> str:
    return (
        f"a load with all faults for {seconds:g} s: every process has in the last quarter at most {GROWTH}"
        f" times the memory of the second, and {MARGIN >> 20} MB"
    )


def run(seconds: float, folder: Path, *, interval: float = INTERVAL, transport: str = "fast") -> Result:
    """
    Samples are taken every `interval` seconds, over `seconds` from the first write on.

    A worker of the fast path imports boto3 at its first fault, 25 MB once. Minutes have that in their first
    quarter, seconds need not: over those only `boto3`, which imports it at the start, can be judged.
    """
    began = time.monotonic()
    # As many rows as would be written without faults: there are some left when the time is up.
    file = make(folder / "soak.csv", int(_RATE * seconds), 1)
    window_size = file.window_size(WINDOWS)
    right = file.right(window_size)
    checks = Checks()
    options = {
        "workers": WORKERS,
        "threads": THREADS,
        "transport": transport,
        "window_size": window_size,
        "types": TYPES,
        "late_write_grace": _GRACE,
    }
    slowed = replace(faults.plan(1, len(file.rows), _LATE_SECONDS), latency_ms=_LATENCY * 1000)
    samples: dict[int, list[int]] = {}
    # Items are only counted: the server would need more memory than the loader.
    with start(faults=slowed, count_only=True) as server:
        server.create_table(TABLE, KEY)
        with Load(server.endpoint, TABLE, file.path, options) as load:
            load.wait_until(lambda: server.stats()["items_applied"] > 0, "the first write")
            first = time.monotonic()
            while (now := time.monotonic()) < first + seconds:
                if load.over:
                    raise load.problem(f"it ended after {now - first:.0f} s of writing already")
                for pid in (load.pid, *load.workers()):
                    samples.setdefault(pid, []).append(resident(pid))
                time.sleep(interval)
            while_sampled = dict(server.stats()["faults"])
            # What is left need not last.
            server.set_faults(FaultPlan())
            ended = load.wait(_TIMEOUT)
        checks.ended_well(ended, right)
        checks.nothing_left(folder)
    grown = {pid: growth_of(of_process) for pid, of_process in samples.items()}
    coordinator = grown.pop(load.pid)
    checks.that(len(grown) == WORKERS, f"there were {len(grown)} workers, not {WORKERS}")
    checks.that(sum(while_sampled.values()) > 0, "no fault happened while memory was looked at")
    for name, growth in {"the coordinator": coordinator, **_named(grown)}.items():
        checks.that(
            growth.flat,
            f"{name} grew from {growth.second / 1e6:.1f} MB in the second quarter to {growth.last / 1e6:.1f}",
        )
    workers = list(grown.values()) or [Growth(0, 0)]
    return Result(
        CASE,
        "",
        1,
        asked(seconds),
        (
            Figure("faults", sum(while_sampled.values()), Fold.SUM),
            Figure("coordinator, second quarter", coordinator.second / 1e6, Fold.MOST, " MB", 1),
            Figure("coordinator, last", coordinator.last / 1e6, Fold.MOST, " MB", 1),
            Figure(
                "largest worker, second quarter", max(g.second for g in workers) / 1e6, Fold.MOST, " MB", 1
            ),
            Figure("largest worker, last", max(g.last for g in workers) / 1e6, Fold.MOST, " MB", 1),
        ),
        tuple(checks.failures),
        time.monotonic() - began,
    )


def growth_of(samples: Sequence[int]) -> Growth:
    """Of samples taken at even intervals, at least four."""
    quarter = len(samples) // 4
    return Growth(median(samples[quarter : 2 * quarter]), median(samples[-quarter:]))


def _named(grown: Mapping[int, Growth]) -> dict[str, Growth]:
    return {f"worker {pid}": growth for pid, growth in grown.items()}
