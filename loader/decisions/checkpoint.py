"""What a checkpoint holds, line by line and in sum, and whether it fits the run at hand."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from loader.decisions.schema import clipped
from loader.model import Counts, Dialect, Header, KeySchema

FORMAT = 1
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
    in the order in which they were appended to it.
    """

    window: int
    shard: int
    counts: Counts
    rejects: Sequence[tuple[int, int]] = ()
    unanswered: bool = False


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
class Resume:
    """
    What a journal tells the run that continues it.

    `finished` are the windows that are done, in order, and `finished_counts` what became of their rows.
    `reject_positions` and `reject_lengths` have an element for each reject, in the order of the reject file;
    what lies behind these there is of no shard that is done. `unanswered`: an attempt of some shard got no
    answer. `length` is how many bytes of the journal hold whole lines.
    """

    head: Head
    finished: tuple[WindowLine, ...]
    finished_counts: Counts
    open: OpenWindow | None
    reject_positions: "array[int]"
    reject_lengths: "array[int]"
    unanswered: bool
    length: int

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
    def rejects(self) -> tuple["array[int]", "array[int]"]:
        """As RejectFile.open takes them."""
        return self.reject_positions, self.reject_lengths


class BadLine(Exception):
    """A line that is no line of a journal, or does not follow from those before it."""


# --- what the lines add up to ---------------------------------------------------------------------


class Replay:
    """
    Takes the lines in their order and tells what they add up to.

    The next window may be entered while one is being written. It is then forgotten unless that one is done,
    and entered again by the run that continues.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._finished: list[WindowLine] = []
        self._finished_counts = Counts()
        self._open: OpenWindow | None = None
        self._shards: set[int] = set()
        self._ahead: WindowLine | None = None
        self._positions = array("Q")
        self._lengths = array("Q")
        self._unanswered = False

    def take(self, line: Line) -> None:
        """Raises BadLine for a line that cannot follow; it then changes nothing."""
        match line:
            case WindowLine():
                self._take_window(line)
            case ShardLine():
                self._take_shard(line)
            case WindowDone():
                self._take_done(line)

    def resume(self, length: int) -> Resume:
        """The sum of what was taken; `length` bytes of the journal hold it."""
        open_ = None if self._open is None else replace(self._open, shards=frozenset(self._shards))
        return Resume(
            self._head,
            tuple(self._finished),
            self._finished_counts,
            open_,
            self._positions,
            self._lengths,
            self._unanswered,
            length,
        )

    def _take_window(self, line: WindowLine) -> None:
        if self._open is None:
            if line.window != len(self._finished):
                raise BadLine(f"window {line.window} after {len(self._finished)} windows")
            self._begin(line)
        elif line.window == self._open.line.window and not self._shards:
            self._begin(line)
        elif line.window == self._open.line.window + 1:
            self._ahead = line
        else:
            raise BadLine(f"window {line.window} while window {self._open.line.window} is open")

    def _begin(self, line: WindowLine | None) -> None:
        self._open = None if line is None else OpenWindow(line, frozenset(), Counts(), False)
        self._shards.clear()
        self._ahead = None

    def _take_shard(self, line: ShardLine) -> None:
        open_ = self._require_open(line.window)
        if line.shard in self._shards:
            raise BadLine(f"shard {line.shard} twice")
        try:
            counts = open_.counts + line.counts
            positions = array("Q", (position for position, _ in line.rejects))
            lengths = array("Q", (length for _, length in line.rejects))
        except (TypeError, OverflowError) as error:
            raise BadLine(str(error)) from error
        self._shards.add(line.shard)
        self._open = replace(open_, counts=counts, unanswered=open_.unanswered or line.unanswered)
        self._positions += positions
        self._lengths += lengths
        self._unanswered |= line.unanswered

    def _take_done(self, line: WindowDone) -> None:
        open_ = self._require_open(line.window)
        self._finished.append(open_.line)
        self._finished_counts += open_.counts
        self._begin(self._ahead)

    def _require_open(self, window: int) -> OpenWindow:
        if self._open is None or self._open.line.window != window:
            raise BadLine(f"window {window} is not open")
        return self._open


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
