"""The bounds of the Space-Saving sketch, against exact counts."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loader.decisions.heavy_hitters import HeavyHitters, merged

# Few letters that come often, and passers-by.
KEYS = st.one_of(st.sampled_from("abc"), st.text(min_size=1, max_size=2))
ADDED = st.lists(st.tuples(KEYS, st.integers(1, 5)), max_size=200)
CAPACITY = st.integers(1, 12)


def filled(added: list[tuple[str, int]], capacity: int) -> tuple[HeavyHitters, Counter[str]]:
    sketch, exact = HeavyHitters(capacity), Counter[str]()
    for key, count in added:
        sketch.add(key, count)
        exact[key] += count
    return sketch, exact


@given(ADDED, CAPACITY)
def test_counts_are_never_too_low_and_no_higher_than_the_bound(
    added: list[tuple[str, int]], capacity: int
) -> None:
    sketch, exact = filled(added, capacity)
    total = exact.total()
    found = sketch.most(capacity)
    assert len(found) == min(capacity, len(exact))
    assert sum(count for _, count in found) == total
    for key, count in found:
        assert exact[key] <= count <= exact[key] + total / capacity


@given(ADDED, CAPACITY)
def test_a_key_with_more_than_its_share_is_always_there(added: list[tuple[str, int]], capacity: int) -> None:
    sketch, exact = filled(added, capacity)
    found = dict(sketch.most(capacity))
    for key, count in exact.items():
        assert key in found or count <= sketch.unseen
        assert key in found or count <= exact.total() / capacity


@given(ADDED, CAPACITY, st.floats(0, 0.9))
def test_what_is_named_with_certainty_came_that_often(
    added: list[tuple[str, int]], capacity: int, certainty: float
) -> None:
    sketch, exact = filled(added, capacity)
    found = dict(sketch.most(capacity, certainty=certainty))
    assert all(exact[key] >= certainty * count for key, count in found.items())
    sure = exact.total() / capacity / (1 - certainty)
    # A hair of room for the rounding of floats.
    assert {key for key, count in exact.items() if count > sure * (1 + 1e-9)} <= found.keys()


@given(st.lists(ADDED, max_size=5), CAPACITY)
def test_sums_over_several_are_off_by_no_more_than_their_bounds(
    added: list[list[tuple[str, int]]], capacity: int
) -> None:
    made = [filled(each, capacity) for each in added]
    exact = sum((counts for _, counts in made), Counter[str]())
    sums = dict(merged([sketch.most(capacity) for sketch, _ in made], 1000))
    unseen = sum(sketch.unseen for sketch, _ in made)
    for key, count in exact.items():
        assert count - unseen <= sums.get(key, 0) <= count + unseen
