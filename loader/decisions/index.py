"""One pass over a chunk of the source: where its records lie, and a keyed hash of each one's primary key."""

import re
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from loader.decisions import numbers
from loader.decisions.keys import SEPARATOR, KeySpec
from loader.decisions.scan import RecordScanner
from loader.model import Dialect

UNCLOSED = 1 << 31
"""Bit of a record's size: its quote never closed."""

_PIECE = 1 << 20  # bytes handled at a time: few enough for the cache, enough rows for numpy
_GRID_COLUMNS = 3  # from so many on, one search for all delimiters beats going from cell to cell
_WALKED_COLUMNS = 64  # with more, a step a column pays only
_WALKED_ROWS = 512  # for so many rows: a step costs as much for few of them
_ROUNDS = 4  # words of 8 bytes looked at behind the first for a cell's end, before a search row by row

_WORD = 8
_ONES = 0x0101010101010101
_ONES_WORD = np.uint64(_ONES)
_TOP_BITS = np.uint64(0x80 * _ONES)
_ONE = np.uint64(1)

Offsets = NDArray[np.int64]
Flags = NDArray[np.bool_]


class ChunkIndex(NamedTuple):
    """
    The records of one chunk, in file order.

    `starts` are positions, `sizes` bytes without the line end (top bit: UNCLOSED). For the lines see
    `lines_before`; `line_count` is the number of line ends in the chunk.
    """

    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.uint32]
    line_records: NDArray[np.uint32]
    line_extra: NDArray[np.uint32]
    line_count: int


def index_chunk(
    data: bytes, position: int, spec: KeySpec, dialect: Dialect, width: int, seed: int
) -> ChunkIndex:
    """
    Index the whole records in `data`, which stands at `position` and begins where a record does.

    A hash is xxh3_64 with `seed` of `spec.key_of(row)`, so equal keys have equal ones. A record whose key
    cannot be read gets `place_hash`, and so a place of its own. `width` is the number of cells that most
    rows have: where they do, finding the key takes less.
    """
    scanner = RecordScanner(dialect, position)
    keys = _KeyHasher(data, spec, dialect, width, seed)
    view = memoryview(data)
    pieces = []
    for offset in range(0, max(len(data), 1), _PIECE):
        borders = scanner.feed(view[offset : offset + _PIECE], final=offset + _PIECE >= len(data))
        hashes, unreadable = keys.hashes(borders.starts - position, borders.ends - position)
        for record in unreadable:
            hashes[record] = place_hash(int(borders.starts[record]), seed)
        pieces.append((hashes, *borders))
    hashes, starts, ends, lines = map(np.concatenate, zip(*pieces, strict=True))
    sizes = (ends - starts).astype(np.uint32)
    if scanner.quoted:
        hashes[-1] = place_hash(int(starts[-1]), seed)
        sizes[-1] |= UNCLOSED
    extra = lines - np.arange(lines.size)
    changes = np.flatnonzero(np.diff(extra, prepend=0))
    return ChunkIndex(
        hashes, starts, sizes, changes.astype(np.uint32), extra[changes].astype(np.uint32), scanner.lines
    )


def lines_before(line_records: NDArray[np.uint32], line_extra: NDArray[np.uint32], record: int) -> int:
    """
    The line ends in the chunk before its record number `record` (from 0).

    That is a line for each record before it, and the extra lines (blank ones, those inside quotes) as
    of the last place where their number changed.
    """
    change = int(np.searchsorted(line_records, np.uint32(record), side="right")) - 1
    return record + (int(line_extra[change]) if change >= 0 else 0)


def place_hash(position: int, seed: int) -> int:
    """The hash of a record that has no readable key."""
    return xxh3_64_intdigest(position.to_bytes(8, "little"), seed + 1)


