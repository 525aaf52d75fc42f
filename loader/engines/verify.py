"""
Is the table what the files say? Reads the files as a load does, scans the table, compares every item.

What the files say about a key is kept as 16 bytes of digest and the place of the row, about 250 bytes a key
in all; rows are read once more where they differ. Digests are keyed by chance for each run, so no
file can be made to have two rows that look equal.
"""

import hashlib
import secrets
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import orjson

from loader.config import ConnectionConfig
from loader.decisions.compare import Item, canonical, difference
from loader.decisions.items import ItemEncoder
from loader.decisions.keys import key_of_item
from loader.decisions.rows import allow_large_cells, is_superseded, parse_records
from loader.decisions.scan import RecordScanner
from loader.decisions.schema import ItemSchema, build_schema, clipped
from loader.edges import table
from loader.edges.clients import open_session
from loader.edges.source import Source
from loader.engines.pages import Pages
from loader.engines.windows import Cutter, Place, WindowIndex
from loader.errors import BadOption
from loader.model import Dialect, Problem

MISSING, DIFFERENT, EXTRA = "missing", "different", "extra"

_TOGETHER = 50
_EVENT_EVERY = 0.1
_SEGMENT_ITEMS = 20_000

_ROW = struct.Struct("<16sQIQ")
"""What is known of the row that has a key: digest of its item, position, size, line."""


@dataclass(frozen=True, slots=True)
class VerifyConfig:
    """`segments` is the most parts of the table scanned at a time, `examples` the most findings named."""

    sources: tuple[str, ...]
    table: str
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    types: Mapping[str, str] = field(default_factory=dict)
    include_superseded: bool = False
    limit: int | None = None
    segments: int = 8
    examples: int = 20
    dialect: Dialect = field(default_factory=Dialect)

    def __post_init__(self) -> None:
        if not self.sources:
            raise BadOption("No file to compare. Name at least one CSV file.")
        if self.limit is not None and self.limit < 0:
            raise BadOption(f"--limit {self.limit}: give a number of at least 0.")


@dataclass(frozen=True, slots=True)
class VerifyEvent:
    """How far it is: `done` of `total` bytes of the files while `reading`, items of the table after that."""

    reading: bool
    seconds: float
    done: int
    total: int
    differences: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """An item that is `missing`, `different` or `extra`; file and line (from 1) of its row, if it has one."""

    kind: str
    key: str
    file: str = ""
    line: int = 0
    attribute: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """
    Counts of rows (`rows` = `expected` + `duplicates` + `rejected`) and of items (`equal` + `different` +
    `extra` are in the table, `equal` + `different` + `missing` should be). `rejected` rows have no item. As
    in a load of one window, a row before a valid one of its key is a duplicate, valid or not.
    """

    table: str
    sources: tuple[str, ...]
    rows: int
    duplicates: int
    rejected: int
    equal: int
    missing: int
    different: int
    extra: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def expected(self) -> int:
        return self.equal + self.missing + self.different

    @property
    def same(self) -> bool:
        return not (self.missing or self.different or self.extra)


def verify(config: VerifyConfig, on_event: Callable[[VerifyEvent], None] | None = None) -> VerifyResult:
    """
    Compare; nothing is written anywhere. Whatever `on_event` raises ends it.

    Raises Refused where the files or the table cannot be had at all, Fatal where that happens on the way.
    """
    began = time.monotonic()
    allow_large_cells()
    source = Source.open(config.sources, config.dialect)
    try:
        session = open_session(config.connection)
        with session.factory(1).table_client() as client:
            described = table.describe(client, config.table)
        schema = build_schema(described, source.header, config.types, source.files[0].identity.shown)
        reporter = _Reporter(on_event, began)
        said = _Said(config, source, schema)
        said.read(reporter)
        comparison = _Comparison(said, schema, config.examples)
        # Two requests at a time gain nothing where one gives all, and cost some servers twice as much.
        many = max(comparison.expected, described.item_count) // _SEGMENT_ITEMS
        with Pages(session, config.table, max(1, min(config.segments, many))) as pages:
            for page in pages:
                comparison.take(page)
                reporter.comparing(comparison)
        result = comparison.result(config, time.monotonic() - began)
        source.check_unchanged()
        return result
    finally:
        source.close()


