"""Single writes of a batch: reading them strictly, and applying them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.server.errors import invalid, malformed
from tests.server.index import Charge, check_with_local_entries
from tests.server.limits import (
    BATCH_LIMIT,
    Item,
    Key,
    bare_key_of,
    check_index_keys,
    check_item_size,
    key_of,
    measure,
)
from tests.server.state import State
from tests.server.table import Table


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
    """What was written, what capacity held back, and what the written cost by table."""

    done: list[Write]
    left: list[Write]
    charges: dict[str, Charge]


def apply_writes(state: State, writes: Iterable[Write]) -> Applied:
    """Apply in order until a table's capacity is spent; the rest of that table's writes are left."""
    done: list[Write] = []
    left: list[Write] = []
    charges: defaultdict[str, Charge] = defaultdict(Charge)
    spent: set[str] = set()
    for write in writes:
        table = write.table
        name = table.schema.name
        meter = state.meter(table)
        if meter is None and not table.schema.indexes:
            charges[name].table += table.table_units(write.key, write.size)
        else:
            charge = table.charge(write.key, write.item, write.size)
            if meter is not None and (name in spent or not meter.take(charge.total)):
                spent.add(name)
                left.append(write)
                continue
            charges[name].add(charge)
        write.apply()
        done.append(write)
    for name, charge in charges.items():
        state.tables[name].write_units += charge.total
        state.stats.write_units += charge.total
    state.stats.count_applied(len(done), state.wall())
    return Applied(done, left, charges)
