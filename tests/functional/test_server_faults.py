"""Each fault of the tests' own server, as a real boto3 client or a bare socket meets it."""

import time
import zlib
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from tests.server.client import Server, signed_form, start
from tests.server.drive import boto3_client, exchange, http_request, people
from tests.server.errors import THROTTLE_REASONS, THROTTLES
from tests.server.faults import FaultPlan


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with start() as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.reset()
    shared.create_table("tab", "pk:S")
    return shared


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with boto3_client(server) as client:
        yield client


def write(client: Any, count: int = 25) -> dict[str, Any]:
    return dict(client.batch_write_item(RequestItems={"tab": people(count)}))


def failure(client: Any, count: int = 25) -> dict[str, Any]:
    """The reply to a batch that fails."""
    with pytest.raises(ClientError) as caught:
        write(client, count)
    return dict(caught.value.response)


def raw_write(server: Server, count: int = 25) -> bytes:
    body = orjson.dumps({"RequestItems": {"tab": people(count)}})
    return exchange(server, http_request("BatchWriteItem", body, Connection="close", **signed_form()))


def split(reply: bytes) -> tuple[dict[str, str], bytes]:
    """Headers, their names in lower case, and body."""
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


def test_unprocessed_items_come_back_and_were_not_written(server: Server, client: Any) -> None:
    server.set_faults(FaultPlan(seed=1, unprocessed_share=1, unprocessed_items=0.4))
    left = write(client)["UnprocessedItems"]["tab"]
    assert 1 <= len(left) < 25
    held_back = {request["PutRequest"]["Item"]["pk"]["S"] for request in left}
    written = {item["pk"]["S"] for item in server.items("tab")}
    assert held_back | written == {f"person {number}" for number in range(25)}
    assert not held_back & written
    stats = server.stats()
    assert stats["items_unprocessed"] == len(held_back)
    assert stats["items_acknowledged"] == len(written)
    assert stats["faults"] == {"unprocessed": 1}


def test_unprocessed_items_come_back_with_their_numbers_normalised(server: Server) -> None:
    server.set_faults(FaultPlan(unprocessed_share=1, unprocessed_items=1))
    item = {"pk": {"S": "a"}, "n": {"N": "1.50"}}
    reply = server.call("BatchWriteItem", {"RequestItems": {"tab": [{"PutRequest": {"Item": item}}]}})
    (left,) = reply["UnprocessedItems"]["tab"]
    assert left["PutRequest"]["Item"]["n"] == {"N": "1.5"}


@pytest.mark.parametrize("code", sorted(THROTTLES))
def test_a_throttled_batch_says_why_and_writes_nothing(server: Server, client: Any, code: str) -> None:
    server.set_faults(FaultPlan(throttle_share=1, throttle_code=code))
    reply = failure(client)
    assert reply["Error"]["Code"] == code
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 400
    raw = orjson.loads(split(raw_write(server))[1])
    member = "throttlingReasons" if code == "ThrottlingException" else "ThrottlingReasons"
    (reason,) = raw[member]
    assert reason["reason"].startswith("TableWrite")
    assert reason["resource"].endswith(":table/tab")
    assert server.items("tab") == []
    assert server.stats()["faults"] == {"throttle": 2}


@pytest.mark.parametrize("reason", THROTTLE_REASONS)
def test_a_throttle_gives_the_reason_that_is_asked_for(server: Server, reason: str) -> None:
    server.create_table("indexed", "pk:S", gsis={"by-age": "age:N"})
    server.set_faults(FaultPlan(throttle_share=1, throttle_reason=reason))
    body = orjson.dumps({"RequestItems": {"indexed": people(1)}})
    reply = exchange(server, http_request("BatchWriteItem", body, Connection="close", **signed_form()))
    (given,) = orjson.loads(split(reply)[1])["ThrottlingReasons"]
    assert given["reason"] == reason
    of_index = reason.startswith("Index")
    assert given["resource"].endswith(":table/indexed/index/by-age" if of_index else ":table/indexed")


def test_a_throttle_may_be_of_any_code_and_reason(server: Server) -> None:
    server.set_faults(FaultPlan(seed=3, throttle_share=1, throttle_code="any", throttle_reason="any"))
    bodies = [orjson.loads(split(raw_write(server, 1))[1]) for _ in range(80)]
    assert {body["__type"].rpartition("#")[2] for body in bodies} == set(THROTTLES)
    given = [body.get("throttlingReasons") or body["ThrottlingReasons"] for body in bodies]
    assert {reason["reason"] for (reason,) in given} == set(THROTTLE_REASONS)
    assert server.items("tab") == []


def test_an_error_500_may_have_written_a_part(server: Server, client: Any) -> None:
    server.set_faults(FaultPlan(error500_share=1))
    reply = failure(client)
    assert reply["Error"]["Code"] == "InternalServerError"
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert 1 <= len(server.items("tab")) < 25
    assert server.stats()["items_acknowledged"] == 0


def test_an_html_503_comes_from_before_the_service(server: Server, client: Any) -> None:
    server.set_faults(FaultPlan(error503_html_share=1))
    reply = failure(client)
    assert reply["Error"]["Code"] == "503"
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 503
    headers, body = split(raw_write(server))
    assert headers["content-type"].startswith("text/html")
    assert "x-amz-crc32" not in headers
    assert body.startswith(b"<html>")
    assert server.items("tab") == []


@pytest.mark.parametrize(("where", "written"), [("before", 0), ("after", 25)])
def test_a_reset_comes_before_or_after_the_write(server: Server, where: str, written: int) -> None:
    server.set_faults(FaultPlan.from_json({f"reset_{where}_share": 1}))
    with pytest.raises(ConnectionResetError):
        raw_write(server)
    assert len(server.items("tab")) == written
    stats = server.stats()
    assert stats["faults"] == {f"reset_{where}": 1}
    assert stats["items_acknowledged"] == 0


