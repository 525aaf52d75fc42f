"""Who shows progress, and how: on standard error, which may be a terminal, a file, a pipe or nothing."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from cli.frames import Frame
from cli.plain import PlainView
from cli.streams import Lasting


class View(Protocol):
    """
    Text in frames and messages is shown as it is: markup and control characters in it have no effect.
    """

    def show(self, frame: Frame) -> None: ...

    def say(self, text: str) -> None:
        """A line (or several) that stays."""

    def close(self) -> None: ...

    def put_right(self) -> None:
        """Leave the terminal usable, at once, from a signal handler."""


def choose(style: str, terminal: bool, environment: Mapping[str, str]) -> str:
    """
    rich, plain or none, for `style` as in --progress.

    Live bars need a terminal that can move the cursor, whatever FORCE_COLOR and the user say.
    """
    if style in ("plain", "none"):
        return style
    capable = terminal and environment.get("TERM", "") not in ("", "dumb", "unknown")
    return "rich" if capable else "plain"


@contextmanager
def opened(style: str) -> Iterator[View]:
    """The view for --progress `style`."""
    stream = Lasting(sys.stderr)
    chosen = choose(style, stream.isatty(), os.environ)
    view: View
    if chosen == "rich":
        from cli.bars import BarsView

        view = BarsView(stream)
    else:
        view = PlainView(stream, quiet=chosen == "none")
    try:
        yield view
    finally:
        view.close()
