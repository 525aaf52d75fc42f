"""Loads side by side: every pass runs each of them, so that what else the machine does meets them all."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from perf import harness
from perf.harness import Contender, Measured, Sink
from perf.inputs import Input, make

START_UPS = 3
"""Of each contender in a pass: at 100,000 rows they weigh as much as the rows."""


@dataclass(frozen=True, slots=True)
class Case:
    """What loads which file into which sink; `told` is its name in tables."""

    told: str
    contender: Contender
    data: Input
    sink: Sink


@dataclass(slots=True)
class Results:
    """
    Of one case, a pass after the other. `start_ups` are loads of one row, which cases of one contender share:
    the CPU that they take is its start-up.
    """

    start_ups: list[Measured]
    loads: list[Measured] = field(default_factory=list)

    @property
    def start_up(self) -> float:
        """CPU seconds; median."""
        return median(load.cpu for load in self.start_ups)

    @property
    def per_row(self) -> list[float]:
        """Microseconds of CPU, start-up taken off."""
        return [(load.cpu - self.start_up) / load.rows * 1e6 for load in self.loads]

    @property
    def own_per_row(self) -> list[float]:
        """The same of its main process alone."""
        start_up = median(load.run.own for load in self.start_ups)
        return [(load.run.own - start_up) / load.rows * 1e6 for load in self.loads]

    @property
    def rate(self) -> float:
        """Rows a second between the first and the last write; median."""
        return median(load.rate for load in self.loads)

    @property
    def sink_per_row(self) -> float:
        """Microseconds of CPU that the sink takes; median."""
        return median(load.sink_cpu / load.rows for load in self.loads) * 1e6

    @property
    def peak(self) -> int:
        """Bytes, of its main process."""
        return max(load.run.peak for load in self.loads)

    @property
    def worker_peak(self) -> int:
        """Bytes, of the largest of its workers; 0 where it has none."""
        return max(max(load.run.peaks.values(), default=0) for load in self.loads)


def measure(cases: Sequence[Case], passes: int) -> list[Results]:
    """What each case took. Raises SystemExit where one did not write its file."""
    one = make(1, "small")
    starts = {(case.contender, case.sink.tls): case for case in cases}
    start_ups: dict[tuple[Contender, bool], list[Measured]] = {start: [] for start in starts}
    found = [Results(start_ups[case.contender, case.sink.tls]) for case in cases]
    for number in range(passes):
        for start, case in starts.items():
            start_ups[start] += (
                harness.load(case.contender, one, case.sink, memory=False) for _ in range(START_UPS)
            )
        # Nobody always comes behind the same one.
        at = number % len(cases)
        for which in [*range(at, len(cases)), *range(at)]:
            case, results = cases[which], found[which]
            results.loads.append(harness.load(case.contender, case.data, case.sink))
            print(
                f"pass {number + 1}, {case.told}: {results.per_row[-1]:.2f} µs a row, "
                f"{results.loads[-1].rate:,.0f} rows/s",
                file=sys.stderr,
            )
    return found


def ratio(costs: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios of each pass."""
    return median(cost / other for cost, other in zip(costs, others, strict=True))
