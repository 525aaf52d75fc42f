"""Records to rows: the bytes of whole records, decoded and split into cells as Python's csv module does."""

import csv
from collections.abc import Iterable, Sequence

import numpy as np

from loader.config import RECORD_LIMIT
from loader.decisions.attributes import BOOLEANS
from loader.decisions.schema import clipped
from loader.model import REJECT_COLUMNS, Dialect, Header, Problem, RejectCode

_SPACE = 0x20
"""Bytes below it are control characters."""


def allow_large_cells() -> None:
    """
    Let csv take any cell a record can hold; its own limit is 131,072 characters.

    The limit is one for the process: call this once, where the process starts.
    """
    csv.field_size_limit(max(csv.field_size_limit(), RECORD_LIMIT))


def plain_cells(records: Sequence[bytes], header: Header, dialect: Dialect) -> list[bytes] | None:
    """
    The cells of all `records`, one behind another and `header.width` a row, in UTF-8; or None.

    Only where that is the same that the csv module gives, and a cell stands in JSON as it is: no record has a
    quote, a backslash or a control character, each has the right number of cells, all is UTF-8. Most files
    are nothing else, and this is a quarter of the work.
    """
    delimiter = dialect.delimiter.encode()
    joined = delimiter.join(records)
    if b'"' in joined or b"\\" in joined or dialect.quote.encode() in joined:
        return None
    if np.frombuffer(joined, np.uint8).min(initial=0xFF) < _SPACE:
        return None
    between = header.width - 1
    if any(record.count(delimiter) != between for record in records):
        return None
    if not joined.isascii():
        try:
            joined.decode()
        except UnicodeDecodeError:
            return None
    return joined.split(delimiter) if records else []


def parse_records(records: Sequence[bytes], header: Header, dialect: Dialect) -> list[list[str] | Problem]:
    """
    The row of each record, in order, with exactly `header.width` cells; or what is wrong with it.

    Each record is whole (not empty, its quotes closed, no line end behind it) and of any length once
    `allow_large_cells` was called. Problems are NOT_UTF8 and CELL_COUNT.
    """
    try:
        rows = _split(map(bytes.decode, records), dialect)
    except UnicodeDecodeError:
        return [_parse_one(record, header, dialect) for record in records]
    width = header.width
    return [row if len(row) == width else _wrong_count(row, width) for row in rows]


def whole_rows(records: Sequence[bytes], header: Header, dialect: Dialect) -> list[list[str]] | None:
    """The rows of all records; None where something is wrong with one of them."""
    rows = parse_records(records, header, dialect)
    # A source that is changed while it is read can give two records that the csv module takes for one.
    if len(rows) != len(records) or any(isinstance(row, Problem) for row in rows):
        return None
    return rows  # type: ignore[return-value]


def cells_of(record: bytes, dialect: Dialect) -> list[str]:
    """The cells of a closed record, whatever is wrong with it: bytes that are not UTF-8 become surrogates."""
    (row,) = _split((record.decode(errors="surrogateescape"),), dialect)
    return row


def is_superseded(row: Sequence[str], header: Header) -> bool:
    """True for a row of a reject file whose key a later row wrote, as its `_superseded` cell tells."""
    return header.reject_columns > 0 and BOOLEANS.get(row[-1].lower(), False)


def _split(texts: Iterable[str], dialect: Dialect) -> list[list[str]]:
    return list(csv.reader(texts, delimiter=dialect.delimiter, quotechar=dialect.quote))


def _parse_one(record: bytes, header: Header, dialect: Dialect) -> list[str] | Problem:
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        return _not_utf8(record, error.start, header, dialect)
    (row,) = _split((text,), dialect)
    return row if len(row) == header.width else _wrong_count(row, header.width)


def _wrong_count(row: Sequence[str], width: int) -> Problem:
    cells = "1 cell" if len(row) == 1 else f"{len(row):,} cells"
    return Problem(RejectCode.CELL_COUNT, f"has {cells}, the header has {width:,}")


def _not_utf8(record: bytes, offset: int, header: Header, dialect: Dialect) -> Problem:
    # Strict decoding gives no lone surrogates, so one that surrogateescape puts in marks the bad byte's cell.
    row = cells_of(record, dialect)
    trouble = f"byte {offset:,} of the record (counted from 0), 0x{record[offset]:02x}, is not UTF-8"
    if len(row) != header.width:
        return Problem(RejectCode.NOT_UTF8, trouble)
    names = header.columns + REJECT_COLUMNS[: header.reject_columns]
    column = next(name for name, cell in zip(names, row, strict=True) if _has_surrogate(cell))
    return Problem(RejectCode.NOT_UTF8, f"column {clipped(column)}: {trouble}", column)


def _has_surrogate(cell: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in cell)
