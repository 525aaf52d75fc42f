"""
BatchWriteItem's wire format: bodies out, replies in.

A reply is judged here and nowhere else, from its raw bytes: botocore's parser takes a cut, empty or HTML
`200` for a success without unprocessed items.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import orjson

from loader.config import BATCH_LIMIT


class Reply(NamedTuple):
    """An HTTP reply as it came: header names in lower case, the body not decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """
    A success: `unprocessed` are the items (DynamoDB JSON) handed back, all others are in the table.

    `write_units` is what the service says it charged, indexes included; 0.0 if it does not say.
    `index_units` are those of each index, local ones too, by its name; empty if it does not say.
    """

    unprocessed: tuple[Mapping[str, Any], ...]
    write_units: float
    index_units: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Throttled:
    """Refused whole for want of capacity: nothing written, nothing charged. `reasons` come with ARNs."""

    code: str
    message: str
    reasons: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Transient:
    """Worth another try. Any part of the batch may have been written."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service's verdict on what was sent: as it is, it will never be accepted. Nothing was written."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Not this batch but the load as a whole is refused: credentials, permissions, the table."""

    code: str
    message: str


Failure = Throttled | Transient | Rejected | Halt
Answer = Written | Failure

UNREADABLE = "UnreadableReply"
CHECKSUM = "ChecksumMismatch"

ITEM_COLLECTION_TOO_LARGE = "ItemCollectionSizeLimitExceededException"

TABLE_GONE = frozenset({"ResourceNotFoundException", "TableNotFoundException"})
# New credentials, or a signature made at another moment, may be accepted: see retry.py.
STALE_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED = STALE_CREDENTIALS | {
    "AccessDenied",
    "AccessDeniedException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "SubscriptionRequiredException",
}
# Whoever listens there has no BatchWriteItem.
NO_SUCH_OPERATION = frozenset({"InvalidAction", "UnknownOperationException"})
_HALT = TABLE_GONE | _DENIED | NO_SUCH_OPERATION

_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_TRANSIENT = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "InvalidEndpointException",
        "ReplicatedWriteConflictException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ResourceInUseException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)

_BODY_TOO_LARGE = 413
_TOO_MANY_REQUESTS = 429
# Unauthorized, Forbidden, Proxy Authentication Required: the next request would fare no better.
_DENIED_STATUS = frozenset({401, 403, 407})

_BEFORE_ITEM = b'{"PutRequest":{"Item":'
BETWEEN_ITEMS = b"}}," + _BEFORE_ITEM
"""
What stands between two items of a body. It cannot stand within one: a quote inside of a string is escaped,
and outside of strings DynamoDB JSON has no such name.
"""
_END_TOTAL = b'}}]},"ReturnConsumedCapacity":"TOTAL"}'
_END_PER_INDEX = b'}}]},"ReturnConsumedCapacity":"INDEXES"}'
_QUOTED_LENGTH = 200
# Of one request. What is more, negative or no number was not charged.
_MOST_UNITS = 1e9
_INDEX_KINDS = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")


def join_items(items: Sequence[bytes]) -> bytes:
    """Items, each a DynamoDB JSON object in UTF-8, as they stand in a body."""
    return BETWEEN_ITEMS.join(items)


def split_items(joined: bytes) -> list[bytes]:
    """The items again."""
    return joined.split(BETWEEN_ITEMS)


def request_body(table: str, items: Sequence[bytes], *, per_index: bool) -> bytes:
    """
    The JSON body that puts `items` into `table`: DynamoDB JSON objects in UTF-8, or some joined already.

    `per_index` asks for the write units of each index apart; the sum is the same. Raises ValueError unless
    they are 1 to 25; for what is joined already `Batch` has seen to that.
    """
    if not 1 <= len(items) <= BATCH_LIMIT:
        raise ValueError(f"a batch of {len(items)} items")
    before = b'{"RequestItems":{', orjson.dumps(table), b":[", _BEFORE_ITEM
    return b"".join((*before, join_items(items), _END_PER_INDEX if per_index else _END_TOTAL))


def read_reply(reply: Reply, table: str) -> Answer:
    """What a reply to BatchWriteItem on `table` alone means."""
    result = read_result(reply, "UnprocessedItems")
    if not isinstance(result, dict):
        return result
    unprocessed = _items_of(result["UnprocessedItems"], table)
    if unprocessed is None:
        return _unreadable(reply, "its UnprocessedItems are not puts to this table")
    consumed = result.get("ConsumedCapacity")
    # A server that leaves it out or gets it wrong has still written.
    entries = [entry for entry in consumed if isinstance(entry, dict)] if isinstance(consumed, list) else []
    return Written(unprocessed, _write_units(entries), _index_units(entries))


