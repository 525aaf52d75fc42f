"""
Who sent a request.

Today the *form* of an AWS signature version 4 is checked, and not the signature: `authenticate` is
the seam. Whoever verifies signatures adds the secret keys here and compares before returning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.server.errors import missing_token

_FORM = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/dynamodb/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=[0-9a-f]{64}"
)
_DATE = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True, slots=True)
class Caller:
    access_key: str
    region: str
    session_token: str


def authenticate(headers: Mapping[str, str]) -> Caller:
    """The caller named in the headers (names in lower case); ServiceError where they are not signed."""
    authorization = headers.get("authorization")
    if authorization is None:
        raise missing_token("Request is missing Authentication Token")
    match = _FORM.fullmatch(authorization)
    if match is None:
        raise missing_token("Authorization header is not of the AWS4-HMAC-SHA256 form")
    access_key, day, region, signed = match.groups()
    if not {"host", "x-amz-date"} <= set(signed.split(";")):
        raise missing_token("Authorization header must sign 'host' and 'x-amz-date'")
    date = headers.get("x-amz-date", "")
    if not _DATE.fullmatch(date) or not date.startswith(day):
        raise missing_token("X-Amz-Date does not fit the Credential of the Authorization header")
    return Caller(access_key, region, headers.get("x-amz-security-token", ""))
