"""Senders whose credentials were refused: they wait for a word, and no longer than that."""

import threading
import time
from collections.abc import Callable

import pytest

from loader.engines import denial
from loader.engines.denial import Denial


def in_a_thread(run: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("serial", [4, 3])
def test_a_sender_waits_for_the_word_be_it_that_there_are_no_others(serial: int) -> None:
    asked: list[int] = []
    denials = Denial(3, asked.append)
    waiting = in_a_thread(lambda: denials.wait(3))
    while not asked:
        time.sleep(0.001)
    time.sleep(0.05)
    assert waiting.is_alive()
    denials.heard(serial)
    waiting.join(20)
    assert not waiting.is_alive()
    assert (asked, denials.serial) == ([3], serial)


def test_who_was_refused_with_older_ones_waits_for_nothing() -> None:
    asked: list[int] = []
    denials = Denial(3, asked.append)
    denials.heard(4)
    denials.wait(3)
    assert asked == []


def test_who_is_to_stop_waits_for_nothing() -> None:
    asked: list[int] = []
    denials = Denial(0, asked.append)
    waiting = in_a_thread(lambda: denials.wait(0))
    while not asked:
        time.sleep(0.001)
    denials.stop()
    waiting.join(20)
    assert not waiting.is_alive()
    denials.wait(0)


def test_without_a_word_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denial, "PATIENCE_SECONDS", 0.05)
    asked: list[int] = []
    began = time.monotonic()
    Denial(0, asked.append).wait(0)
    assert 0.05 <= time.monotonic() - began < 5
    assert asked == [0]
