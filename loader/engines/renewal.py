"""When credentials are renewed: ahead of their expiry, and where the service refuses them."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from loader.edges.credentials import Credentials
from loader.edges.events import FreshCredentials
from loader.errors import Denied

_log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""Between two tries to get new credentials from a source that fails."""
PATIENCE_SECONDS = 20.0
"""For so long a source may fail while the service refuses the credentials there are."""


class Source(Protocol):
    """
    Where credentials come from: a Session. The last two may take long, or hang, since they run helpers and
    ask services: they give what is new, None where nothing is, and raise Denied.
    """

    @property
    def credentials(self) -> Credentials: ...
    @property
    def serial(self) -> int: ...
    def due(self) -> bool: ...
    def refreshed(self) -> Credentials | None: ...
    def renewed(self) -> Credentials | None: ...


class Renewal:
    """
    Asks once for all workers, in a thread of its own. The load goes on meanwhile, and whoever waits for
    credentials is told when there is something to say.

    Credentials that are refused are asked for anew once. Where that brings no others the workers are told so
    at once: their few tries end the load. Times are monotonic seconds.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._asking: _Question | None = None
        self._not_before = 0.0
        self._failing_since: float | None = None
        self._refused: int | None = None
        self._exhausted: int | None = None
        self._again = False

    def refused(self, serial: int) -> None:
        """A worker says that the service does not accept the credentials of this number."""
        # Of older ones it is no news: the present ones are on their way to whoever asks.
        if serial == self._source.serial:
            self._refused = serial
            self._again = serial == self._exhausted

    def poll(self, now: float) -> FreshCredentials | None:
        """
        What is to be handed down. Never waits. Raises Denied where the credentials are refused and there have
        been no others for a while; while the service says nothing of them, that is tried for ever.
        """
        if self._asking is not None:
            return self._heard(self._asking, now)
        if self._again:
            self._again = False
            return self._word()
        if now < self._not_before:
            return None
        if self._refused is not None and self._refused != self._exhausted:
            self._asking = _Question(self._source.renewed, about=self._refused)
        elif self._source.due():
            self._asking = _Question(self._source.refreshed, about=None)
        return None

    def _heard(self, question: "_Question", now: float) -> FreshCredentials | None:
        if not question.over:
            return None
        self._asking = None
        if question.problem is not None:
            self._bear(question.problem, now)
            return None
        self._failing_since = None
        if question.answer is not None:
            self._refused = None
            return self._word()
        if question.about is None:
            return None
        self._exhausted = question.about
        return self._word()

    def _bear(self, problem: BaseException, now: float) -> None:
        if not isinstance(problem, Denied):
            raise problem
        self._not_before = now + RETRY_SECONDS
        if self._failing_since is None:
            self._failing_since = now
            _log.warning("%s This is tried again.", problem)
        if self._refused is not None and now >= self._failing_since + PATIENCE_SECONDS:
            raise problem

    def _word(self) -> FreshCredentials:
        return FreshCredentials(self._source.credentials, self._source.serial)


class _Question:
    """One call in a thread that may take as long as it likes; `about` is the refused credentials' number."""

    def __init__(self, ask: Callable[[], Credentials | None], about: int | None) -> None:
        self.about = about
        self.answer: Credentials | None = None
        self.problem: BaseException | None = None
        self._ask = ask
        # A helper that hangs is not waited for at the end either.
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.answer = self._ask()
        except BaseException as problem:
            self.problem = problem