class _Reporter:
    def __init__(self, on_event: Callable[[VerifyEvent], None] | None, began: float) -> None:
        self._on_event = on_event
        self._began = began
        self._next = began

    def reading(self, done: int, total: int) -> None:
        self._report(True, done, total, 0)

    def comparing(self, comparison: "_Comparison") -> None:
        self._report(False, comparison.scanned, comparison.expected, comparison.differences)

    def _report(self, reading: bool, done: int, total: int, differences: int) -> None:
        now = time.monotonic()
        if self._on_event is not None and now >= self._next:
            self._next = now + _EVENT_EVERY
            self._on_event(VerifyEvent(reading, now - self._began, done, total, differences))


# --- what the files say ---------------------------------------------------------------------------


class _Said:
    """For each key, the digest of the item of its last valid row, and where that row is."""

    def __init__(self, config: VerifyConfig, source: Source, schema: ItemSchema) -> None:
        self.rows = 0
        self.duplicates = 0
        self.rejected = 0
        self.by_key: dict[bytes, bytes] = {}
        # Rejects by their key: a valid row that follows makes them duplicates, which a load never validates.
        self._rejected_of: dict[bytes, int] = {}
        self._config = config
        self._source = source
        self._schema = schema
        self._encoder = ItemEncoder(schema)
        self._digest_key = secrets.token_bytes(16)

    def read(self, reporter: _Reporter) -> None:
        """Read all rows. Raises SourceChanged and RecordTooLarge."""
        first = self._source.files[0]
        start = Place(0, first.base + first.data_start, first.first_line)
        cutter = Cutter(self._source, self._config.dialect, self._source.total + 1, self._config.limit, start)
        window = WindowIndex(0, start)
        while not cutter.exhausted:
            chunk = cutter.next_chunk(window)
            if chunk is None:
                window = WindowIndex(window.number + 1, cutter.place)
                continue
            self._read_chunk(chunk.start, chunk.stop, chunk.first_line)
            reporter.reading(chunk.stop, self._source.total)

    def _read_chunk(self, start: int, stop: int, first_line: int) -> None:
        scanner = RecordScanner(self._config.dialect, start)
        data = self._source.read(start, stop - start)
        borders = scanner.feed(data, final=True)
        starts, ends, lines = (array.tolist() for array in borders)
        if scanner.quoted:
            # Never closed before the file ends: a reject.
            self.rows += 1
            self.rejected += 1
            starts.pop()
        for at in range(0, len(starts), _TOGETHER):
            few = slice(at, at + _TOGETHER)
            places = list(zip(starts[few], ends[few], lines[few], strict=False))
            rows = self._rows([data[begin - start : end - start] for begin, end, _ in places])
            for row, (begin, end, line) in zip(rows, places, strict=True):
                self._take(row, begin, end - begin, first_line + line)

    def _rows(self, records: Sequence[bytes]) -> list[list[str] | Problem]:
        return parse_records(records, self._schema.header, self._config.dialect)

    def _take(self, row: list[str] | Problem, position: int, size: int, line: int) -> None:
        self.rows += 1
        if not isinstance(row, Problem):
            if not self._config.include_superseded and is_superseded(row, self._schema.header):
                self.duplicates += 1
                return
            item = self._encoder.encode(row)
            key = self._schema.key.key_of(row)
            if key is not None:
                place = self.digest(key)
                if isinstance(item, bytes):
                    digest = self.digest(canonical(orjson.loads(item)))
                    rejected = self._rejected_of.pop(place, 0)
                    self.rejected -= rejected
                    self.duplicates += rejected + (place in self.by_key)
                    self.by_key[place] = _ROW.pack(digest, position, size, line)
                    return
                self._rejected_of[place] = self._rejected_of.get(place, 0) + 1
        self.rejected += 1

    def digest(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=16, key=self._digest_key).digest()

    def item_at(self, position: int, size: int) -> Item:
        """The item of a row that was valid when it was read. Raises SourceChanged."""
        record = self._source.read(position, size)
        # Of a file that changes these bytes may be anything, more records than one too.
        self._source.check_unchanged()
        (row,) = self._rows([record])
        item = row if isinstance(row, Problem) else self._encoder.encode(row)
        if isinstance(item, Problem):
            raise AssertionError(f"the row at {position} cannot be read a second time: {item.reason}")
        found: Item = orjson.loads(item)
        return found

    def file_at(self, position: int) -> str:
        return self._source.span_at(position).identity.shown


