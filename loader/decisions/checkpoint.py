"""What a checkpoint holds: its lines, what they tell the run that continues, and whether it fits that run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from loader.decisions.schema import clipped
from loader.model import Counts, Dialect, Header, KeySchema

FORMAT = 2
"""Of the lines. A journal of another format is refused."""
HASH_VERSION = 1
"""Of what makes shard 7 the same rows in every run: normal form of keys, hash, sort, cutting into shards."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file, by its absolute path. Times and inode only tell whether digests must be compared."""

    path: str
    size: int
    modified_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Head:
    """
    The first line of a journal: what the load is of, and all that shapes items and order.

    `created` (epoch seconds) and `table_id` say which table of that name it is. `rejects` is the absolute
    path of the reject file, "" in the head of a run that names none. `seed` and `shard_records` are the
    load's own: who continues it takes them from here.
    """

    table: str
    arn: str
    table_id: str
    created: str
    endpoint: str
    key: KeySchema
    sources: tuple[SourceFile, ...]
    header: Header
    dialect: Dialect
    types: Mapping[str, str]
    seed: int
    window_size: int
    shard_records: int
    winner: str = "last"
    limit: int | None = None
    include_superseded: bool = False
    rejects: str = ""
    format: int = FORMAT
    hash_version: int = HASH_VERSION

    def mismatch(self, now: "Head") -> str | None:
        """One sentence: why a run whose head would be `now` cannot continue this load; None if it can."""
        return next(_mismatches(self, now), None)

    def touched(self, now: "Head") -> bool:
        """Whether a file's time or inode differs, so that only its digests tell if it is still the same."""
        return self.sources != now.sources


@dataclass(frozen=True, slots=True)
class WindowLine:
    """
    A window whose writing begins: bytes [start, stop) of the virtual source, which have `digest`.

    `file` and `line` say where it begins (which file, from 0, and which line of that, from 1), `next_file`
    and `next_line` where the window behind it does: a `stop` at the end of a file belongs to that file still.
    """

    window: int
    start: int
    stop: int
    records: int
    digest: str
    file: int
    line: int
    next_file: int
    next_line: int


@dataclass(frozen=True, slots=True)
class ShardLine:
    """
    Every row of a shard has its outcome. `rejects` are (position of the record, bytes in the reject file),
    in the order in which they were appended to it; where there are any, `rejects_sum` is the checksum of that
    file up to the last of them.
    """

    window: int
    shard: int
    counts: Counts
    rejects: Sequence[tuple[int, int]] = ()
    unanswered: bool = False
    rejects_sum: int = 0


@dataclass(frozen=True, slots=True)
class WindowDone:
    """Every shard of the window is done."""

    window: int


Line = WindowLine | ShardLine | WindowDone


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """A window that was not done; `counts` are those of the `shards` that are."""

    line: WindowLine
    shards: frozenset[int]
    counts: Counts
    unanswered: bool


@dataclass(frozen=True, slots=True)
class RecordedRejects:
    """
    What the checkpoint knows of the reject file: `positions` of the records and `lengths` there in bytes, in
    the order of that file, and `sum`, its checksum (xxh3_64) up to the last of them; None without any.
    What lies behind these is of no shard that is done.
    """

    positions: Sequence[int] = ()
    lengths: Sequence[int] = ()
    sum: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """
    What a journal tells the run that continues it.

    `finished` are the windows that are done, in order, and `finished_counts` what became of their rows.
    `unanswered`: an attempt of some shard got no answer. `length` is how many bytes of the journal hold whole
    lines, and `sum` the checksum that the last of them carries, over which that of the next one is made.
    """

    head: Head
    finished: tuple[WindowLine, ...]
    finished_counts: Counts
    open: OpenWindow | None
    rejects: RecordedRejects
    unanswered: bool
    length: int
    sum: int

    @property
    def counts(self) -> Counts:
        """Of every shard that is done."""
        return self.finished_counts if self.open is None else self.finished_counts + self.open.counts

    @property
    def last(self) -> WindowLine | None:
        """The last window that was begun: what is behind it is unread. None where none was begun."""
        if self.open is not None:
            return self.open.line
        return self.finished[-1] if self.finished else None

    @property
    def all_done(self) -> bool:
        """Whether every window of the load is done, so that it only remains to be completed."""
        if self.open is not None or not self.finished:
            return False
        records = sum(window.records for window in self.finished)
        at_limit = self.head.limit is not None and records >= self.head.limit
        return at_limit or self.finished[-1].next_file >= len(self.head.sources)


