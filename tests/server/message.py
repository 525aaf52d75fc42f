"""A request as it came in, and a reply as it goes out or fails to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.server.errors import ServiceError
from tests.server.faults import Cut

AMZ_JSON = "application/x-amz-json-1.0"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """Header names are in lower case; `size` is the body's, which is dropped where it is over the limit."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    size: int


@dataclass(slots=True)
class Reply:
    """
    `crc` is what x-amz-crc32 says, None for the true one. A reply that is not `signed` comes from
    something before the service, such as a load balancer, and has none of its headers. `delay` is
    in seconds, and the plan's latency is added to it unless the reply goes `at_once`. When one with an
    `outage` has gone out, nobody answers for that many seconds.
    """

    status: int
    body: bytes
    content_type: str = AMZ_JSON
    crc: int | None = None
    signed: bool = True
    cut: Cut | None = None
    reset: bool = False
    delay: float = 0.0
    at_once: bool = False
    outage: float = 0.0

    @classmethod
    def success(cls, members: Mapping[str, Any]) -> "Reply":
        return cls(200, orjson.dumps(members))

    @classmethod
    def failure(cls, error: ServiceError) -> "Reply":
        return cls(error.status, error.body)
