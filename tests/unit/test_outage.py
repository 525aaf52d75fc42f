"""What is out of reach, how it is found out, and that nobody pays for it with a try."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from loader.decisions import wire
from loader.decisions.outage import PROBE, pause, unreached
from loader.decisions.retry import Attempt, Reject, Resend, RetryPolicy, decide
from loader.decisions.wire import Answer, Reply, read_reply
from loader.engines.reach import Reach
from loader.errors import ConnectionFault, Fatal

REFUSED = ConnectionFault("Nobody answers.", sent=False)


def read(status: int, body: bytes, **headers: str) -> Answer:
    return read_reply(
        Reply(status, {name.replace("_", "-"): text for name, text in headers.items()}, body), "t"
    )


@pytest.mark.parametrize(
    "answer",
    [
        ConnectionFault("reset"),
        REFUSED,
        read(503, b"<html>503</html>"),
        read(502, b""),
        read(200, b"<html>Sign in</html>", content_type="text/html"),
        read(200, b""),
        read(200, b'{"Unproc'),
        read(200, b'{"UnprocessedItems":{}}', x_amz_crc32="1"),
    ],
)
def test_what_is_no_word_of_the_service_is_out_of_reach(answer: Answer | ConnectionFault) -> None:
    assert unreached(answer)


@pytest.mark.parametrize(
    "answer",
    [
        read(200, b'{"UnprocessedItems":{}}'),
        read(500, b'{"__type":"x#InternalServerError","message":"no"}'),
        read(503, b'{"__type":"x#ServiceUnavailable"}'),
        read(400, b'{"__type":"x#ThrottlingException"}'),
        read(429, b"Too many"),
        read(400, b'{"__type":"x#ValidationException"}'),
        read(400, b'{"__type":"x#ExpiredTokenException"}'),
        read(403, b"Forbidden"),
    ],
)
def test_whatever_the_service_says_it_is_there(answer: Answer) -> None:
    assert not unreached(answer)


@pytest.mark.parametrize("random", [0.0, 0.5, 1 - 2**-53])
def test_probes_come_often_and_never_at_once(random: float) -> None:
    pauses = [pause(probes, random) for probes in (*range(8), 10**6)]
    assert pauses == sorted(pauses)
    assert min(pauses) >= 0.05
    assert max(pauses) <= 0.5


def test_the_probe_holds_no_item() -> None:
    assert wire.split_items(PROBE) == [PROBE]
    assert b"PutRequest" not in PROBE


@pytest.mark.parametrize("failures", [0, 3])
@pytest.mark.parametrize("answer", [REFUSED, read(503, b"<html>")])
def test_a_try_in_an_outage_does_not_count(answer: Answer | ConnectionFault, failures: int) -> None:
    attempt = Attempt(failures=failures)
    policy = RetryPolicy(max_retries=3)
    told = decide(policy, attempt, answer, 0.5, items=1, in_outage=True)
    assert told == Resend(policy.base / 2, attempt)
    counted = decide(policy, attempt, answer, 0.5, items=1)
    assert isinstance(counted, Reject) if failures == 3 else counted != told


# --- the senders of a process ---------------------------------------------------------------------


class Service:
    """Out of reach until `back`; says how often it was asked."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.probes = 0
        self.asked = threading.Event()

    def probe(self) -> str | None:
        self.probes += 1
        self.asked.set()
        return None if self.back.is_set() else f"fault {self.probes}"


class Bench:
    def __init__(self) -> None:
        self.service = Service()
        self.stopped = threading.Event()
        self.changes: list[str] = []
        self.reach = Reach(self.service.probe, self.stopped, self._changed, lambda: 0.0)

    def _changed(self) -> None:
        self.changes.append(self.reach.fault)


def test_a_fault_is_no_outage_where_the_service_is_there() -> None:
    bench = Bench()
    bench.service.back.set()
    assert bench.reach.lost(bench.reach.begin()) is False
    assert (bench.service.probes, bench.changes, bench.reach.changes) == (1, [], 0)


