"""What goes into one BatchWriteItem: at most 25 items, at most 16 MiB of body, no key twice."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

BODY_LIMIT = 16 << 20
# What a body holds besides its items: around each one, and once for the table's name and the options.
_AROUND_ITEM = 32
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


def fill(first: Sequence[Item], then: Sequence[Item], size: int) -> tuple[list[Item], list[Item]]:
    """One batch of at most `size` items, taken from `first` and `then` in this order, and the rest."""
    items = [*first, *then]
    room = BODY_LIMIT - _AROUND_BODY
    for count, item in enumerate(items):
        room -= len(item.json) + _AROUND_ITEM
        # A single item always goes: an item that fits DynamoDB is far below the limit of a body.
        if count == size or (room < 0 and count > 0):
            return items[:count], items[count:]
    return items, []


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut a stream of items into batches of at most `size`."""
    batch: list[Item] = []
    room = BODY_LIMIT - _AROUND_BODY
    for item in items:
        need = len(item.json) + _AROUND_ITEM
        if batch and (len(batch) == size or need > room):
            yield batch
            batch, room = [], BODY_LIMIT - _AROUND_BODY
        batch.append(item)
        room -= need
    if batch:
        yield batch


def halves(items: list[Item]) -> tuple[list[Item], list[Item]]:
    """A refused batch in two, so that the bad item ends up alone."""
    middle = len(items) // 2
    return items[:middle], items[middle:]
