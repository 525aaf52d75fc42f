"""From index to shards: equal hashes side by side in file order, cut where they change."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from loader.config import RECORD_LIMIT
from loader.decisions.index import UNCLOSED, ChunkIndex, index_chunk
from loader.decisions.keys import KeySpec
from loader.decisions.plan import (
    ENTRY,
    ENTRY_SAME,
    ENTRY_UNCLOSED,
    SHARD_BYTES,
    Chunk,
    LineTable,
    SortedWindow,
    cut_shards,
    entries,
    shard_records,
    sort_window,
)
from loader.model import Dialect

PIECE = 1 << 16
"""Entries come in pieces of so many."""
NOTHING = np.empty(0, np.uint32)


def chunk_of(hashes: Sequence[int], sizes: Sequence[int] | None = None, position: int = 0) -> ChunkIndex:
    """Records with these hashes, a hundred bytes apart."""
    return ChunkIndex(
        np.array(hashes, np.uint64),
        position + 100 * np.arange(len(hashes), dtype=np.int64),
        np.array([50] * len(hashes) if sizes is None else sizes, np.uint32),
        NOTHING,
        NOTHING,
        len(hashes),
    )


def spread(number: int) -> int:
    """A hash of which the upper bits tell numbers apart: the lower ones make room for the record's number."""
    return number * 0x9E3779B97F4A7C15 % (1 << 64)


def table_of(window: SortedWindow) -> NDArray[np.void]:
    pieces = list(entries(window))
    return np.concatenate(pieces) if pieces else np.empty(0, ENTRY)


def flags_of(window: SortedWindow) -> list[int]:
    flags: list[int] = table_of(window)["flags"].tolist()
    return flags


def grouped(groups: Sequence[int], sizes: Sequence[int] | None = None) -> SortedWindow:
    """A window whose sorted index has groups of so many records with one hash; `sizes` in this order."""
    bits = max(1, (sum(groups) - 1).bit_length())
    hashes = [number << bits for number, length in enumerate(groups) for _ in range(length)]
    return sort_window([chunk_of(hashes, sizes)])


# --- sorting --------------------------------------------------------------------------------------


