"""When credentials are renewed: ahead of their expiry, and where the service refuses good ones."""

import logging
from typing import Protocol

from loader.edges.credentials import Credentials
from loader.errors import Denied

_log = logging.getLogger(__name__)

SETTLING_SECONDS = 5.0
"""For so long after new credentials were had, what is heard of refused ones is of the old."""
PATIENCE_SECONDS = 10.0
"""Between two tries to renew what has expired, in an outage."""


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

    def __init__(self, source: Source, now: float) -> None:
        self._source = source
        self._had_at: float | None = None
        self._written_then: int | None = None
        self._not_before = now

    def ahead(self, now: float, *, in_outage: bool) -> Credentials | None:
        """
        New credentials if the old ones are about to expire.

        Raises Denied where they have expired and there are none; but in an outage, in which whoever gives
        them is perhaps as much out of reach as the service, that is tried again later.
        """
        if in_outage and now < self._not_before:
            return None
        try:
            credentials = self._source.refreshed()
        except Denied as problem:
            if not in_outage:
                raise
            self._not_before = now + PATIENCE_SECONDS
            _log.warning("This is tried again while the service cannot be reached: %s", problem)
            return None
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
