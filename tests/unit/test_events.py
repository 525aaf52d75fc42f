"""The queues between coordinator and workers: a death is an end of file, and reports do not pile up."""

import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from loader.edges.events import Coalescer, Logged, QueueReader, QueueWriter, one_way_queue

ROOT = Path(__file__).resolve().parents[2]
PIPE_HOLDS = 1 << 16
"""Bytes that a pipe takes before whoever writes has to wait for its reader."""


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    reader, writer = one_way_queue(get_context("spawn"))
    yield reader, writer
    for end in (reader, writer):
        if not end.closed:
            end.close()


def framed(message: bytes) -> bytes:
    """What goes through the pipe for a message: its length, then the message."""
    return struct.pack("!i", len(message)) + message


# --- a death in the middle of a message -----------------------------------------------------------


@pytest.mark.parametrize("written", [0, 1, 3, 4, 5, 500, 1003])
def test_a_message_cut_short_is_the_end_of_the_file(
    ends: tuple[Connection, Connection], written: int
) -> None:
    reader, writer = ends
    os.write(writer.fileno(), framed(b"x" * 1000)[:written])
    writer.close()
    with pytest.raises(EOFError):
        QueueReader[object](reader).get()


def test_what_came_whole_before_it_is_heard(ends: tuple[Connection, Connection]) -> None:
    reader, writer = ends
    QueueWriter[Logged](writer).put(Logged("loader", 10, "the last words"))
    os.write(writer.fileno(), framed(b"x" * 1000)[:20])
    writer.close()
    queue = QueueReader[Logged](reader)
    assert queue.ready()
    assert queue.get() == Logged("loader", 10, "the last words")
    # There is something to get, which is how the end is noticed.
    assert queue.ready()
    with pytest.raises(EOFError):
        queue.get()


def test_a_process_killed_in_the_middle_of_a_message_is_an_end_of_file(
    ends: tuple[Connection, Connection],
) -> None:
    reader, writer = ends
    code = (
        "from multiprocessing.connection import Connection; from loader.edges.events import QueueWriter\n"
        f"QueueWriter(Connection({writer.fileno()}, readable=False)).put(b'x' * {16 * PIPE_HOLDS})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[writer.fileno()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        writer.close()
        try:
            assert reader.poll(20)
            # No more than the pipe holds has been written, and the rest never will be.
            assert process.poll() is None
        finally:
            process.kill()
    with pytest.raises(EOFError):
        QueueReader[bytes](reader).get()


def test_whoever_puts_is_told_that_nobody_gets(ends: tuple[Connection, Connection]) -> None:
    reader, writer = ends
    reader.close()
    with pytest.raises(BrokenPipeError):
        QueueWriter[str](writer).put("hello")


def test_messages_of_many_threads_come_whole(ends: tuple[Connection, Connection]) -> None:
    reader, writer = ends
    queue, into = QueueReader[bytes](reader), QueueWriter[bytes](writer)
    # Larger than the pipe, so that each waits in the middle of its message.
    messages = [bytes([number]) * (2 * PIPE_HOLDS) for number in range(8)]
    threads = [threading.Thread(target=into.put, args=(message,), daemon=True) for message in messages]
    for thread in threads:
        thread.start()
    found = [queue.get() for _ in messages]
    for thread in threads:
        thread.join(5)
    assert sorted(found) == messages


# --- reports --------------------------------------------------------------------------------------


class Reports:
    """Keeps each state that was reported, and when (monotonic seconds)."""

    def __init__(self) -> None:
        self.state = 0
        self.seen: list[int] = []
        self.times: list[float] = []

    def __call__(self) -> None:
        self.times.append(time.monotonic())
        self.seen.append(self.state)

    def await_state(self, state: int) -> None:
        deadline = time.monotonic() + 5
        while not self.seen or self.seen[-1] != state:
            assert time.monotonic() < deadline, f"{state} was not reported, only {self.seen}"
            time.sleep(0.005)


def test_what_happens_often_is_reported_only_so_often() -> None:
    reports = Reports()
    coalescer = Coalescer(reports, 0.1)
    began = time.monotonic()
    while time.monotonic() - began < 0.55:
        reports.state += 1
        coalescer.happened()
        time.sleep(0.0005)
    last = reports.state
    reports.await_state(last)
    coalescer.close()
    assert last > 50
    # At 0.0, 0.1 ... 0.5, and what happened since.
    assert 2 <= len(reports.seen) <= (reports.times[-1] - began) / 0.1 + 1
    assert min(after - before for before, after in zip(reports.times, reports.times[1:], strict=False)) > 0.09
    assert reports.seen == sorted(set(reports.seen))


def test_a_single_event_is_reported_at_once_and_once() -> None:
    reports = Reports()
    coalescer = Coalescer(reports, 0.05)
    time.sleep(0.1)
    assert reports.seen == []
    reports.state = 1
    coalescer.happened()
    reports.await_state(1)
    time.sleep(0.15)
    coalescer.close()
    assert reports.seen == [1]


def test_what_happens_during_a_report_is_reported_after_it() -> None:
    reporting, go_on = threading.Event(), threading.Event()
    count = 0

    def report() -> None:
        nonlocal count
        count += 1
        reporting.set()
        assert go_on.wait(5)

    coalescer = Coalescer(report, 0.01)
    coalescer.happened()
    assert reporting.wait(5)
    reporting.clear()
    coalescer.happened()
    go_on.set()
    assert reporting.wait(5)
    coalescer.close()
    assert count == 2


def test_closing_does_not_wait_for_the_next_report() -> None:
    reports = Reports()
    coalescer = Coalescer(reports, 60.0)
    coalescer.happened()
    reports.await_state(0)
    reports.state = 1
    coalescer.happened()
    began = time.monotonic()
    coalescer.close()
    assert time.monotonic() - began < 2
    # Whoever closes reports what is left itself.
    assert reports.seen == [0]
    assert "reporter" not in [thread.name for thread in threading.enumerate()]