@pytest.mark.parametrize("how", ["length", "close", "short"])
def test_a_reply_is_cut_in_half(server: Server, how: str) -> None:
    server.set_faults(FaultPlan(cut_reply_share=1, cut_reply_how=how))
    headers, body = split(raw_write(server))
    assert body.startswith(b'{"UnprocessedItems":{"tab":[')
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)
    announced = headers.get("content-length")
    if how == "close":
        assert announced is None
    elif how == "short":
        assert announced == str(len(body))
    else:
        assert int(announced or 0) - len(body) in (len(body), len(body) + 1)
    assert headers["x-amz-crc32"] != str(zlib.crc32(body))
    # Whoever takes it for a success loses the half that was not written.
    assert len(server.items("tab")) == 12
    assert server.stats()["items_acknowledged"] == 0


def test_a_cut_is_of_any_kind_unless_told(server: Server) -> None:
    server.set_faults(FaultPlan(cut_reply_share=1))
    replies = [split(raw_write(server)) for _ in range(20)]
    kinds = {
        None if "content-length" not in headers else int(headers["content-length"]) == len(body)
        for headers, body in replies
    }
    assert kinds == {None, True, False}


@pytest.mark.parametrize(("fault", "body"), [("empty200", b""), ("html200", b"<html>")])
def test_a_200_that_is_none_wrote_nothing(server: Server, client: Any, fault: str, body: bytes) -> None:
    server.set_faults(FaultPlan.from_json({f"{fault}_share": 1}))
    reply = raw_write(server)
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert split(reply)[1].startswith(body)
    # What botocore makes of it: a success without UnprocessedItems.
    assert "UnprocessedItems" not in write(client)
    assert server.items("tab") == []
    assert server.stats()["faults"] == {fault: 2}


def test_a_wrong_checksum_hides_that_nothing_was_written(server: Server) -> None:
    server.set_faults(FaultPlan(wrong_crc_share=1))
    headers, body = split(raw_write(server))
    assert orjson.loads(body) == {"UnprocessedItems": {}}
    assert headers["x-amz-crc32"] != str(zlib.crc32(body))
    assert server.items("tab") == []
    assert server.stats()["items_acknowledged"] == 0


def test_latency_holds_the_reply_back(server: Server, client: Any) -> None:
    write(client)
    server.set_faults(FaultPlan(latency_ms=120, latency_jitter_ms=30))
    begin = time.monotonic()
    write(client)
    assert 0.12 <= time.monotonic() - begin < 2
    begin = time.monotonic()
    client.describe_table(TableName="tab")
    assert time.monotonic() - begin < 0.12


@pytest.mark.parametrize(
    ("members", "code", "name"),
    [
        ({"refuse_keys": ["person 7"]}, "ValidationException", "refuse_keys"),
        (
            {"collection_too_large_keys": ["person 7"]},
            "ItemCollectionSizeLimitExceededException",
            "collection_too_large",
        ),
    ],
)
def test_a_named_key_bars_every_batch_it_is_in(
    server: Server, client: Any, members: dict[str, Any], code: str, name: str
) -> None:
    server.set_faults(FaultPlan.from_json(members))
    assert failure(client, 8)["Error"]["Code"] == code
    assert server.items("tab") == []
    write(client, 7)
    assert len(server.items("tab")) == 7
    assert server.stats()["faults"] == {name: 1}
    assert "person 7" not in str(server.stats()["refusals"])


def test_every_batch_is_refused(server: Server, client: Any) -> None:
    server.set_faults(FaultPlan(refuse_all=True))
    assert failure(client, 1)["Error"]["Code"] == "ValidationException"
    server.set_faults(FaultPlan())
    write(client, 1)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("access_denied", "AccessDeniedException"),
        ("table_gone", "ResourceNotFoundException"),
        ("expired_token", "ExpiredTokenException"),
    ],
)
def test_after_some_requests_nothing_goes_any_more(
    server: Server, client: Any, fault: str, code: str
) -> None:
    server.set_faults(FaultPlan.from_json({f"{fault}_after_requests": 2}))
    write(client)
    write(client)
    for _ in range(2):
        assert failure(client)["Error"]["Code"] == code
    assert client.describe_table(TableName="tab")["Table"]["TableStatus"] == "ACTIVE"
    assert server.stats()["faults"] == {fault: 2}


@pytest.mark.parametrize("before", [0, 1])
def test_other_credentials_are_good_when_the_first_have_expired(
    server: Server, client: Any, before: int
) -> None:
    server.set_faults(FaultPlan(expired_token_after_requests=before))
    for _ in range(before):
        write(client)
    assert failure(client)["Error"]["Code"] == "ExpiredTokenException"
    with boto3_client(server, access_key="renewed") as renewed:
        write(renewed)
    assert failure(client)["Error"]["Code"] == "ExpiredTokenException"


def test_a_seed_gives_the_same_faults_again(server: Server) -> None:
    plan = FaultPlan(seed=5, throttle_share=0.3, error500_share=0.3)

    def statuses() -> list[bytes]:
        server.set_faults(plan)
        return [raw_write(server, 1).split(b" ", 2)[1] for _ in range(30)]

    first = statuses()
    assert set(first) == {b"200", b"400", b"500"}
    assert statuses() == first


def test_faults_may_be_set_at_the_start_and_a_reset_returns_to_them() -> None:
    with start(faults=FaultPlan(refuse_all=True)) as server:
        server.set_faults(FaultPlan())
        server.reset()
        server.create_table("tab", "pk:S")
        assert b"ValidationException" in raw_write(server)