class _KeyHasher:
    """
    Hashes the keys of records in `data`.

    Cells are found for all records at once, going from cell to cell: a cell ends at the first delimiter,
    a quoted one at the first quote. Where that is not plainly right (a doubled quote, text behind a
    closing quote, no such cell, the last bytes of the data) the record is in doubt and parsed on its own.
    """

    def __init__(self, data: bytes, spec: KeySpec, dialect: Dialect, width: int, seed: int) -> None:
        self._data = data
        self._bytes = np.frombuffer(data, np.uint8)
        # The eight bytes at every offset, as one number.
        self._words: NDArray[np.uint64] = np.ndarray(
            shape=(max(len(data) - _WORD + 1, 0),), dtype="<u8", buffer=data, strides=(1,)
        )
        self._columns = spec.columns
        self._numeric = tuple(type_ == "N" for type_ in spec.types)
        self._cells = max(spec.columns) + 1
        self._delimiter = dialect.delimiter.encode("ascii")
        self._quote = dialect.quote.encode("ascii")
        self._pattern = _key_pattern(spec.columns, dialect)
        in_order = sorted(spec.columns)
        self._groups = tuple(1 + 2 * in_order.index(column) for column in spec.columns)
        self._width = width
        self._seed = seed

    def hashes(self, starts: Offsets, ends: Offsets) -> tuple[NDArray[np.uint64], list[int]]:
        """Of the records at these offsets; and the ordinals of those whose key cannot be read."""
        if not starts.size:
            return np.empty(0, np.uint64), []
        cells, in_doubt = self._find_cells(starts, ends)
        data, seed = self._data, self._seed
        parts = []
        for (begins, stops), numeric in zip(cells, self._numeric, strict=True):
            in_doubt |= begins >= stops
            part = [data[begin:stop] for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)]
            if numeric:
                part = [_number(text) for text in part]
                in_doubt |= np.array([not number for number in part])
            parts.append(part)
        keys = parts[0]
        for part in parts[1:]:
            keys = [left + SEPARATOR + right for left, right in zip(keys, part, strict=True)]
        hashes = np.array([xxh3_64_intdigest(key, seed) for key in keys], np.uint64)
        unreadable = []
        doubted = np.flatnonzero(in_doubt)
        places = zip(doubted.tolist(), starts[doubted].tolist(), ends[doubted].tolist(), strict=True)
        for record, start, end in places:
            key = self._key(start, end)
            if key is None:
                unreadable.append(record)
            else:
                hashes[record] = xxh3_64_intdigest(key, seed)
        return hashes, unreadable

    def _key(self, start: int, end: int) -> bytes | None:
        """The key of the record in [start, end), by the rules of `csv.reader` and of `KeySpec.key_of`."""
        match = self._pattern.match(self._data, start, end)
        if match is None:
            return None
        parts = []
        for group, numeric in zip(self._groups, self._numeric, strict=True):
            quoted, text = match.group(group, group + 1)
            if quoted is not None:
                text = quoted.replace(self._quote * 2, self._quote) + text
            part = _number(text) if numeric else text
            if not part:
                return None
            parts.append(part)
        return SEPARATOR.join(parts)

    def _find_cells(self, starts: Offsets, ends: Offsets) -> tuple[list[tuple[Offsets, Offsets]], Flags]:
        """Content [begin, stop) of each key cell, without its quotes; and which records are in doubt."""
        quotes = self._data.find(self._quote, int(starts[0]), int(ends[-1])) >= 0
        if self._cells >= _GRID_COLUMNS and not quotes:
            grid = self._grid(starts, ends)
            if grid is not None:
                cells = [(grid[column] + 1, grid[column + 1]) for column in self._columns]
                return cells, np.zeros(starts.size, np.bool_)
        if self._cells > _WALKED_COLUMNS and starts.size < _WALKED_ROWS:
            # Rows are wide then: going through each on its own takes time by their bytes, not by columns.
            return [(starts, starts)] * len(self._columns), np.ones(starts.size, np.bool_)
        return self._walk(starts, ends, quotes)

    def _grid(self, starts: Offsets, ends: Offsets) -> list[Offsets] | None:
        """
        Where there are no quotes and every record has `width` cells: the borders of all cells, by column.

        Column c lies behind border c and before border c + 1. None where a record has more cells, or fewer.
        """
        inner = self._width - 1
        if self._cells > self._width:
            return None
        first, last = int(starts[0]), int(ends[-1])
        delimiters = np.flatnonzero(self._bytes[first:last] == ord(self._delimiter)) + first
        if delimiters.size != inner * starts.size:
            return None
        rows = delimiters.reshape(starts.size, inner)
        if inner and not ((rows[:, 0] >= starts).all() and (rows[:, -1] < ends).all()):
            return None
        return [starts - 1, *rows.T, ends]

    def _walk(
        self, starts: Offsets, ends: Offsets, quotes: bool
    ) -> tuple[list[tuple[Offsets, Offsets]], Flags]:
        """The same from cell to cell, for any records."""
        in_doubt = np.zeros(starts.size, np.bool_)
        found: dict[int, tuple[Offsets, Offsets]] = {}
        begins = starts
        last_byte = len(self._data) - 1
        for column in range(self._cells):
            quoted = self._bytes[np.minimum(begins, last_byte)] == ord(self._quote) if quotes else None
            if quoted is None or not quoted.any():
                stops = behind = self._cell_stops(begins, ends, None, in_doubt)
            else:
                begins = begins + quoted
                stops = self._cell_stops(begins, ends, quoted, in_doubt)
                behind = stops + quoted
                plain = self._bytes[np.minimum(behind, last_byte)] == ord(self._delimiter)
                in_doubt |= quoted & ((stops >= ends) | ~(plain | (behind >= ends)))
            if column in self._columns:
                found[column] = begins, stops
            # Behind its last cell a record has empty ones, which no key is read from.
            begins = np.minimum(behind + 1, ends)
        return [found[column] for column in self._columns], in_doubt

    def _cell_stops(self, begins: Offsets, ends: Offsets, quoted: Flags | None, in_doubt: Flags) -> Offsets:
        """
        The first delimiter (the first quote for `quoted` cells) at or behind `begins`, or the record's end.

        Looks at eight bytes of each row at a time. A row so near the end of the data that there are
        not eight bytes is flagged in `in_doubt`.
        """
        patterns = np.full(1, ord(self._delimiter) * _ONES, np.uint64)
        if quoted is not None:
            patterns = np.where(quoted, np.uint64(ord(self._quote) * _ONES), patterns)
        last_word = self._words.size - 1
        if last_word < 0:
            in_doubt[:] = True
            return ends
        in_doubt |= begins > last_word
        at = np.minimum(begins, last_word)
        hits = at + _bytes_before(self._words[at], patterns)
        stops = np.minimum(hits, ends)
        rows = np.flatnonzero((hits == at + _WORD) & (hits < ends))
        for _ in range(_ROUNDS):
            if not rows.size:
                return stops
            # Stepping back to the last whole word is harmless here: what is before `at` has been looked at.
            at = np.minimum(stops[rows], last_word)
            hits = at + _bytes_before(self._words[at], patterns if quoted is None else patterns[rows])
            limits = ends[rows]
            stops[rows] = np.minimum(hits, limits)
            rows = rows[(hits == at + _WORD) & (hits < limits)]
        needles = (self._delimiter, self._quote)
        which = [0] * rows.size if quoted is None else quoted[rows].tolist()
        limits = ends[rows]
        searched = np.array(
            [
                self._data.find(needles[needle], offset, limit)
                for needle, offset, limit in zip(which, stops[rows].tolist(), limits.tolist(), strict=True)
            ],
            np.int64,
        )
        stops[rows] = np.where(searched < 0, limits, searched)
        return stops


