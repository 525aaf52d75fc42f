"""What items weigh, and what it costs to write them where nothing is: units of the table and its indexes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import orjson

from loader.capacity import Measures
from loader.decisions.heavy_hitters import HeavyHitters
from loader.decisions.item_size import stored_value_size
from loader.model import IndexDescription, KeyPart, KeySchema

_UNIT_BYTES = 1 << 10
_STEPS = 1 / math.log(1.01)
"""Classes of size for each power of e: neighbours are 1 % apart."""

_KEYS_COUNTED = 512
_KEYS_TOLD = 8
_CERTAINTY = 0.9
"""Of a key's count; one with more than 2 % of all units is told for certain then (heavy_hitters.py)."""
_ALL_COUNTED = 20_000
_STRIDE = 5
"""Of more items the keys of every fifth are counted, each for five: to count costs as much as to weigh."""


def units_of(size: int) -> int:
    """Write units of one write of `size` bytes."""
    return max(1, -(-size // _UNIT_BYTES))


def size_class(size: int) -> int:
    """The class of items of about `size` bytes, which is 1 or more."""
    return round(math.log(size) * _STEPS)


def class_size(class_: int) -> int:
    """The size, in bytes, that a class stands for: within 1 % of all in it."""
    return round(math.exp(class_ / _STEPS))


def median_size(sizes: Mapping[int, int]) -> int:
    """Of items counted by class of size; 0 where there are none. Within 1 %."""
    left = (sum(sizes.values()) + 1) // 2
    for class_ in sorted(sizes):
        left -= sizes[class_]
        if left <= 0:
            return class_size(class_)
    return 0


class ItemMeasure:
    """Measures items of one table with these indexes, and counts their partition keys in bounded memory."""

    __slots__ = ("_indexes", "_items", "_names", "_sketches")

    def __init__(self, key: KeySchema, indexes: Sequence[IndexDescription]) -> None:
        self._indexes = tuple(
            (index.name, tuple(part.name for part in index.hash_keys + index.range_keys), _held(index, key))
            for index in indexes
        )
        hashes = {index.name: index.hash_keys for index in indexes if not index.local}
        # Without a sort key a key has one item.
        table_keys = (key.hash,) if key.range is not None else ()
        self._items = 0
        self._sketches = {
            name: (parts, HeavyHitters(_KEYS_COUNTED))
            for name, parts in {"": table_keys, **hashes}.items()
            if parts
        }
        # Of an attribute's name, which an item has again and again.
        self._names: dict[str, int] = {}

    def of(self, items: Sequence[bytes]) -> Measures:
        """
        The measures of items in DynamoDB JSON, all new to the table. In an index are those that have all its
        key attributes, with what it projects; entries cost a unit for each KiB begun, like items.
        """
        sizes: Counter[int] = Counter()
        total = largest = table_units = 0
        index_units = dict.fromkeys((name for name, _, _ in self._indexes), 0)
        stride = 1 if self._items < _ALL_COUNTED else _STRIDE
        for number, json in enumerate(items, self._items):
            sketches = {} if number % stride else self._sketches
            item = orjson.loads(json)
            weights = {name: self._name(name) + stored_value_size(value) for name, value in item.items()}
            size = sum(weights.values())
            total += size
            largest = max(largest, size)
            sizes[size] += 1
            units = units_of(size)
            table_units += units
            if "" in sketches:
                _count(sketches[""], item, units * stride)
            for index, keys, held in self._indexes:
                if all(name in weights for name in keys):
                    entry = size if held is None else sum(weights.get(name, 0) for name in held)
                    units = units_of(entry)
                    index_units[index] += units
                    if index in sketches:
                        _count(sketches[index], item, units * stride)
        self._items += len(items)
        classes: Counter[int] = Counter()
        for size, count in sizes.items():
            classes[size_class(size)] += count
        return Measures(len(items), total, largest, dict(classes), table_units, index_units)

    def keys(self) -> dict[str, dict[str, int]]:
        """The partition keys with most units of all that was measured so far, as in Measures.keys."""
        return {
            name: dict(sketch.most(_KEYS_TOLD, certainty=_CERTAINTY))
            for name, (_, sketch) in self._sketches.items()
        }

    def _name(self, name: str) -> int:
        length = self._names.get(name)
        if length is None:
            length = self._names[name] = len(name.encode())
        return length


def _count(
    counted: tuple[Sequence[KeyPart], HeavyHitters], item: Mapping[str, Mapping[str, str]], units: int
) -> None:
    parts, sketch = counted
    sketch.add(", ".join([item.get(part.name, {}).get(part.type, "") for part in parts]), units)


def _held(index: IndexDescription, key: KeySchema) -> tuple[str, ...] | None:
    """The attributes that an entry may have; None where it has all of the item's."""
    if index.projection == "ALL":
        return None
    keys = (part.name for part in (*key.parts, *index.hash_keys, *index.range_keys))
    included = index.included if index.projection == "INCLUDE" else ()
    return tuple(dict.fromkeys((*keys, *included)))
