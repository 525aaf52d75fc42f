"""Cutting the source into windows, and windows into chunks for the workers to index: whole records only."""

from dataclasses import dataclass, field

from loader.config import RECORD_LIMIT
from loader.decisions.index import ChunkIndex
from loader.decisions.plan import WINDOW_RECORDS, Chunk
from loader.decisions.scan import Borders, RecordScanner
from loader.edges.source import Source
from loader.errors import RecordTooLarge
from loader.model import Dialect, FileSpan

CHUNK = 4 << 20
"""What is read, scanned and handed to a worker at a time, in bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A record border in the virtual source: `line` is the line, in its file, of the byte at `position`."""

    file: int
    position: int
    line: int


class Cutter:
    """
    Reads the source once, in order, and finds where records end.

    A window ends before the first record that begins `window_size` bytes or more behind the first record of
    the window; where it ends does not depend on how the file is read, so a restart finds the same windows.
    """

    def __init__(
        self,
        source: Source,
        dialect: Dialect,
        window_size: int,
        limit: int | None,
        start: Place,
        *,
        chunk_size: int = CHUNK,
    ) -> None:
        self._source = source
        self._dialect = dialect
        self._window_size = window_size
        self._left = limit
        self._chunk_size = chunk_size
        self._place = start
        self._read_to = start.position
        self._scanner: RecordScanner | None = None
        self._scanner_line = start.line
        self._borders: Borders | None = None
        self._taken = 0

    @property
    def place(self) -> Place:
        """Where the next chunk begins."""
        return self._place

    @property
    def exhausted(self) -> bool:
        return self._place.file >= len(self._source.files) or self._left == 0

    def next_chunk(self, window: "WindowIndex") -> Chunk | None:
        """The next stretch of `window`, noted in it; None where the window ends."""
        while not self.exhausted:
            used_up = self._borders is None or self._taken == len(self._borders.starts)
            if used_up and not self._scan_on():
                continue
            borders = self._borders
            assert borders is not None
            count = self._fitting(borders, window)
            if count == 0 and len(borders.starts):
                # Not before blank lines that may be here: where these are seen depends on the blocks read.
                self._go_to_next_record(borders)
                return None
            chunk = self._chunk(len(window.chunks), borders, count)
            if chunk.records:
                window.add_chunk(chunk, int(borders.starts[self._taken - count]))
                return chunk
        return None

    def _scan_on(self) -> bool:
        """Scan the next block of the present file; False when it has no more and the next one is begun."""
        span = self._source.files[self._place.file]
        if self._read_to >= span.end:
            self._next_file()
            return False
        if self._scanner is None:
            self._scanner = RecordScanner(self._dialect, self._read_to)
            self._scanner_line = self._place.line
        size = min(self._chunk_size, span.end - self._read_to)
        data = self._source.read(self._read_to, size)
        self._read_to += size
        self._borders = self._scanner.feed(data, final=self._read_to == span.end)
        self._taken = 0
        self._refuse_too_large(span, self._borders)
        return True

    def _next_file(self) -> None:
        file = self._place.file + 1
        self._scanner = self._borders = None
        if file < len(self._source.files):
            span = self._source.files[file]
            self._place = Place(file, span.base + span.data_start, span.first_line)
        else:
            self._place = Place(file, self._source.total, 0)
        self._read_to = self._place.position

    def _refuse_too_large(self, span: FileSpan, borders: Borders) -> None:
        assert self._scanner is not None
        sizes = borders.ends - borders.starts
        if len(sizes) and int(sizes.max()) > RECORD_LIMIT:
            first = int((sizes > RECORD_LIMIT).argmax())
            lines = int(borders.lines[first])
        elif self._read_to < span.end and self._read_to - self._scanner.open_start > RECORD_LIMIT:
            lines = self._scanner.open_line
        else:
            return
        raise RecordTooLarge(
            f"{span.identity.shown}: the record that begins on line {self._scanner_line + lines} is larger "
            f"than {RECORD_LIMIT >> 20} MiB. Most often a quote is opened there and never closed: "
            "mend the line, then give the same command with --restart."
        )

    def _fitting(self, borders: Borders, window: "WindowIndex") -> int:
        """How many of the records not taken yet belong to the window."""
        starts = borders.starts[self._taken :]
        if not len(starts):
            return 0
        first = int(starts[0]) if window.start is None else window.start
        count = int(starts.searchsorted(first + self._window_size))
        count = min(count, WINDOW_RECORDS - window.records)
        return count if self._left is None else min(count, self._left)

    def _chunk(self, number: int, borders: Borders, count: int) -> Chunk:
        """Take `count` records off the borders, and go to where the next one begins."""
        scanner = self._scanner
        assert scanner is not None
        begin = self._place
        self._taken += count
        if self._taken < len(borders.starts):
            self._go_to_next_record(borders)
        else:
            self._place = Place(begin.file, scanner.open_start, self._scanner_line + scanner.open_line)
        if self._left is not None:
            self._left -= count
        return Chunk(number, begin.position, self._place.position, begin.line, count)

    def _go_to_next_record(self, borders: Borders) -> None:
        position, lines = int(borders.starts[self._taken]), int(borders.lines[self._taken])
        self._place = Place(self._place.file, position, self._scanner_line + lines)


@dataclass(slots=True)
class WindowIndex:
    """
    A window while it is cut and indexed. It lies between `begin` and `end`, which is None while it is being
    cut; `start` is the position of its first record. It is whole when every chunk has come back too.
    """

    number: int
    begin: Place
    start: int | None = None
    records: int = 0
    end: Place | None = None
    chunks: list[Chunk] = field(default_factory=list)
    indexes: list[ChunkIndex | None] = field(default_factory=list)
    missing: int = 0

    def add_chunk(self, chunk: Chunk, first_record: int) -> None:
        if self.start is None:
            self.start = first_record
        self.chunks.append(chunk)
        self.indexes.append(None)
        self.records += chunk.records
        self.missing += 1

    def add_index(self, chunk: int, index: ChunkIndex) -> None:
        if self.indexes[chunk] is None:
            self.indexes[chunk] = index
            self.missing -= 1

    @property
    def whole(self) -> bool:
        return self.end is not None and self.missing == 0
