"""
What loaders cost, side by side: CPU a row of all their processes, rows a second, memory.

    python -m perf.compare [--rows 1000000] [--size small big] [--kind plain] [--latency-ms 10] [--passes 3]
                           [--only NAME ...] [--tls]

Every pass runs every contender once, against a sink on this machine that checks what it got. The CPU that a
contender takes for a file of one row is its start-up: told apart, and taken off. Ratios are of one pass.
Prints tables in Markdown.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from perf import harness
from perf.harness import Contender, Measured, Sink
from perf.inputs import BYTES, KINDS, make

STOCK = "batch_writer"
# Dear ones get a part of the rows: what they cost a row does not depend on how many there are.
_TENTH, _FIFTH = 0.1, 0.2


@dataclass(slots=True)
class Results:
    """Of one contender, a pass after the other."""

    start_up: float
    loads: list[Measured] = field(default_factory=list)

    def per_row(self) -> list[float]:
        """Microseconds of CPU."""
        return [(load.cpu - self.start_up) / load.rows * 1e6 for load in self.loads]


def contenders() -> list[Contender]:
    found = [
        harness.program(STOCK, "`Table.batch_writer`, 14 threads", _TENTH),
        harness.program("typed_client", "`client.batch_write_item`, typed dicts, 14 threads", _TENTH),
        harness.aiobotocore(_TENTH),
        harness.loader("boto3", "**ddbload** `--transport boto3`", "--transport", "boto3", share=_FIFTH),
        harness.loader("ddbload", "**ddbload**, 2 workers", "--workers", "2"),
        harness.loader("ddbload1", "**ddbload**, 1 worker", "--workers", "1"),
        harness.program("floor", "floor: requests built and signed beforehand", _FIFTH),
    ]
    return [contender for contender in found if contender is not None]


def measure(
    chosen: Sequence[Contender], rows: int, size: str, kind: str, passes: int, sink: Sink
) -> dict[str, Results]:
    one = make(1, size, kind)
    results = {}
    for contender in chosen:
        starts = [harness.load(contender, one, sink, memory=False).cpu for _ in range(3)]
        results[contender.name] = Results(median(starts))
    for number in range(passes):
        # Nobody always comes behind the same one.
        at = number % len(chosen)
        for contender in [*chosen[at:], *chosen[:at]]:
            data = make(int(rows * contender.share), size, kind)
            loaded = harness.load(contender, data, sink)
            results[contender.name].loads.append(loaded)
            print(
                f"{size} {kind} pass {number + 1} {contender.name}: "
                f"{results[contender.name].per_row()[-1]:.2f} µs a row, {loaded.rate:,.0f} rows/s",
                file=sys.stderr,
            )
    return results


def table(chosen: Sequence[Contender], results: dict[str, Results]) -> str:
    stock = results.get(STOCK)
    lines = []
    for contender in chosen:
        found = results[contender.name]
        costs = found.per_row()
        ratios = [of / own for of, own in zip(stock.per_row(), costs, strict=True)] if stock else []
        largest = [max(load.run.peaks.values(), default=0) for load in found.loads]
        lines.append(
            (
                contender.told,
                f"{found.loads[0].rows:,}",
                f"{median(costs):.2f}",
                f"{median(ratios):.1f} ×" if ratios else "",
                f"{median(load.rate for load in found.loads):,.0f}",
                f"{found.start_up:.2f}",
                f"{max(load.run.peak for load in found.loads) / 1e6:.0f}",
                f"{max(largest) / 1e6:.0f}" if max(largest) else "",
                f"{median(load.sink_cpu / load.rows for load in found.loads) * 1e6:.2f}",
            )
        )
    head = ("what loads", "rows", "CPU µs a row", "less than stock", "rows/s", "start-up CPU s")
    return harness.markdown((*head, "main MB", "worker MB", "sink µs a row"), lines)


def main() -> None:
    known = contenders()
    parser = argparse.ArgumentParser(prog="python -m perf.compare", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", nargs="+", choices=tuple(BYTES), default=list(BYTES))
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=["plain"])
    parser.add_argument("--latency-ms", type=float, default=10)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[contender.name for contender in known])
    parser.add_argument("--tls", action="store_true")
    asked = parser.parse_args()
    chosen = [each for each in known if asked.only is None or each.name in asked.only]
    print(f"    {harness.command_line('perf.compare')}\n\n{harness.facts()}.")
    with harness.sink(asked.latency_ms, tls=asked.tls) as sink:
        for size in asked.size:
            for kind in asked.kind:
                results = measure(chosen, asked.rows, size, kind, asked.passes, sink)
                print(f"\nRows of {BYTES[size]} bytes, {kind}, {asked.latency_ms:g} ms latency:\n")
                print(table(chosen, results), flush=True)


if __name__ == "__main__":
    main()
