"""
How loads use the write capacity of a table that meters and refuses: the program as users have it against
tests/server, in real time.

    python -m perf.capacity [--only steady steps cap sorted two stock index] [--seconds 25] [--passes 3]

steady  share of the capacity that was used, without the first 5 s and the last 2 s; with a burst bucket, from
        3 s after it was first empty on. Refused: share of the items sent meanwhile that were throttled or
        came back unprocessed.
steps   seconds until the rate of the last second is at 90 % of the new capacity; down, until it is at 110 %
        and less than 5 % were refused in that second.
cap     the average rates of the most and the least of all windows of 10 s, of table and index together.
sorted  rate from first to last write, and less what lay in the partitions' buckets at first sight.
two     two programs on one table, while both write, from 10 s after the second began on.
stock   boto3's batch_writer in 16 threads.
index   an index smaller than its table; the use is the index's.

Known: DescribeTable tells the capacity; else the table is on demand and says nothing. The server is one
process: where it was busy for more than 85 % of a core the line is marked, for then it limited the load and
not the table. `refused, whole run` counts from the first item to the last. Prints tables in Markdown. What is
used, refused, lost or written in a window is the worst of the passes, of the server the busiest; seconds are
medians.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

from perf import capacity_cases as cases
from perf import harness
from perf.capacity_cases import Figures
from perf.capacity_watch import BUSY

GROUPS = ("steady", "steps", "cap", "sorted", "two", "stock", "index")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure's name, what stands above it, how it is written, and what is made of those of all passes."""

    name: str
    head: str
    written: Callable[[float], str]
    fold: Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Case:
    told: str
    measure: Callable[[], Figures]


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _seconds(seconds: float) -> str:
    return "never" if math.isinf(seconds) else f"{seconds:.1f}"


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _yes(share: float) -> str:
    return "yes" if share == 1 else "no" if share == 0 else f"in {share:.0%}"


_USE = Column("use", "capacity used", _percent, min)
_REFUSED = Column("refused", "refused", _percent, max)
_EVER = Column("refused_ever", "refused, whole run", _percent, max)
# The worst of a figure may be that of the pass in which the server was busy.
_SERVER = Column("server", "server's core", _percent, max)
_MEASURED = Column("measured", "s measured", _seconds, median)

COLUMNS: Mapping[str, Sequence[Column]] = {
    "steady": (_USE, _REFUSED, _EVER, _MEASURED, _SERVER),
    "steps": (
        Column("up", "s to 90 % of 4,000", _seconds, median),
        Column("down", "s back to 1,000", _seconds, median),
        Column("low", "used of 1,000", _percent, min),
        Column("high", "used of 4,000", _percent, min),
        _EVER,
        _SERVER,
    ),
    "cap": (
        Column("worst", "most in 10 s, units/s", _count, max),
        Column("least", "least", _count, min),
        Column("first", "the first", _count, min),
        _EVER,
        _SERVER,
    ),
    "sorted": (
        Column("use", "rate against 4,000", _percent, min),
        Column("net", "less the first second of each key", _percent, min),
        _EVER,
        _MEASURED,
        _SERVER,
    ),
    "two": (
        Column("use", "capacity used together", _percent, min),
        Column("first", "by the first", _percent, min),
        Column("second", "by the second", _percent, min),
        _REFUSED,
        _MEASURED,
        _SERVER,
    ),
    "stock": (
        _USE,
        _REFUSED,
        _EVER,
        Column("lost", "rows lost", _count, max),
        Column("rows", "of", _count, median),
        Column("failed", "chunks failed", _count, max),
        _SERVER,
    ),
    "index": (
        Column("use", "index's capacity used", _percent, min),
        _REFUSED,
        _EVER,
        Column("named", "summary names the index", _yes, fmean),
        _SERVER,
    ),
}


def cases_of(group: str, seconds: float) -> list[Case]:
    """What is run for a line each of the group's table."""
    known = ((True, "known"), (False, "not known"))
    match group:
        case "steady":
            return [
                Case(
                    f"items of {name}, {told}{', burst bucket' * burst}",
                    partial(cases.steady, size, seconds, known=is_known, burst=burst),
                )
                for burst in (False, True)
                for is_known, told in known
                for name, size in cases.SIZES.items()
            ]
        case "steps":
            return [
                Case(f"1,000 → 4,000 → 1,000, {told}", partial(cases.steps, known=is_known))
                for is_known, told in known
            ]
        case "cap":
            return [Case("--max-wcu 2000 --workers 4, one index", partial(cases.cap, seconds))]
        case "sorted":
            return [
                Case(
                    f"64 keys, 4 in a window, table {told}",
                    partial(cases.sorted_file, seconds, known=is_known),
                )
                for is_known, told in known
            ]
        case "two":
            return [
                Case("begun together", partial(cases.two, seconds, later=0.0)),
                Case(f"second {cases.LATER:g} s later", partial(cases.two, seconds, later=cases.LATER)),
            ]
        case "stock":
            return [Case("batch_writer, 16 threads", partial(cases.stock, seconds))]
        case "index":
            return [
                Case(f"index of 1,000, table of 5,000, {told}", partial(cases.index, seconds, known=is_known))
                for is_known, told in known
            ]
    raise ValueError(f"no group {group}")


def lines_of(told: str, columns: Sequence[Column], found: Sequence[Figures]) -> tuple[str, ...]:
    """A line of a table: all passes in one, and a mark where the server was the bottleneck."""
    folded = {each.name: each.fold([figures[each.name] for figures in found]) for each in columns}
    busy = folded["server"] > BUSY
    return (told + " (server busy)" * busy, *(each.written(folded[each.name]) for each in columns))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m perf.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS)
    parser.add_argument("--seconds", type=float, default=25.0, help="of each load, about")
    parser.add_argument("--passes", type=int, default=3)
    asked = parser.parse_args(argv)
    print(f"    {harness.command_line('perf.capacity', argv)}\n\n{harness.facts()}.")
    for group in asked.only:
        columns, rows = COLUMNS[group], cases_of(group, asked.seconds)
        found: list[list[Figures]] = [[] for _ in rows]
        for number in range(asked.passes):
            for case, figures in zip(rows, found, strict=True):
                busy = os.getloadavg()[0]
                figures.append(case.measure())
                told = ", ".join(f"{name} {value:.4g}" for name, value in figures[-1].items())
                print(
                    f"pass {number + 1}, {group}, {case.told}: {told}; load before {busy:.1f}",
                    file=sys.stderr,
                )
        lines = [lines_of(case.told, columns, figures) for case, figures in zip(rows, found, strict=True)]
        print(f"\n{harness.markdown((group, *(each.head for each in columns)), lines)}", flush=True)


if __name__ == "__main__":
    main()
