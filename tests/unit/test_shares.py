"""How the rate is split over workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.decisions.shares import Demand, allot

RATES = st.floats(1.0, 1e6)
DEMANDS = st.dictionaries(
    st.integers(0, 50),
    st.builds(Demand, used=st.floats(0.0, 1e6), held=st.booleans()),
    min_size=1,
    max_size=12,
)


def test_nobody_there_gets_nothing() -> None:
    assert allot(1000.0, {}) == {}


def test_workers_that_are_all_held_have_even_shares_whatever_they_used() -> None:
    shares = allot(900.0, {0: Demand(10.0, True), 1: Demand(800.0, True), 2: Demand(0.0, True)})
    assert list(shares.values()) == pytest.approx([300.0, 300.0, 300.0])


def test_what_one_cannot_use_goes_to_those_that_are_held() -> None:
    shares = allot(1000.0, {0: Demand(100.0, False), 1: Demand(450.0, True), 2: Demand(450.0, True)})
    assert 100.0 < shares[0] < 150.0
    assert shares[1] == shares[2] == pytest.approx((1000.0 - shares[0]) / 2)


def test_one_that_stands_idle_can_begin() -> None:
    shares = allot(1000.0, {0: Demand(0.0, False), 1: Demand(1000.0, True)})
    assert 0 < shares[0] <= 20.0


def test_one_that_gets_work_has_its_part_with_the_next_report() -> None:
    shares = allot(1000.0, {0: Demand(10.0, True), 1: Demand(990.0, True)})
    assert shares == pytest.approx({0: 500.0, 1: 500.0})


def test_one_that_used_more_than_an_even_part_is_cut_to_it_when_all_others_are_held() -> None:
    shares = allot(1000.0, {0: Demand(900.0, False), 1: Demand(10.0, True)})
    assert shares == pytest.approx({0: 500.0, 1: 500.0})


def test_equal_workers_keep_equal_shares_over_many_rounds() -> None:
    shares = dict.fromkeys(range(4), 250.0)
    for _ in range(20):
        shares = allot(1000.0, {number: Demand(share, True) for number, share in shares.items()})
        assert list(shares.values()) == pytest.approx([250.0] * 4)


def test_what_is_left_over_while_nobody_is_held_is_room_for_all() -> None:
    shares = allot(1000.0, {0: Demand(100.0, False), 1: Demand(200.0, False)})
    assert sum(shares.values()) == pytest.approx(1000.0)
    assert shares[0] > 100.0 and shares[1] > 200.0


@given(RATES, DEMANDS)
def test_shares_are_exactly_the_rate_together_and_none_is_negative(
    rate: float, demands: dict[int, Demand]
) -> None:
    shares = allot(rate, demands)
    assert shares.keys() == demands.keys()
    assert sum(shares.values()) == pytest.approx(rate)
    assert all(share >= 0 for share in shares.values())


@given(RATES, st.floats(1.0, 10.0), DEMANDS)
def test_a_higher_rate_takes_nothing_from_anybody(
    rate: float, times: float, demands: dict[int, Demand]
) -> None:
    low, high = allot(rate, demands), allot(rate * times, demands)
    assert all(high[number] >= low[number] * (1 - 1e-9) for number in demands)


@given(RATES, DEMANDS)
def test_those_that_are_held_have_the_same_and_nobody_has_more(
    rate: float, demands: dict[int, Demand]
) -> None:
    shares = allot(rate, demands)
    held = [shares[number] for number, demand in demands.items() if demand.held]
    if held:
        assert held == pytest.approx([held[0]] * len(held))
        assert max(shares.values()) <= held[0] * (1 + 1e-9)
