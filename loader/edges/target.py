"""Where batches go and how they are signed: botocore's findings, for a process that does without it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from re import compile as pattern
from urllib.parse import urlsplit

from loader.decisions.http1 import request_start
from loader.decisions.sigv4 import Signer, check_credentials
from loader.edges.credentials import Credentials

_CONTENT_TYPE = "application/x-amz-json-1.0"
_OPERATION = "DynamoDB_20120810.BatchWriteItem"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCOPE = pattern(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request, .*")


class Unsuited(Exception):
    """A request that only botocore can make. The message is what is special about it, to follow a colon."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    Picklable. `ca_file` holds the certificates to trust; None for plain HTTP. `account_id` is that of the
    credentials it was found for: for others the host may be another.
    """

    host: str
    port: int
    ca_file: str | None
    path: str
    host_header: str
    region: str
    service: str
    user_agent: str
    account_id: str | None

    def signer(self, credentials: Credentials) -> Signer:
        """Raises ValueError for credentials that cannot stand in a header."""
        return Signer(
            self.path,
            self._signed(),
            region=self.region,
            service=self.service,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            token=credentials.token,
        )

    def request_start(self) -> bytes:
        """The lines of a request's head that are the same for all; signature, length and end follow."""
        # botocore's client asks for no compression either: a checksum is that of the bytes as sent.
        return request_start(
            "POST",
            self.path,
            {**self._signed(), "User-Agent": self.user_agent, "Accept-Encoding": "identity"},
        )

    def _signed(self) -> dict[str, str]:
        return {"Host": self.host_header, "Content-Type": _CONTENT_TYPE, "X-Amz-Target": _OPERATION}


def target_of(
    url: str, headers: Mapping[str, str], body: bytes, ca_file: str, credentials: Credentials
) -> Target:
    """
    The target of a batch that botocore was about to send: its URL, its headers (names in lower case) and its
    body, signed with `credentials`. `ca_file` is the one that it would use for TLS.

    Raises Unsuited where a signature made here for the same request is not the same.
    """
    try:
        check_credentials(credentials.access_key, credentials.token)
    except ValueError as problem:
        raise Unsuited(f"there are {problem}") from problem
    authorization = headers.get("authorization", "")
    scope = _SCOPE.fullmatch(authorization)
    if scope is None:
        raise Unsuited("requests are not signed with AWS4-HMAC-SHA256")
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    target = Target(
        host=host,
        port=port,
        ca_file=ca_file if parts.scheme == "https" else None,
        path=parts.path or "/",
        host_header=shown if port == _DEFAULT_PORTS[parts.scheme] else f"{shown}:{port}",
        region=scope[1],
        service=scope[2],
        user_agent=headers.get("user-agent", ""),
        account_id=credentials.account_id,
    )
    if not _signs_alike(target, credentials, body, headers):
        # Less what else a URL can hold: a password, a query.
        raise Unsuited(f"requests to {target.host_header}{target.path} are signed in a way of their own")
    return target


def _signs_alike(target: Target, credentials: Credentials, body: bytes, headers: Mapping[str, str]) -> bool:
    """
    One comparison for all that could be different: a path that is spelled anew, a query, one more signed
    header, a host that is not what the URL says.
    """
    try:
        signed_at = datetime.strptime(headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        lines = target.signer(credentials).sign(body, signed_at.timestamp())
        target.request_start()
    except ValueError:
        return False
    return f"Authorization: {headers['authorization']}\r\n".encode() in lines
