"""What the lines of a checkpoint add up to; none is believed that cannot follow from those before it."""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from loader.decisions.checkpoint import (
    BadLine,
    Head,
    Line,
    OpenWindow,
    RecordedRejects,
    Resume,
    ShardLine,
    WindowDone,
    WindowLine,
)
from loader.model import Counts

_SUMS = 1 << 64


class Replay:
    """
    Takes the lines in their order and tells what they add up to.

    The next window may be entered while one is being written. It is then forgotten unless that one is done,
    and entered again by the run that continues.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._finished: list[WindowLine] = []
        self._finished_counts = Counts()
        self._open: OpenWindow | None = None
        self._shards: set[int] = set()
        self._ahead: WindowLine | None = None
        self._positions = array("Q")
        self._lengths = array("Q")
        self._rejects_sum: int | None = None
        self._unanswered = False

    def take(self, line: Line) -> None:
        """Raises BadLine for a line that cannot follow; it then changes nothing."""
        match line:
            case WindowLine():
                self._take_window(line)
            case ShardLine():
                self._take_shard(line)
            case WindowDone():
                self._take_done(line)

    def resume(self, length: int, checksum: int) -> Resume:
        """The sum of what was taken: `length` bytes of the journal, the last line of which has `checksum`."""
        open_ = None if self._open is None else replace(self._open, shards=frozenset(self._shards))
        return Resume(
            self._head,
            tuple(self._finished),
            self._finished_counts,
            open_,
            RecordedRejects(self._positions, self._lengths, self._rejects_sum),
            self._unanswered,
            length,
            checksum,
        )

    def _take_window(self, line: WindowLine) -> None:
        _check_window(line, len(self._head.sources))
        if self._open is None:
            if line.window != len(self._finished):
                raise BadLine(f"window {line.window} after {len(self._finished)} windows")
            self._begin(line)
        elif line.window == self._open.line.window and not self._shards:
            self._begin(line)
        elif line.window == self._open.line.window + 1:
            _check_adjoins(self._open.line, line)
            self._ahead = line
        else:
            raise BadLine(f"window {line.window} while window {self._open.line.window} is open")

    def _begin(self, line: WindowLine | None) -> None:
        if line is not None and self._finished:
            _check_adjoins(self._finished[-1], line)
        self._open = None if line is None else OpenWindow(line, frozenset(), Counts(), False)
        self._shards.clear()
        self._ahead = None

    def _take_shard(self, line: ShardLine) -> None:
        open_ = self._require_open(line.window)
        if not _are_whole((line.shard,)) or line.shard in self._shards:
            raise BadLine(f"shard {line.shard!r} twice, or no shard")
        _check_counts(line)
        _check_rejects(line, open_.line)
        counts = open_.counts + line.counts
        if counts.rows > open_.line.records:
            raise BadLine(f"{counts.rows} rows in a window of {open_.line.records}")
        self._shards.add(line.shard)
        self._open = replace(open_, counts=counts, unanswered=open_.unanswered or line.unanswered)
        self._positions.extend(position for position, _ in line.rejects)
        self._lengths.extend(length for _, length in line.rejects)
        if line.rejects:
            self._rejects_sum = line.rejects_sum
        self._unanswered |= line.unanswered

    def _take_done(self, line: WindowDone) -> None:
        open_ = self._require_open(line.window)
        if open_.counts.rows != open_.line.records:
            raise BadLine(f"{open_.counts.rows} rows of {open_.line.records} in a window that is done")
        self._finished.append(open_.line)
        self._finished_counts += open_.counts
        self._begin(self._ahead)

    def _require_open(self, window: int) -> OpenWindow:
        if self._open is None or not _are_whole((window,)) or self._open.line.window != window:
            raise BadLine(f"window {window!r} is not open")
        return self._open


def _are_whole(values: Sequence[object]) -> bool:
    """Numbers as they count something: bool is an int to Python, and no number in JSON."""
    return all(type(value) is int and 0 <= value < _SUMS for value in values)


def _check_window(line: WindowLine, files: int) -> None:
    numbers = (line.window, line.start, line.stop, line.records)
    if not _are_whole((*numbers, line.file, line.line, line.next_file, line.next_line)):
        raise BadLine("a window whose numbers are none")
    if not isinstance(line.digest, str) or not line.start < line.stop or not line.records:
        raise BadLine(f"window {line.window} holds nothing")
    if line.file >= files or not line.file <= line.next_file <= files:
        raise BadLine(f"window {line.window} is in no file")


def _check_adjoins(before: WindowLine, line: WindowLine) -> None:
    if (line.start, line.file, line.line) != (before.stop, before.next_file, before.next_line):
        raise BadLine(f"window {line.window} does not begin where the one before ends")


def _check_counts(line: ShardLine) -> None:
    counts = line.counts
    rows = (counts.written, counts.duplicates, counts.rejected)
    if not _are_whole((*rows, counts.requests, counts.throttled, counts.unprocessed, counts.retries)):
        raise BadLine(f"counts of shard {line.shard} that are none")
    units = counts.write_units
    if type(units) not in (int, float) or not isfinite(units) or units < 0:
        raise BadLine(f"write units of shard {line.shard} that are none")
    if type(line.unanswered) is not bool:
        raise BadLine(f"shard {line.shard} neither answered nor not")


def _check_rejects(line: ShardLine, window: WindowLine) -> None:
    if len(line.rejects) != line.counts.rejected or not _are_whole((line.rejects_sum,)):
        raise BadLine(f"rejects of shard {line.shard} that are not those it counts")
    for position, length in line.rejects:
        if not _are_whole((position, length)) or not window.start <= position < window.stop or not length:
            raise BadLine(f"a reject of shard {line.shard} that is not in its window")
