"""`python -m tests.server`: prints `listening 127.0.0.1:PORT` and serves until it is terminated."""

import argparse
import asyncio
import gc
import os
import signal
import sys
import time

import orjson

from tests.server.capacity import Capacity
from tests.server.faults import FaultPlan
from tests.server.listener import serve
from tests.server.state import Settings, State


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--faults", type=_fault_plan, default=FaultPlan(), metavar="JSON")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--wcu", type=float, metavar="N", help="write units a second for each table")
    limits.add_argument("--capacity", type=_capacity, metavar="JSON", help="the Capacity of each table")
    parser.add_argument("--log-writes", action="store_true", help="keep every applied put, in order")
    parser.add_argument("--count-only", action="store_true", help="count items in place of keeping them")
    parser.add_argument(
        "--order-by", metavar="NAME", help="the attribute that tells a row's place in the file"
    )
    parser.add_argument("--until-stdin-ends", action="store_true", help="stop when standard input is closed")
    return parser


def _fault_plan(text: str) -> FaultPlan:
    try:
        return FaultPlan.from_json(orjson.loads(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _capacity(text: str) -> Capacity:
    try:
        return Capacity.from_json(orjson.loads(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _say_ready(port: int) -> None:
    print(f"listening 127.0.0.1:{port}", flush=True)


async def _run(settings: Settings, port: int, until_stdin_ends: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    state = State(settings, time.monotonic, time.time, loop.call_later)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if until_stdin_ends:
        descriptor = sys.stdin.fileno()

        def read() -> None:
            if not os.read(descriptor, 4096):
                stopped.set()

        loop.add_reader(descriptor, read)
    await serve(state, port, _say_ready, stopped)


def main() -> None:
    options = build_parser().parse_args()
    settings = Settings(
        faults=options.faults,
        wcu=options.wcu,
        log_writes=options.log_writes,
        keep_items=not options.count_only,
        order_by=options.order_by,
        capacity=options.capacity,
    )
    # Requests make many short-lived containers and no cycles; looking for cycles often is waste.
    gc.set_threshold(100_000, 50, 100)
    asyncio.run(_run(settings, options.port, options.until_stdin_ends))


if __name__ == "__main__":
    main()
