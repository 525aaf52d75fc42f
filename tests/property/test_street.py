"""Source to rows: whatever the windows and chunks, the rows and lines are those of one csv.reader."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.decisions.index import index_chunk
from loader.decisions.keys import KeySpec
from loader.decisions.plan import (
    ENTRY,
    ENTRY_SAME,
    ENTRY_UNCLOSED,
    LineTable,
    cut_shards,
    entries,
    sort_window,
)
from loader.decisions.rows import allow_large_cells, parse_records, plain_cells
from loader.edges.source import Source
from loader.engines.windows import Cutter, Place, WindowIndex
from loader.model import Dialect, Header, Problem

TEXT = st.text(st.sampled_from(list('",\r\n ab5\0é')), max_size=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    allow_large_cells()
    return tmp_path_factory.mktemp("street")


def by_csv(text: str) -> list[tuple[int, list[str]]]:
    """(line, row) of each record but blank lines, as csv.reader gives them."""
    reader = csv.reader(io.StringIO(text, newline=""))
    rows = []
    line = 1
    for row in reader:
        if row:
            rows.append((line, row))
        line = reader.line_num + 1
    return rows


def by_street(
    source: Source, window_size: int, chunk_size: int, limit: int | None = None
) -> list[tuple[int, list[str]]]:
    """The same by way of windows, chunks, index, sort and shards, put back into file order."""
    dialect = Dialect()
    first = source.files[0]
    start = Place(0, first.base + first.data_start, first.first_line)
    cutter = Cutter(source, dialect, window_size, limit, start, chunk_size=chunk_size)
    found: list[tuple[int, int, list[str]]] = []
    while not cutter.exhausted:
        window = WindowIndex(0, cutter.place)
        indexes = []
        while (chunk := cutter.next_chunk(window)) is not None:
            data = source.read(chunk.start, chunk.stop - chunk.start)
            indexes.append(index_chunk(data, chunk.start, KeySpec((0,), ("S",)), dialect, 1, 7))
            assert len(indexes[-1].starts) == chunk.records
        lines = LineTable(window.chunks, indexes)
        ordered = sort_window(indexes)
        pieces = list(entries(ordered))
        table = np.concatenate(pieces) if pieces else np.empty(0, ENTRY)
        shards = cut_shards(ordered, 3)
        assert [at for shard in shards for at in range(*shard)] == list(range(len(table)))
        assert not any(table[begin]["flags"] & ENTRY_SAME for begin, _ in shards)
        for position, size, flags in table.tolist():
            record = source.read(position, size)
            row = _row(record, dialect, closed=not flags & ENTRY_UNCLOSED)
            found.append((position, lines.line_of(position), row))
    return [(line, row) for _, line, row in sorted(found)]


def _row(record: bytes, dialect: Dialect, *, closed: bool) -> list[str]:
    if not closed:
        (row,) = csv.reader(io.StringIO(record.decode(), newline=""))
        return row
    # As many columns as there are cells, so that no row is a reject.
    (row,) = csv.reader([record.decode()])
    header = Header(tuple(str(i) for i in range(len(row))))
    (parsed,) = parse_records([record], header, dialect)
    assert not isinstance(parsed, Problem)
    # Where there is a way past the csv module, it leads to the same cells.
    plain = plain_cells([record], header, dialect)
    assert plain is None or [cell.decode() for cell in plain] == parsed
    return parsed


@given(text=TEXT, window_size=st.integers(1, 80), chunk_size=st.integers(1, 80))
def test_rows_and_lines_are_those_of_one_reader(
    folder: Path, text: str, window_size: int, chunk_size: int
) -> None:
    path = folder / "one.csv"
    path.write_bytes(b"any\n" + text.encode())
    source = Source.open([str(path)], Dialect())
    try:
        assert by_street(source, window_size, chunk_size) == by_csv("any\n" + text)[1:]
    finally:
        source.close()


@given(texts=st.lists(TEXT, min_size=1, max_size=4), window_size=st.integers(1, 80))
def test_several_files_are_read_one_behind_the_other(
    folder: Path, texts: list[str], window_size: int
) -> None:
    paths = [folder / f"part-{number}.csv" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(b"any\n" + text.encode())
    source = Source.open([str(path) for path in paths], Dialect())
    try:
        expected = [row for text in texts for row in by_csv("any\n" + text)[1:]]
        assert by_street(source, window_size, 16) == expected
    finally:
        source.close()


@given(text=TEXT, limit=st.integers(0, 10), window_size=st.integers(1, 80))
def test_a_limit_takes_the_first_rows(folder: Path, text: str, limit: int, window_size: int) -> None:
    path = folder / "limited.csv"
    path.write_bytes(b"any\n" + text.encode())
    source = Source.open([str(path)], Dialect())
    try:
        assert by_street(source, window_size, 8, limit) == by_csv("any\n" + text)[1:][:limit]
    finally:
        source.close()
