"""One table: its items, and what it can tell of them."""

import uuid
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tests.server.index import Charge, EntryUnits, charge_indexes, kibibytes
from tests.server.limits import Item, Key, partition_value
from tests.server.places import Places
from tests.server.schema import TableSchema

Stored = tuple[int, bytes]
"""An item's size, and its JSON: a million dicts would take ten times the memory."""

PAGE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """Items of a scan as JSON, `evaluated` bytes of them, and the last item's key where more may follow."""

    items: list[bytes]
    evaluated: int
    last: Key | None


class Table:
    """
    `created` is in epoch seconds. With `log_writes` every applied put is kept, in order; without
    `keep_items` the table only counts them and stays empty, for loads that would not fit in memory.
    `order_by` names the attribute that tells the place of an item's row in the file; see Places.
    `told` are members of its description that are not as they would be, see description.tell;
    `expires_by` is the attribute of its time to live, "" where that is off.
    """

    def __init__(
        self,
        schema: TableSchema,
        region: str,
        created: float,
        *,
        log_writes: bool,
        keep_items: bool,
        order_by: str | None = None,
    ) -> None:
        self.schema = schema
        self.created = created
        self.status = "ACTIVE"
        self.arn = f"arn:aws:dynamodb:{region}:000000000000:table/{schema.name}"
        self.id = str(uuid.uuid4())
        self.items: dict[Key, Stored] = {}
        self.told: dict[str, Any] = {}
        self.expires_by = ""
        self.puts = 0
        self.overwrites: Counter[Key] = Counter()
        self.write_units = 0.0
        self.log: list[bytes] | None = [] if log_writes else None
        self._keep_items = keep_items
        self._places = None if order_by is None else Places(order_by)
        self._scan_order: list[tuple[int, Key]] | None = None

    # --- writing ----------------------------------------------------------------------------------

    def charge(self, key: Key, item: Item | None, size: int) -> tuple[Charge, list[EntryUnits]]:
        """
        What it would cost to put `item` of `size` bytes at `key`, or to delete it where it is None.

        Then the part of global indexes by hash key.
        """
        charge = Charge(self.table_units(key, size))
        if not self.schema.indexes:
            return charge, []
        _, old = self.items.get(key, (0, b""))
        return charge, charge_indexes(self.schema, orjson.loads(old) if old else None, item, size, charge)

    def table_units(self, key: Key, size: int) -> int:
        """The part of a charge that is not for indexes."""
        old = self.items.get(key)
        return kibibytes(size if old is None or old[0] < size else old[0])

    def put(self, key: Key, item: Item, size: int) -> None:
        self.puts += 1
        if self._places is not None:
            self._places.put(key, item)
        if not self._keep_items:
            return
        stored = orjson.dumps(item)
        if key in self.items:
            self.overwrites[key] += 1
        else:
            self._scan_order = None
        self.items[key] = (size, stored)
        if self.log is not None:
            self.log.append(stored)

    def delete(self, key: Key) -> None:
        if self.items.pop(key, None) is not None:
            self._scan_order = None
        if self._places is not None:
            self._places.delete(key)

    # --- reading ----------------------------------------------------------------------------------

    def scan(self, segment: int, segments: int, after: Key | None, limit: int | None) -> Page:
        """
        The next page of a segment: at most `limit` items or the first that take it past 1 MiB.

        Items come in the order of their partition keys' hashes, and a segment is a range of hashes,
        so a key tells where to go on whatever was written in between.
        """
        order = self._order()
        position = bisect_left(order, segment << 32, key=lambda place: place[0] * segments)
        stop = bisect_left(order, (segment + 1) << 32, key=lambda place: place[0] * segments)
        if after is not None:
            position = max(position, bisect_right(order, (_hash(after), after)))
        items: list[bytes] = []
        evaluated = 0
        while position < stop:
            key = order[position][1]
            size, stored = self.items[key]
            items.append(stored)
            evaluated += size
            position += 1
            if len(items) == limit or evaluated > PAGE_LIMIT:
                return Page(items, evaluated, key)
        return Page(items, evaluated, None)

    def _order(self) -> list[tuple[int, Key]]:
        if self._scan_order is None:
            self._scan_order = sorted((_hash(key), key) for key in self.items)
        return self._scan_order

    def key_item(self, key: Key) -> dict[str, dict[str, str]]:
        """A key as DynamoDB JSON."""
        item = orjson.loads(self.items[key][1])
        return {part.name: item[part.name] for part in self.schema.keys}

    def lines(self) -> Iterator[bytes]:
        return (stored for _, stored in self.items.values())

    # --- telling ----------------------------------------------------------------------------------

    def index_arn(self, name: str | None = None) -> str:
        """By default of the first global index; of a made-up one where the table has none."""
        if name is None:
            name = next((index.name for index in self.schema.indexes if not index.local), "none-there")
        return f"{self.arn}/index/{name}"

    def stats(self) -> dict[str, Any]:
        """Counts for the control endpoint; `most_writes_of_a_key` is 1 where no key was written twice."""
        places = self._places
        most = max(self.overwrites.values(), default=0)
        return {
            "items": len(self.items),
            "puts": self.puts,
            "overwrites": self.overwrites.total(),
            "most_writes_of_a_key": most + 1 if self.puts else 0,
            "write_units": self.write_units,
            "older_over_newer": places.older_over_newer if places else 0,
            "older_over_newer_examples": places.examples if places else [],
            "without_place": places.unknown if places else 0,
        }


def _hash(key: Key) -> int:
    partition = partition_value(key)
    return zlib.crc32(partition if isinstance(partition, bytes) else partition.encode())
