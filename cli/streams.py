"""Standard output and standard error as they really are: closed, full, gone, or of another encoding."""

import io
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from cli.text import visible


def prepare() -> None:
    """
    Make sure that both streams exist and take every character.

    Without this `2>&-` would send messages to standard output, or data files get its descriptor number.
    """
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

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            self._drop()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def _drop(self) -> None:
        """Send it to nowhere, with what it still holds: Python flushes the stream once more at the end."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def say(lines: Iterable[str]) -> None:
    """Lines for people who read standard error."""
    _write(sys.stderr, lines)


def put(lines: Iterable[str]) -> None:
    """Lines for whoever reads standard output."""
    _write(sys.stdout, lines)


def flush() -> None:
    """Where argparse has printed: a reader that has gone away by now is no error."""
    Lasting(sys.stdout).flush()


def complain(message: str) -> None:
    """The sentence that tells why a run ends as it does; control characters in it are shown, not obeyed."""
    say([f"ddbload: {visible(message)}"])


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    lasting = Lasting(stream)
    for line in lines:
        lasting.write(f"{line}\n")
    lasting.flush()
