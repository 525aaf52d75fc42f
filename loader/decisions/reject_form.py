"""How a reject is written: the bytes of its record, six cells that say what is wrong, and a line end."""

import re
from collections.abc import Sequence
from itertools import pairwise

from loader.model import REJECT_COLUMNS, Dialect, Header, Reject, RejectCode


class RejectForm:
    """Makes the lines of the reject file of a source with this header: bytes, so any record can be kept."""

    # A bare LF for a line end would make programs that follow it drop the quotes around a CR.
    _END = b"\r\n"
    _CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
    _CODES = frozenset(code.value.encode() for code in RejectCode)

    def __init__(self, header: Header, dialect: Dialect) -> None:
        self._header = header
        self._delimiter = dialect.delimiter.encode()
        self._quote = dialect.quote.encode()
        self._special = re.compile(rb"[\r\n" + re.escape(self._delimiter + self._quote) + rb"]")
        quote, delimiter = re.escape(self._quote), re.escape(self._delimiter)
        # A cell of a record whose quotes are closed; what follows a closing quote is plain text.
        self._cell = re.compile(
            rb"(?:%b(?:[^%b]++|%b%b)*+%b)?+[^%b]*+" % (quote, quote, quote, quote, quote, delimiter)
        )

    def first_line(self, header_record: bytes) -> bytes:
        """The header of the reject file; where the source is one, its header has the six names already."""
        names = () if self._header.reject_columns else REJECT_COLUMNS
        return self._delimiter.join([header_record, *(name.encode() for name in names)]) + self._END

    def line(self, record: bytes, shown_file: str, line: int, reject: Reject) -> bytes:
        """
        The reject as a line, which is a reject again when it is loaded as it is: a row with too many or too
        few cells keeps them all. One whose quote never closes becomes one cell, lest it swallow what follows.
        """
        problem = reject.problem
        if problem.code is RejectCode.UNCLOSED_QUOTE:
            cells = [self._quoted(record)]
            if len(self._header.columns) == 1:
                # Alone it would be a row with the right number of cells.
                cells.append(b"")
        else:
            cells = [self._own_cells(record)]
        reason = self._CONTROLS.sub(" ", problem.reason)
        superseded = "true" if reject.superseded else ""
        for value in (shown_file, str(line), problem.column, problem.code.value, reason, superseded):
            # A cell that is not UTF-8 would keep the row from ever being loaded, mended or not.
            cell = value.encode("utf-8", "backslashreplace")
            cells.append(self._quoted(cell) if self._special.search(cell) else cell)
        return self._delimiter.join(cells) + self._END

    def _quoted(self, cell: bytes) -> bytes:
        return self._quote + cell.replace(self._quote, self._quote * 2) + self._quote

    def _own_cells(self, record: bytes) -> bytes:
        """The record without the six cells that an earlier load gave it."""
        if not self._header.reject_columns:
            return record
        starts = self._cell_starts(record)
        six = len(REJECT_COLUMNS)
        if len(starts) != self._header.width and not self._has_told(record, starts[-six:]):
            return record
        return record[: starts[-six] - 1] if len(starts) > six else self._quote * 2

    def _has_told(self, record: bytes, starts: Sequence[int]) -> bool:
        """
        Whether six cells at the end are those of a reject, in a row with a wrong number of cells: they may
        just as well be the user's own data, after the six were removed by hand.
        """
        if len(starts) < len(REJECT_COLUMNS):
            return False
        cells = [record[start : end - 1].strip(self._quote) for start, end in pairwise(starts)]
        return cells[1].isdigit() and cells[3] in self._CODES

    def _cell_starts(self, record: bytes) -> list[int]:
        starts = [0]
        while True:
            cell = self._cell.match(record, starts[-1])
            assert cell is not None  # it matches nothing at all, too
            if cell.end() == len(record):
                return starts
            starts.append(cell.end() + 1)
