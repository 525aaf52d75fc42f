"""
Where the CPU of a row goes: each stage of this loader alone, in one thread, the whole program beside them.

    python -m perf.shares [--rows 100000] [--inputs small-plain big-plain small-quoted] [--passes 5]
                          [--latency-ms 10]

A stage is the program's own code on the real input; its CPU is that of its thread, user and system, median of
the passes. The exchange goes over one real connection, to a sink that answers at once. The whole program has
one worker, and a sink with --latency-ms. What it takes beyond the sum comes of running all that
together: threads that take turns, queues, reports, the journal, a cache for all. Prints a table in Markdown.
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory

from perf import harness
from perf.harness import Sink
from perf.inputs import BYTES, KINDS, Input, make
from perf.passes import Case, measure
from perf.stages import STAGES, Street

INPUTS = ("small-plain", "big-plain", "small-quoted")


@dataclass(frozen=True, slots=True)
class Shares:
    """Microseconds of CPU a row: of each stage, of the whole program, and of its coordinator."""

    stages: dict[str, float]
    whole: float
    coordinator: float

    @property
    def sum(self) -> float:
        return sum(self.stages.values())


def shares(data: Input, at_once: Sink, late: Sink, passes: int) -> Shares:
    with TemporaryDirectory() as folder, closing(Street(data, at_once, folder)) as street:
        walks = [street.walk() for _ in range(passes)]
    contender = harness.loader("ddbload1", "1 worker", "--workers", "1")
    (results,) = measure([Case("the whole program", contender, data, late)], passes)
    return Shares(
        {stage: median(walk[stage] for walk in walks) / data.rows * 1e6 for stage in STAGES},
        median(results.per_row),
        median(results.own_per_row),
    )


def table(names: Sequence[str], found: Sequence[Shares]) -> str:
    lines = [
        (stage, called, *(f"{each.stages[stage]:.2f}" for each in found)) for stage, called in STAGES.items()
    ]
    lines += [
        ("**sum**", "", *(f"**{each.sum:.2f}**" for each in found)),
        ("whole program", "`python -m loader`", *(f"{each.whole:.2f}" for each in found)),
        ("of it the coordinator", "", *(f"{each.coordinator:.2f}" for each in found)),
        ("beyond the sum", "", *(f"{each.whole - each.sum:.2f}" for each in found)),
    ]
    return harness.markdown(("stage", "what is called", *(f"{name}, µs a row" for name in names)), lines)


def main(argv: Sequence[str] | None = None) -> None:
    known = [f"{size}-{kind}" for size in BYTES for kind in KINDS]
    parser = argparse.ArgumentParser(
        prog="python -m perf.shares",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--inputs", nargs="+", choices=known, default=INPUTS)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--latency-ms", type=float, default=10)
    asked = parser.parse_args(argv)
    print(f"    {harness.command_line('perf.shares', argv)}\n\n{harness.facts()}.\n")
    with harness.sink(0) as at_once, harness.sink(asked.latency_ms) as late:
        found = []
        for name in asked.inputs:
            size, _, kind = name.partition("-")
            found.append(shares(make(asked.rows, size, kind), at_once, late, asked.passes))
    print(table(asked.inputs, found), flush=True)


if __name__ == "__main__":
    main()
