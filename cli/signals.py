"""SIGINT, SIGTERM and SIGHUP: the first asks the run to end well, the second ends it at once."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from cli import exits, streams

Action = Callable[[], None]

_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ONE_EVENT = 0.25
"""
Signals this close (seconds) are one: a closing terminal sends SIGHUP twice, and a launcher such as `uv run`
passes on the SIGINT that the terminal has sent already.
"""


def tell(signal_name: str) -> None:
    """The last word of a run that has nothing to continue."""
    streams.complain_at_once(exits.of_signal(signal_name).message)


def interrupt(signal_name: str) -> NoReturn:
    """For a run without a checkpoint: leave, from wherever it is."""
    raise exits.Interrupted(signal_name)


@contextmanager
def heard() -> Iterator[None]:
    """
    While this lasts a signal of the three raises, from wherever the program is: SIGINT a KeyboardInterrupt,
    the others exits.Interrupted. By itself Python would let them kill it without a word.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: FrameType | None) -> None:
        interrupt(signal.Signals(number).name)

    before: dict[signal.Signals, Any] = {}
    for which in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(which) is signal.SIG_DFL:
            before[which] = signal.signal(which, handle)
    try:
        yield
    finally:
        for which, handler in before.items():
            # Unless somebody else has a say by now.
            if signal.getsignal(which) is handle:
                signal.signal(which, handler)


def ignore() -> None:
    """The outcome has been told: from now on a signal can only spoil the exit status."""
    if threading.current_thread() is threading.main_thread():
        for which in _WATCHED:
            signal.signal(which, signal.SIG_IGN)


@contextmanager
def held() -> Iterator[None]:
    """
    For heavy imports: signals come when this is over.

    A KeyboardInterrupt in the middle of numpy's own start comes out of it as an ImportError, which would be
    taken for a bug.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def discard() -> None:
    """Forget the signals that came while they were `held`."""
    while pending := signal.sigpending() & set(_WATCHED):
        signal.sigwait(pending)


@contextmanager
def watched(
    first: Callable[[str], None], at_once: Sequence[Action] = (), last: Callable[[str], None] = tell
) -> Iterator[None]:
    """
    While this lasts, the first signal calls `first` with its name, in the main thread.

    The second kills the worker processes, does what `at_once` says (put the terminal right, stop what else
    was started), calls `last` with its name and ends this process with 128 + its number. Only the main
    thread can catch signals: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    since: float | None = None

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal since
        if since is None:
            since = time.monotonic()
            first(signal.Signals(number).name)
        elif time.monotonic() - since >= ONE_EVENT:
            _end(number, [*at_once, partial(last, signal.Signals(number).name)])

    before: dict[signal.Signals, Any] = {}
    for which in _WATCHED:
        # nohup ignores SIGHUP for its command. An ignored SIGINT only tells that a shell script started this
        # in the background: who sends one all the same means it.
        if which is signal.SIGHUP and signal.getsignal(which) is signal.SIG_IGN:
            continue
        before[which] = signal.signal(which, handle)
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, signal.SIG_DFL if handler is None else handler)


def _end(number: int, at_once: Sequence[Action]) -> NoReturn:
    import multiprocessing

    # Whatever may hold this up, such as a pipe that nobody reads: one more signal does not wait for it.
    for which in _WATCHED:
        signal.signal(which, signal.SIG_DFL)
    try:
        for child in multiprocessing.active_children():
            with suppress(OSError):
                child.kill()
        for action in at_once:
            with suppress(OSError):
                action()
    finally:
        os._exit(128 + number)
