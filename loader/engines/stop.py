"""How a load is asked to end."""


class Stop:
    """Asks a load to drain; safe to use in a signal handler and from other threads."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def request(self, reason: str) -> None:
        """`reason` is the signal's name, or what else the summary shall say."""
        if self._reason is None:
            self._reason = reason

    @property
    def requested(self) -> str | None:
        return self._reason
