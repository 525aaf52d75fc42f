"""When credentials are asked for anew: once for all workers, not for ever, and without anybody waiting."""

import threading
import time
from collections.abc import Callable

import pytest

from loader.edges.credentials import Credentials
from loader.edges.events import FreshCredentials
from loader.engines.renewal import PATIENCE_SECONDS, RETRY_SECONDS, Renewal
from loader.errors import Denied


class Source:
    """Gives the next of `answers` when asked; an error is raised, and a number stands for new credentials."""

    def __init__(self, *answers: int | Denied | None) -> None:
        self.answers = list(answers)
        self.credentials = Credentials("key0", "s")
        self.serial = 0
        self.is_due = False
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def due(self) -> bool:
        return self.is_due

    def refreshed(self) -> Credentials | None:
        return self._answer("refreshed")

    def renewed(self) -> Credentials | None:
        return self._answer("renewed")

    def _answer(self, how: str) -> Credentials | None:
        self.asked.append(how)
        assert self.go_on.wait(20)
        answer = self.answers.pop(0)
        if isinstance(answer, Denied):
            raise answer
        if answer is None:
            return None
        self.credentials = Credentials(f"key{answer}", "s")
        self.serial += 1
        self.is_due = False
        return self.credentials


def outcome(renewal: Renewal, source: Source, now: float) -> FreshCredentials | None:
    """What comes of the question that is asked now."""
    asked = len(source.asked)
    assert renewal.poll(now) is None
    assert _until(lambda: len(source.asked) > asked)
    assert _until(lambda: renewal._asking is None or renewal._asking.over)
    word = renewal.poll(now)
    assert renewal._asking is None
    return word


def _until(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def test_while_nothing_is_due_nobody_is_asked() -> None:
    source = Source()
    renewal = Renewal(source)
    assert [renewal.poll(now) for now in range(10)] == [None] * 10
    assert source.asked == []


def test_what_is_about_to_expire_is_renewed_and_handed_down() -> None:
    source = Source(1)
    renewal = Renewal(source)
    source.is_due = True
    assert outcome(renewal, source, 1.0) == FreshCredentials(Credentials("key1", "s"), 1)
    assert renewal.poll(2.0) is None
    assert source.asked == ["refreshed"]


def test_what_every_worker_tells_of_is_one_renewal() -> None:
    source = Source(1)
    renewal = Renewal(source)
    for _ in range(5):
        renewal.refused(0)
    assert outcome(renewal, source, 1.0) == FreshCredentials(Credentials("key1", "s"), 1)
    # Said before the new ones had come there.
    renewal.refused(0)
    assert [renewal.poll(now) for now in (2.0, 3.0)] == [None, None]
    assert source.asked == ["renewed"]


def test_credentials_refused_again_right_away_are_another_expiry() -> None:
    source = Source(1, 2)
    renewal = Renewal(source)
    renewal.refused(0)
    assert outcome(renewal, source, 1.0) is not None
    renewal.refused(1)
    assert outcome(renewal, source, 1.1) == FreshCredentials(Credentials("key2", "s"), 2)


def test_where_there_are_no_others_the_workers_are_told_at_once_and_nobody_is_asked_twice() -> None:
    source = Source(None)
    renewal = Renewal(source)
    same = FreshCredentials(Credentials("key0", "s"), 0)
    renewal.refused(0)
    assert outcome(renewal, source, 1.0) == same
    renewal.refused(0)
    assert renewal.poll(1.1) == same
    assert renewal.poll(1.2) is None
    assert source.asked == ["renewed"]


def test_a_source_that_takes_long_holds_up_nothing() -> None:
    source = Source(1)
    source.go_on.clear()
    renewal = Renewal(source)
    renewal.refused(0)
    began = time.monotonic()
    assert [renewal.poll(float(now)) for now in range(100)] == [None] * 100
    assert time.monotonic() - began < 5
    assert source.asked == ["renewed"]
    source.go_on.set()
    assert _until(lambda: renewal._asking is not None and renewal._asking.over)
    assert renewal.poll(200.0) == FreshCredentials(Credentials("key1", "s"), 1)


def test_a_source_that_fails_for_a_moment_is_asked_again() -> None:
    source = Source(Denied("no network"), 1)
    renewal = Renewal(source)
    renewal.refused(0)
    assert outcome(renewal, source, 1.0) is None
    assert renewal.poll(1.0 + RETRY_SECONDS / 2) is None
    assert outcome(renewal, source, 1.0 + RETRY_SECONDS) == FreshCredentials(Credentials("key1", "s"), 1)
    assert source.asked == ["renewed"] * 2


def test_a_source_that_goes_on_failing_ends_the_load_once_the_service_refuses() -> None:
    source = Source(*[Denied("no network")] * 3)
    renewal = Renewal(source)
    renewal.refused(0)
    assert outcome(renewal, source, 1.0) is None
    assert outcome(renewal, source, 10.0) is None
    with pytest.raises(Denied, match="no network"):
        outcome(renewal, source, 1.0 + PATIENCE_SECONDS)


def test_what_expires_while_the_service_is_out_of_reach_is_tried_for_ever() -> None:
    source = Source(*[Denied("no network")] * 50, 1)
    renewal = Renewal(source)
    source.is_due = True
    for n in range(50):
        assert outcome(renewal, source, 10.0 * n) is None
    assert outcome(renewal, source, 1000.0) == FreshCredentials(Credentials("key1", "s"), 1)


def test_a_bug_is_no_denial() -> None:
    source = Source()
    renewal = Renewal(source)
    renewal.refused(0)
    with pytest.raises(IndexError):
        outcome(renewal, source, 1.0)
