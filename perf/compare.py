"""
What loaders cost, side by side: CPU a row of all their processes, rows a second, memory.

    python -m perf.compare [--rows 1000000] [--size small big] [--kind plain] [--latency-ms 10] [--passes 3]
                           [--only NAME ...] [--tls] [--options "--threads 16"]

Every pass runs every contender once, against a sink on this machine that checks what it got. The CPU that a
contender takes for a file of one row is its start-up: told apart, and taken off. Ratios are of one pass.
Prints tables in Markdown.
"""

import argparse
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from perf import harness
from perf.harness import Contender
from perf.inputs import BYTES, KINDS, make
from perf.passes import Case, Results, measure, ratio

STOCK = "batch_writer"
# Dear ones get a part of the rows: what they cost a row does not depend on how many there are.
_TENTH, _FIFTH = 0.1, 0.2


def contenders(*options: str) -> dict[str, Callable[[], Contender | None]]:
    """
    By name, in the order of the table; made only when called, since one must be installed, and is None where
    it cannot be. `options` are added to those of this loader.
    """
    typed = "`client.batch_write_item`, typed dicts, 14 threads"
    boto3 = ("**ddbload** `--transport boto3`", "--transport", "boto3")
    return {
        STOCK: partial(harness.program, STOCK, "`Table.batch_writer`, 14 threads", _TENTH),
        "typed_client": partial(harness.program, "typed_client", typed, _TENTH),
        "aiobotocore": partial(harness.aiobotocore, _TENTH),
        "boto3": partial(harness.loader, "boto3", *boto3, *options, share=_FIFTH),
        "ddbload": partial(harness.loader, "ddbload", "**ddbload**, 2 workers", "--workers", "2", *options),
        "ddbload1": partial(harness.loader, "ddbload1", "**ddbload**, 1 worker", "--workers", "1", *options),
        "floor": partial(harness.program, "floor", "floor: requests made beforehand, 32 threads", _FIFTH),
    }


def table(cases: Sequence[Case], found: Sequence[Results]) -> str:
    stock = next(
        (results for case, results in zip(cases, found, strict=True) if case.contender.name == STOCK), None
    )
    lines = [
        (
            case.told,
            f"{case.data.rows:,}",
            f"{median(results.per_row):.2f}",
            "" if stock is None else f"{ratio(stock.per_row, results.per_row):.1f} ×",
            f"{results.rate:,.0f}",
            f"{median(load.rows / load.run.seconds for load in results.loads):,.0f}",
            f"{results.start_up:.2f}",
            f"{results.peak / 1e6:.0f}",
            f"{results.worker_peak / 1e6:.0f}" if results.worker_peak else "",
            f"{results.sink_per_row:.2f}",
        )
        for case, results in zip(cases, found, strict=True)
    ]
    head = ("what loads", "rows", "CPU µs a row", "less than stock", "rows/s", "rows/s, whole command")
    return harness.markdown((*head, "start-up CPU s", "main MB", "worker MB", "sink µs a row"), lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m perf.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", nargs="+", choices=tuple(BYTES), default=list(BYTES))
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=["plain"])
    parser.add_argument("--latency-ms", type=float, default=10)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(contenders()))
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--options", default="", help="more of this loader's options, in one word")
    asked = parser.parse_args(argv)
    known = contenders(*shlex.split(asked.options))
    wanted = [known[name]() for name in known if asked.only is None or name in asked.only]
    chosen = [contender for contender in wanted if contender is not None]
    if not chosen:
        raise SystemExit("Nothing to compare: none of the contenders that were chosen can be installed.")
    print(f"    {harness.command_line('perf.compare', argv)}\n\n{harness.facts()}.")
    with harness.sink(asked.latency_ms, tls=asked.tls) as sink:
        for size in asked.size:
            for kind in asked.kind:
                cases = [
                    Case(each.told, each, make(max(1, int(asked.rows * each.share)), size, kind), sink)
                    for each in chosen
                ]
                found = measure(cases, asked.passes)
                print(f"\nRows of {BYTES[size]} bytes, {kind}, {asked.latency_ms:g} ms latency:\n")
                print(table(cases, found), flush=True)


if __name__ == "__main__":
    main()
