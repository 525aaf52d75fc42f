"""The tests' own door: what the server has seen, what it holds, and how it misbehaves."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from tests.server.capacity import Capacity
from tests.server.description import tell
from tests.server.faults import FaultPlan, Faults
from tests.server.message import Reply, Request
from tests.server.state import State

_STATUSES = ("CREATING", "UPDATING", "DELETING", "ACTIVE", "ARCHIVED")
_OUTAGE_LIMIT = 3_600


def control(state: State, request: Request) -> Reply:
    """
    GET  /_control/stats              counts, as JSON
    GET  /_control/items?table=T      every item, as JSON lines
    GET  /_control/writes?table=T     every applied put in order, as JSON lines (with --log-writes)
    POST /_control/faults             a fault plan; members left out are at rest
    POST /_control/capacity?table=T   a Capacity; members left out are as by default
    POST /_control/describe?table=T   members of what DescribeTable shall say besides, see description.merged
    POST /_control/status?table=T     {"status": "CREATING"}: what DescribeTable shall say
    POST /_control/outage             {"seconds": 20}: nobody answers that long; replied to first
    POST /_control/reset              as after the start; {"keep_tables": true} spares tables and items
    """
    url = urlsplit(request.path)
    name = parse_qs(url.query).get("table", [""])[0]
    try:
        return _control(state, request, f"{request.method} {url.path.removeprefix('/_control/')}", name)
    except (ValueError, LookupError) as error:
        return Reply(400, orjson.dumps({"error": f"{type(error).__name__}: {error}"}))


def _control(state: State, request: Request, door: str, name: str) -> Reply:
    match door:
        case "GET stats":
            tables = {name: table.stats() for name, table in state.tables.items()}
            counts = state.stats.as_json() | {"late_pending": state.late_pending, "tables": tables}
            return Reply(200, orjson.dumps(counts))
        case "GET items":
            return _lines(state.tables[name].lines())
        case "GET writes":
            log = state.tables[name].log
            if log is None:
                raise ValueError("the server was not started with --log-writes")
            return _lines(log)
        case "POST faults":
            state.faults = Faults(FaultPlan.from_json(_members(request)))
            return Reply(200, b"{}")
        case "POST capacity":
            state.set_capacity(state.tables[name], Capacity.from_json(_members(request)))
            return Reply(200, b"{}")
        case "POST describe":
            tell(state.tables[name], _members(request))
            return Reply(200, b"{}")
        case "POST status":
            status = _members(request)["status"]
            if status not in _STATUSES:
                raise ValueError(f"a status is one of {', '.join(_STATUSES)}")
            state.tables[name].status = status
            return Reply(200, b"{}")
        case "POST outage":
            seconds = _members(request)["seconds"]
            if type(seconds) not in (int, float) or not 0 < seconds <= _OUTAGE_LIMIT:
                raise ValueError(f"the seconds of an outage are more than 0 and at most {_OUTAGE_LIMIT}")
            return Reply(200, b"{}", outage=seconds)
        case "POST reset":
            state.reset(keep_tables=_members(request).get("keep_tables", False))
            return Reply(200, b"{}")
    raise ValueError(f"no such door: {door}")


def _members(request: Request) -> dict[str, Any]:
    members = orjson.loads(request.body or b"{}")
    if type(members) is not dict:
        raise ValueError("the body must be a JSON object")
    return members


def _lines(items: Any) -> Reply:
    return Reply(200, b"".join(item + b"\n" for item in items), "application/jsonl")
