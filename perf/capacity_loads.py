"""Loads into a table that meters, watched while they run, and checked: every row must be in the table."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from perf import harness
from perf.capacity_inputs import Rows
from perf.capacity_watch import Units, Watch, index_units
from perf.harness import Contender
from perf.processes import Run, environment, run
from tests.server.capacity import Capacity
from tests.server.client import Server, start, table_request
from tests.server.usage import units_of

TABLE = "loaded"
INDEX = "by_column1"
Events = Callable[[Server], Sequence[tuple[float, Callable[[], None]]]]
"""What is to happen to a server so many seconds after the first write."""

# Nobody needs so long but who is stuck.
_TIMEOUT = 300.0


def _nothing(_: Server) -> Sequence[tuple[float, Callable[[], None]]]:
    return ()


def loader(*options: str) -> Contender:
    """The program as its users have it."""
    return harness.loader("ddbload", "ddbload", *options)


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A load that has ended: the last line it printed, the units that the table was seen to take (those of its
    index included, and alone), and how many rows are not there.
    """

    told: Mapping[str, Any]
    units: Units
    of_index: Units
    watch: Watch
    lost: int


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A table: `units` is what DescribeTable tells of it as provisioned, `index_units` of its index; of an
    on-demand table (None) it tells nothing. `indexed`: it has a global index of all attributes.
    """

    capacity: Capacity
    units: int | None = None
    key: str = "id:S"
    indexed: bool = False
    index_units: int | None = None


@contextmanager
def table(kind: Kind, *, keeps_items: bool = False) -> Iterator[Server]:
    """A server with the table. Without `keeps_items` it counts them only: there may be a lot."""
    with start(count_only=not keeps_items) as server:
        server.call("CreateTable", _request(kind))
        server.set_capacity(TABLE, kind.capacity)
        yield server


def load(
    kind: Kind, rows: Rows, contender: Contender, *, keeps_items: bool = False, events: Events = _nothing
) -> Seen:
    """One load. Raises SystemExit where the loader fails."""
    with table(kind, keeps_items=keeps_items) as server:
        with Watch(server, TABLE, events(server)) as watch:
            found = _run(contender, rows, server)
        return _seen(server, watch, [found], rows.count, kept=keeps_items)


def load_both(
    kind: Kind, both: tuple[Rows, Rows], contender: Contender, later: float
) -> tuple[Seen, tuple[Run, Run]]:
    """Two loads of one table, the second begun `later` seconds after the first."""
    with table(kind) as server, ThreadPoolExecutor(2) as pool:
        with Watch(server, TABLE) as watch:
            first = pool.submit(_run, contender, both[0], server)
            time.sleep(later)
            second = pool.submit(_run, contender, both[1], server)
            runs = first.result(), second.result()
        return _seen(server, watch, runs, both[0].count + both[1].count, kept=False), runs


def _run(contender: Contender, rows: Rows, server: Server) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        places = {"path": str(rows.path), "endpoint": server.endpoint, "table": TABLE, "folder": folder}
        command = [part.format(**places) for part in contender.command]
        return run(command, environment(), _TIMEOUT, memory=False)


def _seen(server: Server, watch: Watch, runs: Sequence[Run], rows: int, *, kept: bool) -> Seen:
    stats = server.stats()
    of_table = stats["tables"][TABLE]
    if stats["violation_count"]:
        raise SystemExit(f"what no client may do was done: {stats['violations'][:3]}")
    lines = runs[0].output.strip().splitlines()
    return Seen(
        told=json.loads(lines[-1]) if lines else {},
        units=units_of(stats["capacity"][TABLE]["units_timeline"]),
        of_index=index_units(stats["capacity"][TABLE]["units_timeline"], INDEX),
        watch=watch,
        # Without the items, one that was written twice would hide one that was not written.
        lost=rows - (of_table["items"] if kept else of_table["puts"]),
    )


def _request(kind: Kind) -> dict[str, Any]:
    request = table_request(
        TABLE, kind.key, gsis={INDEX: "column1:S"} if kind.indexed else None, write_units=kind.units
    )
    indexes = request.get("GlobalSecondaryIndexes", [])
    if kind.units is None:
        # The server would else tell of the warmth of a new table.
        for each in (request, *indexes):
            each["WarmThroughput"] = {"ReadUnitsPerSecond": 0, "WriteUnitsPerSecond": 0}
    elif kind.index_units is not None:
        for each in indexes:
            each["ProvisionedThroughput"] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": kind.index_units}
    return request
