"""Files to load, and what a table must hold afterwards: found out without any code of the loader's."""

import csv
import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import xxhash

COLUMNS = ("id", *(f"column{number}" for number in range(1, 10)))
BYTES = {"small": 225, "big": 1000}
"""Of a row, its line end included; one or two more or less, as nine cells of one width allow."""
KINDS = ("plain", "mixed", "quoted")
"""No cell has quotes; a fifth of the rows has a cell that needs them, and some not ASCII; all cells have."""

_VERSION = 2
_TOGETHER = 10_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz     0123456789"


@dataclass(frozen=True, slots=True)
class Input:
    """A file, its rows, and the sum of their items as the sink makes it."""

    path: str
    rows: int
    checksum: int


def cache() -> Path:
    """Where things are kept that are made once: $DDBLOAD_PERF_CACHE, or a folder among the temporary ones."""
    folder = Path(os.environ.get("DDBLOAD_PERF_CACHE") or Path(tempfile.gettempdir()) / "ddbload-perf")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def make(rows: int, size: str, kind: str = "plain") -> Input:
    """From the cache, if it was made before. Keys are unique."""
    path = cache() / f"v{_VERSION}-{size}-{kind}-{rows}.csv"
    known = path.with_suffix(".json")
    if not (known.exists() and path.exists()):
        draft = path.with_suffix(f".{os.getpid()}")
        with draft.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(COLUMNS) + "\n")
            file.writelines(_lines(rows, BYTES[size], kind))
        draft.rename(path)
        known.write_text(json.dumps(asdict(Input(str(path), rows, expected(path)))))
    return Input(**json.loads(known.read_text()))


def expected(path: Path) -> int:
    """The sum of the items that the rows of a file become when every column is a string."""
    total = 0
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        names = next(reader)
        for row in reader:
            item = {name: {"S": cell} for name, cell in zip(names, row, strict=True)}
            total += xxhash.xxh3_64_intdigest(orjson.dumps(item))
    return total & ((1 << 64) - 1)


def _lines(rows: int, size: int, kind: str) -> Iterator[str]:
    draw = random.Random(1)
    around = 2 if kind == "quoted" else 0
    width = round((size - 17 - around) / 9) - 1 - around
    words = ["".join(draw.choices(_LETTERS, k=width)) for _ in range(4096)]
    odd = ["é" + word[2:] for word in words[:64]]
    for start in range(0, rows, _TOGETHER):
        lines = []
        for number in range(start, min(start + _TOGETHER, rows)):
            # In an order of their own, as keys mostly are.
            key = f"{number * 0x9E3779B97F4A7C15 & (1 << 64) - 1:016x}"
            cells = draw.choices(words, k=9)
            if kind == "mixed" and number % 5 == 0:
                cells[2] = f'"{cells[2][:-6]}, ""x"'
                cells[5] = odd[number % 64]
            if kind == "quoted":
                lines.append(f'"{key}","' + '","'.join(cells) + '"\n')
            else:
                lines.append(f"{key},{','.join(cells)}\n")
        yield "".join(lines)
