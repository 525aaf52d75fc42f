"""Single writes of a batch: reading them strictly, and applying them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

from tests.server.errors import invalid, malformed, out_of_capacity
from tests.server.index import Charge, EntryUnits, check_with_local_entries
from tests.server.limits import (
    BATCH_LIMIT,
    Item,
    Key,
    bare_key_of,
    check_index_keys,
    check_item_size,
    key_of,
    measure,
    partition_value,
    value_text,
)
from tests.server.state import State
from tests.server.table import Table
from tests.server.throughput import Refusal


@dataclass(slots=True)
class Write:
    """A put of `item`, or a delete where it is None; `request` is its WriteRequest."""

    table: Table
    key: Key
    item: Item | None
    size: int
    request: Mapping[str, Any]

    def apply(self) -> None:
        if self.item is None:
            self.table.delete(self.key)
        else:
            self.table.put(self.key, self.item, self.size)


def read_put(table: Table, item: Any, request: Mapping[str, Any] | None = None) -> Write:
    schema = table.schema
    size = measure(item)
    check_item_size(size)
    key = key_of(schema, item)
    if schema.indexes:
        check_index_keys(schema, item)
        check_with_local_entries(schema, item, size)
    return Write(table, key, item, size, request or {})


def _read_write(table: Table, request: Any) -> Write:
    if type(request) is not dict or len(request) != 1:
        raise invalid("Supplied WriteRequest must contain exactly one of PutRequest and DeleteRequest")
    ((kind, content),) = request.items()
    if kind == "PutRequest" and type(content) is dict and content.keys() == {"Item"}:
        return read_put(table, content["Item"], request)
    if kind == "DeleteRequest" and type(content) is dict and content.keys() == {"Key"}:
        return Write(table, bare_key_of(table.schema, content["Key"]), None, 0, request)
    raise malformed("Unexpected value type in payload")


def read_batch(state: State, request_items: Any) -> list[Write]:
    """Every write of a BatchWriteItem; ServiceError, and nothing of it is done, where any is invalid."""
    if type(request_items) is not dict or not all(type(of) is list for of in request_items.values()):
        raise malformed("Unexpected value type in payload")
    count = sum(map(len, request_items.values()))
    if request_items:
        state.stats.batch_sizes[count] += 1
    if not all(request_items.values()) or not request_items:
        if request_items:
            state.stats.violation("0 items for a table of a BatchWriteItem")
        else:
            # How a client may ask, free of charge, whether anybody is there.
            state.stats.probes += 1
        raise invalid(
            "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        )
    if count > BATCH_LIMIT:
        state.stats.violation(f"{count} items in a BatchWriteItem")
        raise invalid("Too many items requested for the BatchWriteItem call")
    writes: list[Write] = []
    for name, requests in request_items.items():
        table = state.table_to_write(name)
        of_table = [_read_write(table, request) for request in requests]
        if len({write.key for write in of_table}) < len(of_table):
            state.stats.violation("the same key twice in a BatchWriteItem")
            raise invalid("Provided list of item keys contains duplicates")
        writes += of_table
    return writes


@dataclass(frozen=True, slots=True)
class Applied:
    """
    What was written, what capacity held back, and what the written cost by table.

    `refusals` are the keys of a dict: each once, in the order in which they were met.
    """

    done: list[Write]
    left: list[Write]
    charges: dict[str, Charge]
    refusals: dict[Refusal, None] = field(default_factory=dict)


def apply_or_refuse(state: State, writes: Iterable[Write]) -> Applied:
    """As apply_writes, but a request of which nothing fits is refused."""
    applied = apply_writes(state, writes)
    if applied.left and not applied.done:
        state.stats.metered_requests += 1
        raise out_of_capacity(applied.refusals)
    state.stats.metered_items += len(applied.left)
    return applied


def apply_writes(state: State, writes: Iterable[Write]) -> Applied:
    """
    Apply in order what the capacity of each table lets through; the rest is left.

    Once a table as a whole has refused a write, the rest of its writes are left untried; where a
    partition or an index refused it, others may still fit.
    """
    applied = Applied([], [], {})
    # The writes of one table stand together: a batch names each table once.
    for table, of_table in groupby(writes, attrgetter("table")):
        _apply_to(table, of_table, state, applied)
    state.stats.count_applied(len(applied.done), state.wall())
    return applied


def _apply_to(table: Table, writes: Iterable[Write], state: State, applied: Applied) -> None:
    usage = state.stats.usage_of(table.schema.name)
    throughput = state.throughput(table)
    meter = state.meter(table)
    if throughput is not None:
        throughput.begin(state.clock())
    of_meter = [Refusal("TableWriteProvisionedThroughputExceeded", table.arn)]
    has_indexes = bool(table.schema.indexes)
    charge = Charge()
    done: list[Write] = []
    spent: list[Refusal] = []
    indexes: Mapping[str, float] = {}
    entries: list[EntryUnits] = []
    for write in writes:
        refused = spent
        if not spent:
            if has_indexes:
                of_write, entries = table.charge(write.key, write.item, write.size)
                units, indexes = of_write.table + sum(of_write.local.values()), of_write.global_
            else:
                units = table.table_units(write.key, write.size)
            if throughput is not None:
                refused = throughput.take(partition_value(write.key), units, indexes, entries)
                if refused:
                    spent = throughput.spent(refused)
                    usage.count_refused_entries(throughput.refusing(entries))
            elif meter is not None and not meter.take(units + sum(indexes.values())):
                refused = spent = of_meter
        if refused:
            applied.left.append(write)
            applied.refusals.update(dict.fromkeys(refused))
            usage.count_refused(value_text(partition_value(write.key)), refused)
            continue
        if has_indexes:
            charge.add(of_write)
        else:
            charge.table += units
        write.apply()
        done.append(write)
    if done:
        applied.done.extend(done)
        applied.charges[table.schema.name] = charge
        table.write_units += charge.total
        state.stats.write_units += charge.total
        usage.count_accepted(len(done), charge, state.wall())
