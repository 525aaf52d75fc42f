"""
Rows a second and CPU a row of this loader, over what can be tuned: sender threads, workers, size of a shard.

    python -m perf.curves [--only threads workers shards] [--rows 400000] [--passes 3] [--latency-ms 10 50]
                          [--threads 4 8 16 32 64 128] [--workers 1 2 4] [--shards 500 1000 2000 ...]

`threads`: of one worker, at each latency. `workers` and `shards` (2 workers): at the first latency. "adapts"
and "by the file" are the defaults. What can only be slow gets fewer rows, so that no load takes long. The
sink runs on the same machine and takes a part of its CPU: what counts is where a curve flattens. Prints
tables in Markdown.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from loader.config import BATCH_LIMIT
from perf import harness
from perf.harness import Sink
from perf.inputs import BYTES, make
from perf.passes import Case, Results, measure

SIZE = "small"
SHARD_WORKERS = 2
SECONDS = 20
"""What a load may take where its threads can do no more than wait for replies."""
_ROUND = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    rows: int
    passes: int
    latencies: Sequence[float]
    threads: Sequence[int]
    workers: Sequence[int]
    shards: Sequence[int]


def threads(asked: Asked, sinks: Sequence[Sink]) -> str:
    counts: list[int | None] = [*asked.threads, None]
    cases = []
    for count in counts:
        told = "adapts" if count is None else str(count)
        options = () if count is None else ("--threads", told)
        contender = harness.loader(f"threads {told}", told, "--workers", "1", *options)
        for latency, sink in zip(asked.latencies, sinks, strict=True):
            data = make(rows_for(asked.rows, count, latency), SIZE)
            cases.append(Case(f"threads {told}, {latency:g} ms", contender, data, sink))
    found = measure(cases, asked.passes)
    width = len(sinks)
    lines = [
        (contender.told, *(cell for each in found[at : at + width] for cell in _cells(each)))
        for at, contender in ((at, cases[at].contender) for at in range(0, len(cases), width))
    ]
    heads = (f"{what}, {latency:g} ms" for latency in asked.latencies for what in ("rows/s", "CPU µs a row"))
    return f"Threads of one worker:\n\n{harness.markdown(('threads', *heads), lines)}"


def workers(asked: Asked, sinks: Sequence[Sink]) -> str:
    data = make(asked.rows, SIZE)
    cases = [
        Case(
            str(count),
            harness.loader(f"workers {count}", str(count), "--workers", str(count)),
            data,
            sinks[0],
        )
        for count in asked.workers
    ]
    return f"Workers:\n\n{_table('workers', cases, asked.passes)}"


def shards(asked: Asked, sinks: Sequence[Sink]) -> str:
    data = make(asked.rows, SIZE)
    cases = []
    for records in (*asked.shards, 0):
        told = f"{records:,}" if records else "by the file"
        contender = harness.program("sharded", told, more=(str(SHARD_WORKERS), str(records)))
        cases.append(Case(told, contender, data, sinks[0]))
    return f"Records of a shard, {SHARD_WORKERS} workers:\n\n{_table('records', cases, asked.passes)}"


PARTS: dict[str, Callable[[Asked, Sequence[Sink]], str]] = {
    "threads": threads,
    "workers": workers,
    "shards": shards,
}


def rows_for(rows: int, count: int | None, latency_ms: float) -> int:
    """As many as so many threads can write in SECONDS, in round numbers; `rows` at most."""
    if count is None or not latency_ms:
        return rows
    most = count * BATCH_LIMIT / latency_ms * 1e3 * SECONDS
    return min(rows, max(_ROUND, int(most) // _ROUND * _ROUND))


def _table(head: str, cases: Sequence[Case], passes: int) -> str:
    found = measure(cases, passes)
    lines = [(case.told, *_cells(results)) for case, results in zip(cases, found, strict=True)]
    return harness.markdown((head, "rows/s", "CPU µs a row"), lines)


def _cells(results: Results) -> tuple[str, str]:
    return f"{results.rate:,.0f}", f"{median(results.per_row):.2f}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m perf.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[10, 50])
    parser.add_argument("--threads", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--shards", type=int, nargs="+", default=[500, 1000, 2000, 5000, 10_000, 20_000])
    given = parser.parse_args(argv)
    asked = Asked(given.rows, given.passes, given.latency_ms, given.threads, given.workers, given.shards)
    print(f"    {harness.command_line('perf.curves', argv)}\n\n{harness.facts()}. ", end="")
    print(f"Rows of {BYTES[SIZE]} bytes, {asked.latencies[0]:g} ms latency where no other is named.")
    with ExitStack() as stack:
        sinks = [stack.enter_context(harness.sink(latency)) for latency in asked.latencies]
        for name in given.only:
            print(f"\n{PARTS[name](asked, sinks)}", flush=True)


if __name__ == "__main__":
    main()
