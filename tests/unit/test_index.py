"""The index of a chunk: its form, its place hashes, its line table."""

import itertools
import pickle

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from loader.decisions.index import UNCLOSED, ChunkIndex, index_chunk, lines_before, place_hash
from loader.decisions.keys import KeySpec
from loader.model import Dialect

SEED = 77
ID = KeySpec((0,), ("S",))
PADDING = b"the last row is long enough that no other is near the end of the data,x\n"


def index(data: bytes, spec: KeySpec = ID, width: int = 2, position: int = 0, seed: int = SEED) -> ChunkIndex:
    return index_chunk(data, position, spec, Dialect(), width, seed)


def hashed(key: bytes, seed: int = SEED) -> int:
    return xxh3_64_intdigest(key, seed)


def test_a_record_has_the_hash_of_its_key_its_position_and_its_size() -> None:
    found = index(b"one,1\r\ntwo,2\r\n", position=1 << 40)
    assert found.hashes.tolist() == [hashed(b"one"), hashed(b"two")]
    assert found.starts.tolist() == [1 << 40, (1 << 40) + 7]
    assert found.sizes.tolist() == [5, 5]
    assert found.line_count == 2


def test_the_arrays_have_the_types_that_were_agreed() -> None:
    for found in (index(b""), index(b"\n\na,b\n")):
        assert [column.dtype for column in found[:5]] == [
            np.dtype(name) for name in ("uint64", "int64", "uint32", "uint32", "uint32")
        ]
        assert type(found.line_count) is int


def test_an_empty_chunk_has_no_records() -> None:
    found = index(b"")
    assert (len(found.hashes), len(found.starts), len(found.sizes), found.line_count) == (0, 0, 0, 0)


def test_the_index_crosses_process_borders() -> None:
    found = index(b'a,b\n\nc,"d\n"\n')
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, ChunkIndex)
    assert [np.asarray(column).tolist() for column in again] == [
        np.asarray(column).tolist() for column in found
    ]


def test_another_seed_gives_other_hashes() -> None:
    assert index(b"one,1\n", seed=1).hashes[0] != index(b"one,1\n", seed=2).hashes[0]


@pytest.mark.parametrize("seed", [0, 1, (1 << 64) - 1])
def test_any_64_bit_seed_will_do(seed: int) -> None:
    assert index(b"one,1\n,1\n", seed=seed).hashes.tolist() == [
        hashed(b"one", seed),
        place_hash(6, seed),
    ]


@pytest.mark.parametrize("row", [b",x", b'"",x', b'""', b"five,x", b"1e126,x", b'"5,x'])
@pytest.mark.parametrize("padding", [b"", PADDING])
def test_a_record_whose_key_cannot_be_read_has_a_place_of_its_own(row: bytes, padding: bytes) -> None:
    if row == b'"5,x':
        padding = b""
    found = index(row + b"\n" + padding, KeySpec((0,), ("N",)), position=500)
    assert found.hashes[0] == hashed((500).to_bytes(8, "little"), SEED + 1) == place_hash(500, SEED)


@pytest.mark.parametrize("padding", [b"", PADDING])
def test_a_record_with_too_few_cells_has_a_place_of_its_own(padding: bytes) -> None:
    found = index(b"a,1\nb\nc,3\n" + padding, KeySpec((1,), ("S",)))
    assert found.hashes.tolist()[:3] == [hashed(b"1"), place_hash(4, SEED), hashed(b"3")]


def test_a_ragged_record_that_has_the_key_keeps_its_hash() -> None:
    # Too long and too short by as many cells: the delimiters are as many as in good rows.
    rows = {b"a,b,c,d,e": b"c", b"x,y,z": b"z", b"k,l,m,n": b"m"}
    for order in itertools.permutations(rows):
        found = index(b"\n".join(order) + b"\n" + b"p,q,r,s\n" * 3, KeySpec((2,), ("S",)), width=4)
        assert found.hashes.tolist() == [hashed(key) for key in [*(rows[row] for row in order), *[b"r"] * 3]]


@pytest.mark.parametrize("text", [b"5", b'"5"', b"5.0", b"05", b"+5", b"5e0", b'"0.5e1"', b"000000005"])
@pytest.mark.parametrize("padding", [b"", PADDING])
def test_spellings_of_one_number_have_one_hash(text: bytes, padding: bytes) -> None:
    assert index(text + b",x\n" + padding, KeySpec((0,), ("N",))).hashes[0] == hashed(b"5")


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        (b'"a,b"', b"a,b"),
        (b'"a\r\nb"', b"a\r\nb"),
        (b'"a""b"', b'a"b'),
        (b'"a"b"c"', b'ab"c"'),
        (b'""""', b'"'),
        (b'5" pipe', b'5" pipe'),
        (b' "a"', b' "a"'),
        (b"a\0", b"a\0"),
        (b"x" * 8, b"x" * 8),
        (b"y" * 1000, b"y" * 1000),
        (b'"' + b"z" * 1000 + b'"', b"z" * 1000),
    ],
)
@pytest.mark.parametrize("column", [0, 1, 5])
@pytest.mark.parametrize("padding", [b"", b"1,2,3,4,5," + PADDING])
def test_quotes_make_no_difference_to_a_key(cell: bytes, key: bytes, column: int, padding: bytes) -> None:
    row = [*b'1,"2",3,"4""4",5,'.split(b",")[:column], cell]
    found = index(b",".join(row) + b"\n" + padding, KeySpec((column,), ("S",)), width=6)
    assert found.hashes[0] == hashed(key)


def test_a_key_that_is_not_utf8_stops_nothing() -> None:
    assert len(index(b"\xff\xfe,x\nb,\xff\n").hashes) == 2


def test_a_quote_that_never_closes_is_flagged_and_kept_in_its_place() -> None:
    found = index(b'a,b\na,"b\nc', position=10)
    assert found.hashes.tolist() == [hashed(b"a"), place_hash(14, SEED)]
    assert found.sizes.tolist() == [3, 6 | UNCLOSED]


def test_lines_count_blank_ones_and_those_inside_quotes() -> None:
    found = index(b'\n\na,1\nb,2\n"c\n\rc",3\rd,4\r\n\r\ne,5\nf,6')
    lines = [lines_before(found.line_records, found.line_extra, record) for record in range(6)]
    assert lines == [2, 3, 4, 7, 9, 10]
    assert found.line_records.tolist() == [0, 3, 4]
    assert found.line_extra.tolist() == [2, 4, 5]
    assert found.line_count == 10


def test_a_file_of_a_line_a_record_needs_no_line_table() -> None:
    found = index(b"a,1\nb,2\nc,3\n")
    assert len(found.line_records) == len(found.line_extra) == 0
    assert lines_before(found.line_records, found.line_extra, 2) == 2
