"""The tests' side: start the server as a process of its own, set it up, ask what it saw."""

import http.client
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from tests.server.capacity import Capacity
from tests.server.faults import FaultPlan
from tests.server.usage import units_of
from tests.server.usage import windows as windows

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0


class ServerProblem(Exception):
    """The server did not start, or refused what a test asked of it."""


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"

    def stats(self) -> dict[str, Any]:
        """See tests.server.stats.Stats; `tables` has counts by table."""
        return dict(orjson.loads(self.control("GET", "stats")))

    def items(self, table: str) -> list[dict[str, Any]]:
        """Every item, as DynamoDB JSON with numbers normalised, in no order to rely on."""
        return [orjson.loads(line) for line in self.control("GET", f"items?table={table}").splitlines()]

    def writes(self, table: str) -> list[dict[str, Any]]:
        """Every applied put in order; the server must have been started with `log_writes`."""
        return [orjson.loads(line) for line in self.control("GET", f"writes?table={table}").splitlines()]

    def set_faults(self, plan: FaultPlan) -> None:
        """From now on, with the plan's seed and request counts afresh."""
        self.control("POST", "faults", asdict(plan))

    def set_capacity(self, table: str, capacity: Capacity) -> None:
        """From now on; buckets that the table has already keep what is in them, as far as it fits."""
        self.control("POST", f"capacity?table={table}", asdict(capacity))

    def units(self, table: str) -> list[tuple[float, float]]:
        """
        The epoch seconds of each tenth of a second and the write units taken in it, indexes included.

        Those in which there were none are filled in between the first and the last; see `windows`.
        """
        usage = self.stats()["capacity"].get(table)
        return [] if usage is None else units_of(usage["units_timeline"])

    def set_description(self, table: str, members: Mapping[str, Any]) -> None:
        """
        What DescribeTable shall say besides, e.g. {"Replicas": [{"RegionName": "eu-west-1"}]}.

        Objects, and indexes of the same name, are merged; None takes a member away.
        """
        self.control("POST", f"describe?table={table}", members)

    def set_time_to_live(self, table: str, attribute: str) -> None:
        specification = {"Enabled": True, "AttributeName": attribute}
        self.call("UpdateTimeToLive", {"TableName": table, "TimeToLiveSpecification": specification})

    def set_status(self, table: str, status: str) -> None:
        """What DescribeTable says; a table that is CREATING or DELETING cannot be written."""
        self.control("POST", f"status?table={table}", {"status": status})

    def reset(self, *, keep_tables: bool = False) -> None:
        self.control("POST", "reset", {"keep_tables": keep_tables})

    def outage(self, seconds: float) -> None:
        """
        Nobody answers on the port for that long: connections are reset, new ones refused.

        It has begun when this returns, and the server listens on the same port again when it is over.
        """
        body = orjson.dumps({"seconds": seconds})
        lines = (
            "POST /_control/outage HTTP/1.1",
            f"Content-Length: {len(body)}",
            "Connection: close",
            "",
            "",
        )
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall("\r\n".join(lines).encode() + body)
            reply = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        if not reply.startswith(b"HTTP/1.1 200 "):
            told = reply.rpartition(b"\r\n")[2] or b"no reply"
            raise ServerProblem(f"POST /_control/outage: {told.decode(errors='replace')}")

    def control(self, method: str, door: str, members: Mapping[str, Any] | None = None) -> bytes:
        """The body of a reply of `/_control/`; see tests.server.control."""
        status, body = self._request(method, f"/_control/{door}", {}, orjson.dumps(members or {}))
        if status != 200:
            raise ServerProblem(f"{method} /_control/{door}: {status} {body.decode(errors='replace')}")
        return body

    def call(self, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """One DynamoDB operation, without a client's help; ServerProblem where it is refused."""
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            **signed_form(),
        }
        status, body = self._request("POST", "/", headers, orjson.dumps(members))
        if status != 200:
            raise ServerProblem(f"{operation}: {status} {body.decode(errors='replace')}")
        return dict(orjson.loads(body))

    def create_table(
        self,
        name: str,
        key: str,
        *,
        gsis: Mapping[str, str] | None = None,
        lsis: Mapping[str, str] | None = None,
        write_units: int | None = None,
        index_write_units: Mapping[str, int] | None = None,
        warm: int | None = None,
        on_demand_max: int | None = None,
        stream: str | None = None,
    ) -> dict[str, Any]:
        """Make a table; see table_request."""
        request = table_request(
            name,
            key,
            gsis=gsis,
            lsis=lsis,
            write_units=write_units,
            index_write_units=index_write_units,
            warm=warm,
            on_demand_max=on_demand_max,
            stream=stream,
        )
        return dict(self.call("CreateTable", request)["TableDescription"])

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Connection": "close", **headers})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def signed_form() -> dict[str, str]:
    """Headers of the form of a signature, which is all that the server checks of an unknown key."""
    now = time.gmtime()
    scope = f"test/{time.strftime('%Y%m%d', now)}/us-east-1/dynamodb/aws4_request"
    return {
        "X-Amz-Date": time.strftime("%Y%m%dT%H%M%SZ", now),
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
        ),
    }


