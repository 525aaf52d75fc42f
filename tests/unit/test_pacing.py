"""The pace by itself, and on the simulated tables of perf/pacing.py."""

from functools import cache
from xml.etree import ElementTree

import pytest

from loader.capacity import WriteCapacity
from loader.decisions.pacing import Pace, Sample, first_pace
from perf.pacing import plot
from perf.pacing_load import Tick
from perf.pacing_scenarios import SCENARIOS, Measured, Scenario, measure

TICK = 0.1


def scenario(name: str) -> Scenario:
    return next(each for each in SCENARIOS if each.name == name)


@cache
def played(name: str, seed: int) -> tuple[Tick, ...]:
    return tuple(scenario(name).play(seed))


def measured(name: str, seed: int) -> Measured:
    return measure(scenario(name), list(played(name, seed)))


def smooth(used: float, refused: float = 0.0, held: bool = True) -> Sample:
    return Sample(TICK, used * TICK, used * TICK, refused * TICK, held)


def settled(capacity: float = 1000.0) -> Pace:
    """A pace that has met a table's capacity."""
    pace = first_pace([WriteCapacity(provisioned=round(capacity))], None)
    for _ in range(20):
        rate = pace.rate or 0.0
        pace = pace.after(smooth(min(rate, capacity), max(0.0, rate - capacity)))
    assert pace.ceiling is not None
    return pace


@pytest.mark.parametrize(
    ("capacity", "cap", "rate"),
    [
        (WriteCapacity(provisioned=500), None, 500.0),
        (WriteCapacity(provisioned=500, warm=4000), None, 500.0),
        (WriteCapacity(maximum=900, warm=4000), None, 900.0),
        (WriteCapacity(maximum=9000, warm=4000), None, 4000.0),
        (WriteCapacity(warm=4000), None, 4000.0),
        (WriteCapacity(maximum=900), None, 900.0),
        (WriteCapacity(), None, None),
        (WriteCapacity(), 200.0, 200.0),
        (WriteCapacity(warm=4000), 200.0, 200.0),
        (WriteCapacity(provisioned=100), 200.0, 100.0),
    ],
)
def test_a_load_begins_with_what_the_table_is_said_to_take(
    capacity: WriteCapacity, cap: float | None, rate: float | None
) -> None:
    assert first_pace([capacity], cap).rate == rate


@pytest.mark.parametrize(
    ("indexes", "rate"),
    [
        ([WriteCapacity(provisioned=500)], 1_000.0),
        ([WriteCapacity(provisioned=100), WriteCapacity(provisioned=500)], 300.0),
        ([WriteCapacity()], 1_000.0),
    ],
)
def test_a_load_begins_with_what_the_tightest_index_takes(indexes: list[WriteCapacity], rate: float) -> None:
    """Of a row that costs each of them the same, the table and every index have their part."""
    assert first_pace([WriteCapacity(provisioned=500), *indexes], None).rate == rate


def test_what_a_provisioned_table_has_saved_up_is_asked_for_in_no_hurry() -> None:
    rates = []
    for capacity in (WriteCapacity(provisioned=1000), WriteCapacity(warm=1000)):
        pace = first_pace([capacity], None)
        for _ in range(10):
            pace = pace.after(smooth(pace.rate or 0.0))
        rates.append(pace.rate)
    provisioned, on_demand = rates
    assert provisioned == pytest.approx(2_000, rel=0.01)
    assert on_demand is not None and on_demand > 8_000


