"""What goes into one BatchWriteItem: at most 25 items, at most 16 MiB of body, no key twice."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from loader.config import BATCH_LIMIT
from loader.decisions.wire import BETWEEN_ITEMS, join_items, split_items

BODY_LIMIT = 16 << 20
# What a body holds besides its items, and once for the table's name and the options.
_BETWEEN = len(BETWEEN_ITEMS)
_AROUND_BODY = 1 << 10


class Item(NamedTuple):
    """
    An item on its way: DynamoDB JSON, and where it came from.

    `entry` counts within the shard's stretch of the index; `older` are the entries of earlier rows with the
    same key, oldest first, which take its place should the service refuse it; `failures` are tries of it
    that failed. Only the winner of a key is ever under way, so no batch can hold a key twice.
    """

    json: bytes
    shard: int
    entry: int
    older: Sequence[int] = ()
    failures: int = 0


class Share(NamedTuple):
    """What a batch holds of one shard: so many items, and so many older rows behind them."""

    shard: int
    items: int
    older: int


class Batch:
    """
    The items of one request, joined as its body has them (`json`).

    Nearly all batches are built, sent and written as a whole, so the items are made only when somebody asks.
    Raises ValueError unless they are 1 to 25.
    """

    __slots__ = ("_items", "failures", "json", "shares")

    def __init__(self, items: Sequence[Item]) -> None:
        _require_batch(len(items))
        self._items: tuple[Sequence[int], Sequence[Item]] = ((), items)
        self.json = join_items([item.json for item in items])
        self.failures = max(item.failures for item in items)
        self.shares = shares_of(items)

    @classmethod
    def ready(cls, shard: int, entries: Sequence[int], json: bytes) -> "Batch":
        """`json` are the items, joined, of these entries of a shard, with no older rows behind them."""
        _require_batch(len(entries))
        self = cls.__new__(cls)
        self._items = (entries, ())
        self.json = json
        self.failures = 0
        self.shares = (Share(shard, len(entries), 0),)
        return self

    def __len__(self) -> int:
        entries, items = self._items
        return len(items) or len(entries)

    @property
    def bytes(self) -> int:
        """Those of the items alone."""
        return len(self.json) - (len(self) - 1) * _BETWEEN

    @property
    def items(self) -> Sequence[Item]:
        entries, items = self._items
        if not items:
            shard = self.shares[0].shard
            items = [
                Item(json, shard, entry) for json, entry in zip(split_items(self.json), entries, strict=True)
            ]
            self._items = (entries, items)
        return items


def _require_batch(items: int) -> None:
    if not 1 <= items <= BATCH_LIMIT:
        raise ValueError(f"a batch of {items} items")


def shares_of(items: Iterable[Item]) -> tuple[Share, ...]:
    """What each shard has of these items, neighbours taken together."""
    by_shard = ((shard, list(of_shard)) for shard, of_shard in groupby(items, attrgetter("shard")))
    return tuple(Share(shard, len(of), sum(len(item.older) for item in of)) for shard, of in by_shard)


def fill(first: Sequence[Item], then: Sequence[Item], size: int) -> tuple[list[Item], list[Item]]:
    """One batch of at most `size` items, taken from `first` and `then` in this order, and the rest."""
    items = [*first, *then]
    room = BODY_LIMIT - _AROUND_BODY
    for count, item in enumerate(items):
        room -= len(item.json) + _BETWEEN
        # A single item always goes: an item that fits DynamoDB is far below the limit of a body.
        if count == size or (room < 0 and count > 0):
            return items[:count], items[count:]
    return items, []


def batches(items: Iterable[Item], size: int) -> Iterator[Batch]:
    """Cut a stream of items into batches of at most `size`."""
    batch: list[Item] = []
    room = BODY_LIMIT - _AROUND_BODY
    for item in items:
        need = len(item.json) + _BETWEEN
        if batch and (len(batch) == size or need > room):
            yield Batch(batch)
            batch, room = [], BODY_LIMIT - _AROUND_BODY
        batch.append(item)
        room -= need
    if batch:
        yield Batch(batch)


def halves(items: Sequence[Item]) -> tuple[Batch, Batch]:
    """A refused batch in two, so that the bad item ends up alone."""
    middle = len(items) // 2
    return Batch(items[:middle]), Batch(items[middle:])
