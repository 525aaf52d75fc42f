"""Progress as live bars on a terminal."""

import os
import sys
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from cli.frames import Frame, duration
from cli.streams import Lasting
from cli.text import visible

_SHOW_CURSOR = b"\x1b[?25h\n"


class _Left(ProgressColumn):
    """The estimate of the rest, which the frames bring along."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return Text("" if left is None else f"ETA {duration(left)}", style="progress.remaining")


class _Bars(Progress):
    """A bar, and below it one line of figures, cut where the terminal ends rather than wrapped."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.figures, no_wrap=True, overflow="ellipsis", style="dim")


class BarsView:
    """Redraws ten times a second, in a thread of its own; `show` only notes what to draw."""

    def __init__(self, stream: Lasting) -> None:
        # Told that this is a terminal: FORCE_COLOR and the like have no say. NO_COLOR has.
        console = Console(
            file=cast(IO[str], stream), force_terminal=True, markup=False, highlight=False, emoji=False
        )
        self._bars = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            _Left(),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("", total=None, left=None)
        self._message = ""
        self._bars.start()

    def show(self, frame: Frame) -> None:
        if frame.message and frame.message != self._message:
            self._message = frame.message
            self.say(frame.message)
        self._bars.figures = visible("  ".join(frame.figures))
        self._bars.update(
            self._task,
            description=visible(frame.title),
            completed=min(frame.done, frame.total) if frame.total else frame.done,
            total=frame.total or None,
            left=frame.left,
        )

    def say(self, text: str) -> None:
        """Lines above the bars."""
        self._bars.console.print(Text("\n".join(visible(part) for part in text.split("\n"))))

    def close(self) -> None:
        self._bars.stop()

    def put_right(self) -> None:
        """Give the cursor back without waiting for anyone: for a process that ends in the next moment."""
        os.write(sys.stderr.fileno(), _SHOW_CURSOR)