def test_an_answer_during_the_try_does_not_tell_that_the_service_is_there_now() -> None:
    bench = Bench()
    mark = bench.reach.begin()
    bench.reach.answered(bench.reach.begin())
    told: list[bool] = []
    with senders(1, lambda: told.append(bench.reach.lost(mark))):
        assert bench.service.asked.wait(20)
        bench.service.back.set()
    assert told == [True]


@contextmanager
def senders(count: int, run: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_in_an_outage_all_wait_one_asks_and_no_try_counts() -> None:
    bench = Bench()
    reach = bench.reach
    told: list[bool] = []
    mark = reach.begin()
    with senders(5, lambda: told.append(reach.lost(mark))):
        while bench.service.probes < 3:
            time.sleep(0.01)
        assert (told, reach.changes, reach.fault) == ([], 1, "fault 1")
        bench.service.back.set()
    assert told == [True] * 5
    # The one that found it back, and no other.
    assert bench.service.probes <= 5
    asked = bench.service.probes
    assert (bench.changes, reach.changes, reach.fault) == (["fault 1", ""], 2, "")
    # A try that began before its end fell into it, one that began later did not.
    assert reach.lost(mark) is True
    assert bench.service.probes == asked
    assert reach.lost(reach.begin()) is False
    assert bench.service.probes == asked + 1


def test_a_probe_that_hangs_keeps_nobody_while_others_are_answered() -> None:
    hanging, let_go = threading.Event(), threading.Event()

    def probe() -> str | None:
        hanging.set()
        assert let_go.wait(20)
        return None

    reach = Reach(probe, threading.Event(), lambda: None, lambda: 0.0)
    with senders(1, lambda: reach.lost(reach.begin())):
        assert hanging.wait(20)
        told: list[bool] = []
        with senders(1, lambda: told.append(reach.lost(reach.begin()))):
            time.sleep(0.1)
            assert told == []
            reach.answered(reach.begin())
        assert told == [False]
        let_go.set()


def test_an_answer_that_is_late_to_be_noted_vouches_for_nothing_after_it() -> None:
    """On a busy machine a thread may note its answer when the service is gone already."""
    hanging, let_go = threading.Event(), threading.Event()
    answers = iter(["gone", None])

    def probe() -> str | None:
        hanging.set()
        assert let_go.wait(20)
        return next(answers)

    reach = Reach(probe, threading.Event(), lambda: None, lambda: 0.0)
    told: list[bool] = []
    late, first, second = reach.begin(), reach.begin(), reach.begin()
    with senders(1, lambda: told.append(reach.lost(first))):
        assert hanging.wait(20)
        with senders(1, lambda: told.append(reach.lost(second))):
            time.sleep(0.1)
            reach.answered(late)
            time.sleep(0.2)
            assert told == []
            let_go.set()
    assert told == [True, True]


def test_where_a_probe_has_failed_nobody_pays_though_others_are_answered() -> None:
    """New connections are refused, and those that were open go on working."""
    bench = Bench()
    reach = bench.reach
    told: list[bool] = []
    with senders(1, lambda: told.append(reach.lost(reach.begin()))):
        while not reach.fault:
            time.sleep(0.001)
        with senders(1, lambda: told.append(reach.lost(reach.begin()))):
            for _ in range(10):
                reach.answered(reach.begin())
                time.sleep(0.02)
            assert told == []
            bench.service.back.set()
    assert told == [True, True]


def test_senders_that_are_to_stop_wait_for_nothing() -> None:
    bench = Bench()
    reach = bench.reach
    told: list[bool] = []
    mark = reach.begin()
    with senders(3, lambda: told.append(reach.lost(mark))):
        assert bench.service.asked.wait(20)
        bench.stopped.set()
    assert told == [True] * 3
    assert bench.service.probes <= 2
    # That they were told to stop is no sign of the service.
    assert bench.changes == ["fault 1"]


def test_where_no_probe_can_be_sent_that_is_the_senders_end() -> None:
    def probe() -> str | None:
        raise Fatal("No client.")

    reach = Reach(probe, threading.Event(), lambda: None, lambda: 0.0)
    for _ in range(2):
        with pytest.raises(Fatal, match="No client"):
            reach.lost(reach.begin())