def table_request(
    name: str,
    key: str,
    *,
    gsis: Mapping[str, str] | None = None,
    lsis: Mapping[str, str] | None = None,
    write_units: int | None = None,
    index_write_units: Mapping[str, int] | None = None,
    warm: int | None = None,
    on_demand_max: int | None = None,
    stream: str | None = None,
) -> dict[str, Any]:
    """
    A CreateTable request from short notation, of a table on demand or provisioned with `write_units`.

    `key` is "pk:S" or "pk:S,sk:N". An index is written alike, "city:S,age:N", a local one as its
    sort key alone, "age:N"; a key of several attributes has "+" between them, "country:S+city:S,age:N".
    " / KEYS_ONLY" or " / INCLUDE a b" after it says what is projected, otherwise everything is.
    A provisioned index has the table's `write_units` where `index_write_units` does not give its own.
    `warm` write units a second are the table's warm throughput, `on_demand_max` is its maximum on demand.
    `stream` is a view type, such as "NEW_IMAGE".
    """
    types: dict[str, str] = {}
    request: dict[str, Any] = {"TableName": name, "KeySchema": _key_schema(key, types)}
    partition = key.partition(",")[0]
    for member, indexes, prefix in (
        ("GlobalSecondaryIndexes", gsis, ""),
        ("LocalSecondaryIndexes", lsis, f"{partition},"),
    ):
        if indexes:
            request[member] = [_index(index, prefix + notation, types) for index, notation in indexes.items()]
    if write_units is None:
        request["BillingMode"] = "PAY_PER_REQUEST"
    else:
        request |= {"BillingMode": "PROVISIONED", "ProvisionedThroughput": _provisioned(write_units)}
        for index in request.get("GlobalSecondaryIndexes", []):
            units = (index_write_units or {}).get(index["IndexName"], write_units)
            index["ProvisionedThroughput"] = _provisioned(units)
    if warm is not None:
        request["WarmThroughput"] = {"WriteUnitsPerSecond": warm}
    if on_demand_max is not None:
        request["OnDemandThroughput"] = {"MaxWriteRequestUnits": on_demand_max}
    if stream is not None:
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream}
    request["AttributeDefinitions"] = [
        {"AttributeName": attribute, "AttributeType": type_} for attribute, type_ in types.items()
    ]
    return request


def _provisioned(units: int) -> dict[str, int]:
    return {"ReadCapacityUnits": units, "WriteCapacityUnits": units}


def _index(name: str, notation: str, types: dict[str, str]) -> dict[str, Any]:
    key, _, projection = notation.partition(" / ")
    kind, *included = projection.split() or ["ALL"]
    shown: dict[str, Any] = {"ProjectionType": kind}
    if included:
        shown["NonKeyAttributes"] = included
    return {"IndexName": name, "KeySchema": _key_schema(key, types), "Projection": shown}


def _key_schema(notation: str, types: dict[str, str]) -> list[dict[str, str]]:
    schema = []
    for part, kind in zip(notation.split(","), ("HASH", "RANGE"), strict=False):
        for attribute in part.split("+"):
            name, _, type_ = attribute.rpartition(":")
            types[name] = type_
            schema.append({"AttributeName": name, "KeyType": kind})
    return schema


@contextmanager
def start(
    *,
    faults: FaultPlan | None = None,
    wcu: float | None = None,
    log_writes: bool = False,
    count_only: bool = False,
    order_by: str | None = None,
    capacity: Capacity | None = None,
) -> Iterator[Server]:
    """
    A server of one's own, gone when the block is left; `capacity` is that of every table made.

    It also goes when this process dies, however it does: its standard input then ends.
    """
    command = [sys.executable, "-m", "tests.server", "--port", "0", "--until-stdin-ends"]
    if faults is not None:
        command += ["--faults", orjson.dumps(asdict(faults)).decode()]
    if wcu is not None:
        command += ["--wcu", str(wcu)]
    if capacity is not None:
        command += ["--capacity", orjson.dumps(asdict(capacity)).decode()]
    if order_by is not None:
        command += [f"--order-by={order_by}"]
    command += ["--log-writes"] * log_writes + ["--count-only"] * count_only
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Server(process, _wait_until_ready(process))
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + _START_SECONDS
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise ServerProblem(f"the server said nothing within {_START_SECONDS:g} s")
        piece = os.read(process.stdout.fileno(), 4096)
        if not piece:
            raise ServerProblem(f"the server ended with status {process.wait()} before it was ready")
        said += piece
    return int(said.decode().rpartition(":")[2])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
