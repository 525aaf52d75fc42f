"""Shards to batches: whatever rows a file mixes, each is accounted for once, and as one by one."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from loader.decisions.batch import Batch, Share
from loader.decisions.index import index_chunk
from loader.decisions.plan import entries, sort_window
from loader.decisions.schema import build_schema
from loader.edges.source import Source
from loader.engines.builder import Builder, BuildRules
from loader.engines.outcomes import Outcomes
from loader.model import Counts, Dialect, KeyPart, KeySchema, RejectCode, ShardTask, TableDescription

DIALECT = Dialect()
SHARD = 3
# What stands behind the key of row number n, whose own columns are id, n (a number) and t.
PLAIN = {"plain": "{n},t{n}", "text": "{n},é\x7f\u2028日", "no number": ",t"}
GOOD = PLAIN | {
    "quoted": '{n},"a,""b""\n"',
    "stray quote": '{n},5" pipe',
    "backslash": "{n},a\\b",
    "nul": "{n},\0",
}
BAD = {
    "bad number": ("x{n},t", RejectCode.BAD_NUMBER),
    "quoted bad number": ('"{n},5",t', RejectCode.BAD_NUMBER),
    "too narrow": ("{n}", RejectCode.CELL_COUNT),
    "too wide": ("{n},t,u", RejectCode.CELL_COUNT),
    "not utf8": ("{n},\udcff", RejectCode.NOT_UTF8),
    "no key": ("{n},t", RejectCode.EMPTY_KEY),
    "unclosed": ('{n},"t', RejectCode.UNCLOSED_QUOTE),
}
# These are no rows that could stand behind another.
UNREADABLE = {"too narrow", "too wide", "not utf8", "no key", "unclosed"}


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    key: str
    record: bytes


def row_of(kind: str, key: int, number: int) -> Row:
    name = "" if kind == "no key" else f"k{key}"
    behind = GOOD[kind] if kind in GOOD else BAD[kind][0]
    record = f"{name},{behind.replace('{n}', str(number))}"
    return Row(kind, name, record.encode(errors="surrogateescape"))


@st.composite
def files(draw: st.DrawFn) -> list[Row]:
    """Rows of a file: mostly plain ones, or all kinds mixed; of keys of their own, or of a few."""
    some = draw(st.lists(st.sampled_from([*GOOD, *BAD]), max_size=4, unique=True))
    weight = draw(st.sampled_from([1, 5, 30]))
    mix = ["plain"] * weight + [kind for kind in some if kind != "unclosed"]
    # Left alone, hypothesis prefers files that fill no batch.
    least = draw(st.sampled_from([1, 10, 60]))
    kinds = draw(st.lists(st.sampled_from(mix), min_size=least, max_size=90))
    keys = draw(st.sampled_from([len(kinds) + 1, len(kinds) + 1, len(kinds) // 2 + 1, 7]))
    if "unclosed" in some:
        # Only the last record of a file can be.
        kinds.append("unclosed")
    return [row_of(kind, number % keys, number) for number, kind in enumerate(kinds)]


@dataclass(slots=True)
class Expected:
    """By the number of a row in its file; behind an item are older rows, or newer ones if the first wins."""

    items: dict[int, list[int]] = field(default_factory=dict)
    rejects: dict[int, tuple[RejectCode, bool]] = field(default_factory=dict)


def one_by_one(rows: Sequence[Row], winner: str) -> Expected:
    """What writing them one by one leaves; a reject is superseded by a row that is written after it."""
    found = Expected()
    by_key: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        if row.kind not in UNREADABLE:
            by_key.setdefault(row.key, []).append(number)
    wins: dict[str, int] = {}
    for key, numbers in by_key.items():
        good = [number for number in numbers if rows[number].kind in GOOD]
        if good:
            wins[key] = good[-1] if winner == "last" else good[0]
            older = [number for number in numbers if number < wins[key]]
            newer = [number for number in numbers if number > wins[key]]
            found.items[wins[key]] = older if winner == "last" else newer
            numbers = newer if winner == "last" else older
        for number in numbers:
            found.rejects[number] = (BAD[rows[number].kind][1], bool(good) and winner == "first")
    for number, row in enumerate(rows):
        if row.kind in UNREADABLE:
            later = row.kind not in ("no key", "unclosed") and wins.get(row.key, -1) > number
            found.rejects[number] = (BAD[row.kind][1], later)
    return found


class Bench:
    """The rows in a file of one shard, and what is built of them."""

    def __init__(self, path: Path, rows: Sequence[Row], winner: str, seed: int) -> None:
        path.write_bytes(b"".join(b"%b\n" % line for line in (b"id,n,t", *(row.record for row in rows))))
        self.source = Source.open([str(path)], DIALECT)
        key = KeySchema(KeyPart("id", "S"))
        table = TableDescription("t", "arn", "1", "0", "http://127.0.0.1:1", "ACTIVE", key)
        schema = build_schema(table, self.source.header, {"n": "N"})
        self.outcomes = Outcomes(lambda: None)
        self.builder = Builder(self.source, BuildRules(schema, DIALECT, winner), self.outcomes)
        (span,) = self.source.files
        data = self.source.read(span.data_start, span.end - span.data_start)
        index = index_chunk(data, span.data_start, schema.key, DIALECT, schema.header.width, seed)
        self.entries: NDArray[np.void] = np.concatenate(list(entries(sort_window([index]))))
        # The number of the row in the file, by entry and by position.
        order = np.argsort(self.entries["start"])
        self.numbers = {int(entry): number for number, entry in enumerate(order)}
        self.by_position = {
            int(self.entries["start"][entry]): number for entry, number in self.numbers.items()
        }

    def build(self, size: int) -> list[Batch]:
        self.outcomes.begin(ShardTask(0, SHARD, 0, len(self.entries), "nowhere"))
        return list(self.builder.batches(SHARD, self.entries, size))

    def rejects(self) -> list[tuple[int, RejectCode, bool]]:
        (state,) = self.outcomes.final_report().given_up
        assert state.counts == Counts(rejected=len(state.rejects))
        return [
            (self.by_position[reject.position], reject.problem.code, reject.superseded)
            for reject in state.rejects
        ]


def check(bench: Bench, rows: Sequence[Row], expected: Expected, size: int) -> list[Batch]:
    built = bench.build(size)
    rejects = bench.rejects()
    items = [item for batch in built for item in batch.items]
    behind = {bench.numbers[item.entry]: [bench.numbers[entry] for entry in item.older] for item in items}
    assert behind == expected.items
    assert {number: told for number, *told in rejects} == {
        number: list(told) for number, told in expected.rejects.items()
    }
    once = [
        *behind,
        *(number for older in behind.values() for number in older),
        *(each[0] for each in rejects),
    ]
    assert sorted(once) == list(range(len(rows)))
    for item in items:
        assert (item.shard, item.failures) == (SHARD, 0)
        assert cells(item.json) == cells_of(rows[bench.numbers[item.entry]])
    for batch in built:
        assert 1 <= len(batch) <= size
        assert batch.bytes == sum(len(item.json) for item in batch.items)
        assert batch.shares == (Share(SHARD, len(batch), sum(len(item.older) for item in batch.items)),)
    # What is left over of whole batches, and what was left over of that.
    assert sum(len(batch) < size for batch in built) <= 2
    return built


def cells(item: bytes) -> list[str]:
    found = json.loads(item)
    return [found["id"]["S"], found.get("n", {"N": ""})["N"], found["t"]["S"]]


def cells_of(row: Row) -> list[str]:
    (found,) = csv.reader([row.record.decode()])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builder")


@given(
    rows=files(), size=st.integers(1, 25), winner=st.sampled_from(["last", "first"]), seed=st.integers(0, 9)
)
def test_every_row_of_any_file_is_accounted_for_once(
    folder: Path, rows: list[Row], size: int, winner: str, seed: int
) -> None:
    bench = Bench(folder / "any.csv", rows, winner, seed)
    try:
        built = check(bench, rows, one_by_one(rows, winner), size)
    finally:
        bench.source.close()
    if {row.kind for row in rows} <= PLAIN.keys() and len({row.key for row in rows}) == len(rows):
        full, rest = divmod(len(rows), size)
        assert [len(batch) for batch in built] == [size] * full + [rest] * (rest > 0)


@pytest.mark.parametrize("winner", ["last", "first"])
@pytest.mark.parametrize("size", range(1, 26))
def test_a_file_of_everything_is_the_same_at_every_batch_size(folder: Path, size: int, winner: str) -> None:
    kinds = [kind for kind in (*GOOD, *BAD) if kind != "unclosed"]
    # Plain ones in the main; then of each kind one of its own key, and one before and one behind a good row.
    rows = [row_of("plain", number, number) for number in range(200)]
    rows += [row_of(kind, 300 + number, number) for number, kind in enumerate(kinds)]
    rows += [row_of(kind, 400 + number, number) for number, kind in enumerate(kinds)]
    rows += [row_of("plain", 400 + number, number) for number in range(len(kinds))]
    rows += [row_of(kind, number, number) for number, kind in enumerate(kinds)]
    rows.append(row_of("unclosed", 5, 5))
    bench = Bench(folder / "everything.csv", rows, winner, 1)
    try:
        check(bench, rows, one_by_one(rows, winner), size)
    finally:
        bench.source.close()