class BadLine(Exception):
    """A line that is no line of a journal, or does not follow from those before it."""


# --- whether it fits ------------------------------------------------------------------------------


def _mismatches(head: Head, now: Head) -> Iterator[str]:
    if (head.format, head.hash_version) != (now.format, now.hash_version):
        yield "The checkpoint was made by another version of this program."
    if (head.arn, head.table, head.endpoint) != (now.arn, now.table, now.endpoint):
        yield (
            f"The checkpoint is of a load into table {head.table} at {head.endpoint}, "
            f"not {now.table} at {now.endpoint}."
        )
    if (head.created, head.table_id) != (now.created, now.table_id):
        yield (
            f"The table {now.table} was made anew on {_date(now.created)}; "
            f"the load went into the one made on {_date(head.created)}."
        )
    if head.key != now.key:
        yield f"The key of table {now.table} is now {_key(now.key)}, it was {_key(head.key)}."
    yield from _source_mismatches(head, now)
    for what, before, after in (
        ("--window-size", head.window_size, now.window_size),
        ("--limit", head.limit, now.limit),
        ("--include-superseded", head.include_superseded, now.include_superseded),
        ("The delimiter", head.dialect.delimiter, now.dialect.delimiter),
        ("The quote character", head.dialect.quote, now.dialect.quote),
        ("The row that wins a key", head.winner, now.winner),
    ):
        if before != after:
            yield f"{what} is now {_shown(after)}, it was {_shown(before)}."
    if dict(head.types) != dict(now.types):
        yield f"--types changed: it is now {_types(now.types)}, it was {_types(head.types)}."
    if now.rejects and now.rejects != head.rejects:
        yield f"--rejects changed: this load writes its rejects to {printable(head.rejects)}."


def _source_mismatches(head: Head, now: Head) -> Iterator[str]:
    if [file.path for file in head.sources] != [file.path for file in now.sources]:
        counts = f"{len(head.sources):,} then, {len(now.sources):,} now"
        yield f"The load was of other files, or of the same in another order ({counts})."
        return
    for before, after in zip(head.sources, now.sources, strict=True):
        if before.size != after.size:
            yield f"The file {printable(after.path)} has now {after.size:,} bytes, it had {before.size:,}."
    if head.header != now.header:
        names = ", ".join(map(clipped, _header_difference(head.header, now.header)))
        yield f"The header is not what it was: it differs in {names}."


def _header_difference(before: Header, after: Header) -> Sequence[str]:
    """The first few columns that are new or gone; all that moved where none is."""
    changed = set(before.columns) ^ set(after.columns)
    names = dict.fromkeys(after.columns + before.columns)
    return [name for name in names if not changed or name in changed][:5]


def printable(path: str) -> str:
    """A path fit for a message: what in it is not UTF-8 stands as escapes."""
    return path.encode("utf-8", "backslashreplace").decode()


def _date(seconds: str) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return seconds


def _key(key: KeySchema) -> str:
    return " + ".join(f"{part.name} ({part.type})" for part in key.parts)


def _shown(value: int | str | bool | None) -> str:
    if value is None or isinstance(value, bool):
        return "on" if value else "off" if value is False else "not given"
    return f"{value:,}" if isinstance(value, int) else repr(value)


def _types(types: Mapping[str, str]) -> str:
    return ",".join(f"{clipped(name)}={type_}" for name, type_ in sorted(types.items())) or "not given"
