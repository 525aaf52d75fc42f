"""What a load is told to do, as frozen values, and the rules for the option texts they come from."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from loader.errors import BadOption

TYPES = ("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M", "JSON")
TYPES_SO_FAR = ("S", "N", "BOOL")

TRANSPORTS = ("fast", "boto3")

BATCH_LIMIT = 25
WINDOW_SIZE = 1 << 30
MIN_WINDOW_SIZE = 1
RECORD_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """
    Where the table is; what is None follows the AWS chain (environment, profile, instance role).

    Without `allow_http` plain HTTP is for this machine alone, wherever the endpoint comes from.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """Stop past `count` rejects, or past `percent` of the rows (counted once there are 1,000)."""

    count: int | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        _at_least("--max-rejects", self.count, 0)
        if self.percent is not None and not 0 <= self.percent <= 100:
            raise BadOption(f"--max-rejects {self.percent}%: give a share from 0% to 100%.")


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """
    One load. Numbers that are None are found by the loader; sizes are bytes, times seconds.

    `transport` says who signs and sends requests: the loader itself, with a boto3 client behind for what is
    unusual (`fast`), or that client alone (`boto3`). `late_write_grace` is how long the next window waits
    when an attempt of the one before got no answer, since such a write may still be applied. `max_wcu` bounds
    the write units a second of all workers together. A `dry_run` does everything but the writes;
    `price_per_million` is the price of a million write units, in whatever currency.
    """

    sources: tuple[str, ...]
    table: str
    connection: ConnectionConfig = ConnectionConfig()
    workers: int | None = None
    threads: int | None = None
    batch_size: int = BATCH_LIMIT
    max_retries: int | None = None
    transport: str = "fast"
    stall_timeout: float = 300.0
    max_rejects: RejectLimit | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    rejects: str | None = None
    include_superseded: bool = False
    state_dir: str | None = None
    restart: bool = False
    window_size: int | None = None
    limit: int | None = None
    late_write_grace: float = 10.0
    shard_records: int | None = None
    max_wcu: int | None = None
    dry_run: bool = False
    price_per_million: float | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise BadOption("No source given. Name at least one CSV file.")
        if not self.table:
            raise BadOption("No table given. Name it with --table.")
        _within("--batch-size", self.batch_size, 1, BATCH_LIMIT)
        _at_least("--workers", self.workers, 1)
        _at_least("--threads", self.threads, 1)
        _at_least("--max-retries", self.max_retries, 0)
        if self.transport not in TRANSPORTS:
            raise BadOption(f"--transport {self.transport!r}: there is only {', '.join(TRANSPORTS)}.")
        _at_least("--limit", self.limit, 0)
        _at_least("--window-size", self.window_size, MIN_WINDOW_SIZE)
        _at_least("shard_records", self.shard_records, 1)
        _at_least("--max-wcu", self.max_wcu, 1)
        if self.price_per_million is not None and not _is_duration(self.price_per_million):
            raise BadOption(f"--price-per-million {self.price_per_million}: give a price, 0 or more.")
        if not _is_duration(self.late_write_grace):
            raise BadOption(f"late_write_grace {self.late_write_grace}: give a number of seconds, 0 or more.")
        if not isinstance(self.max_rejects, RejectLimit | None):
            raise BadOption(
                f"max_rejects {self.max_rejects!r}: give a RejectLimit, such as RejectLimit(count=100)."
            )
        if not isinstance(self.types, Mapping):
            raise BadOption(f"types {self.types!r}: give a mapping, such as {{'age': 'N'}}.")
        if not _is_duration(self.stall_timeout) or self.stall_timeout == 0:
            raise BadOption(f"--stall-timeout {self.stall_timeout}: give a number of seconds above 0.")
        check_types(self.types)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_duration(value: object) -> bool:
    """Seconds, 0 or more; for ever is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _within(option: str, value: int, low: int, high: int) -> None:
    if not _is_number(value) or not low <= value <= high:
        raise BadOption(f"{option} {value}: give a number from {low} to {high}.")


def _at_least(option: str, value: int | None, low: int) -> None:
    if value is not None and (not _is_number(value) or value < low):
        raise BadOption(f"{option} {value}: give a number of at least {low}.")


def check_types(types: Mapping[str, str]) -> None:
    """Refuse a type that DynamoDB does not have, and those the loader cannot write yet."""
    for column, type_ in types.items():
        if type_ not in TYPES:
            raise BadOption(f"--types {column}={type_}: no such type. The types are {', '.join(TYPES)}.")
        if type_ not in TYPES_SO_FAR:
            raise BadOption(
                f"--types {column}={type_}: this type is not there yet. Use one of {', '.join(TYPES_SO_FAR)}."
            )


def parse_types(texts: Iterable[str]) -> dict[str, str]:
    """`["age=N,active=BOOL", "x=S"]` as `{"age": "N", ...}`; the name may hold `=`, not a comma."""
    types: dict[str, str] = {}
    for text in texts:
        for pair in text.split(","):
            column, equals, type_ = pair.rpartition("=")
            if not equals or not column:
                raise BadOption(f"--types {pair!r}: write COLUMN=TYPE, such as age=N.")
            if types.setdefault(column, type_) != type_:
                raise BadOption(f"--types gives column {column!r} two types, {types[column]} and {type_}.")
    check_types(types)
    return types


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(option: str, text: str) -> int:
    """`1048576`, `64k`, `64KiB`, `1g` as bytes; the units are powers of 1,024."""
    match = re.fullmatch(r"(\d{1,15})\s*(?:([kmgt])i?)?b?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        raise BadOption(f"{option} {text!r}: give a number of bytes, such as 1048576, 64MiB or 1GiB.")
    return int(match[1]) * _UNITS[(match[2] or "").lower()]


def parse_reject_limit(text: str) -> RejectLimit:
    """`100` rejects, or `2.5%` of the rows."""
    if re.fullmatch(r"\d+", text, re.ASCII):
        return RejectLimit(count=int(text))
    if re.fullmatch(r"\d+(\.\d+)?%", text, re.ASCII) and float(text[:-1]) <= 100:
        return RejectLimit(percent=float(text[:-1]))
    raise BadOption(f"--max-rejects {text!r}: give a number of rows, such as 100, or a share, such as 2%.")
