"""The quick way from records to cells: the same that csv.reader gives, and taken wherever it can be."""

import csv

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.decisions.rows import parse_records, plain_cells, whole_rows
from loader.model import Dialect, Header, Problem

_COMMAS = Dialect()
_DIALECTS = [_COMMAS, Dialect(";", "'"), Dialect("|", '"')]
# Line ends that only some count as such, what JSON escapes, what DynamoDB JSON is made of, and no UTF-8.
_HARMLESS: list[bytes | str] = [
    b"a",
    b" ",
    b"\x7f",
    b"'",
    b"/",
    b"%b",
    b"}},{:",
    *("é", "\x85", "\u2028", "\u2029", "\ufeff", "日本", "🎉", "\U0010ffff"),
]
_HARMFUL: list[bytes | str] = [
    b'"',
    b"\\",
    b"\0",
    b"\t",
    b"\r",
    b"\n",
    b"\x1f",
    b"\xff",
    b"\xe2\x82",
    b"\x80",
    b"\xed\xa0\x80",
]


def _bytes(pieces: list[bytes | str]) -> bytes:
    return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)


harmless_cells = st.lists(st.sampled_from(_HARMLESS), max_size=3).map(_bytes)
nasty_cells = st.lists(st.sampled_from([*_HARMLESS, *_HARMFUL]), max_size=3).map(_bytes)


def header_of(width: int, reject_columns: int = 0) -> Header:
    return Header(tuple(f"c{number}" for number in range(width - reject_columns)), reject_columns)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[bytes], Header, Dialect]:
    """Records that are plain but for few cells, most of them as wide as the header; none is empty."""
    width = draw(st.sampled_from([1, 2, 3, 7]))
    header = header_of(width, 6 if width == 7 and draw(st.booleans()) else 0)
    dialect = draw(st.sampled_from(_DIALECTS))
    cells = draw(st.sampled_from([harmless_cells, harmless_cells | nasty_cells]))
    widths = draw(st.sampled_from([st.just(width), st.just(width), st.integers(1, width + 1)]))
    rows = draw(
        st.lists(widths.flatmap(lambda wide: st.lists(cells, min_size=wide, max_size=wide)), max_size=6)
    )
    records = [dialect.delimiter.encode().join(row) for row in rows]
    return [record for record in records if record], header, dialect


def by_csv(record: bytes, dialect: Dialect) -> list[str]:
    (row,) = csv.reader([record.decode()], delimiter=dialect.delimiter, quotechar=dialect.quote)
    return row


def is_utf8(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_plain(record: bytes, header: Header, dialect: Dialect) -> bool:
    return (
        not any(byte < 0x20 or byte in b'"\\' or byte in dialect.quote.encode() for byte in record)
        and record.count(dialect.delimiter.encode()) == header.width - 1
        and is_utf8(record)
    )


@given(table=tables())
@example(table=([], header_of(1), _COMMAS))
@example(table=([b",,"], header_of(3), _COMMAS))
@example(table=([b"a,b", b"c", b"d,e,f"], header_of(2), _COMMAS))
@example(table=([b"a,\xc3", b"\xa9,b"], header_of(2), _COMMAS))
def test_plain_cells_are_those_of_csv_and_of_every_set_of_plain_records(
    table: tuple[list[bytes], Header, Dialect],
) -> None:
    records, header, dialect = table
    cells = plain_cells(records, header, dialect)
    if not all(is_plain(record, header, dialect) for record in records):
        assert cells is None
    else:
        assert cells is not None
        rows = [by_csv(record, dialect) for record in records]
        assert all(len(row) == header.width for row in rows)
        assert cells == [cell.encode() for row in rows for cell in row]


@given(table=tables())
def test_plain_cells_stand_in_json_as_they_are(table: tuple[list[bytes], Header, Dialect]) -> None:
    for cell in plain_cells(*table) or ():
        assert orjson.loads(b'"%b"' % cell) == cell.decode()
        assert orjson.dumps(cell.decode()) == b'"%b"' % cell


@pytest.mark.parametrize("byte", range(256))
def test_each_byte_alone_is_taken_as_csv_takes_it_or_left(byte: int) -> None:
    records = [b"a,b", b"c," + bytes([byte]) + b"d", b"e,f"]
    cells = plain_cells(records, header_of(2), _COMMAS)
    if byte < 0x20 or byte in b'",\\' or byte >= 0x80:
        assert cells is None
    else:
        assert cells == [b"a", b"b", b"c", bytes([byte]) + b"d", b"e", b"f"]
        assert [cell.decode() for cell in cells] == [
            cell for record in records for cell in by_csv(record, _COMMAS)
        ]


@given(table=tables())
def test_whole_rows_are_all_rows_or_none(table: tuple[list[bytes], Header, Dialect]) -> None:
    records, header, dialect = table
    # Those that csv can read by themselves: the index gives no others.
    records = [record for record in records if not set(record) & set(b"\r\n\"'")]
    rows = parse_records(records, header, dialect)
    whole = whole_rows(records, header, dialect)
    if any(isinstance(row, Problem) for row in rows):
        assert whole is None
    else:
        assert whole == rows
