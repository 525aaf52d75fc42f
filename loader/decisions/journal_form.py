"""
The lines of a journal as bytes: a JSON object each. Its last member is a checksum over it and the one before.

So it is over all lines before, and what was changed, left out, doubled or moved is found, whatever it says.
"""

import json
from dataclasses import asdict, fields, replace
from typing import Any

import orjson
from xxhash import xxh3_64_intdigest

from loader.decisions.checkpoint import (
    FORMAT,
    BadLine,
    Head,
    Line,
    ShardLine,
    SourceFile,
    WindowDone,
    WindowLine,
)
from loader.model import Counts, Dialect, Header, KeyPart, KeySchema

_SEAL = b',"sum":"%016x"}\n'
_SEAL_SIZE = len(_SEAL % 0)
_COUNT_NAMES = tuple(each.name for each in fields(Counts))
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What JSON of any other shape is met with, deep nesting and absurd numbers among it."""


class OtherFormat(Exception):
    """The journal was written by another version of the program."""


def sealed(body: bytes, before: int) -> bytes:
    """The line of a JSON object, given without its last brace, behind a line with the checksum `before`."""
    return body + _SEAL % _checksum(body, before)


def checked(line: bytes, before: int) -> int:
    """The checksum of a line; before the first it is 0. Raises BadLine unless it is as it was written."""
    checksum = _checksum(line[:-_SEAL_SIZE], before)
    if line[-_SEAL_SIZE:] != _SEAL % checksum:
        raise BadLine("not as it was written, or not behind the line it was written behind")
    return checksum


def _checksum(body: bytes, before: int) -> int:
    return xxh3_64_intdigest(b"%016x" % before + body)


def encode_head(head: Head) -> bytes:
    """The first line. Paths need not be UTF-8, which only the standard library's JSON can carry."""
    plain = asdict(replace(head, types=dict(head.types)))
    return sealed(json.dumps(plain, separators=(",", ":")).encode()[:-1], 0)


def decode_head(line: bytes) -> Head:
    """Raises BadLine unless it is as it was written, OtherFormat where it says it is of another format."""
    try:
        checked(line, 0)
    except BadLine:
        # Other versions have other checksums, or none. Either way it is refused.
        if _is_of_another_format(line):
            raise OtherFormat from None
        raise
    try:
        told = json.loads(line)
        del told["sum"]
        if told["format"] != FORMAT:
            raise OtherFormat
        key = (None if part is None else KeyPart(**part) for part in told.pop("key").values())
        header = told.pop("header")
        return Head(
            key=KeySchema(*key),  # type: ignore[arg-type]
            sources=tuple(SourceFile(**file) for file in told.pop("sources")),
            header=Header(tuple(header["columns"]), header["reject_columns"]),
            dialect=Dialect(**told.pop("dialect")),
            **told,
        )
    except _MALFORMED as error:
        raise BadLine(str(error)) from error


def _is_of_another_format(line: bytes) -> bool:
    try:
        told = json.loads(line)["format"]
    except _MALFORMED:
        return False
    return type(told) is int and told != FORMAT


def encode_line(line: Line, before: int) -> bytes:
    """`before` is the checksum of the line it comes behind."""
    told: dict[str, Any]
    match line:
        case WindowLine():
            told = asdict(line)
        case ShardLine():
            counts = {name: value for name in _COUNT_NAMES if (value := getattr(line.counts, name))}
            told = {"shard": line.shard, "window": line.window, "counts": counts}
            if line.rejects:
                told["rejects"] = line.rejects
                told["rejects_sum"] = line.rejects_sum
            if line.unanswered:
                told["unanswered"] = True
        case WindowDone():
            told = {"done": line.window}
    return sealed(orjson.dumps(told)[:-1], before)


def decode_line(line: bytes) -> Line:
    """
    What a line says, whether or not it is true: see `checked`. Raises BadLine, for a line without its end as
    well: what was torn is not to be believed.
    """
    if not line.endswith(b"\n"):
        raise BadLine("no line end")
    try:
        told = orjson.loads(line)
        del told["sum"]
        if "shard" in told:
            return ShardLine(
                told["window"],
                told["shard"],
                Counts(**told["counts"]),
                [(position, length) for position, length in told.get("rejects", ())],
                told.get("unanswered", False),
                told.get("rejects_sum", 0),
            )
        return WindowDone(told["done"]) if "done" in told else WindowLine(**told)
    except _MALFORMED as error:
        raise BadLine(str(error)) from error