def _bytes_before(words: NDArray[np.uint64], patterns: NDArray[np.uint64]) -> Offsets:
    """How many bytes of each word precede the first that is the pattern's, or 8; alters `words`."""
    # A matching byte becomes zero, and the lowest zero byte borrows a top bit from the subtraction.
    words ^= patterns
    matches = words - _ONES_WORD
    matches &= ~words
    matches &= _TOP_BITS
    return (np.bitwise_count((matches - _ONE) & ~matches) >> 3).astype(np.int64)


def _number(text: bytes) -> bytes:
    """The normal form of a number; empty where the text is none."""
    if text.isdigit() and len(text) <= 38:
        return text.lstrip(b"0") or b"0"
    number = numbers.normal_form(text.decode("latin-1"))
    return b"" if number is None else number.encode("ascii")


def _key_pattern(columns: Collection[int], dialect: Dialect) -> re.Pattern[bytes]:
    """
    A record up to its last key cell, as `csv.reader` splits it; a record with fewer cells does not match.

    For each key column, by number, there are two groups: what the quotes hold (None where the cell does not
    begin with one) and the text behind them. Nothing here backtracks, so a record is read in one way only.
    """
    quote, delimiter = re.escape(dialect.quote), re.escape(dialect.delimiter)
    inside = f"[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+"
    rest = f"[^{delimiter}]*+"
    skipped = f"(?:{quote}{inside}{quote}?+)?+{rest}{delimiter}"
    kept = f"(?:{quote}({inside}){quote}?+|(?!{quote}))({rest})"
    pattern, next_column = "", 0
    for column in sorted(columns):
        pattern += f"(?:{skipped}){{{column - next_column}}}+{kept}"
        next_column = column
    return re.compile(pattern.encode("ascii"))
