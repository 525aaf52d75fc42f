"""Every fault at once: the last row of each key is in the table, whatever became of the requests."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.server.client import Server, start
from tests.server.faults import FaultPlan
from tests.soak.checks import TABLE, Checks
from tests.soak.files import KEY, ORDER, TYPES, make
from tests.soak.processes import Load
from tests.soak.result import Figure, Fold, Job, Result, Scale

CASE = "faults"
WINDOWS = 5
ROWS, SEEDS = 200_000, 20
FEW = 50_000
"""With fewer rows than this late writes are more often, so that some happen."""
LATE_SECONDS = 1.5
GRACE = 2.0
"""
Seconds. A late write is applied up to LATE_SECONDS after its connection was reset, and the next window may
only begin behind it: so this must be longer. The loader's default of 10 is --grace 10.
"""
EXPECTED = 20
"""A fault of which so many are to be expected has to have happened: that it did not has a chance of e^-20."""
_TIMEOUT = 600.0


def plan(seed: int, rows: int, late_seconds: float = LATE_SECONDS) -> FaultPlan:
    """Three in ten requests meet a fault."""
    return FaultPlan(
        seed=seed,
        unprocessed_share=0.10,
        throttle_share=0.05,
        throttle_code="any",
        throttle_reason="any",
        error500_share=0.02,
        error503_html_share=0.02,
        reset_before_share=0.02,
        reset_after_share=0.02,
        cut_reply_share=0.02,
        html200_share=0.02,
        wrong_crc_share=0.01,
        empty200_share=0.01,
        slow_share=0.005,
        slow_seconds=1.0,
        late_share=0.001 if rows >= FEW else 0.01,
        late_seconds=late_seconds,
    )


def jobs(scale: Scale) -> list[Job]:
    rows = scale.rows or (20_000 if scale.quick else ROWS)
    seeds = scale.seeds or (2 if scale.quick else SEEDS)
    grace = GRACE if scale.grace is None else scale.grace
    return [
        Job(
            CASE,
            cell(workers, transport),
            seed,
            asked(rows),
            partial(run, seed, workers, transport, rows, grace=grace),
        )
        for workers in (1, 2, 4)
        for transport in ("fast", "boto3")
        for seed in range(1, seeds + 1)
    ]


def cell(workers: int, transport: str) -> str:
    return f"{workers} worker{'s' * (workers > 1)}, {transport}"


def asked(rows: int) -> str:
    return (
        f"{rows:,} rows, 5 % repeating a key, {WINDOWS} windows or more, 3 in 10 requests faulty:"
        " table = file, no rejects, nothing newer overwritten"
    )


def run(
    seed: int,
    workers: int,
    transport: str,
    rows: int,
    folder: Path,
    *,
    grace: float = GRACE,
    late_seconds: float = LATE_SECONDS,
) -> Result:
    """One load under all faults. `grace` has to be longer than `late_seconds`."""
    began = time.monotonic()
    file = make(folder / "soak.csv", rows, seed)
    window_size = file.window_size(WINDOWS)
    right = file.right(window_size)
    checks = Checks()
    faults = plan(seed, rows, late_seconds)
    options = {
        "workers": workers,
        "threads": None,
        "transport": transport,
        "window_size": window_size,
        "types": TYPES,
        "late_write_grace": grace,
    }
    with start(faults=faults, order_by=ORDER) as server:
        server.create_table(TABLE, KEY)
        with Load(server.endpoint, TABLE, file.path, options) as load:
            ended = load.wait(_TIMEOUT)
        late_writes_are_in(server)
        checks.ended_well(ended, right)
        checks.that(right.windows >= WINDOWS, f"the file has {right.windows} windows only")
        checks.that(
            0 < right.duplicates < rows - file.keys, "no key repeats within a window, or none across them"
        )
        checks.table_is(server, file)
        checks.nothing_overtaken(server)
        checks.nothing_left(folder)
        stats = server.stats()
        _check_all_happened(checks, faults, stats["faults"], stats["requests"]["BatchWriteItem"])
    return Result(
        CASE,
        cell(workers, transport),
        seed,
        asked(rows),
        (
            Figure("windows", right.windows, Fold.LEAST),
            Figure("requests", stats["requests"]["BatchWriteItem"], Fold.SUM),
            Figure("faults", sum(stats["faults"].values()), Fold.SUM),
            Figure("items applied late", stats["applied_late"], Fold.SUM),
            Figure("newer overwritten", stats["tables"][TABLE]["older_over_newer"], Fold.SUM),
            Figure("rejects", ended.rejected, Fold.SUM),
        ),
        tuple(checks.failures),
        time.monotonic() - began,
    )


def of_all(results: Sequence[Result]) -> Result | None:
    """What holds for the runs together: writes were applied late, so that there was something to overtake."""
    mine = [result for result in results if result.case == CASE and result.figures]
    if not mine:
        return None
    late = sum(result.figure("items applied late") for result in mine)
    result = Result(
        CASE,
        "all cells",
        0,
        "some writes are applied seconds after their connection was reset",
        (Figure("items applied late", late),),
    )
    return result if late else replace(result, failures=("no write was applied late in any run",))


def late_writes_are_in(server: Server, timeout: float = 30.0) -> None:
    """Wait for what is still to be applied: only then can the table be compared. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while pending := server.stats()["late_pending"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{pending} items were not applied within {timeout:g} s")
        time.sleep(0.05)


def _check_all_happened(checks: Checks, faults: FaultPlan, happened: dict[str, int], requests: int) -> None:
    for fault, share in faults.shares():
        if share * requests >= EXPECTED:
            checks.that(happened.get(fault, 0) > 0, f"{fault} was asked for and never happened")
