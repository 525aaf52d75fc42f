"""
Who sent a request.

Of every request the *form* of an AWS signature version 4 is checked. The signature itself is where the
secret key is known here, which is that of the credentials that tests run with unless they choose their own.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.server.errors import invalid_signature, missing_token

SECRET_KEYS = {"testAccessKey": "testSecretKey"}

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


def authenticate(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Caller:
    """
    The caller named in the headers (names in lower case); ServiceError where they are not signed, or not
    rightly. A body that is not here any more cannot be compared: None.
    """
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
    secret_key = SECRET_KEYS.get(access_key)
    if secret_key is not None and body is not None:
        scope = f"{day}/{region}/dynamodb/aws4_request"
        canonical = _canonical(
            method, path, {name: headers.get(name, "") for name in signed.split(";")}, body
        )
        if authorization.rpartition("=")[2] != _signature(secret_key, scope, date, canonical):
            raise invalid_signature()
    return Caller(access_key, region, headers.get("x-amz-security-token", ""))


def _canonical(method: str, path: str, signed: Mapping[str, str], body: bytes) -> str:
    """By AWS's description; a path or query that needs encoding does not come here."""
    lines = [f"{name}:{' '.join(value.split())}" for name, value in signed.items()]
    return "\n".join([method, path, "", *lines, "", ";".join(signed), hashlib.sha256(body).hexdigest()])


def _signature(secret_key: str, scope: str, date: str, canonical: str) -> str:
    to_sign = ["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()]
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, "\n".join(to_sign).encode(), "sha256").hex()
