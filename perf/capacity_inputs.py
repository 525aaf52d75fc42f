"""Files whose items have a known size to the byte, so that it is known what they cost."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from perf.inputs import cache

COLUMNS = tuple(f"column{number}" for number in range(1, 10))
KEY = "id"
KEY_BYTES = 16
PARTITION_KEY, SORT_KEY = "pk", "sk"

_VERSION = 1
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_WORDS_BYTES = 8 << 20
_TOGETHER = 1_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A file of `count` rows that become items of `item_bytes` each; every record has `record_bytes`."""

    path: Path
    count: int
    item_bytes: int
    record_bytes: int

    @property
    def item_units(self) -> int:
        """Write units of a new item in a table without indexes."""
        return units_of(self.item_bytes)


def units_of(item_bytes: int) -> int:
    return max(1, (item_bytes + 1023) // 1024)


def unique(count: int, item_bytes: int, part: int = 0) -> Rows:
    """Every row with a partition key of its own; files of different `part`s have no key in common."""
    first = part << 40
    keys = ((f"{(first + number) * 0x9E3779B97F4A7C15 & (1 << 64) - 1:016x}",) for number in range(count))
    return _make(f"unique{part}", (KEY,), keys, count, item_bytes, KEY_BYTES)


def by_partition(partitions: int, each: int, item_bytes: int) -> Rows:
    """Sorted by partition key, of which there are `partitions`, with `each` rows."""
    keys = ((f"key{key:05d}", f"{number:08d}") for key in range(partitions) for number in range(each))
    named = f"sorted{partitions}"
    return _make(named, (PARTITION_KEY, SORT_KEY), keys, partitions * each, item_bytes, KEY_BYTES)


def _make(
    name: str,
    key_columns: Sequence[str],
    keys: Iterator[tuple[str, ...]],
    count: int,
    item_bytes: int,
    key_bytes: int,
) -> Rows:
    header = (*key_columns, *COLUMNS)
    left = item_bytes - sum(map(len, header)) - key_bytes
    if left < len(COLUMNS):
        raise ValueError(f"an item of {item_bytes} bytes has no room for its columns")
    record_bytes = key_bytes + left + len(header)
    path = cache() / f"capacity{_VERSION}-{name}-{item_bytes}-{count}.csv"
    if not path.exists():
        draft = path.with_suffix(".part")
        with draft.open("w", encoding="ascii", newline="") as file:
            file.write(",".join(header) + "\n")
            file.writelines(_blocks(keys, left))
        draft.rename(path)
    return Rows(path, count, item_bytes, record_bytes)


def _blocks(keys: Iterator[tuple[str, ...]], cells_bytes: int) -> Iterator[str]:
    draw = random.Random(1)
    width, wider = divmod(cells_bytes, len(COLUMNS))
    pools = [_words(draw, width + (number < wider)) for number in range(len(COLUMNS))]
    together = max(1, min(_TOGETHER, _WORDS_BYTES // cells_bytes))
    lines = []
    for key in keys:
        lines.append(",".join((*key, *map(draw.choice, pools))) + "\n")
        if len(lines) == together:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


def _words(draw: random.Random, width: int) -> list[str]:
    """Fewer where they are long: they are all in memory."""
    count = max(4, min(4_096, _WORDS_BYTES // len(COLUMNS) // width))
    return ["".join(draw.choices(_LETTERS, k=width)) for _ in range(count)]
