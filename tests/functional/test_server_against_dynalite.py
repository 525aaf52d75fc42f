"""
The tests' own server and dynalite, which knows nothing of it, agree on random batches.

Kept out of the batches is where dynalite is known to differ from the service: it refuses "+5",
sizes strings by UTF-16 units, takes empty index keys, and charges nothing for indexes.
"""

import http.client
import time
from random import Random
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.server.client import signed_form, start, table_request

_ODD_NUMBERS = (
    *("0", "-0", "00", "-.5", "5.", "1E+3", "0.0001", "1e125", "9.99e125", "1e126", "1e-130", "9e-131"),
    *("", " 1", "NaN", "1_0", "9" * 38, "9" * 39, "1" + "0" * 40),
)


class Caller:
    """One connection to a server."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def __call__(self, operation: str, members: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            **signed_form(),
        }
        self._connection.request("POST", "/", orjson.dumps(members), headers)
        response = self._connection.getresponse()
        return response.status, orjson.loads(response.read())

    def close(self) -> None:
        self._connection.close()


class Batches:
    """Random batches of few keys, so that items are replaced, and of about every second one valid."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def next(self) -> list[dict[str, Any]]:
        return [self._request() for _ in range(self._random.randint(1, 3))]

    def _request(self) -> dict[str, Any]:
        key = {
            "pk": {"S": self._random.choice(["a", "b", "c"])},
            "sk": {"N": self._random.choice(["1", "1.0", "02", "2e0", "3"])},
        }
        if self._random.random() < 0.1:
            return {"DeleteRequest": {"Key": key}}
        names = [name for name in "tuvw" if self._random.random() < 0.4]
        item = {**key, **{name: self._value(0) for name in names}}
        if self._random.random() < 0.3:
            item["age"] = {"N": self._number()}
        return {"PutRequest": {"Item": item}}

    def _value(self, depth: int) -> dict[str, Any]:
        kind = self._random.choice(
            ["S", "S", "N", "BOOL", "NULL", "SS", "NS", *(["L", "M"] if depth < 3 else [])]
        )
        match kind:
            case "S":
                return {"S": self._text()}
            case "N":
                return {"N": self._number()}
            case "BOOL":
                return {"BOOL": self._random.random() < 0.5}
            case "NULL":
                return {"NULL": True}
            case "SS":
                return {"SS": [self._text() or "x" for _ in range(self._random.choice([0, 1, 1, 2]))]}
            case "NS":
                return {"NS": [self._number() for _ in range(self._random.choice([1, 1, 2]))]}
            case "L":
                return {"L": [self._value(depth + 1) for _ in range(self._random.randint(0, 2))]}
        return {"M": {name: self._value(depth + 1) for name in self._random.choice(["", "a", "ab"])}}

    def _text(self) -> str:
        return self._random.choice(["a", "xyz"]) * self._random.choice([0, 1, 9, 341, 1_000])

    def _number(self) -> str:
        random = self._random
        if random.random() < 0.1:
            return random.choice(_ODD_NUMBERS)
        digits = "".join(random.choices("0123456789", k=random.randint(1, 20)))
        point = random.randint(0, len(digits))
        exponent = random.choice(["", f"e{random.randint(-60, 60)}"])
        return (
            f"{random.choice(['', '-'])}{digits[:point]}{random.choice(['.', ''])}{digits[point:]}{exponent}"
        )


def essence(reply: tuple[int, dict[str, Any]]) -> tuple[int, object]:
    """What both must agree on: the table's write units, or the kind of the error."""
    status, members = reply
    if status != 200:
        return status, members["__type"]
    assert members["UnprocessedItems"] == {}
    (capacity,) = members["ConsumedCapacity"]
    return status, capacity["Table"]["CapacityUnits"]


def items(call: Caller, table: str) -> list[bytes]:
    status, members = call("Scan", {"TableName": table})
    assert status == 200
    return sorted(orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in members["Items"])


def test_it_and_dynalite_agree_on_random_batches(dynalite: str) -> None:
    table = f"agreement-{time.time_ns()}"
    batches = Batches(seed=11)
    with start() as server:
        ours, theirs = Caller(server.endpoint), Caller(dynalite)
        try:
            for call in (ours, theirs):
                assert (
                    call("CreateTable", table_request(table, "pk:S,sk:N", gsis={"by-age": "age:N"}))[0] == 200
                )
            while theirs("DescribeTable", {"TableName": table})[1]["Table"]["TableStatus"] != "ACTIVE":
                time.sleep(0.01)
            statuses = []
            for _ in range(300):
                request = {"RequestItems": {table: batches.next()}, "ReturnConsumedCapacity": "INDEXES"}
                answers = essence(ours("BatchWriteItem", request)), essence(theirs("BatchWriteItem", request))
                assert answers[0] == answers[1], orjson.dumps(request)
                statuses.append(answers[0][0])
            assert items(ours, table) == items(theirs, table)
            assert 50 < statuses.count(200) < 250
            theirs("DeleteTable", {"TableName": table})
        finally:
            ours.close()
            theirs.close()
