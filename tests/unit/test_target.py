"""What is read of a request that botocore was about to send, and when it is left to botocore."""

import pickle
from collections.abc import Mapping

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from loader.edges.credentials import Credentials
from loader.edges.target import Target, Unsuited, target_of

KEYS = Credentials("AKID", "secret", "token", "111122223333")
HEADERS = {
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
    "Content-Type": "application/x-amz-json-1.0",
    "User-Agent": "Boto3/1 x",
}


def found(
    url: str, keys: Credentials = KEYS, service: str = "dynamodb", added: Mapping[str, str] | None = None
) -> Target:
    """Of a request that botocore's own signer signed."""
    request = AWSRequest("POST", url, headers={**HEADERS, **(added or {})}, data=b"{}")
    SigV4Auth(keys, service, "eu-west-1").add_auth(request)
    sent = {name.lower(): value for name, value in request.headers.items()}
    return target_of(url, sent, b"{}", "/ca.pem", keys)


@pytest.mark.parametrize(
    ("url", "host", "port", "host_header", "tls"),
    [
        ("https://dynamodb.eu-west-1.amazonaws.com/", "dynamodb.eu-west-1.amazonaws.com", 443, None, True),
        ("https://dynamodb.eu-west-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com", 443, None, True),
        ("http://127.0.0.1:8000/", "127.0.0.1", 8000, "127.0.0.1:8000", False),
        ("http://LocalHost:80/", "localhost", 80, "localhost", False),
        ("https://localhost:443/", "localhost", 443, "localhost", True),
        ("http://localhost:443/", "localhost", 443, "localhost:443", False),
        ("https://localhost:80/", "localhost", 80, "localhost:80", True),
        ("http://[::1]:8000/", "::1", 8000, "[::1]:8000", False),
        ("https://[::1]/", "::1", 443, "[::1]", True),
        ("http://user:password@localhost:1/", "localhost", 1, "localhost:1", False),
    ],
)
def test_where_to_is_what_the_url_says(
    url: str, host: str, port: int, host_header: str | None, tls: bool
) -> None:
    target = found(url)
    assert (target.host, target.port, target.host_header) == (host, port, host_header or host)
    assert target.ca_file == ("/ca.pem" if tls else None)
    assert (target.path, target.region, target.service) == ("/", "eu-west-1", "dynamodb")
    assert (target.user_agent, target.account_id) == ("Boto3/1 x", "111122223333")
    assert pickle.loads(pickle.dumps(target)) == target


def test_a_path_and_another_service_name_are_kept() -> None:
    target = found("http://localhost:1/db/v1/", service="local")
    assert (target.path, target.service) == ("/db/v1/", "local")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/a b/",
        "http://localhost:1/a%20b/",
        "http://localhost:1/a/../b/",
        "http://localhost:1/a//b/",
        "http://localhost:1/?x=1",
        "http://localhost:1/å/",
    ],
)
def test_a_url_that_is_signed_otherwise_than_it_is_written_is_left_to_botocore(url: str) -> None:
    with pytest.raises(Unsuited, match="a way of their own"):
        found(url)


def test_one_more_signed_header_is_left_to_botocore() -> None:
    with pytest.raises(Unsuited, match="a way of their own"):
        found("http://localhost:1/", added={"X-Amz-Added": "1"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer x"},
        {"authorization": "AWS4-ECDSA-P256-SHA256 Credential=k/20261125/dynamodb/aws4_request, Signature=1"},
        {"authorization": "AWS AKID:signature"},
    ],
)
def test_other_ways_of_signing_are_left_to_botocore(headers: dict[str, str]) -> None:
    with pytest.raises(Unsuited, match="not signed with AWS4-HMAC-SHA256"):
        target_of("http://localhost:1/", headers, b"{}", "/ca.pem", KEYS)


@pytest.mark.parametrize(
    "keys",
    [Credentials("AK ID", "secret"), Credentials("", "secret"), Credentials("AKID", "secret", "tökén")],
)
def test_credentials_that_cannot_stand_in_a_header_are_left_to_botocore(keys: Credentials) -> None:
    with pytest.raises(Unsuited, match="characters that cannot stand in a header") as caught:
        found("http://localhost:1/", keys)
    assert not any(text and text in str(caught.value) for text in (keys.access_key, keys.token, "localhost"))


def test_a_password_within_a_url_is_not_told() -> None:
    with pytest.raises(Unsuited) as caught:
        found("http://user:pass%20word@localhost:1/a//b/?key=value")
    assert str(caught.value) == "requests to localhost:1/a//b/ are signed in a way of their own"


def test_the_head_of_a_request_names_the_host_and_asks_for_no_compression() -> None:
    assert found("http://localhost:1/").request_start() == (
        b"POST / HTTP/1.1\r\nHost: localhost:1\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"X-Amz-Target: DynamoDB_20120810.BatchWriteItem\r\nUser-Agent: Boto3/1 x\r\n"
        b"Accept-Encoding: identity\r\n"
    )
