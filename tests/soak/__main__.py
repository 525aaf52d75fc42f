"""`python -m tests.soak [CASE ...]`: a line for each run when it ends, the table at the end."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence

from tests.soak import expiry, faults, kills, memory, outage, promise, table
from tests.soak.result import Result, Scale
from tests.soak.runner import run_all

CASES = {module.CASE: module for module in (faults, kills, outage, expiry, memory, promise)}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("case", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument(
        "--rows", type=_count, metavar="N", help=f"of {faults.CASE}, {faults.ROWS:,} by default"
    )
    parser.add_argument(
        "--seeds",
        type=_count,
        metavar="N",
        help=f"runs of a cell of {faults.CASE} (default {faults.SEEDS}) and of {kills.CASE} ({kills.SEEDS})",
    )
    parser.add_argument("--jobs", type=_count, metavar="N", default=1, help="runs at a time, 1 by default")
    parser.add_argument(
        "--grace",
        type=float,
        metavar="S",
        help=f"late_write_grace of {faults.CASE}, {faults.GRACE:g} by default",
    )
    parser.add_argument("--quick", action="store_true", help="small numbers everywhere: minutes, not hours")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """0 where all is well, 1 where something failed, 130 where it was interrupted."""
    parser = build_parser()
    options = parser.parse_args(argv)
    for name in options.case:
        if name not in CASES:
            parser.error(f"there is no case {name!r}; the cases are {', '.join(CASES)}")
    if options.grace is not None and options.grace <= faults.LATE_SECONDS:
        parser.error(f"--grace {options.grace:g}: writes are applied up to {faults.LATE_SECONDS:g} s late")
    scale = Scale(options.rows, options.seeds, options.grace, options.quick)
    chosen = [name for name in CASES if name in (options.case or CASES)]
    jobs = [job for name in chosen for job in CASES[name].jobs(scale)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = run_all(jobs, options.jobs, _tell)
    except KeyboardInterrupt:
        print("Interrupted; what was started is ended.", file=sys.stderr)
        return 130
    together = faults.of_all(results)
    if together is not None:
        results.append(together)
    command = shlex.join(["python", "-m", "tests.soak", *(sys.argv[1:] if argv is None else argv)])
    print(f"\n    {command}\n\n{table.markdown(results)}")
    return 0 if all(result.ok for result in results) else 1


def _tell(result: Result) -> None:
    print(table.line(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
