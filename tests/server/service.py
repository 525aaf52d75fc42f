"""One request in, one reply out."""

import sys
import traceback
from collections.abc import Callable

from tests.server.admin import (
    create_table,
    delete_table,
    describe_table,
    describe_time_to_live,
    list_tables,
    update_time_to_live,
)
from tests.server.auth import Caller, authenticate
from tests.server.batch import batch_write_item
from tests.server.control import control
from tests.server.errors import ServiceError, access_denied, internal_error, invalid, unknown_operation
from tests.server.items import get_item, put_item, scan
from tests.server.limits import BODY_LIMIT
from tests.server.message import Reply, Request
from tests.server.state import State

_TARGET = "DynamoDB_20120810."
_OPERATIONS: dict[str, Callable[[State, Caller, bytes], Reply]] = {
    "BatchWriteItem": batch_write_item,
    "CreateTable": create_table,
    "DeleteTable": delete_table,
    "DescribeTable": describe_table,
    "DescribeTimeToLive": describe_time_to_live,
    "GetItem": get_item,
    "ListTables": list_tables,
    "PutItem": put_item,
    "Scan": scan,
    "UpdateTimeToLive": update_time_to_live,
}


def answer(state: State, request: Request) -> Reply:
    """Never raises: a fault of this server's own is an error 500 and a violation, told on stderr."""
    try:
        if request.path.startswith("/_control/"):
            return control(state, request)
        return _operate(state, request)
    except Exception:
        traceback.print_exc(file=sys.stderr)
        state.stats.violation(f"the server failed: {traceback.format_exc(limit=-1)}")
        return Reply.failure(internal_error())


def _operate(state: State, request: Request) -> Reply:
    target = request.headers.get("x-amz-target", "")
    name = target.removeprefix(_TARGET)
    operation = _OPERATIONS.get(name)
    state.stats.requests[name if operation else "unknown"] += 1
    state.stats.user_agents[request.headers.get("user-agent", "")] += 1
    delay = state.faults.draw_latency() if name == "BatchWriteItem" else 0.0
    try:
        if operation is None or name == target or request.method != "POST":
            state.stats.violation(f"{request.method} {request.path} with X-Amz-Target {target!r}")
            raise unknown_operation(target)
        caller = _authenticate(state, request)
        expired = state.faults.expired(caller, state.wall())
        if expired is not None:
            state.stats.faults["expired_token"] += 1
            raise expired
        if name in state.faults.plan.deny_operations:
            state.stats.faults["denied"] += 1
            raise access_denied(name, caller.access_key)
        if request.size > BODY_LIMIT:
            state.stats.violation(f"a body of {request.size} bytes")
            raise invalid("Request size exceeded the maximum of 16777216 bytes")
        reply = operation(state, caller, request.body)
    except ServiceError as error:
        state.stats.refused[error.code] += 1
        if error.code == "ValidationException":
            state.stats.refusals[str(error)[:200]] += 1
        reply = Reply.failure(error)
    if not reply.at_once:
        reply.delay += delay
    return reply


def _authenticate(state: State, request: Request) -> Caller:
    try:
        body = request.body if len(request.body) == request.size else None
        return authenticate(request.method, request.path, request.headers, body)
    except ServiceError as error:
        state.stats.violation(str(error))
        raise
