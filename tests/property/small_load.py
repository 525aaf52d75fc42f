"""Small files of rows, some bad and some with one key, and what has to become of them."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loader.model import REJECT_COLUMNS, Counts, Problem, Reject, RejectCode

HEADER = ("id", "v", "note")
FIRST_LINE = ",".join((*HEADER, *REJECT_COLUMNS)).encode() + b"\r\n"
"""Of a reject file."""
_PROBLEM = Problem(RejectCode.BAD_NUMBER, "is not a number", "v")


@dataclass(frozen=True, slots=True)
class Row:
    """A row and where it is: `position` in the virtual source, `line` (from 1) in the file `path`."""

    key: str
    value: str
    note: str
    position: int
    path: str
    line: int

    @property
    def record(self) -> bytes:
        return f"{self.key},{self.value},{self.note}".encode()

    @property
    def bad(self) -> bool:
        return not self.key or self.value == "bad"

    @property
    def reject(self) -> Reject:
        return Reject(self.position, len(self.record), _PROBLEM)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of some rows, all rows of their keys in a window among them."""

    rows: tuple[Row, ...]
    counts: Counts
    rejects: tuple[Row, ...]


def write_files(folder: Path, files: Sequence[Sequence[tuple[str, str, str]]]) -> list[Row]:
    """Write `part-0.csv`, ... of (key, value, note as it stands there); all rows in order."""
    rows: list[Row] = []
    position = 0
    for number, cells in enumerate(files):
        path = folder / f"part-{number}.csv"
        data = ",".join(HEADER).encode() + b"\n"
        for key, value, note in cells:
            row = Row(key, value, note, position + len(data), str(path), 1 + data.count(b"\n"))
            rows.append(row)
            data += row.record + b"\n"
        path.write_bytes(data)
        position += len(data)
    return rows


def fate_of(rows: Iterable[Row]) -> Fate:
    """The last good row of a key is written; bad ones behind it are rejects, all before it duplicates."""
    ordered = tuple(sorted(rows, key=lambda row: row.position))
    rejects: list[Row] = []
    settled: set[str] = set()
    duplicates = 0
    for row in reversed(ordered):
        if row.key in settled:
            duplicates += 1
        elif row.bad:
            rejects.append(row)
        else:
            settled.add(row.key)
    return Fate(ordered, Counts(len(settled), duplicates, len(rejects)), tuple(rejects))


def windows_of(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """A window ends before the first row that begins `size` bytes or more behind its first one."""
    windows: list[list[Row]] = []
    for row in rows:
        if not windows or row.position >= windows[-1][0].position + size:
            windows.append([])
        windows[-1].append(row)
    return windows


def rejects_in(path: Path) -> list[tuple[str, ...]]:
    """The rows of a reject file: own cells, file, line."""
    with path.open(newline="", encoding="utf-8") as file:
        first, *rest = csv.reader(file)
    assert tuple(first[:3]) == HEADER
    return [tuple(row[:5]) for row in rest]


def as_rejects(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """How these rows are to stand in the reject file, in this order."""
    return [(row.key, row.value, row.note.strip('"'), row.path, str(row.line)) for row in rows]
