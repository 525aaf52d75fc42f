"""Senders wait for their share: threads and a clock, no sockets."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from loader.decisions.batch import Batch, Item
from loader.decisions.wire import Answer, Throttled, Written
from loader.edges.events import Share
from loader.engines.pacer import SLACK_SECONDS, Pacer
from loader.errors import ConnectionFault

BATCH = Batch([Item(b'{"id":{"S":"%d"}}' % entry, 0, entry) for entry in range(25)])
ALL = Written((), 25.0)


class Bench:
    """Senders that take as much as they get, and what they took: (seconds, units), in order."""

    def __init__(self, share: Share, answer: Callable[[], Answer | ConnectionFault] = lambda: ALL) -> None:
        self.stopped = threading.Event()
        self.waits = 0
        self.pacer = Pacer(share, 0, self.stopped, self._waits)
        self.taken: list[tuple[float, float]] = []
        self._answer = answer

    def _waits(self) -> None:
        self.waits += 1

    @contextmanager
    def senders(self, count: int) -> Iterator[None]:
        threads = [threading.Thread(target=self._run) for _ in range(count)]
        self.began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            self.pacer.stop()
            for thread in threads:
                thread.join(5)
            assert not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        while True:
            units = self.pacer.take(BATCH)
            if self.stopped.is_set():
                return
            answer = self._answer()
            charged = answer.write_units if isinstance(answer, Written) else units
            self.taken.append((time.monotonic() - self.began, charged))
            self.pacer.settle(BATCH, units, answer)

    def units(self, begin: float, end: float) -> float:
        return sum(units for at, units in self.taken if begin <= at < end)


def most(rate: float, seconds: float, batch: float = 25.0) -> float:
    """What is ever taken in so many seconds."""
    return rate * (seconds + SLACK_SECONDS) + batch


@pytest.mark.parametrize("senders", [1, 16])
def test_a_share_is_kept_to_from_the_start(senders: int) -> None:
    bench = Bench(Share(1_000.0, None))
    with bench.senders(senders):
        time.sleep(1.0)
    ends = [at for at, _ in bench.taken]
    for begin in [0.0, *ends[::5]]:
        for end in (at for at in ends if at > begin):
            assert bench.units(begin, end) <= most(1_000, end - begin)
    assert bench.units(0, 1.0) >= 700


def test_a_new_share_has_effect_at_once() -> None:
    bench = Bench(Share(5.0, None))
    with bench.senders(4):
        time.sleep(0.2)
        # The next would be due in five seconds.
        assert len(bench.taken) == 1
        bench.pacer.take_share(Share(2_000.0, None))
        time.sleep(0.5)
        bench.pacer.take_share(Share(100.0, None))
        slower = time.monotonic() - bench.began
        time.sleep(0.5)
    assert bench.units(0.2, 0.7) >= 500
    assert bench.units(slower + 0.01, slower + 0.5) <= most(100, 0.5) + 25


def test_without_a_limit_nobody_waits() -> None:
    bench = Bench(Share())
    with bench.senders(2):
        time.sleep(0.1)
    assert len(bench.taken) > 100
    assert bench.pacer.flow().held == 0


def test_what_is_charged_counts_and_not_what_was_guessed() -> None:
    """As where items are replaced by larger ones, or an index has a changed key."""
    bench = Bench(Share(1_000.0, None), lambda: Written((), 75.0))
    with bench.senders(4):
        time.sleep(1.0)
    assert 700 <= bench.units(0, 1.0) <= most(1_000, 1.0, 4 * 75)
    assert bench.pacer.flow().used == pytest.approx(sum(units for _, units in bench.taken))


@pytest.mark.parametrize("charged", [1e9, -1e9, 0.0, 24.0])
def test_nonsense_of_a_service_is_not_charged(charged: float) -> None:
    """One such answer would else stop a load for days, or take its cap away."""
    pacer = Pacer(Share(1_000.0, None), 0, threading.Event(), lambda: None)
    pacer.settle(BATCH, pacer.take(BATCH), Written((), charged))
    began = time.monotonic()
    for _ in range(4):
        assert pacer.take(BATCH) == 25
    assert 0.02 <= time.monotonic() - began <= 1.0
    assert pacer.flow().used == 25


def test_each_answer_puts_right_what_was_guessed_for_it() -> None:
    """Charges that differ from batch to batch: the guess for one is never right."""
    charges = iter([25.0, 225.0] * 100)
    bench = Bench(Share(1_000.0, None), lambda: Written((), next(charges)))
    with bench.senders(1):
        time.sleep(1.5)
    ends = [at for at, _ in bench.taken]
    for begin, end in ((0.3, 1.5), (ends[0], ends[-1])):
        assert bench.units(begin, end) <= most(1_000, end - begin, 2 * 225)


def test_what_goes_at_once_is_charged_all_the_same() -> None:
    pacer = Pacer(Share(100.0, None), 0, threading.Event(), lambda: None)
    began = time.monotonic()
    for _ in range(2):
        pacer.take(BATCH, at_once=True)
    assert time.monotonic() - began < 0.2
    pacer.take(BATCH)
    assert time.monotonic() - began >= 0.4


def test_a_part_of_a_batch_teaches_nothing_of_the_cost() -> None:
    pacer = Pacer(Share(), 0, threading.Event(), lambda: None)
    for _ in range(50):
        pacer.settle(BATCH, pacer.take(BATCH), Written(({},) * 24, 300.0))
    assert pacer.take(BATCH) == 25


def test_what_was_not_used_is_not_saved_up() -> None:
    pacer = Pacer(Share(1_000.0, None), 0, threading.Event(), lambda: None)
    time.sleep(0.3)
    began = time.monotonic()
    for _ in range(5):
        pacer.take(BATCH)
    # The first is free, and so is what threads may make up for.
    assert time.monotonic() - began >= (4 * 25 - 1_000 * SLACK_SECONDS) / 1_000


@pytest.mark.parametrize(
    ("answer", "used", "refused"),
    [
        (Throttled("ThrottlingException", ""), 0, 25),
        (Written(({},) * 10, 15.0), 15, 10),
        (Written(({},) * 25, 0.0), 0, 25),
        (Written((), 30.0), 30, 0),
        # It does not say what it charged.
        (Written((), 0.0), 25, 0),
        (ConnectionFault("cut", sent=True), 0, 0),
    ],
)
def test_what_an_answer_says_of_the_capacity(
    answer: Answer | ConnectionFault, used: float, refused: float
) -> None:
    pacer = Pacer(Share(), 0, threading.Event(), lambda: None)
    pacer.settle(BATCH, pacer.take(BATCH), answer)
    flow = pacer.flow()
    assert flow.used == pytest.approx(used)
    assert flow.refused == pytest.approx(refused)


def test_a_table_that_refuses_is_not_asked_more_often() -> None:
    bench = Bench(Share(1_000.0, None), lambda: Throttled("ThrottlingException", ""))
    with bench.senders(4):
        time.sleep(0.5)
    assert bench.units(0, 0.5) <= most(1_000, 0.5)


def test_a_sender_that_waits_says_so_now_and_then() -> None:
    bench = Bench(Share(1.0, None))
    with bench.senders(2):
        time.sleep(0.6)
    assert bench.waits >= 2
    assert 0.4 <= bench.pacer.flow().held <= 1.0


def test_requests_are_cut_to_what_one_may_cost() -> None:
    pacer = Pacer(Share(100.0, 10.0), 0, threading.Event(), lambda: None)
    first, rest = pacer.cut(BATCH)
    assert rest is not None
    assert (len(first), len(rest)) == (10, 15)
    pacer.take_share(Share(1_000.0, 100.0))
    assert pacer.cut(BATCH) == (BATCH, None)
