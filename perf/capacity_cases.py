"""What is measured of how loads use capacity: each case is one run of real processes, and gives figures."""

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from perf import harness
from perf.capacity_inputs import by_partition, unique, units_of
from perf.capacity_loads import INDEX, TABLE, Kind, Seen, load, load_both, loader
from perf.capacity_watch import Units, rates, seconds_until, span, taken
from perf.processes import Run
from tests.server.capacity import Capacity
from tests.server.client import Server
from tests.server.usage import windows

Figures = dict[str, float]
"""By name: shares of 1, seconds (infinite: never), units a second, rows. `server`: its share of a core."""

UNITS = 5_000
SIZES = {"225 B": 225, "1 KB": 1 << 10, "10 KB": 10 << 10, "100 KB": 100 << 10, "400 KB": 400 << 10}
SMALL = SIZES["225 B"]
BURST, FILLED = 300.0, 0.02
"""A burst bucket of 300 s in which there are 6: it is soon empty."""
LOW, HIGH = 1_000, 4_000
UP_AT, DOWN_AT, STEPS_SECONDS = 12.0, 24.0, 34.0
"""Seconds after the first write at which the capacity goes up and down, and those of the whole run."""
CAP = 2_000
PARTITIONS, TOGETHER, PARTITION_UNITS = 64, 4, 1_000
"""Partition keys of the sorted file, and how many of them are in one of its windows."""
SORTED_TIMES = 2.5
"""The sorted file takes so many times as long: each of its windows shall last for seconds."""
LATER = 15.0
LIMITED = 1_000
"""Write units a second of the index that is smaller than its table."""

# What is not the steady state, in seconds, of the begin and the end of a load, and of two together.
_BEGIN, _END = 5.0, 2.0
_SETTLE = 10.0
# The burst bucket is empty a while after its first refusal.
_EMPTIED = 3.0


def steady(size: int, seconds: float, *, known: bool, burst: bool = False) -> Figures:
    """A table of 5,000 units, items of `size` bytes."""
    saved = UNITS * (BURST * FILLED if burst else 1.0)
    rows = unique(int((UNITS * seconds + saved) / units_of(size)), size)
    capacity = Capacity(table=UNITS, burst=BURST, filled=FILLED) if burst else Capacity(table=UNITS)
    seen = load(Kind(capacity, UNITS if known else None), rows, loader())
    return _whole(seen) | steady_figures(seen, seen.units, UNITS, emptied=burst)


def steady_figures(
    seen: Seen,
    units: Units,
    capacity: float,
    *,
    begin: float = _BEGIN,
    end: float = _END,
    emptied: bool = False,
) -> Figures:
    """`begin` and `end` are the seconds that do not count; with `emptied` those of a burst neither."""
    first, last = span(units)
    start, stop = first + begin, last - end
    refusal = seen.watch.first_refusal()
    if emptied and refusal is not None:
        start = max(start, refusal + _EMPTIED)
    if stop <= start:
        raise SystemExit(f"the load took {last - first:.1f} s, which is too short to have a steady state")
    return {
        "use": taken(units, start, stop) / (capacity * (stop - start)),
        "refused": seen.watch.refused_share(start, stop),
        "server": seen.watch.server_share(start, stop),
        "measured": stop - start,
    }


def steps(*, known: bool) -> Figures:
    """From 1,000 units to 4,000, and back."""

    def events(server: Server) -> Sequence[tuple[float, Callable[[], None]]]:
        set_to = partial(server.set_capacity, TABLE)
        return (
            (UP_AT, lambda: set_to(Capacity(table=HIGH))),
            (DOWN_AT, lambda: set_to(Capacity(table=LOW))),
        )

    high = DOWN_AT - UP_AT
    rows = unique(int(LOW * (STEPS_SECONDS - high + 1) + HIGH * high), SMALL)
    seen = load(Kind(Capacity(table=LOW), LOW if known else None), rows, loader(), events=events)
    if len(seen.watch.happened) < 2:
        raise SystemExit("the load ended before the capacity had changed twice")
    up, down = seen.watch.happened
    moving = rates(seen.units)

    def settled(at: float, rate: float) -> bool:
        return rate <= 1.1 * LOW and seen.watch.refused_share(at - 1, at) < 0.05

    return _whole(seen) | {
        "up": _or_never(seconds_until(moving, up, lambda _, rate: rate >= 0.9 * HIGH)),
        "down": _or_never(seconds_until(moving, down, settled)),
        "low": taken(seen.units, up - 5, up) / (LOW * 5),
        "high": taken(seen.units, down - 5, down) / (HIGH * 5),
        "server": seen.watch.server_share(up, down),
    }


def cap(
    seconds: float, *, units: int = CAP, workers: int = 4, window: float = 10.0, size: int = SMALL
) -> Figures:
    """--max-wcu on a table with an index and without a limit."""
    rows = unique(int(units * seconds / (2 * units_of(size))), size)
    options = ("--max-wcu", str(units), "--workers", str(workers))
    seen = load(Kind(Capacity(), indexed=True), rows, loader(*options))
    found = windows(seen.units, window)
    if not found:
        raise SystemExit(f"the load was over before there was a window of {window:g} s")
    first, last = span(seen.units)
    return _whole(seen) | {
        "worst": max(found) / window,
        "least": min(found) / window,
        "first": found[0] / window,
        "server": seen.watch.server_share(first, last),
    }


