"""
AWS signature version 4 for requests that differ in their body and their time alone.

What is the same for a second (date, scope, signing key, canonical head) is made once a second, so that a
signature costs two hashes and a keyed one.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

_ALGORITHM = "AWS4-HMAC-SHA256"
# To hash more at once CPython lets go of its lock, and gets it back late where threads compete for it. Pieces
# cost 0.7 us more of a common body; thirty senders beside a busy builder get 4 to 15 % more requests through.
_PIECE = 2047
# What may stand in a header as it is, and is the same after the trimming that the signature asks for.
_PLAIN = re.compile(r"[!-~]+")


class _Second(NamedTuple):
    """What all requests of one second share: `lines` are header lines up to the signature."""

    second: int
    day: str
    key: bytes
    canonical: bytes
    to_sign: bytes
    lines: bytes


class Signer:
    """
    Signs POST requests to one path with one set of credentials. Threads may share it.

    `headers` are those that are signed beside X-Amz-Date and X-Amz-Security-Token, as they are sent, Host
    among them. Raises ValueError for what cannot stand in a header.
    """

    def __init__(
        self,
        path: str,
        headers: Mapping[str, str],
        *,
        region: str,
        service: str,
        access_key: str,
        secret_key: str,
        token: str | None = None,
    ) -> None:
        check_credentials(access_key, token)
        self._path = path
        self._headers = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        self._region = region
        self._service = service
        self._access_key = access_key
        self._secret_key = secret_key
        self._token = token
        self._latest = self._of_second(0, None)

    def sign(self, body: bytes, now: float) -> bytes:
        """The header lines that make `body` a signed request at `now`, in unix seconds; each ends in CRLF."""
        second = int(now)
        latest = self._latest
        if latest.second != second:
            # Of threads that meet here each makes its own; any of them is right.
            latest = self._latest = self._of_second(second, latest)
        request = hashlib.sha256(latest.canonical + _hash(body).encode()).hexdigest()
        signature = hmac.digest(latest.key, latest.to_sign + request.encode(), "sha256").hex()
        return b"%b%b\r\n" % (latest.lines, signature.encode())

    def _of_second(self, second: int, before: _Second | None) -> _Second:
        timestamp = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        day = timestamp[:8]
        sent = {"X-Amz-Date": timestamp}
        if self._token:
            sent["X-Amz-Security-Token"] = self._token
        headers = {**self._headers, **{name.lower(): value for name, value in sent.items()}}
        signed = ";".join(sorted(headers))
        canonical = "".join(
            (
                f"POST\n{self._path}\n\n",
                *(f"{name}:{headers[name]}\n" for name in sorted(headers)),
                f"\n{signed}\n",
            )
        )
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        lines = "".join(
            (
                *(f"{name}: {value}\r\n" for name, value in sent.items()),
                f"Authorization: {_ALGORITHM} Credential={self._access_key}/{scope}, ",
                f"SignedHeaders={signed}, Signature=",
            )
        )
        return _Second(
            second=second,
            day=day,
            # The key is of the day of the timestamp, not of the day when it happens to be made.
            key=before.key if before is not None and before.day == day else self._signing_key(day),
            canonical=canonical.encode(),
            to_sign=f"{_ALGORITHM}\n{timestamp}\n{scope}\n".encode(),
            lines=lines.encode(),
        )

    def _signing_key(self, day: str) -> bytes:
        key = f"AWS4{self._secret_key}".encode()
        for text in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, text.encode(), "sha256")
        return key


def check_credentials(access_key: str, token: str | None) -> None:
    """Raises ValueError where they would not stand in a header as they are."""
    for text in (access_key, token or "-"):
        if _PLAIN.fullmatch(text) is None:
            raise ValueError("credentials with characters that cannot stand in a header")


def _hash(body: bytes) -> str:
    digest = hashlib.sha256()
    view = memoryview(body)
    for start in range(0, len(body), _PIECE):
        digest.update(view[start : start + _PIECE])
    return digest.hexdigest()
