"""Signatures, compared with those of botocore's own signer."""

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from loader.decisions.sigv4 import Signer

CONTENT_TYPE = "application/x-amz-json-1.0"
OPERATION = "DynamoDB_20120810.BatchWriteItem"
MIDNIGHT = int(datetime(2026, 11, 26, tzinfo=UTC).timestamp())
HOST = "dynamodb.eu-west-1.amazonaws.com"


def botocore_signs(
    host: str, path: str, region: str, service: str, keys: tuple[str, str, str | None], body: bytes, now: int
) -> dict[str, str]:
    """As botocore's add_auth does, at a time of our choosing."""
    request = AWSRequest(
        "POST",
        f"https://{host}{path}",
        headers={"X-Amz-Target": OPERATION, "Content-Type": CONTENT_TYPE, "User-Agent": "x"},
        data=body,
    )
    auth = SigV4Auth(Credentials(*keys), service, region)
    request.context["timestamp"] = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    auth._modify_request_before_signing(request)
    canonical = auth.canonical_request(request)
    auth._inject_signature_to_request(
        request, auth.signature(auth.string_to_sign(request, canonical), request)
    )
    sent = ("X-Amz-Date", "X-Amz-Security-Token", "Authorization")
    return {name: value for name, value in request.headers.items() if name in sent}


def signer(
    keys: tuple[str, str, str | None],
    host: str = HOST,
    path: str = "/",
    region: str = "eu-west-1",
    service: str = "dynamodb",
) -> Signer:
    headers = {"Host": host, "Content-Type": CONTENT_TYPE, "X-Amz-Target": OPERATION}
    access_key, secret_key, token = keys
    return Signer(
        path,
        headers,
        region=region,
        service=service,
        access_key=access_key,
        secret_key=secret_key,
        token=token,
    )


def lines(signed: bytes) -> dict[str, str]:
    *parts, end = signed.decode().split("\r\n")
    assert end == ""
    return dict(part.split(": ", 1) for part in parts)


plain = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
all_keys = st.tuples(plain, st.text(st.characters(codec="utf-8"), max_size=60), st.none() | plain)


@given(
    keys=all_keys,
    host=st.builds("{}.{}".format, labels, labels)
    | st.builds("{}.test:{}".format, labels, st.sampled_from([80, 8443])),
    path=st.sampled_from(["/", "/a", "/a/b-c_d.e~f/"]),
    region=labels,
    service=labels,
    sends=st.lists(st.tuples(st.binary(max_size=5000), st.floats(0, 4e9)), min_size=1, max_size=4),
)
def test_a_signature_is_botocores_own(
    keys: tuple[str, str, str | None],
    host: str,
    path: str,
    region: str,
    service: str,
    sends: list[tuple[bytes, float]],
) -> None:
    ours = signer(keys, host, path, region, service)
    for body, now in sends:
        expected = botocore_signs(host, path, region, service, keys, body, int(now))
        assert lines(ours.sign(body, now)) == expected


@pytest.mark.parametrize("length", [0, 1, 2046, 2047, 2048, 4094, 4095, 100_000])
def test_a_body_of_any_length_is_hashed_whole(length: int) -> None:
    keys = ("AKID", "secret", "token/+=")
    body = bytes(number % 251 for number in range(length))
    expected = botocore_signs(HOST, "/", "eu-west-1", "dynamodb", keys, body, MIDNIGHT)
    assert lines(signer(keys).sign(body, MIDNIGHT)) == expected


def test_the_key_changes_at_midnight_with_the_timestamp_and_back_with_the_clock() -> None:
    keys = ("AKID", "secret", None)
    ours = signer(keys)
    for now in (MIDNIGHT - 1, MIDNIGHT - 0.001, MIDNIGHT, MIDNIGHT + 0.9, MIDNIGHT - 2, MIDNIGHT + 86400):
        expected = botocore_signs(HOST, "/", "eu-west-1", "dynamodb", keys, b"{}", int(now))
        assert lines(ours.sign(b"{}", now)) == expected
        assert expected["X-Amz-Date"][:8] == datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")


@pytest.mark.parametrize("text", ["", "two words", "line\r\nHost: evil", "tab\t", "\x00", "é"])
def test_what_cannot_stand_in_a_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a header"):
        signer((text, "secret", None))
    if text:
        with pytest.raises(ValueError, match="cannot stand in a header"):
            signer(("AKID", "secret", text))
