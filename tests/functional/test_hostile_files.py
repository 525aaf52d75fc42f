"""Hostile files, at the parts that meet them first: the index and the builder, on real files."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loader.decisions.index import index_chunk
from loader.decisions.keys import KeySpec
from loader.decisions.plan import entries, sort_window
from loader.decisions.schema import build_schema
from loader.edges.source import Source
from loader.engines.builder import Builder, BuildRules
from loader.engines.outcomes import Outcomes
from loader.errors import SourceChanged
from loader.model import Dialect, KeyPart, KeySchema, ShardTask, TableDescription

DIALECT = Dialect()
SHARD = 1


@pytest.mark.parametrize("columns", [65, 5_000, 100_000])
def test_the_time_to_index_a_file_goes_by_its_bytes_whatever_the_number_of_columns(columns: int) -> None:
    row = b'"q",' + b"ab," * (columns - 2)
    data = b"".join(row + b"k%d\n" % n for n in range(3_000_000 // len(row)))
    began = time.perf_counter()
    index = index_chunk(data, 0, KeySpec((columns - 1,), ("S",)), DIALECT, columns, 1)
    # A step a column, for a few rows each, took seven seconds for the widest of these.
    assert time.perf_counter() - began < 2
    assert len(set(index.hashes.tolist())) == len(index.starts) == 3_000_000 // len(row)


class Reading(Source):
    """A source that counts the records read from it one by one."""

    count = 0

    def read(self, position: int, size: int) -> bytes:
        self.count += 1
        return super().read(position, size)


def shard_of(path: Path, outcomes: Outcomes) -> tuple[Reading, Builder, NDArray[np.void]]:
    opened = Source.open([str(path)], DIALECT)
    source = Reading(opened.files, opened.header)
    opened.close()
    table = TableDescription(
        "t", "arn", "1", "0", "http://127.0.0.1:1", "ACTIVE", KeySchema(KeyPart("id", "S"))
    )
    schema = build_schema(table, source.header, {"n": "N"})
    (span,) = source.files
    data = source.read(span.data_start, span.end - span.data_start)
    index = index_chunk(data, span.data_start, schema.key, DIALECT, schema.header.width, 1)
    found = np.concatenate(list(entries(sort_window([index]))))
    outcomes.begin(ShardTask(0, SHARD, 0, len(found), "nowhere"))
    source.count = 0
    return source, Builder(source, BuildRules(schema), outcomes), found


def test_bad_rows_of_one_key_are_entered_as_they_are_found(tmp_path: Path) -> None:
    """So that --max-rejects and --stall-timeout see that there are some, though it takes long to see all."""
    rows = 500
    (tmp_path / "a.csv").write_bytes(b"id,n\n" + b"k,bad\n" * rows)
    reads: list[int] = []
    outcomes = Outcomes(lambda: reads.append(source.count))
    source, builder, found = shard_of(tmp_path / "a.csv", outcomes)
    assert list(builder.batches(SHARD, found, 25)) == []
    source.close()
    assert len(reads) == rows
    # Once for the keys of all, and once for the row itself.
    assert reads[0] == rows + 1


def test_rows_that_changed_into_something_else_are_named_as_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,n\n" + b"k,1234\nm,5678\n" * 50)
    source, builder, found = shard_of(path, Outcomes(lambda: None))
    with path.open("r+b") as file:
        file.write(path.read_bytes().replace(b",1234", b',"123').replace(b",5678", b"\n5678"))
    with pytest.raises(SourceChanged, match=r"a\.csv was written to since the load began"):
        list(builder.batches(SHARD, found, 25))
    source.close()
