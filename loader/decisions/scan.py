"""Where records begin and end: the borders that Python's `csv.reader` would find, found with numpy."""

import re
from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loader.model import Dialect

_LF, _CR = 10, 13
_PIECE = 1 << 18  # bytes scanned at a time, so that the arrays stay in the processor's cache
_NOWHERE = np.empty(0, np.int64)


class Borders(NamedTuple):
    """
    Records in file order: content is [start, end), positions absolute, the line end left out.

    `lines[i]` is the number of line ends (LF, CR or CRLF, each one) before record i, counted from
    the scanner's beginning. Blank lines give no record.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]


class RecordScanner:
    """
    Finds record borders in bytes fed in any split, exactly as `csv.reader` does with `newline=""`.

    A line end closes a record unless it is inside quotes, and inside means behind an odd number of
    quotes. That count is right as long as every quote that would *open* (the 1st, 3rd ... from a
    border) stands where one can: behind a delimiter, a line end, or the quote it doubles. One that
    does not (`5" pipe`, `"a"b"`) is literal, as are all quotes up to the end of its cell; these are
    left out of the count, which starts anew there.

    `position` is that of the first byte to be fed; it must be the beginning of a record.
    """

    __slots__ = (
        "_cell_end",
        "_held",
        "_last",
        "_literal",
        "_mask",
        "_may_open",
        "_position",
        "_quote",
        "lines",
        "open_line",
        "open_start",
        "quoted",
    )

    def __init__(self, dialect: Dialect, position: int = 0) -> None:
        self.open_start = position
        """Position where the record now open begins."""
        self.open_line = 0
        """Line ends before the record now open."""
        self.lines = 0
        """Line ends seen so far."""
        self.quoted = False
        """The open record is inside quotes; after the final feed: the last record's quote never closed."""
        self._position = position  # of the next byte to scan
        self._last = _LF  # the byte before it
        self._held = False  # a CR ended what was fed: a line end, or half of one
        self._literal = False  # inside a cell whose quotes are plain text
        self._quote = ord(dialect.quote)
        self._may_open = np.zeros(256, np.bool_)
        self._may_open[[ord(dialect.delimiter), self._quote, _LF, _CR]] = True
        self._cell_end = re.compile(b"[\r\n" + re.escape(dialect.delimiter.encode("ascii")) + b"]")
        self._mask = np.empty(0, np.bool_)

    def feed(self, data: bytes | memoryview, *, final: bool = False) -> Borders:
        """
        The records that `data` completes; with `final`, also one that the end of the input ends.

        A CR at the end waits for the next byte unless `final`.
        """
        view = memoryview(data)
        if self._held:
            view = memoryview(b"\r" + bytes(view))
        self._held = not final and len(view) > 0 and view[-1] == _CR
        if self._held:
            view = view[:-1]
        found = []
        while len(view) > _PIECE:
            size = _PIECE - (view[_PIECE - 1] == _CR)  # a CRLF must not be cut in two
            found.append(self._scan(view[:size]))
            view = view[size:]
        found.append(self._scan(view))
        if final and self._position > self.open_start:
            last = (self.open_start, self._position, self.open_line)
            found.append(Borders(*(np.array([value], np.int64) for value in last)))
            self.open_start, self.open_line = self._position, self.lines
        if len(found) == 1:
            return found[0]
        return Borders(*map(np.concatenate, zip(*found, strict=True)))

    def _scan(self, view: memoryview) -> Borders:
        """The records that end in `view`; a CR at its end is a line end of its own."""
        data = np.frombuffer(view, np.uint8)
        if not data.size:
            return Borders(_NOWHERE, _NOWHERE, _NOWHERE)
        quotes = self._structural_quotes(view, data)
        content_ends, next_starts = self._line_ends(data)
        if quotes.size:
            inside = (np.searchsorted(quotes, content_ends) + self.quoted) & 1
            closing = np.flatnonzero(inside == 0)
        else:
            closing = np.arange(0 if self.quoted else content_ends.size)
        borders = self._close(content_ends, next_starts, closing)
        self.lines += content_ends.size
        self.quoted = bool((quotes.size + self.quoted) & 1)
        self._position += data.size
        self._last = int(data[-1])
        return borders

    def _close(
        self, content_ends: NDArray[np.int64], next_starts: NDArray[np.int64], closing: NDArray[np.int64]
    ) -> Borders:
        """The records closed by those line ends (offsets in the piece) whose ordinals are `closing`."""
        if not closing.size:
            return Borders(_NOWHERE, _NOWHERE, _NOWHERE)
        if closing.size < content_ends.size:
            content_ends, next_starts = content_ends[closing], next_starts[closing]
        ends = content_ends + self._position
        starts = np.empty_like(ends)
        np.add(next_starts[:-1], self._position, out=starts[1:])
        lines = np.empty_like(ends)
        np.add(closing[:-1], self.lines + 1, out=lines[1:])
        starts[0], lines[0] = self.open_start, self.open_line
        self.open_start = int(next_starts[-1]) + self._position
        self.open_line = int(closing[-1]) + 1 + self.lines
        filled = ends > starts
        if filled.all():
            return Borders(starts, ends, lines)
        return Borders(starts[filled], ends[filled], lines[filled])

    def _line_ends(self, data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For every line end in the piece: offset of its first byte, and of the byte behind it."""
        feeds = self._find(data, _LF)
        returns = self._find(data, _CR)
        if not returns.size:
            return feeds, feeds + 1
        if returns[-1] == data.size - 1:
            paired = np.append(data[returns[:-1] + 1] == _LF, False)
        else:
            paired = data[returns + 1] == _LF
        pairs = np.count_nonzero(paired)
        if pairs == returns.size == feeds.size:
            return returns, returns + 2
        # a LF that follows a CR belongs to it: leave its place to the CR
        if pairs:
            follows = data[feeds - 1] == _CR
            if feeds.size and feeds[0] == 0:
                follows[0] = False
            feeds = feeds[~follows]
        if not feeds.size:
            return returns, returns + 1 + paired
        firsts = np.concatenate((feeds, returns))
        widths = np.concatenate((np.ones(feeds.size, np.int64), paired + np.int64(1)))
        order = np.argsort(firsts, kind="stable")
        firsts = firsts[order]
        return firsts, firsts + widths[order]

    def _find(self, data: NDArray[np.uint8], byte: int) -> NDArray[np.int64]:
        if self._mask.size < data.size:
            self._mask = np.empty(data.size, np.bool_)  # kept: fresh pages would cost more than the search
        mask = self._mask[: data.size]
        np.equal(data, byte, out=mask)
        return np.flatnonzero(mask)

    def _structural_quotes(self, view: memoryview, data: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Offsets of the quotes that open or close; those that are plain text are left out."""
        quotes = self._find(data, self._quote)
        if self._literal:
            cell_end = self._cell_end.search(view)
            if cell_end is None:
                return _NOWHERE
            self._literal = False
            quotes = quotes[np.searchsorted(quotes, cell_end.start()) :]
        if not quotes.size:
            return quotes
        before = data[quotes - 1]
        if quotes[0] == 0:
            before[0] = self._last
        may_open = self._may_open[before]
        # Inside quotes the first one closes.
        if may_open[int(self.quoted) :: 2].all():
            return quotes
        return quotes[self._structural(view, quotes, may_open)]

    def _structural(
        self, view: memoryview, quotes: NDArray[np.int64], may_open: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which of `quotes` are not plain text, where some are; costs a few look-ups a stray cell."""
        structural = np.ones(quotes.size, np.bool_)
        strays = np.flatnonzero(~may_open)
        # From a border on, every second quote opens: all of even ordinal, or all of odd.
        candidates = [strays[strays & 1 == parity].data for parity in (0, 1)]
        offsets = quotes.data
        border = int(self.quoted)
        while True:
            openings = candidates[border & 1]
            place = bisect_left(openings, border)
            if place == len(openings):
                return structural
            stray = openings[place]
            cell_end = self._cell_end.search(view, offsets[stray] + 1)
            if cell_end is None:
                self._literal = True
                structural[stray:] = False
                return structural
            border = bisect_left(offsets, cell_end.start(), stray + 1)
            structural[stray:border] = False
