"""BatchWriteItem, and what the fault plan makes of it."""

import zlib
from collections.abc import Iterable
from typing import Any

import orjson

from tests.server.auth import Caller
from tests.server.errors import internal_error, throttled
from tests.server.faults import Fault
from tests.server.late import apply_later
from tests.server.limits import partition_value, value_text
from tests.server.message import HTML, Reply
from tests.server.parameters import capacity_wanted, consumed_capacity, read_parameters
from tests.server.state import State
from tests.server.writes import Applied, Write, apply_or_refuse, apply_writes, read_batch

_KNOWN = frozenset({"RequestItems", "ReturnConsumedCapacity"})
_UNAVAILABLE = b"<html><body><h1>503 Service Unavailable</h1></body></html>"
_LOGIN = b"<html><body>Please sign in to the network.</body></html>"


def batch_write_item(state: State, caller: Caller, body: bytes) -> Reply:
    parameters = read_parameters(body, _KNOWN)
    request_items = parameters.get("RequestItems")
    faults = state.faults
    first_table = next(iter(request_items), "") if isinstance(request_items, dict) else ""
    _stop(state, faults.gate(caller, first_table))
    wanted = capacity_wanted(parameters)
    writes = read_batch(state, request_items)
    _stop(state, faults.bar(map(_partition_text, writes)))
    fault = faults.draw()
    if fault is not None:
        state.stats.faults[fault.value] += 1
        return _fail(state, fault, writes, wanted)
    return _succeed(state, apply_or_refuse(state, writes), [], wanted)


def _stop(state: State, barred: tuple[str, Any] | None) -> None:
    if barred is not None:
        name, error = barred
        state.stats.faults[name] += 1
        raise error


def _partition_text(write: Write) -> str:
    return value_text(partition_value(write.key))


def _succeed(state: State, applied: Applied, held_back: list[Write], wanted: str) -> Reply:
    left = applied.left + held_back
    state.stats.acknowledged += len(applied.done)
    state.stats.unprocessed += len(left)
    return Reply(200, _body(applied, left, wanted))


def _body(applied: Applied, left: Iterable[Write], wanted: str) -> bytes:
    unprocessed: dict[str, list[Any]] = {}
    for write in left:
        unprocessed.setdefault(write.table.schema.name, []).append(write.request)
    members: dict[str, Any] = {"UnprocessedItems": unprocessed}
    if wanted != "NONE":
        members["ConsumedCapacity"] = [
            consumed_capacity(name, wanted, charge) for name, charge in applied.charges.items()
        ]
    return orjson.dumps(members)


def _fail(state: State, fault: Fault, writes: list[Write], wanted: str) -> Reply:
    """
    Each fault is as unkind as the service may be: a failed request may have been applied in part, and
    a reply that only looks like success leaves something unwritten that a trusting client would lose.
    """
    faults = state.faults
    match fault:
        case Fault.UNPROCESSED:
            chosen = set(faults.draw_some(len(writes), faults.plan.unprocessed_items))
            held_back = [writes[place] for place in chosen]
            faults.random.shuffle(held_back)
            rest = [write for place, write in enumerate(writes) if place not in chosen]
            return _succeed(state, apply_or_refuse(state, rest), held_back, wanted)
        case Fault.THROTTLE:
            code, reason = faults.draw_throttle()
            table = writes[0].table
            of_index = reason is not None and reason.startswith("Index")
            raise throttled(code, table.index_arn() if of_index else table.arn, reason)
        case Fault.ERROR500:
            apply_writes(state, [writes[place] for place in faults.draw_some(len(writes), 0.5)])
            raise internal_error()
        case Fault.ERROR503_HTML:
            return Reply(503, _UNAVAILABLE, HTML, signed=False)
        case Fault.RESET_BEFORE:
            return Reply(500, b"", reset=True)
        case Fault.RESET_AFTER:
            apply_writes(state, writes)
            return Reply(500, b"", reset=True)
        case Fault.CUT_REPLY:
            half = len(writes) // 2
            applied = apply_writes(state, writes[:half])
            body = _body(applied, applied.left + writes[half:], wanted)
            return Reply(200, body, cut=faults.draw_cut())
        case Fault.EMPTY200:
            return Reply(200, b"", signed=False)
        case Fault.HTML200:
            return Reply(200, _LOGIN, HTML, signed=False)
        case Fault.WRONG_CRC:
            # The true reply hands everything back; on the way it was altered into a success.
            nothing = Applied([], [], {})
            true_body = _body(nothing, writes, wanted)
            return Reply(200, _body(nothing, [], wanted), crc=zlib.crc32(true_body))
        case Fault.SLOW:
            reply = _succeed(state, apply_or_refuse(state, writes), [], wanted)
            reply.delay = faults.plan.slow_seconds
            return reply
        case Fault.LATE:
            apply_later(state, writes, faults.draw_late())
            return Reply(500, b"", reset=True, at_once=True)
