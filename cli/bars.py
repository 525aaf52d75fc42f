"""Progress as live bars on a terminal."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, cast

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from cli.frames import Frame, duration
from cli.streams import Lasting
from cli.text import visible

_SHOW_CURSOR = b"\x1b[?25h\n"


_WIDEST_BAR = 40
_BESIDE_THE_BAR = 34
"""Columns for the title, the percentage and the estimate."""


class _Share(ProgressColumn):
    """The percentage, where it is known what all is."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.percentage:>3.0f}%")


class _Left(ProgressColumn):
    """The estimate of the rest, which the frames bring along."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return Text("" if left is None else f"ETA {duration(left)}", style="progress.remaining")


class _Figures:
    """One line of figures. Where room is short the last `keep` stay, and of the others the first."""

    def __init__(self, figures: Sequence[str], keep: int) -> None:
        self._figures = figures
        self._keep = keep

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(self._figures)
        while len(shown) > max(self._keep, 1) and len("  ".join(shown)) > options.max_width:
            del shown[len(shown) - 1 - self._keep]
        yield Text("  ".join(shown), no_wrap=True, overflow="ellipsis", style="dim")


class _Bars(Progress):
    """A bar, and below it the figures."""

    figures = _Figures((), 0)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield self.figures


class BarsView:
    """Redraws ten times a second, in a thread of its own; `show` only notes what to draw."""

    def __init__(self, stream: Lasting) -> None:
        # Told that this is a terminal: FORCE_COLOR and the like have no say. NO_COLOR has.
        console = Console(
            file=cast(IO[str], stream), force_terminal=True, markup=False, highlight=False, emoji=False
        )
        self._bars = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(max(4, min(_WIDEST_BAR, console.width - _BESIDE_THE_BAR))),
            _Share(),
            _Left(),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("", total=None, left=None)
        self._message = ""
        self._begun = False

    def show(self, frame: Frame) -> None:
        if frame.message and frame.message != self._message:
            self._message = frame.message
            self.say(frame.message)
        if frame.lead:
            self.say(frame.lead)
        self._bars.figures = _Figures([visible(figure) for figure in frame.figures], frame.keep)
        self._bars.update(
            self._task,
            description=visible(frame.title),
            completed=min(frame.done, frame.total) if frame.total else frame.done,
            total=frame.total or None,
            left=frame.left,
        )
        if not self._begun:
            # Not before: what is refused leaves no empty bar above its message.
            self._begun = True
            self._bars.start()

    def say(self, text: str) -> None:
        """Lines above the bars."""
        # A long one is the terminal's to wrap: with line ends of ours in it, a command that is pasted from
        # there would be several.
        said = Text("\n".join(visible(part) for part in text.split("\n")))
        self._bars.console.print(said, soft_wrap=True)

    def close(self) -> None:
        if self._begun:
            self._bars.stop()

    def put_right(self) -> None:
        """Give the cursor back without waiting for anyone: for a process that ends in the next moment."""
        if self._begun:
            os.write(sys.stderr.fileno(), _SHOW_CURSOR)
