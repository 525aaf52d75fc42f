"""Files to load whose right outcome is known, found without the loader's code."""

import csv
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

COLUMNS = ("id", "n", "age", "text")
TYPES = {"n": "N", "age": "N"}
"""`--types` of them; the key of the table is `id`."""
KEY = "id:S"
ORDER = "n"
"""The attribute that tells the place of its row in the file: `order_by` of the server."""
BAD = "unknown"
"""An age that is no number: its row is a reject."""


class Row(NamedTuple):
    """`n` is its place among the rows of the file, from 1."""

    id: str
    n: int
    age: str
    text: str

    @property
    def line(self) -> int:
        """The header takes the first, and no row more than one."""
        return self.n + 1


@dataclass(frozen=True, slots=True)
class Right:
    """What a load has to come to: `rejects` are lines of the file, ascending."""

    windows: int
    written: int
    duplicates: int
    rejects: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file of these rows; `starts` are the bytes where they begin, `size` is where the last one ends."""

    path: Path
    rows: tuple[Row, ...]
    starts: tuple[int, ...]
    size: int

    @property
    def keys(self) -> int:
        """How many different ones there are."""
        return len({row.id for row in self.rows})

    def window_size(self, windows: int) -> int:
        """Bytes of a window such that there are at least so many."""
        return max(1, (self.size - self.starts[0]) // windows)

    def table(self) -> dict[str, tuple[str, str, str]]:
        """What writing the rows one by one leaves: {id: (n, age, text)}."""
        return {row.id: (str(row.n), row.age, row.text) for row in self.rows if row.age != BAD}

    def right(self, window_size: int) -> Right:
        """
        The outcome by the rule: of the rows of one key in one window the last good one is written, those
        behind it are rejects, those before it duplicates.
        """
        windows = written = duplicates = 0
        rejects: list[int] = []
        for window in self._windows(window_size):
            windows += 1
            settled: set[str] = set()
            for row in reversed(window):
                if row.id in settled:
                    duplicates += 1
                elif row.age == BAD:
                    rejects.append(row.line)
                else:
                    written += 1
                    settled.add(row.id)
        return Right(windows, written, duplicates, tuple(sorted(rejects)))

    def _windows(self, window_size: int) -> Iterator[tuple[Row, ...]]:
        begin = 0
        while begin < len(self.rows):
            end = bisect_left(self.starts, self.starts[begin] + window_size)
            yield self.rows[begin:end]
            begin = end


def make(path: Path, rows: int, seed: int, *, repeats: float = 0.05, bad: float = 0.0) -> File:
    """
    Write a file of rows of some 80 bytes. A share `repeats` of them have the key of any earlier row, and a
    share `bad` cannot become an item.
    """
    made = tuple(_rows(rows, Random(seed), repeats, bad))
    lines = _Lines()
    writer = csv.writer(lines)
    for cells in (COLUMNS, *made):
        writer.writerow(cells)
    path.write_bytes(b"".join(lines.all))
    starts, position = [], 0
    for line in lines.all:
        starts.append(position)
        position += len(line)
    return File(path, made, tuple(starts[1:]), position)


def _rows(rows: int, random: Random, repeats: float, bad: float) -> Iterator[Row]:
    ids: list[str] = []
    for n in range(1, rows + 1):
        again = ids and random.random() < repeats
        ids.append(random.choice(ids) if again else f"k{n}")
        age = BAD if bad and random.random() < bad else str(random.randrange(100))
        text = random.randbytes(28).hex()
        # Now and then what the csv module is needed for, and more than ASCII.
        yield Row(ids[-1], n, age, f'{text}, "é"' if n % 37 == 0 else text)


class _Lines:
    """Takes what a csv.writer writes: one call a row."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def write(self, line: str) -> None:
        self.all.append(line.encode())
