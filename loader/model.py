"""The values that travel along the street, and the progress events that leave it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from loader.capacity import Limit, Plan, WriteCapacity

# --- the file -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are told apart. Each is a single ASCII character; quotes inside quotes are doubled."""

    delimiter: str = ","
    quote: str = '"'


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """One input file as it was when the load began; `path` is absolute, `shown` as the user wrote it."""

    path: str
    shown: str
    size: int
    device: int
    inode: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class FileSpan:
    """
    One file's place in the virtual source: byte b of the file stands at position `base` + b.

    Data records begin at position `base + data_start` (behind byte order mark and header) on line
    `first_line` of the file (from 1).
    """

    identity: FileIdentity
    base: int
    data_start: int
    first_line: int

    @property
    def end(self) -> int:
        return self.base + self.identity.size


@dataclass(frozen=True, slots=True)
class Header:
    """
    The column names of a source. `reject_columns` is 6 where the file is a reject file: its last six
    columns (`_file _line _column _code _reason _superseded`) are not part of `columns`.
    """

    columns: tuple[str, ...]
    reject_columns: int = 0

    @property
    def width(self) -> int:
        """Cells a record must have."""
        return len(self.columns) + self.reject_columns


REJECT_COLUMNS = ("_file", "_line", "_column", "_code", "_reason", "_superseded")


# --- the table ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyPart:
    """A key attribute: its name and its type (S, N or B)."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class KeySchema:
    hash: KeyPart
    range: KeyPart | None = None

    @property
    def parts(self) -> tuple[KeyPart, ...]:
        return (self.hash,) if self.range is None else (self.hash, self.range)


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """
    A secondary index. A local one (`local`) shares the table's partition key and its capacity, and its
    entries count towards the size of the item. `projection` is ALL, KEYS_ONLY or INCLUDE (then `included`
    names them).
    """

    name: str
    local: bool
    hash_keys: tuple[KeyPart, ...]
    range_keys: tuple[KeyPart, ...]
    projection: str
    included: tuple[str, ...] = ()
    capacity: WriteCapacity = field(default_factory=WriteCapacity)


@dataclass(frozen=True, slots=True)
class TableDescription:
    """
    What DescribeTable tells. `created` is epoch seconds as text; `stream` the view type of an enabled stream,
    else ""; `replicas` the regions of others; `ttl` the attribute of an enabled time to live, "" where there
    is none and None where the service did not say. `item_count` and `size_bytes` are some hours old.
    """

    name: str
    arn: str
    id: str
    created: str
    endpoint: str
    status: str
    key: KeySchema
    indexes: tuple[IndexDescription, ...] = ()
    capacity: WriteCapacity = field(default_factory=WriteCapacity)
    item_count: int = 0
    size_bytes: int = 0
    stream: str = ""
    replicas: tuple[str, ...] = ()
    ttl: str | None = None

    @property
    def capacities(self) -> tuple[WriteCapacity, ...]:
        """That of the table, and of each index that has one of its own."""
        return self.capacity, *(index.capacity for index in self.indexes if not index.local)


# --- rows that cannot become items --------------------------------------------------------------


class RejectCode(StrEnum):
    """Why a row is not in the table; the `_code` column of the reject file."""

    UNCLOSED_QUOTE = "unclosed_quote"
    NOT_UTF8 = "not_utf8"
    CELL_COUNT = "cell_count"
    EMPTY_KEY = "empty_key"
    KEY_TOO_LONG = "key_too_long"
    BAD_NUMBER = "bad_number"
    BAD_BOOLEAN = "bad_boolean"
    ITEM_TOO_LARGE = "item_too_large"
    REFUSED = "refused"
    ITEM_COLLECTION_TOO_LARGE = "item_collection_too_large"
    UNKNOWN_OUTCOME = "unknown_outcome"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row; `column` is "" where it is not one column's fault."""

    code: RejectCode
    reason: str
    column: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that has no item: its record is `size` bytes at `position` of the virtual source."""

    position: int
    size: int
    problem: Problem
    superseded: bool = False


# --- work handed to a worker --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IndexTask:
    """Index the records in [start, stop) of the virtual source: whole ones, all of one file."""

    window: int
    chunk: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Write entries [start, stop) of a window's sorted index, which lies in the file `spool`."""

    window: int
    shard: int
    start: int
    stop: int
    spool: str


@dataclass(frozen=True, slots=True)
class Counts:
    """
    What became of rows, and what it took. `rows` = written + duplicates + rejected.

    `throttled` counts requests refused whole for capacity, `unprocessed` items handed back in a
    success, `retries` requests sent again for any reason, `write_units` what the service says it charged.
    """

    written: int = 0
    duplicates: int = 0
    rejected: int = 0
    write_units: float = 0.0
    requests: int = 0
    throttled: int = 0
    unprocessed: int = 0
    retries: int = 0

    @property
    def rows(self) -> int:
        return self.written + self.duplicates + self.rejected

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.written + other.written,
            self.duplicates + other.duplicates,
            self.rejected + other.rejected,
            self.write_units + other.write_units,
            self.requests + other.requests,
            self.throttled + other.throttled,
            self.unprocessed + other.unprocessed,
            self.retries + other.retries,
        )


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """
    Every row of a shard has its outcome.

    `unanswered`: an attempt of it got no answer, so an old value may still be applied late.
    """

    window: int
    shard: int
    counts: Counts
    rejects: tuple[Reject, ...] = ()
    unanswered: bool = False


# --- progress -----------------------------------------------------------------------------------


class Phase(StrEnum):
    INDEXING = "indexing"
    LOADING = "loading"
    WAITING = "waiting"
    OUTAGE = "waiting for the service"
    DRAINING = "draining"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """
    The whole load at one moment, for whoever shows it.

    `counts` cover this run and the runs before it (`resumed` rows of them); `bytes_done` of
    `bytes_total` is how far in the source the rows with an outcome reach, for an estimate of the rest;
    `bytes_total` is 0 where it is not known how far the load will go (--limit).
    """

    phase: Phase
    seconds: float
    counts: Counts
    resumed: int
    bytes_done: int
    bytes_total: int
    workers: int
    message: str = ""
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """
    How a load ended; the JSON summary of the command line is made of it. `limits` are what it ran into, most
    often first; `index_units` write units by index; `plan` is what a dry run found, and None otherwise. Of a
    dry run `written` are the items that would be.
    """

    table: str
    source: tuple[str, ...]
    mode: str
    counts: Counts
    resumed: int
    seconds: float
    workers: int
    threads: int
    rejects_file: str | None
    interrupted: str | None = None
    complete: bool = False
    errors: tuple[str, ...] = ()
    resume_hint: str | None = None
    reject_codes: Mapping[str, int] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    index_units: Mapping[str, float] = field(default_factory=dict)
    plan: Plan | None = None
    dry_run: bool = False
    max_wcu: int | None = None
