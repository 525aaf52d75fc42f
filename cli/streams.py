"""Standard output and standard error as they really are: closed, full, gone, or of another encoding."""

import errno
import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

from cli.exits import FATAL
from cli.text import visible

_READER_GONE = (errno.EPIPE, errno.EIO)
"""What writing to a closed pipe, or to a terminal that is no longer there, fails with."""
_lost: list[str] = []
"""Why standard output did not take all that it was to get."""


def prepare() -> None:
    """
    Make sure that both streams exist and take every character.

    Without this `2>&-` would send messages to standard output, or data files get its descriptor number.
    """
    _lost.clear()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Lasting:
    """
    A text stream whose reader may go away: from then on what is written to it is dropped.

    A load must not fail because its terminal was closed or its output piped to `head`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.trouble = ""
        """What went wrong, unless it was only that nobody reads any more."""

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except (OSError, ValueError) as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def _drop(self, error: Exception) -> None:
        """Send it to nowhere, with what it still holds: Python flushes the stream once more at the end."""
        if isinstance(error, OSError) and error.errno not in _READER_GONE:
            self.trouble = error.strerror or str(error)
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def say(lines: Iterable[str]) -> None:
    """Lines for people who read standard error; control characters in them are shown, not obeyed."""
    _write(sys.stderr, lines)


def put(lines: Iterable[str]) -> None:
    """Lines for whoever reads standard output, likewise."""
    _note(_write(sys.stdout, lines))


def flush() -> None:
    """Where argparse has printed: a reader that has gone away by now is no error."""
    lasting = Lasting(sys.stdout)
    lasting.flush()
    _note(lasting.trouble)


def settle(status: int) -> int:
    """
    The exit status, in which it shows if standard output was full: whoever wanted the outcome has none.
    """
    if not _lost:
        return status
    complain(f"Standard output did not take the outcome: {_lost[0]}.")
    return max(status, FATAL)


def complain(message: str) -> None:
    """The sentence that tells why a run ends as it does."""
    say([_complaint(message)])


def complain_at_once(message: str) -> None:
    """As `complain`, from a signal handler of a process that ends in the next moment."""
    _write_at_once(sys.stderr, _complaint(message))


def put_at_once(line: str) -> None:
    """As `put`, likewise."""
    _write_at_once(sys.stdout, line)


def _complaint(message: str) -> str:
    return f"ddbload: {message}"


def _write(stream: TextIO, lines: Iterable[str]) -> str:
    """What went wrong, if anything did."""
    lasting = Lasting(stream)
    for line in lines:
        lasting.write(f"{visible(line)}\n")
    lasting.flush()
    return lasting.trouble


def _write_at_once(stream: TextIO, line: str) -> None:
    # Past the stream itself: the signal may have come while it was being written to.
    data = f"{visible(line)}\n".encode(stream.encoding or "utf-8", "backslashreplace")
    with suppress(OSError, ValueError):
        os.write(stream.fileno(), data)


def _note(trouble: str) -> None:
    if trouble:
        _lost.append(trouble)
