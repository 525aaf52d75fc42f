"""The plan of a load: what it will cost, how long it takes and what limits it, from what its items weigh."""

import json
import math
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from loader.capacity import Measures, Plan, WriteCapacity
from loader.decisions.measure import median_size, units_of
from loader.decisions.schema import clipped
from loader.model import Counts, TableDescription

ROWS_A_WORKER = 100_000
"""Rows a second that a worker sends where nothing limits it (RESULTS.md)."""
QUOTA = 40_000
"""Write units a second that an account gives an on-demand table, and each of its global indexes."""

PARTITION = 1_000
"""Write units a second that one partition takes, and so, until it is split, all items of a partition key."""

_LONG_LOAD = 120.0
"""Seconds from which on it pays to raise a table's warm throughput,"""
_SHORT_LOAD = 60.0
"""but not so far that the load takes less than these."""
_WORTHWHILE = 2.0
"""How much faster a load has to become by it."""
_ROUND = 100
_PROVISIONED, _MAXIMUM, _WARM, _CAP = "provisioned", "on-demand maximum", "warm throughput", "--max-wcu"
_KEY = "partition key"
"""What may bound a load."""
_SEEN = 10
"""How often a partition key must have been seen in a sample for a share to be read from that."""
_JUST_OVER = 0.1
"""A size is just over a border of units when it is by less than this part of a unit."""


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What else decides about a plan. `price_per_million` is for write units, `workers` at least 1. `profile`
    and `endpoint_url` are as they were given, and `ttl_type` is how the attribute of the table's time to live
    is written (S, N or BOOL), None where the file has no such column.
    """

    region: str
    workers: int
    max_wcu: int | None = None
    price_per_million: float | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    ttl_type: str | None = None


@dataclass(frozen=True, slots=True)
class _Bound:
    """
    `units` of the load are for something (`index`, "" the table; there one partition `key` alone) that takes
    `limit` of them a second. They are `share` of all units there.
    """

    units: int
    limit: int
    kind: str
    index: str = ""
    key: str = ""
    share: float = 1.0

    def source(self, *, together: bool) -> str:
        """What sets a capacity, which is that of table and indexes `together`, or of the table alone."""
        if self.kind == _CAP:
            return f"{_CAP} {self.limit:,}"
        if self.kind == _KEY:
            much = f"{self.named_key} has {self.share:.0%} of the units there"
            return f"{much}, and a partition takes {self.limit:,}"
        if together:
            what = f"index {self.index}" if self.index else "the table"
            return f"{what} takes its {self.limit:,} ({self.kind}, from DescribeTable)"
        return f"{self.kind} {self.limit:,}, from DescribeTable"

    @property
    def named_key(self) -> str:
        return f"partition key {clipped(self.key)} of {f'index {self.index}' if self.index else 'the table'}"

    @property
    def seconds(self) -> float:
        return self.units / self.limit


def plan_of(
    measures: Measures, counts: Counts, table: TableDescription, terms: Terms, *, exact: bool = True
) -> Plan:
    """
    The plan for items of these measures, which `counts` calls written: what is there before is not known of,
    so units are those of new items.
    """
    bounds = tuple(_bounds(measures, table, terms))
    tightest = max(bounds, key=lambda bound: (bound.seconds, -bound.limit), default=None)
    plan = Plan(
        exact=exact,
        rows=counts.rows,
        duplicates=counts.duplicates,
        rejected=counts.rejected,
        items=measures.items,
        median_size=median_size(measures.sizes),
        largest_size=measures.largest,
        table_units=measures.table_units,
        index_units=dict(measures.index_units),
        held_items=table.item_count,
        held_bytes=table.size_bytes,
        capacity=None,
        capacity_source="not known",
        seconds=None,
        price=None,
    )
    # Within 1 %, and never more than what is exact.
    plan = replace(plan, median_size=min(plan.median_size, plan.largest_size))
    if tightest is not None:
        plan = replace(
            plan,
            capacity=_rate(plan.write_units, tightest),
            capacity_source=tightest.source(together=bool(plan.index_units)),
            seconds=max(tightest.seconds, measures.items / (ROWS_A_WORKER * terms.workers)),
        )
    if terms.price_per_million is not None:
        copies = 1 + len(table.replicas)
        plan = replace(plan, price=plan.write_units * copies * terms.price_per_million / 1_000_000)
    return replace(
        plan,
        notes=tuple(_notes(plan, table, terms, tightest)),
        advice=_advice(plan, table, terms, bounds, tightest),
    )


def scaled(measures: Measures, items: int) -> Measures:
    """
    What so many items like these weigh; the largest is the largest of those seen, and of the partition keys
    there are only those that were seen often enough to tell their share.
    """
    if not measures.items:
        return Measures(items=items)

    def grown(number: int) -> int:
        return round(number * items / measures.items)

    # None has more units than the largest.
    often = _SEEN * units_of(measures.largest)

    return Measures(
        items=items,
        bytes=grown(measures.bytes),
        largest=measures.largest,
        sizes=measures.sizes,
        table_units=grown(measures.table_units),
        index_units={name: grown(units) for name, units in measures.index_units.items()},
        keys={
            name: {key: grown(units) for key, units in keys.items() if units >= often}
            for name, keys in measures.keys.items()
        },
    )


# --- capacity -----------------------------------------------------------------------------------


def _bounds(measures: Measures, table: TableDescription, terms: Terms) -> Iterator[_Bound]:
    units = measures.index_units
    # A local index has no capacity of its own.
    of_table = measures.table_units + sum(units.get(index.name, 0) for index in table.indexes if index.local)
    yield from _bounds_of(of_table, table.capacity, "", measures)
    for index in table.indexes:
        if not index.local and units.get(index.name):
            yield from _bounds_of(units[index.name], index.capacity, index.name, measures)
    if terms.max_wcu is not None:
        yield _Bound(measures.table_units + sum(units.values()), terms.max_wcu, _CAP)


def _bounds_of(units: int, capacity: WriteCapacity, index: str, measures: Measures) -> Iterator[_Bound]:
    for limit, kind in (
        (capacity.provisioned, _PROVISIONED),
        (capacity.maximum, _MAXIMUM),
        (capacity.warm, _WARM),
    ):
        if limit is not None:
            yield _Bound(units, limit, kind, index)
    keys = measures.keys.get(index)
    # What tells no capacity may be no table of AWS, with partitions of which nothing is known.
    if keys and capacity != WriteCapacity():
        most, key = max((units, key) for key, units in keys.items())
        all_units = measures.index_units.get(index, 0) if index else measures.table_units
        # Counts are never too low, and may be too high.
        yield _Bound(min(most, all_units), PARTITION, _KEY, index, key, min(1.0, most / max(1, all_units)))


def _rate(write_units: int, bound: _Bound) -> float:
    """Units a second of table and indexes together while the bound is used up."""
    return write_units / bound.seconds if bound.units else float(bound.limit)


# --- notes --------------------------------------------------------------------------------------


def _notes(plan: Plan, table: TableDescription, terms: Terms, tightest: _Bound | None) -> Iterator[str]:
    if table.item_count:
        indexed = ", and twice in an index where its key changes" if table.indexes else ""
        yield (
            f"The table already holds {table.item_count:,} items of {table.size_bytes:,} bytes (as of some "
            f"hours ago). An item that is overwritten is charged by the larger of old and new{indexed}, so "
            "the load can cost more than this."
        )
    if table.stream:
        yield (
            f"The table has a stream ({table.stream}): what reads it, such as a Lambda trigger, sees every "
            "write of this load."
        )
    if table.replicas:
        yield (
            f"The table is replicated to {_listed(table.replicas)}, where every write is charged once more"
            f"{'; the price counts that, not the transfer' if plan.price is not None else ''}."
        )
    if table.ttl and terms.ttl_type == "N":
        yield (
            f"Time to live is on, by attribute {table.ttl}: items whose time there lies in the past (in the "
            "last five years) will vanish."
        )
    elif table.ttl and terms.ttl_type is not None:
        yield (
            f"Time to live is on, by attribute {table.ttl}, and nothing will expire: the column is written "
            f"as {terms.ttl_type}, and only a number is a time. Give --types {table.ttl}=N."
        )
    local = [index.name for index in table.indexes if index.local]
    if local:
        whose = "Local index" if len(local) == 1 else "Local indexes"
        yield f"{whose} {_listed(local)}: what is written there is taken from the table's capacity."
    yield from _notes_on_capacity(plan, terms, tightest)
    if plan.price is not None and table.capacity.provisioned is not None:
        yield (
            "The table is provisioned, which is paid by the hour, used or not; the price is what the units "
            "would cost on demand."
        )
    over = plan.median_size % 1024
    # The median is known within 1 %: on which side of a nearer border it lies is not.
    if plan.median_size > 1024 and plan.median_size / 100 < over <= _JUST_OVER * 1024:
        units = plan.median_size // 1024
        yield (
            f"The median item, {plan.median_size:,} bytes, costs {units + 1} write units; with about {over} "
            f"bytes less, such as by shorter column names, it would cost {units}."
        )


def _notes_on_capacity(plan: Plan, terms: Terms, tightest: _Bound | None) -> Iterator[str]:
    if tightest is None or plan.seconds is None or plan.capacity is None:
        return
    cap = terms.max_wcu
    if cap is not None and cap > plan.capacity and tightest.kind in (_PROVISIONED, _MAXIMUM):
        yield (
            f"--max-wcu {cap:,} is more than the table and its indexes take, {plan.capacity:,.0f} write "
            "units a second: it will not be reached."
        )
    if plan.seconds > tightest.seconds:
        yield (
            f"The table takes more than the loader sends, about {ROWS_A_WORKER:,} rows a second and worker: "
            "that sets the time."
        )
    elif tightest.kind == _KEY:
        yield (
            f"{_capital(tightest.named_key)} has {tightest.share:.0%} of the write units there. They go to "
            f"one partition, which takes {PARTITION:,} a second, so that this key sets the time and not the "
            "capacity; raising that would not help."
        )
    elif tightest.kind == _WARM and plan.seconds > _SHORT_LOAD:
        yield "An on-demand table takes more than its warm throughput after some minutes at it."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


# --- advice -------------------------------------------------------------------------------------


def _advice(
    plan: Plan,
    table: TableDescription,
    terms: Terms,
    bounds: Iterable[_Bound],
    tightest: _Bound | None,
) -> str:
    """The call that warms the table up, where it is the warm throughput that makes the load a long one."""
    if tightest is None or tightest.kind != _WARM or tightest.seconds <= _LONG_LOAD:
        return ""
    if terms.endpoint_url is not None:
        # AWS's program would be told another table than this one.
        return ""
    warm, others = [], [_SHORT_LOAD, plan.items / (ROWS_A_WORKER * terms.workers)]
    for bound in bounds:
        if bound.kind == _WARM:
            warm.append(bound)
            others.append(bound.units / QUOTA)
        else:
            others.append(bound.seconds)
    seconds = max(others)
    if tightest.seconds < _WORTHWHILE * seconds:
        return ""
    raised = {
        bound.index: min(QUOTA, math.ceil(bound.units / seconds / _ROUND) * _ROUND)
        for bound in warm
        if bound.seconds > seconds
    }
    reads = {"": table.capacity.warm_reads} | {each.name: each.capacity.warm_reads for each in table.indexes}
    words = ["aws", "dynamodb", "update-table", "--table-name", table.name]
    if "" in raised:
        told = _warmth(reads[""], raised[""])
        words += ["--warm-throughput", ",".join(f"{name}={units}" for name, units in told.items())]
    updates = [
        {"Update": {"IndexName": name, "WarmThroughput": _warmth(reads[name], units)}}
        for name, units in raised.items()
        if name
    ]
    if updates:
        words += ["--global-secondary-index-updates", json.dumps(updates)]
    words += ["--region", terms.region]
    if terms.profile is not None:
        words += ["--profile", terms.profile]
    return shlex.join(words)


def _warmth(reads: int | None, writes: int) -> dict[str, int]:
    """Reads stay what they are."""
    return {"WriteUnitsPerSecond": writes} | ({"ReadUnitsPerSecond": reads} if reads is not None else {})
