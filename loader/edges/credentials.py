"""Credentials: looked up once, renewed ahead of their expiry, handed down to every client."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from loader.errors import BadConnection

# How long before their expiry credentials are renewed, in seconds. At most an eighth of the time they have:
# a helper whose credentials are short-lived runs hardly more often than they expire. Where that brought none
# at most half of what is left: there are some more tries, and no storm.
_RENEWAL_MARGINS = (300, 120, 60, 30, 15, 8, 4, 2, 1)
_OF_NEW, _OF_OLD = 8, 2

NO_CREDENTIALS = (
    "No AWS credentials were found. Give --profile, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY; for a local server any values do."
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """One moment's credentials. botocore signs with them as they are: the names are its own."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    account_id: str | None = None


class HandedDown:
    """The credentials of a client, for botocore: never looked up, replaced in one step by any thread."""

    method = "handed-down"

    def __init__(self, credentials: Credentials) -> None:
        self.current = credentials

    def get_frozen_credentials(self) -> Credentials:
        return self.current

    def get_deferred_property(self, name: str) -> Callable[[], str | None]:
        return lambda: getattr(self.current, name, None)

    def load_credentials(self) -> Self:
        """As the session's credential provider."""
        return self


class CredentialChain:
    """
    What a botocore session finds along the AWS chain, asked for only when it is due.

    botocore asks 15 minutes ahead of the expiry and at every look, so that a helper whose credentials live
    shorter would run at each request: its two margins are set to ours.
    """

    def __init__(self, session: Any) -> None:
        """Raises BadConnection."""
        try:
            self._found = session.get_credentials()
        except Exception as error:
            raise _unavailable(error) from error
        if self._found is None:
            raise BadConnection(NO_CREDENTIALS)
        self._expires = hasattr(self._found, "refresh_needed")
        self._margin = 0
        self._frozen: Credentials | None = None

    def due(self) -> bool:
        """Whether to freeze again."""
        return self._needed(self._margin)

    def expired(self) -> bool:
        return self._needed(0)

    def freeze(self) -> Credentials:
        """The credentials, renewed if due. Raises BadConnection."""
        if self._expires:
            self._found._advisory_refresh_timeout = self._margin
            self._found._mandatory_refresh_timeout = self._margin
        times = _OF_OLD
        try:
            found = self._found.get_frozen_credentials()
            frozen = Credentials(found.access_key, found.secret_key, found.token, found.account_id)
            times = _OF_OLD if frozen == self._frozen else _OF_NEW
        except Exception as error:
            raise _unavailable(error) from error
        finally:
            self._margin = next((m for m in _RENEWAL_MARGINS if not self._needed(times * m)), 0)
        self._frozen = frozen
        return frozen

    def _needed(self, seconds: int) -> bool:
        return self._expires and bool(self._found.refresh_needed(refresh_in=seconds))


def _unavailable(error: Exception) -> BadConnection:
    # Helpers, plug-ins, files and services of the user's: what they raise is not ours to enumerate.
    text = " ".join(str(error).split()) or type(error).__name__
    return BadConnection(f"The AWS credentials cannot be had: {text.rstrip('.')}.")