def sorted_file(seconds: float, *, known: bool) -> Figures:
    """By partition keys, in windows of four of them, with 1,000 units for each."""
    together = TOGETHER * PARTITION_UNITS
    rows = by_partition(PARTITIONS, int(seconds * SORTED_TIMES * together / PARTITIONS), SMALL)
    window = rows.count // PARTITIONS * TOGETHER * rows.record_bytes
    capacity = Capacity(table=40_000, partition=PARTITION_UNITS)
    kind = Kind(capacity, 40_000 if known else None, "pk:S,sk:S")
    seen = load(kind, rows, loader("--window-size", str(window)))
    first, last = span(seen.units)
    written = taken(seen.units, first, last)
    return _whole(seen) | {
        "use": written / (together * (last - first)),
        "net": (written - PARTITIONS * PARTITION_UNITS) / (together * (last - first)),
        "measured": last - first,
        "server": seen.watch.server_share(first, last),
    }


def two(seconds: float, *, later: float) -> Figures:
    """Two loads at once, the second begun `later` seconds after the first."""
    half = UNITS / 2 * (seconds + _SETTLE)
    both = unique(int(half + UNITS * later), SMALL), unique(int(half), SMALL, part=1)
    child = harness.Contender("child", "child", (*_CHILD, "{path}", "{endpoint}", "{table}", "1"))
    seen, runs = load_both(Kind(Capacity(table=UNITS), UNITS), both, child, later)
    courses = [_course(each) for each in runs]
    start = max(course[0][0] for course in courses) + _SETTLE
    stop = min(course[-1][0] for course in courses) - _END / 2
    if stop <= start:
        raise SystemExit("the two loads did not run long enough beside each other")
    together = UNITS * (stop - start)
    return _whole(seen) | {
        "use": taken(seen.units, start, stop) / together,
        "first": (_charged(courses[0], stop) - _charged(courses[0], start)) / together,
        "second": (_charged(courses[1], stop) - _charged(courses[1], start)) / together,
        "refused": seen.watch.refused_share(start, stop),
        "measured": stop - start,
        "server": seen.watch.server_share(start, stop),
    }


def stock(seconds: float) -> Figures:
    """boto3's batch_writer in 16 threads."""
    rows = unique(int(UNITS * seconds), SMALL)
    contender = harness.program("batch_writer_pool", "batch_writer")
    seen = load(Kind(Capacity(table=UNITS), UNITS), rows, contender, keeps_items=True)
    found = steady_figures(seen, seen.units, UNITS)
    return (
        found | _whole(seen, ours=False) | {"failed": float(seen.told["failed"]), "rows": float(rows.count)}
    )


def index(seconds: float, *, known: bool) -> Figures:
    """An index of 1,000 units under a table of 5,000."""
    rows = unique(int(LIMITED * seconds), SMALL)
    capacity = Capacity(table=UNITS, indexes={INDEX: LIMITED})
    kind = Kind(capacity, UNITS if known else None, indexed=True, index_units=LIMITED if known else None)
    seen = load(kind, rows, loader())
    limits = seen.told.get("limited_by") or [{}]
    named = limits[0].get("index") == INDEX
    return _whole(seen) | steady_figures(seen, seen.of_index, LIMITED) | {"named": float(named)}


# --- of a whole run -------------------------------------------------------------------------------

_CHILD = (*harness.loader("", "").command[:2], "perf.capacity_child")


def _whole(seen: Seen, *, ours: bool = True) -> Figures:
    """Of all items sent, from the first to the last. Raises SystemExit where a load of ours lost a row."""
    if ours and seen.lost:
        raise SystemExit(f"{seen.lost:,} rows are not in the table")
    last = seen.watch.glances[-1].at
    return {"refused_ever": seen.watch.refused_share(0.0, last), "lost": float(seen.lost)}


def _course(of: Run) -> list[tuple[float, float]]:
    """Epoch seconds and the units charged until then, of a load that tells them; from the first ones on."""
    told: list[Mapping[str, float]] = [json.loads(line) for line in of.output.splitlines()]
    course = [(each["at"], each["units"]) for each in told if each["units"] > 0]
    if not course:
        raise SystemExit("a load did not tell of its units")
    # It goes on to tell when everything is written.
    end = next(place for place, (_, units) in enumerate(course) if units == course[-1][1])
    return course[: end + 1]


def _charged(course: Sequence[tuple[float, float]], at: float) -> float:
    """Units charged until then, in between what was told."""
    place = bisect_right(course, at, key=lambda told: told[0])
    if place in (0, len(course)):
        return course[min(place, len(course) - 1)][1]
    (before, low), (after, high) = course[place - 1], course[place]
    return low + (high - low) * (at - before) / (after - before)


def _or_never(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
