"""One rate over all workers: reports in, shares out."""

import pytest

from loader.capacity import Flow, WriteCapacity
from loader.decisions.pacing import first_pace
from loader.engines.budget import BATCH_SECONDS, FRUITLESS, Budget

TICK = 0.1


class Load:
    """Workers that write `rates` units a second, and are held by their shares if those are less than that."""

    def __init__(self, cap: float | None, rates: dict[int, float]) -> None:
        self.budget = Budget(first_pace([WriteCapacity()], cap), len(rates), 0.0)
        first = self.budget.first_share().rate
        self.shares: dict[int, float | None] = dict.fromkeys(rates, first)
        self.rates = rates
        self.flows = {number: Flow() for number in rates}
        self.now = 0.0
        for number in rates:
            self.budget.hear(number, Flow(), 0.0)

    def go_on(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            for number, could in self.rates.items():
                share = self.shares[number]
                used = could if share is None else min(could, share)
                held = TICK if used < could else 0.0
                self.flows[number] += Flow(used=used * TICK, held=held)
                self.budget.hear(number, self.flows[number], self.now)
            for number, told in self.budget.shares(self.now).items():
                self.shares[number] = told.rate

    def sum(self) -> float:
        return sum(share for share in self.shares.values() if share is not None)


def test_without_a_cap_or_a_known_capacity_nobody_is_held() -> None:
    load = Load(None, {1: 1e5, 2: 1e5})
    load.go_on(2.0)
    assert load.shares == {1: None, 2: None}
    assert load.budget.first_share().rate is None


def test_the_shares_are_the_cap_together_from_the_start() -> None:
    load = Load(2_000, {1: 1e5, 2: 1e5, 3: 1e5, 4: 1e5})
    first = load.budget.first_share()
    assert (first.rate, first.batch) == (500.0, 500.0 * BATCH_SECONDS)
    for _ in range(30):
        load.go_on(TICK)
        assert load.sum() == pytest.approx(2_000, rel=1e-3)


def test_shares_move_to_the_workers_that_can_use_them() -> None:
    load = Load(2_000, {1: 1e5, 2: 100.0, 3: 100.0, 4: 0.0})
    load.go_on(2.0)
    assert load.shares[1] is not None and load.shares[1] > 1_500
    assert load.sum() <= 2_000 * 1.001
    load.rates = {1: 0.0, 2: 1e5, 3: 100.0, 4: 0.0}
    load.go_on(2.0)
    assert load.shares[2] is not None and load.shares[2] > 1_500


def test_a_worker_that_ends_gives_its_share_back() -> None:
    load = Load(2_000, {1: 1e5, 2: 1e5})
    load.go_on(1.0)
    # A third of the size says that there is one more to come.
    load.budget.forget(2)
    del load.rates[2], load.shares[2]
    load.go_on(0.5)
    assert load.shares[1] == pytest.approx(1_000, rel=1e-3)
    load.budget.hear(3, Flow(), load.now)
    load.rates[3], load.shares[3], load.flows[3] = 0.0, load.budget.first_share().rate, Flow()
    load.go_on(1.0)
    assert load.shares[1] is not None and load.shares[1] > 1_900


def test_a_worker_that_is_not_heard_of_yet_has_its_share_all_the_same() -> None:
    budget = Budget(first_pace([WriteCapacity()], 900), 3, 0.0)
    budget.hear(1, Flow(), 0.0)
    budget.hear(1, Flow(used=30, held=0.1), 0.1)
    assert sum(share.rate or 0 for share in budget.shares(0.1).values()) <= 300


def test_a_worker_that_says_nothing_any_more_does_nothing() -> None:
    load = Load(1_000, {1: 1e5, 2: 1e5})
    load.go_on(1.0)
    silent = load.rates.pop(2)
    assert silent
    load.go_on(1.0)
    assert load.shares[1] is not None and load.shares[1] > 900


def test_the_load_waits_for_the_budget_where_that_alone_holds_it() -> None:
    load = Load(10, {1: 1e5})
    load.go_on(1.0)
    assert load.budget.waits
    # A refusal or two are no reason to give up while the next try has to wait; many are.
    for answers, waits in ((FRUITLESS - 1, True), (FRUITLESS, False)):
        load.now += TICK
        load.budget.hear(1, load.flows[1] + Flow(held=load.now, fruitless=answers), load.now)
        load.budget.shares(load.now)
        assert load.budget.waits is waits
    load.flows[1] += Flow(held=load.now, fruitless=FRUITLESS)
    load.go_on(TICK)
    assert load.budget.waits
    # It has gone silent, which is no waiting.
    load.budget.shares(load.now + 10)
    assert not load.budget.waits


def test_a_worker_that_reads_nothing_is_not_told_on_and_on() -> None:
    """Its queue would fill up, and whoever writes to it wait for ever."""
    load = Load(1_000, {1: 1e5, 2: 1e5})
    load.go_on(1.0)
    load.rates.pop(2)
    told = 0
    for at in range(50):
        load.now += TICK
        load.flows[1] += Flow(used=(90 + at) * TICK, held=TICK)
        load.budget.hear(1, load.flows[1], load.now)
        told += 2 in load.budget.shares(load.now)
    assert told <= 2


def test_where_items_are_dear_few_workers_have_a_share_and_the_others_come_when_those_are_done() -> None:
    load = Load(100, dict.fromkeys(range(4), 1e5))
    for number in range(4):
        load.flows[number] += Flow(written=1, used=40, held=TICK)
        load.budget.hear(number, load.flows[number], load.now + TICK)
    load.now += TICK
    for number, share in load.budget.shares(load.now).items():
        load.shares[number] = share.rate
    having = [number for number, share in load.shares.items() if share]
    assert len(having) == 1
    assert load.sum() == pytest.approx(100)
    load.rates[having[0]] = 0.0
    load.go_on(1.0)
    others = [number for number, share in load.shares.items() if share and number not in having]
    assert len(others) == 1
    assert load.sum() == pytest.approx(100, rel=0.05)


def test_workers_that_begin_together_do_not_send_together() -> None:
    budget = Budget(first_pace([WriteCapacity()], 100), 4, 0.0)
    assert [budget.first_share().phase for _ in range(5)] == [0.0, 0.25, 0.5, 0.75, 0.0]


def test_small_changes_are_not_worth_a_message() -> None:
    load = Load(2_000, {1: 1e5, 2: 1e5})
    load.go_on(3.0)
    load.budget.hear(1, load.flows[1] + Flow(used=100, held=0.1), load.now + TICK)
    load.budget.hear(2, load.flows[2] + Flow(used=100, held=0.1), load.now + TICK)
    assert load.budget.shares(load.now + TICK) == {}


def test_what_is_charged_is_added_up_exactly_with_all_that_a_worker_said_at_first() -> None:
    budget = Budget(first_pace([WriteCapacity()], None), 2, 0.0)
    budget.hear(1, Flow(used=40), 0.1)
    budget.shares(0.1)
    budget.hear(1, Flow(used=100), 0.2)
    budget.hear(2, Flow(used=7), 0.2)
    budget.shares(0.2)
    budget.hear(1, Flow(used=100.5), 4.1)
    budget.shares(4.1)
    budget.forget(1)
    assert budget.spent.units == 107.5
    assert budget.spent.capped == 0


def test_the_time_at_the_cap_is_known() -> None:
    load = Load(2_000, {1: 1e5, 2: 1e5})
    load.go_on(2.0)
    assert load.budget.spent.capped == pytest.approx(2.0, abs=0.3)
    load.rates = {1: 10.0, 2: 10.0}
    load.go_on(2.0)
    assert load.budget.spent.capped == pytest.approx(2.0, abs=0.5)
    assert load.budget.spent.seconds == pytest.approx(4.0, abs=0.3)