@pytest.mark.parametrize("part", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("capacity", [WriteCapacity(), WriteCapacity(provisioned=5000)], ids=["free", "told"])
def test_refusals_that_have_nothing_to_do_with_the_rate_do_not_slow_a_load_for_ever(
    part: float, capacity: WriteCapacity
) -> None:
    """As by a key range of its own trouble, or a service that throttles by the dice."""
    client, used = 20_000.0, []
    pace = first_pace([capacity], None)
    for _ in range(600):
        asked = client if pace.rate is None else min(client, pace.rate)
        pace = pace.after(smooth(asked * (1 - part), asked * part, held=asked < client))
        used.append(asked)
    # Each time that what was learned fades it is tried anew, whether it is the rate.
    assert sum(used[300:]) / 300 > 0.5 * client


def test_an_item_dearer_than_a_second_of_the_table_is_asked_for_all_the_same() -> None:
    pace = first_pace([WriteCapacity(provisioned=100)], None)
    pace = pace.after(Sample(4.0, 1.0, 400.0, 0.0, True)).after(Sample(4.0, 1.0, 400.0, 0.0, True))
    for _ in range(100):
        pace = pace.after(Sample(1.0, 0.0, 0.0, 400.0, True))
    assert pace.rate is not None and 100 <= pace.rate <= 400


def test_a_sample_of_no_time_changes_nothing() -> None:
    pace = settled()
    assert pace.after(Sample(0.0, 5.0, 5.0, 5.0, True)) == pace


def test_nothing_rises_while_the_pace_is_not_what_holds_the_load() -> None:
    pace = first_pace([WriteCapacity(provisioned=1000)], None)
    for _ in range(50):
        pace = pace.after(smooth(300, held=False))
    assert pace.rate == 1000


def test_a_slow_start_and_a_pause_are_taken_for_nothing() -> None:
    pace = settled()
    before = pace.rate
    for _ in range(300):
        pace = pace.after(smooth(0, held=True))
    assert pace.rate == before
    first = first_pace([WriteCapacity(provisioned=1000)], None)
    for _ in range(30):
        first = first.after(smooth(0, held=False))
    assert first.rate == 1000


def test_an_hour_asleep_is_no_reason_to_rise_without_bounds() -> None:
    pace = first_pace([WriteCapacity(provisioned=1000)], None)
    pace = pace.after(smooth(1000)).after(Sample(3600.0, 3_600_000.0, 3_600_000.0, 0.0, True))
    assert pace.rate is not None and pace.rate <= 4000


def test_without_a_limit_nothing_is_until_something_is_refused() -> None:
    pace = first_pace([WriteCapacity()], None)
    for _ in range(20):
        pace = pace.after(smooth(50_000, held=False))
    assert pace.rate is None
    for _ in range(20):
        pace = pace.after(smooth(5_000, 45_000, held=False))
    assert pace.rate is not None and pace.rate <= 5_000


def test_a_table_that_takes_nothing_at_all_is_still_asked_for_something() -> None:
    pace = first_pace([WriteCapacity(provisioned=1000)], None)
    for _ in range(2000):
        pace = pace.after(smooth(0, pace.rate or 0.0))
    assert pace.rate is not None and pace.rate >= 1.0


def test_a_table_that_lost_three_quarters_is_followed_within_half_a_second_of_the_first_refusal() -> None:
    pace = settled(4000)
    for _ in range(5):
        rate = pace.rate or 0.0
        pace = pace.after(smooth(min(rate, 1000), max(0.0, rate - 1000)))
    for _ in range(3):
        pace = pace.after(smooth(1000, 3000))
    assert pace.rate is not None and pace.rate < 1100


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_steady_capacity_is_used_with_hardly_a_refusal(seed: int) -> None:
    found = measured("steady", seed)
    assert found.used >= 0.99
    assert found.refused < 0.01


def test_a_capacity_that_nobody_told_is_found() -> None:
    found = measured("undescribed", 0)
    assert found.used >= 0.99
    assert found.refused < 0.015


@pytest.mark.parametrize("seed", [0, 1])
def test_a_capacity_that_quadruples_is_used_soon(seed: int) -> None:
    found = measured("step up", seed)
    assert found.reached <= 6
    assert found.used >= 0.99


def test_a_capacity_that_falls_is_followed() -> None:
    found = measured("step down", 0)
    assert found.used >= 0.98
    assert found.refused < 0.05


@pytest.mark.parametrize("name", ["two together", "two apart"])
def test_two_loads_share_a_table_without_knowing_of_each_other(name: str) -> None:
    found = measured(name, 0)
    assert found.used >= 0.95
    assert min(found.parts) >= 0.35


def test_large_items_are_paced_as_well_but_more_slowly() -> None:
    found = measured("large items", 0)
    assert found.used >= 0.95
    assert found.refused < 0.1


def test_partitions_that_limit_a_load_are_used() -> None:
    assert measured("partitions", 0).used >= 0.98


def test_a_table_without_a_limit_is_at_the_speed_of_the_client_within_two_seconds() -> None:
    found = measured("no limit", 0)
    assert found.reached <= 2
    assert found.refused == 0


def test_a_cap_holds_in_every_ten_seconds_with_the_start() -> None:
    least, most = measured("capped", 0).window
    assert least >= 1950
    assert most <= 2020


def test_a_key_that_is_refused_now_and_then_slows_nothing() -> None:
    assert measured("hot key", 0).used >= 0.99


def test_a_plot_is_an_svg_with_a_line_for_everything() -> None:
    drawn = plot(scenario("two apart"), played("two apart", 0))
    root = ElementTree.fromstring(drawn)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for word in ("seconds", "write units a second", "capacity", "rate 1", "accepted 2", "refused"):
        assert word in words
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) >= 7


def test_refusals_while_little_is_asked_do_not_take_that_little_for_the_capacity() -> None:
    """As at the end of a window, where a few items of a hot key are all that is left."""
    pace = settled(5000)
    rate = pace.rate or 0.0
    for _ in range(5):
        pace = pace.after(smooth(10, 3, held=False))
    assert pace.rate is not None and pace.rate > rate / 2


def test_a_table_that_refuses_everything_for_a_second_is_used_again_soon() -> None:
    pace = settled(5000)
    for _ in range(10):
        pace = pace.after(smooth(0, pace.rate or 0.0))
    seconds = 0.0
    while (pace.rate or 0.0) < 4_500:
        pace = pace.after(smooth(min(pace.rate or 0.0, 5_000)))
        seconds += TICK
        assert seconds < 10
