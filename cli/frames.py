"""What a view shows: progress events as one line of figures, with rates and an estimate of the rest."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.text import counted
from loader.model import Phase, ProgressEvent

if TYPE_CHECKING:
    from loader.engines.verify import VerifyEvent

RATE_SPAN = 15.0
"""Rates are taken over the last so many seconds."""
_SAMPLE_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One moment of a run. `done` of `total` (bytes, items or rows; 0 where it is not known) is for a bar.

    `left` is the estimate of the seconds to come. Where there is little room, the last `keep` of the figures
    are the ones to show. An `urgent` frame is shown even where frames are shown
    seldom; a `message` once. The `lead` are lines that stay above what is shown of progress, if any is.
    """

    title: str
    seconds: float
    done: int
    total: int
    figures: tuple[str, ...]
    left: float | None = None
    message: str = ""
    urgent: bool = False
    keep: int = 0
    lead: str = ""

    @property
    def share(self) -> float | None:
        """From 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total > 0 else None


class Meter:
    """Rates of several growing numbers over the last RATE_SPAN seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, tuple[float, ...]]] = deque()

    def rates(self, seconds: float, values: tuple[float, ...]) -> tuple[float, ...]:
        """Each value's growth a second, taking in that it is `values` at `seconds`; zeros at first."""
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= seconds - RATE_SPAN:
            samples.popleft()
        if not samples or seconds - samples[-1][0] >= _SAMPLE_EVERY:
            samples.append((seconds, values))
        since, first = samples[0]
        if seconds <= since:
            return tuple(0.0 for _ in values)
        return tuple((now - then) / (seconds - since) for now, then in zip(values, first, strict=True))


def of_load() -> Callable[[ProgressEvent], Frame]:
    """Frames of one load, in the order of its events."""
    meter = Meter()

    def frame(event: ProgressEvent) -> Frame:
        counts = event.counts
        rows, units, read = meter.rates(
            event.seconds, (float(counts.rows), counts.write_units, float(event.bytes_done))
        )
        figures = [
            counted(counts.rows, "row"),
            f"{rows:,.0f} rows/s",
            f"{units:,.0f} WCU/s",
            f"{counts.throttled:,} throttled",
            f"{counts.rejected:,} rejected",
        ]
        draining, finished = event.phase is Phase.DRAINING, event.phase is Phase.DONE
        # Of a load of some rows only it is not known how far it goes, until it is done.
        total = max(event.bytes_done, 1) if finished else event.bytes_total
        title = "finishing what is in flight; once more ends at once" if draining else event.phase.value
        return Frame(
            title=title,
            seconds=event.seconds,
            done=total if finished else event.bytes_done,
            total=total,
            figures=tuple(figures),
            left=None if draining or finished else seconds_left(total - event.bytes_done, read),
            message=event.message,
            urgent=draining or finished,
            keep=2,
        )

    return frame


def of_verify() -> Callable[["VerifyEvent"], Frame]:
    """Frames of one comparison, in the order of its events: first the files are read, then the table."""
    meters = {True: Meter(), False: Meter()}

    def frame(event: "VerifyEvent") -> Frame:
        (rate,) = meters[event.reading].rates(event.seconds, (float(event.done),))
        left = seconds_left(event.total - event.done, rate)
        title = "reading the table"
        figures = [counted(event.done, "item"), f"{rate:,.0f} items/s"]
        if event.reading:
            title = "reading the files"
            figures = [f"{rate / 1e6:,.1f} MB/s"]
        elif event.differences:
            figures.append(f"{event.differences:,} different or extra")
        return Frame(title, event.seconds, event.done, event.total, tuple(figures), left, keep=1)

    return frame


def of_count(title: str, total: int, noun: str) -> Callable[[float, int], Frame]:
    """Frames of something that counts up to `total`: a `noun` such as row, of which rows are generated."""
    meter = Meter()

    def frame(seconds: float, done: int) -> Frame:
        (rate,) = meter.rates(seconds, (float(done),))
        figures = (counted(done, noun), f"{rate:,.0f} {noun}s/s")
        return Frame(title, seconds, done, total, figures, seconds_left(total - done, rate))

    return frame


def seconds_left(rest: float, rate: float) -> float | None:
    """None where there is no telling, or nothing left."""
    return rest / rate if rest > 0 and rate > 0 else None


def duration(seconds: float) -> str:
    """`12 s`, `3:05`, `1:02:03`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