def test_equal_hashes_stand_together_in_file_order() -> None:
    keys = [3, 1, 2, 3, 3, 1, 9, 2, 3]
    window = sort_window([chunk_of([spread(key) for key in keys])])
    found = table_of(window)
    order = [start // 100 for start in found["start"].tolist()]
    assert [keys[at] for at in order] == sorted(keys, key=spread)
    assert [at for at in order if keys[at] == 3] == [0, 3, 4, 8]
    assert [at for at in order if keys[at] == 1] == [1, 5]
    same = [False, *(keys[left] == keys[right] for left, right in pairwise(order))]
    assert found["flags"].tolist() == [ENTRY_SAME * equal for equal in same]


def test_file_order_goes_on_from_chunk_to_chunk() -> None:
    chunks = [chunk_of([spread(7), spread(5)] * 3, position=position) for position in (0, 1_000, 5_000)]
    found = table_of(sort_window(chunks))
    of_seven, of_five = found["start"][:9], found["start"][9:]
    if spread(7) > spread(5):
        of_seven, of_five = of_five, of_seven
    assert of_seven.tolist() == [0, 200, 400, 1_000, 1_200, 1_400, 5_000, 5_200, 5_400]
    assert of_five.tolist() == [100, 300, 500, 1_100, 1_300, 1_500, 5_100, 5_300, 5_500]


def test_sizes_and_the_unclosed_flag_go_with_their_record() -> None:
    hashes = [spread(number) for number in (5, 4, 3, 2, 1)]
    found = table_of(sort_window([chunk_of(hashes, [0, 1, RECORD_LIMIT, 7, 9 | UNCLOSED])]))
    by_start = {start: (size, flags) for start, size, flags in found.tolist()}
    assert by_start == {
        0: (0, 0),
        100: (1, 0),
        200: (RECORD_LIMIT, 0),
        300: (7, 0),
        400: (9, ENTRY_UNCLOSED),
    }


def test_a_flag_does_not_hide_the_other() -> None:
    assert flags_of(sort_window([chunk_of([spread(1)] * 2, [5, 5 | UNCLOSED])])) == [
        0,
        ENTRY_SAME | ENTRY_UNCLOSED,
    ]


def test_hashes_that_differ_in_the_lowest_bits_alone_are_candidates() -> None:
    # The builder compares keys, so this is slower and never wrong.
    assert flags_of(sort_window([chunk_of([0b1000, 0b1001, 0b1010, 0b1011])])) == [0, *[ENTRY_SAME] * 3]
    assert flags_of(sort_window([chunk_of([0b1000, 0b1100, 0b1010, 0b1110])])) == [
        0,
        ENTRY_SAME,
        0,
        ENTRY_SAME,
    ]


def test_the_highest_bit_of_a_hash_counts() -> None:
    found = table_of(sort_window([chunk_of([(1 << 64) - 1, 0, 1 << 63, (1 << 63) - 1])]))
    assert [start // 100 for start in found["start"].tolist()] == [1, 3, 2, 0]
    assert not found["flags"].any()


@pytest.mark.parametrize("chunks", [[], [chunk_of([])], [chunk_of([]), chunk_of([])]])
def test_a_window_without_records_has_no_entries_and_no_shards(chunks: list[ChunkIndex]) -> None:
    window = sort_window(chunks)
    assert len(window) == 0
    assert list(entries(window)) == []
    assert cut_shards(window, 10) == []


def test_a_single_record_is_a_window() -> None:
    window = sort_window([chunk_of([(1 << 64) - 1])])
    assert table_of(window).tolist() == [(0, 50, 0)]
    assert cut_shards(window, 1) == [(0, 1)]


def test_the_indexes_are_left_as_they_were() -> None:
    chunk = chunk_of([spread(2), spread(1)])
    sort_window([chunk])
    assert chunk.hashes.tolist() == [spread(2), spread(1)]
    assert chunk.starts.tolist() == [0, 100]


# --- more than one piece --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 5])
def test_a_key_that_fills_several_pieces_is_one_group(count: int) -> None:
    window = sort_window([chunk_of(np.full(count, spread(3), np.uint64).tolist())])
    pieces = list(entries(window))
    assert [len(piece) for piece in pieces] == [
        *[PIECE] * (count // PIECE),
        *([count % PIECE] if count % PIECE else []),
    ]
    found = np.concatenate(pieces)
    assert found["start"].tolist() == list(range(0, 100 * count, 100))
    assert found["flags"][0] == 0
    assert (found["flags"][1:] == ENTRY_SAME).all()


def test_a_key_that_begins_with_a_piece_is_not_taken_for_the_one_before() -> None:
    window = grouped([PIECE, 3, PIECE - 3, 1, 1])
    found = table_of(window)["flags"]
    assert np.flatnonzero(found == 0).tolist() == [0, PIECE, PIECE + 3, 2 * PIECE, 2 * PIECE + 1]


def test_a_key_that_lies_across_a_border_is_one_group() -> None:
    window = grouped([PIECE - 2, 5, PIECE - 4, 2])
    found = table_of(window)["flags"]
    assert np.flatnonzero(found == 0).tolist() == [0, PIECE - 2, PIECE + 3, 2 * PIECE - 1]


def test_many_pieces_are_what_a_sort_in_python_gives() -> None:
    random = np.random.default_rng(5)
    hashes = random.integers(0, 1 << 64, 60_000, np.uint64)[random.integers(0, 60_000, 150_000)].tolist()
    cut = [0, 1, 70_000, 70_000, 150_000]
    chunks = [chunk_of(hashes[start:stop], position=100 * start) for start, stop in pairwise(cut)]
    found = table_of(sort_window(chunks))
    # 150,000 records are numbered with 18 bits.
    expected = sorted((hash_ >> 18, 100 * number) for number, hash_ in enumerate(hashes))
    assert found["start"].tolist() == [start for _, start in expected]
    same = [False, *(left[0] == right[0] for left, right in pairwise(expected))]
    assert ((found["flags"] & ENTRY_SAME) != 0).tolist() == same


# --- shards ---------------------------------------------------------------------------------------


def covers(shards: list[tuple[int, int]], window: SortedWindow) -> bool:
    """Whether each entry is in exactly one shard, none is empty, and no group is cut."""
    flags = flags_of(window)
    return (
        [at for shard in shards for at in range(*shard)] == list(range(len(window)))
        and all(start < stop for start, stop in shards)
        and not any(flags[start] & ENTRY_SAME for start, _ in shards)
    )


@pytest.mark.parametrize(
    ("groups", "records", "shards"),
    [
        ([1] * 10, 3, [(0, 3), (3, 6), (6, 9), (9, 10)]),
        ([1] * 6, 3, [(0, 3), (3, 6)]),
        ([1] * 6, 100, [(0, 6)]),
        ([1] * 3, 1, [(0, 1), (1, 2), (2, 3)]),
        # A group that begins before the mark is taken whole.
        ([2, 2, 2, 2], 3, [(0, 4), (4, 8)]),
        ([1, 1, 5, 1, 1], 3, [(0, 7), (7, 9)]),
    ],
)
def test_shards_are_cut_by_records_where_the_hash_changes(
    groups: list[int], records: int, shards: list[tuple[int, int]]
) -> None:
    assert cut_shards(grouped(groups), records) == shards


@pytest.mark.parametrize("records", [1, 2, 500])
@pytest.mark.parametrize("giant", [20_000, PIECE - 1, PIECE, PIECE + 1, PIECE + 2, 2 * PIECE + 1, 3 * PIECE])
def test_a_giant_group_of_one_key_is_one_shard(records: int, giant: int) -> None:
    assert cut_shards(grouped([giant]), records) == [(0, giant)]
    behind = records + giant
    assert cut_shards(grouped([records, giant, records]), records) == [
        (0, records),
        (records, behind),
        (behind, behind + records),
    ]


def test_rows_to_write_are_no_more_than_a_shard_takes() -> None:
    quarter = SHARD_BYTES // 4
    assert cut_shards(grouped([1] * 9, [quarter] * 9), 500) == [(0, 4), (4, 8), (8, 9)]
    assert cut_shards(grouped([1] * 9, [quarter + 1] * 9), 500) == [(0, 3), (3, 6), (6, 9)]
    assert cut_shards(grouped([1] * 9, [quarter] * 9), 3) == [(0, 3), (3, 6), (6, 9)]


def test_only_the_last_row_of_a_group_counts_as_written() -> None:
    half = SHARD_BYTES // 2
    assert cut_shards(grouped([3, 3], [half, half, 9] * 2), 500) == [(0, 6)]
    assert cut_shards(grouped([3, 3], [9, 9, half + 1] * 2), 500) == [(0, 3), (3, 6)]


@pytest.mark.parametrize("size", [SHARD_BYTES, SHARD_BYTES * 2])
def test_a_record_as_large_as_a_shard_goes_alone(size: int) -> None:
    assert cut_shards(grouped([1] * 4, [1, size, 1, 1]), 500) == [(0, 1), (1, 2), (2, 4)]


def test_an_unclosed_record_counts_with_its_bytes() -> None:
    # Were its flag taken for a part of its size, it would fill more than a shard.
    assert cut_shards(grouped([1] * 3, [5, 5 | UNCLOSED, 5]), 500) == [(0, 3)]


@pytest.mark.parametrize("seed", range(8))
def test_shards_are_as_large_as_their_limits_let_them_be(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.geometric(0.4, 3_000).tolist()
    sizes = random.integers(0, SHARD_BYTES // 40, sum(groups)).tolist()
    records = int(random.integers(1, 200))
    window = grouped(groups, sizes)
    shards = cut_shards(window, records)
    assert covers(shards, window)
    stops = list(accumulate(groups))
    last_rows = dict(zip(stops, (sizes[stop - 1] for stop in stops), strict=True))
    for start, stop in shards:
        inside = [at for at in stops if start < at <= stop]
        following = next((at for at in stops if at > stop), None)
        volume = sum(last_rows[at] for at in inside)
        assert volume <= SHARD_BYTES
        # But for its last group it would not have its number of records.
        assert len(inside) == 1 or inside[-2] < start + records
        assert following is None or stop >= start + records or volume + last_rows[following] > SHARD_BYTES


def test_shards_are_the_same_on_every_run() -> None:
    hashes = [spread(number % 700) for number in range(2_000)]
    whole = sort_window([chunk_of(hashes)])
    in_parts = sort_window([chunk_of(hashes[:3]), chunk_of(hashes[3:], position=300)])
    assert cut_shards(whole, 7) == cut_shards(in_parts, 7)
    assert table_of(whole).tobytes() == table_of(in_parts).tobytes()


@pytest.mark.parametrize(
    ("source_bytes", "workers", "records"),
    [
        (0, 1, 500),
        (1 << 20, 4, 500),
        (200 * 40 * 501, 1, 501),
        (200 * 40 * 4 * 3_000, 4, 3_000),
        (200 * 40 * 10_000, 1, 10_000),
        (1 << 50, 1, 10_000),
        (1 << 50, 64, 10_000),
    ],
)
def test_a_shard_holds_some_share_of_a_workers_rows(source_bytes: int, workers: int, records: int) -> None:
    assert shard_records(source_bytes, workers) == records


# --- lines ----------------------------------------------------------------------------------------

SPEC = KeySpec((0,), ("S",))


def table_of_lines(*stretches: tuple[int, int, bytes]) -> LineTable:
    """Of chunks at these positions, beginning on these lines, with these bytes."""
    indexes = [index_chunk(data, position, SPEC, Dialect(), 1, 1) for position, _, data in stretches]
    chunks = [
        Chunk(number, position, position + len(data), line, len(index.starts))
        for number, ((position, line, data), index) in enumerate(zip(stretches, indexes, strict=True))
    ]
    return LineTable(chunks, indexes)


def test_a_record_is_on_its_line() -> None:
    table = table_of_lines((10, 2, b"a\nb\r\nc\rd"))
    assert [table.line_of(position) for position in (10, 12, 15, 17)] == [2, 3, 4, 5]


def test_blank_lines_and_line_ends_in_quotes_are_lines() -> None:
    table = table_of_lines((10, 2, b'\n\na\n"b\nb\nb"\nc\n\nd\n'))
    assert [table.line_of(position) for position in (12, 14, 22, 25)] == [4, 5, 8, 10]


def test_each_chunk_has_lines_of_its_own() -> None:
    # The third begins another file, behind a header of two lines.
    table = table_of_lines((10, 2, b'a\n"b\n"\n'), (17, 5, b"\nc\nd\n"), (1_000, 3, b"e\n\nf"))
    found = {position: table.line_of(position) for position in (10, 12, 18, 20, 1_000, 1_003)}
    assert found == {10: 2, 12: 3, 18: 6, 20: 7, 1_000: 3, 1_003: 5}


def test_a_chunk_of_one_record_is_found_between_others() -> None:
    table = table_of_lines((5, 2, b"a\n"), (7, 3, b"b\n"), (9, 4, b"c\n"))
    assert [table.line_of(position) for position in (5, 7, 9)] == [2, 3, 4]
