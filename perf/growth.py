"""
How the cost of a row grows, for this loader alone: with the file, with the workers, with TLS.

    python -m perf.growth [--only files workers tls first] [--rows 100000 1000000 10000000] [--workers 1 2 4]
                          [--each 1000000] [--latency-ms 10] [--passes 3]

`files`: files of --rows small rows, 2 workers. `workers`: --each rows, with so many workers. `tls`: --each
rows, 2 workers, with and without it. `first`: the time from the command to the first write for 10,000 rows.

CPU is that of all processes, the coordinator's that of its process alone; start-up is taken off both. Memory
is the peak of anonymous memory; "beyond the index" is what the coordinator's is above 48 bytes a row of a
window. Prints tables in Markdown.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from loader.config import WINDOW_SIZE
from perf import harness
from perf.harness import Contender, Sink
from perf.inputs import BYTES, Input, make
from perf.passes import Case, Results, measure, ratio

SIZE = "small"
WORKERS = 2
FIRST_ROWS, FIRST_LOADS = 10_000, 7
INDEX_BYTES = 48
"""What the index takes for a row of a window at its peak."""


@dataclass(frozen=True, slots=True)
class Asked:
    rows: Sequence[int]
    workers: Sequence[int]
    each: int
    latency_ms: float
    passes: int


def loader(workers: int) -> Contender:
    return harness.loader(f"ddbload{workers}", f"{workers} workers", "--workers", str(workers))


def files(asked: Asked, sink: Sink) -> str:
    cases = [Case(f"{rows:,}", loader(WORKERS), make(rows, SIZE), sink) for rows in asked.rows]
    return f"By the rows of the file, {WORKERS} workers:\n\n{table('rows', cases, asked.passes)}"


def workers(asked: Asked, sink: Sink) -> str:
    data = make(asked.each, SIZE)
    cases = [Case(str(count), loader(count), data, sink) for count in asked.workers]
    return f"By workers, {asked.each:,} rows:\n\n{table('workers', cases, asked.passes)}"


def tls(asked: Asked, sink: Sink) -> str:
    data = make(asked.each, SIZE)
    with harness.sink(asked.latency_ms, tls=True) as secured:
        cases = [
            Case("plain", loader(WORKERS), data, sink),
            Case("TLS", loader(WORKERS), data, secured),
        ]
        shown = table("connection", cases, asked.passes)
    return f"With TLS, {asked.each:,} rows, {WORKERS} workers:\n\n{shown}"


def first(asked: Asked, sink: Sink) -> str:
    contender = harness.loader("ddbload", "no options")
    data = make(FIRST_ROWS, SIZE)
    seconds = [harness.load(contender, data, sink, memory=False).to_first_write for _ in range(FIRST_LOADS)]
    head = ("rows", "seconds to the first write", "least", "most")
    line = (f"{FIRST_ROWS:,}", f"{median(seconds):.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}")
    return (
        f"From the command to the first write, defaults, median of {FIRST_LOADS}:\n\n"
        f"{harness.markdown(head, [line])}"
    )


PARTS: dict[str, Callable[[Asked, Sink], str]] = {
    "files": files,
    "workers": workers,
    "tls": tls,
    "first": first,
}


def table(head: str, cases: Sequence[Case], passes: int) -> str:
    found = measure(cases, passes)
    lines = [_line(case, results, found[0]) for case, results in zip(cases, found, strict=True)]
    heads = (head, "CPU µs a row", "of the first", "coordinator µs a row", "rows/s", "start-up CPU s")
    memory = ("coordinator MB", "beyond the index", "worker MB")
    return harness.markdown((*heads, *memory, "sink µs a row"), lines)


def _line(case: Case, results: Results, baseline: Results) -> tuple[str, ...]:
    index = INDEX_BYTES * rows_of_a_window(case.data)
    return (
        case.told,
        f"{median(results.per_row):.2f}",
        f"{ratio(results.per_row, baseline.per_row):.2f} ×",
        f"{median(results.own_per_row):.2f}",
        f"{results.rate:,.0f}",
        f"{results.start_up:.2f}",
        f"{results.peak / 1e6:.0f}",
        f"{max(0, results.peak - index) / 1e6:.0f}",
        f"{results.worker_peak / 1e6:.0f}",
        f"{results.sink_per_row:.2f}",
    )


def rows_of_a_window(data: Input) -> int:
    return min(data.rows, data.rows * WINDOW_SIZE // os.path.getsize(data.path))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m perf.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--each", type=int, default=1_000_000)
    parser.add_argument("--latency-ms", type=float, default=10)
    parser.add_argument("--passes", type=int, default=3)
    given = parser.parse_args(argv)
    asked = Asked(given.rows, given.workers, given.each, given.latency_ms, given.passes)
    print(f"    {harness.command_line('perf.growth', argv)}\n\n{harness.facts()}. ", end="")
    print(f"Rows of {BYTES[SIZE]} bytes, {asked.latency_ms:g} ms latency.")
    with harness.sink(asked.latency_ms) as sink:
        for name in given.only:
            print(f"\n{PARTS[name](asked, sink)}", flush=True)


if __name__ == "__main__":
    main()
