"""When credentials are renewed: ahead of their expiry, and where the service refuses good ones."""

from typing import Protocol

from loader.edges.credentials import Credentials

SETTLING_SECONDS = 5.0
"""For so long after new credentials were had, what is heard of refused ones is of the old."""


class Source(Protocol):
    """Where credentials come from; a Session."""

    def refreshed(self) -> Credentials | None: ...
    def renewed(self) -> Credentials | None: ...


class Renewal:
    """
    Asks once for all workers, each of which tells of the same expiry.

    New credentials that are refused as well, without a row written in between, are not renewed again: whoever
    sends then has its few tries, and the load ends. Times are monotonic seconds.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._had_at: float | None = None
        self._written_then: int | None = None

    def ahead(self, now: float) -> Credentials | None:
        """New credentials if the old ones are about to expire. Raises Denied."""
        credentials = self._source.refreshed()
        if credentials is not None:
            self._had_at = now
        return credentials

    def refused(self, now: float, written: int) -> Credentials | None:
        """New ones after a refusal, `written` rows into the load; None if there are none. Raises Denied."""
        if self._had_at is not None and now < self._had_at + SETTLING_SECONDS:
            return None
        if self._written_then is not None and written <= self._written_then:
            return None
        self._had_at, self._written_then = now, written
        return self._source.renewed()