# --- the comparison -------------------------------------------------------------------------------

Order = TypeVar("Order", int, str)
Value = TypeVar("Value")


class _First(Generic[Order, Value]):
    """The `count` values that come first by their order, of any number."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[tuple[Order, Value]] = []

    def add(self, order: Order, value: Value) -> None:
        self._kept.append((order, value))
        if len(self._kept) >= 4 * self._count + 100:
            self._kept = self.sorted()

    def sorted(self) -> list[tuple[Order, Value]]:
        return sorted(self._kept, key=lambda pair: pair[0])[: self._count]


class _Comparison:
    """Takes the items of the table, in any order, off what the files say; what is left over is missing."""

    def __init__(self, said: _Said, schema: ItemSchema, examples: int) -> None:
        self._said = said
        self._schema = schema
        self._examples = examples
        self._different: _First[int, tuple[bytes, Item]] = _First(examples)
        self._extra: _First[str, None] = _First(examples)
        self.expected = len(said.by_key)
        self.equal = 0
        self.different = 0
        self.extra = 0

    @property
    def scanned(self) -> int:
        return self.equal + self.different + self.extra

    @property
    def differences(self) -> int:
        return self.different + self.extra

    def take(self, page: Sequence[Item]) -> None:
        said = self._said
        for item in page:
            key = key_of_item(self._schema.key_schema, item)
            row = None if key is None else said.by_key.pop(said.digest(key), None)
            if row is None:
                self.extra += 1
                self._extra.add(self._key_shown(item), None)
            elif said.digest(canonical(item)) == row[:16]:
                self.equal += 1
            else:
                self.different += 1
                self._different.add(_ROW.unpack(row)[1], (row, item))

    def result(self, config: VerifyConfig, seconds: float) -> VerifyResult:
        said = self._said
        return VerifyResult(
            table=config.table,
            sources=config.sources,
            rows=said.rows,
            duplicates=said.duplicates,
            rejected=said.rejected,
            equal=self.equal,
            missing=len(said.by_key),
            different=self.different,
            extra=self.extra,
            findings=self._findings(),
            seconds=seconds,
        )

    def _findings(self) -> tuple[Finding, ...]:
        """As many of each kind as there is room for, missing ones first, each kind in file order."""
        missing: _First[int, bytes] = _First(self._examples)
        for row in self._said.by_key.values():
            missing.add(_ROW.unpack(row)[1], row)
        kinds = [
            [self._of_row(MISSING, row, None) for _, row in missing.sorted()],
            [self._of_row(DIFFERENT, row, item) for _, (row, item) in self._different.sorted()],
            [Finding(EXTRA, key) for key, _ in self._extra.sorted()],
        ]
        while (more := sum(map(len, kinds)) - self._examples) > 0:
            longest = max(kinds, key=len)
            second = sorted(map(len, kinds))[-2]
            del longest[-min(more, max(len(longest) - second, 1)) :]
        return tuple(finding for kind in kinds for finding in kind)

    def _of_row(self, kind: str, row: bytes, found: Item | None) -> Finding:
        _, position, size, line = _ROW.unpack(row)
        expected = self._said.item_at(position, size)
        where = difference(expected, found) if found is not None else None
        attribute, detail = where or ("", "")
        file = self._said.file_at(position)
        return Finding(kind, self._key_shown(expected), file, line, attribute, detail)

    def _key_shown(self, item: Item) -> str:
        """`carrier=AA time_hour=2013-01-01`."""
        parts = []
        for part in self._schema.key_schema.parts:
            values = item.get(part.name, {}).values()
            parts.append(f"{clipped(part.name)}={clipped(str(next(iter(values), '')))}")
        return " ".join(parts)
