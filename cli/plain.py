"""Progress as plain lines, for files, pipes and terminals that cannot move the cursor."""

from cli.frames import Frame, duration
from cli.streams import Lasting
from cli.text import visible

INTERVAL = 5.0
"""Seconds between two lines."""


class PlainView:
    """
    Writes a line every five seconds, and one when something urgent happens. Neither colours nor bare CRs.

    With `quiet` only what is said, not how far it is.
    """

    def __init__(self, stream: Lasting, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._next: float | None = None
        self._title = ""
        self._message = ""

    def show(self, frame: Frame) -> None:
        if frame.message and frame.message != self._message:
            self._message = frame.message
            self.say(frame.message)
        if self._quiet:
            return
        if frame.lead:
            self.say(frame.lead)
        # A view may show one thing after another, and each has a clock of its own.
        if self._next is None or frame.seconds + INTERVAL < self._next:
            self._next = frame.seconds + INTERVAL
        urgent = frame.urgent and frame.title != self._title
        if urgent or frame.seconds >= self._next:
            self._next = frame.seconds + INTERVAL
            self._title = frame.title
            self._line(line(frame))

    def say(self, text: str) -> None:
        self._line("\n".join(visible(part) for part in text.split("\n")))

    def close(self) -> None:
        """Nothing is left on the screen that would have to be put right."""

    def put_right(self) -> None:
        """See `close`."""

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def line(frame: Frame) -> str:
    """A frame in words: `loading: 45%, 1,234 rows, ..., about 12 s left`."""
    parts = list(frame.figures)
    if frame.share is not None:
        parts.insert(0, f"{int(frame.share * 100)}%")
    if frame.left is not None:
        parts.append(f"about {duration(frame.left)} left")
    return visible(f"{duration(frame.seconds)} {frame.title}: {', '.join(parts)}")