def read_result(reply: Reply, member: str) -> dict[str, Any] | Failure:
    """
    The JSON of a success, or what else the reply means.

    A success is a whole 200: it fits its checksum and is a JSON object that has `member`.
    """
    if not _fits_checksum(reply):
        return Transient(CHECKSUM, f"The reply ({reply.status}) does not fit its checksum.")
    if reply.status != 200:
        return _read_error(reply)
    result = _json_object(reply.body)
    if result is None:
        return _unreadable(reply, "it is not a JSON object")
    if member not in result:
        return _unreadable(reply, f"it has no {member}")
    return result


def _fits_checksum(reply: Reply) -> bool:
    # Over the bytes as sent, so before any decompression; the transports ask for none.
    expected = reply.headers.get("x-amz-crc32")
    if expected is None:
        return True
    try:
        return int(expected) == zlib.crc32(reply.body)
    except ValueError:
        return False


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _items_of(unprocessed: object, table: str) -> tuple[Mapping[str, Any], ...] | None:
    # A table asked for by its ARN may come back under its name.
    names = {table, table.rpartition("/")[2]}
    if not isinstance(unprocessed, dict) or not unprocessed.keys() <= names:
        return None
    requests = list(unprocessed.values())
    if not all(isinstance(of_table, list) for of_table in requests):
        return None
    items = []
    for request in chain.from_iterable(requests):
        put = request.get("PutRequest") if isinstance(request, dict) else None
        item = put.get("Item") if isinstance(put, dict) else None
        if not isinstance(item, dict):
            return None
        items.append(item)
    return tuple(items)


def _write_units(entries: Iterable[Mapping[str, Any]]) -> float:
    return _sum(_units(entry) for entry in entries)


def _index_units(entries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for entry in entries:
        for kind in _INDEX_KINDS:
            of_kind = entry.get(kind)
            if not of_kind or not isinstance(of_kind, dict):
                continue
            for name, capacity in of_kind.items():
                if isinstance(capacity, dict) and (units := _units(capacity)):
                    sums[name] = _sum((sums.get(name, 0.0), units))
    return sums


def _units(capacity: Mapping[str, Any]) -> float:
    units = capacity.get("CapacityUnits")
    return float(units) if isinstance(units, int | float) and 0 <= units < _MOST_UNITS else 0.0


def _sum(units: Iterable[float]) -> float:
    return min(sum(units), _MOST_UNITS)


def _unreadable(reply: Reply, why: str) -> Transient:
    kind = f" ({reply.headers['content-type']})" if "content-type" in reply.headers else ""
    return Transient(
        UNREADABLE, f"A reply of {len(reply.body)} bytes{kind} is no whole answer of DynamoDB's: {why}."
    )


def _read_error(reply: Reply) -> Failure:
    error = _json_object(reply.body)
    code = _error_code(error)
    if error is None or not code:
        return _read_foreign_error(reply)
    message = _text(error.get("message") or error.get("Message"))
    if code in _THROTTLED or reply.status == _TOO_MANY_REQUESTS:
        return Throttled(code, message, _throttling_reasons(error))
    if reply.status >= 500 or code in _TRANSIENT:
        return Transient(code, message)
    if code in STALE_CREDENTIALS and "date" in reply.headers:
        # Most often this machine's clock is wrong, and this is how to see it.
        return Halt(code, f"{message} (the service's clock: {reply.headers['date']})".lstrip())
    if code in _HALT or reply.status in _DENIED_STATUS:
        return Halt(code, message)
    if 400 <= reply.status < 500:
        return Rejected(code, message)
    return Transient(code, message)


def _read_foreign_error(reply: Reply) -> Failure:
    """
    An error without a code: something on the way answered, or the reply was cut short.

    Only a refusal for its size is a verdict on the batch. Of the rest no item may be rejected, since a reply
    cut short was perhaps a throttle.
    """
    code = str(reply.status)
    body = reply.body.decode("utf-8", "replace")
    message = " ".join(body.split())[:_QUOTED_LENGTH] or "The reply has no body."
    if reply.status == _BODY_TOO_LARGE:
        return Rejected(code, message)
    if reply.status == _TOO_MANY_REQUESTS:
        return Throttled(code, message)
    if reply.status in _DENIED_STATUS:
        return Halt(code, message)
    return Transient(code, message)


def _error_code(error: Mapping[str, Any] | None) -> str:
    """The type without its namespace and the address behind it, both of which come and go."""
    return _text((error or {}).get("__type")).partition(":")[0].rpartition("#")[2]


def _throttling_reasons(error: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    # ThrottlingException spells it with a small t.
    reasons = error.get("ThrottlingReasons") or error.get("throttlingReasons")
    entries = reasons if isinstance(reasons, list) else []
    entries = [entry for entry in entries if isinstance(entry, dict)]
    return tuple((_text(entry.get("reason")), _text(entry.get("resource"))) for entry in entries)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
