"""What a batch is going to cost, and how much of it goes in one request."""

import pytest

from loader.decisions.batch import Batch, Item
from loader.decisions.units import Cost, bare_units, cut


def item(size: int, entry: int = 0) -> Item:
    """An item of so many bytes of JSON."""
    json = b'{"id":{"S":"%b"}}'
    return Item(json % (b"x" * (size - len(json) + 2)), 0, entry)


def items(count: int, size: int) -> list[Item]:
    return [item(size, entry) for entry in range(count)]


def test_small_items_cost_a_unit_each() -> None:
    assert bare_units(25, 25 * 225) == 25
    assert bare_units(1, 40) == 1


def test_larger_items_cost_their_kibibytes_begun() -> None:
    assert bare_units(25, 25 * 1_536) == 50
    assert bare_units(1, 400 << 10) == pytest.approx(400, rel=0.01)


def test_before_anything_is_known_each_index_costs_as_much_as_the_table() -> None:
    assert Cost.guess(0).of(25, 5_000) == 25
    assert Cost.guess(2).of(25, 5_000) == 75


def test_what_was_charged_is_learned_soon() -> None:
    cost = Cost.guess(1)
    for _ in range(20):
        cost = cost.after(25, 100)
    assert cost.of(25, 5_000) == pytest.approx(100, rel=0.03)


def test_what_was_learned_long_ago_fades() -> None:
    cost = Cost.guess(0)
    for _ in range(1_000):
        cost = cost.after(25, 100)
    for _ in range(1_000):
        cost = cost.after(25, 25)
    assert cost.of(25, 5_000) == pytest.approx(25, rel=0.1)


def test_a_batch_that_fits_goes_as_a_whole() -> None:
    batch = Batch(items(25, 200))
    assert cut(batch, 25, Cost.guess(0)) == (batch, None)


def test_a_batch_too_dear_is_cut_in_order() -> None:
    whole = items(25, 200)
    first, rest = cut(Batch(whole), 10, Cost.guess(0))
    assert rest is not None
    assert [*first.items, *rest.items] == whole
    assert len(first) == 10


def test_indexes_make_for_fewer_items() -> None:
    first, _ = cut(Batch(items(25, 200)), 10, Cost.guess(1))
    assert len(first) == 5


def test_large_items_are_counted_by_their_size() -> None:
    first, rest = cut(Batch([*items(3, 200), item(100 << 10, 3), *items(3, 200)]), 50, Cost.guess(0))
    assert rest is not None
    assert (len(first), len(rest)) == (3, 4)


@pytest.mark.parametrize("count", [1, 2, 25])
def test_an_item_goes_however_dear_it_is(count: int) -> None:
    batch = Batch(items(count, 300 << 10))
    first, rest = cut(batch, 0.5, Cost.guess(0))
    assert len(first) == 1
    assert (rest is None) == (count == 1)


def test_what_fits_in_the_end_is_not_cut_in_two() -> None:
    """The whole is guessed by its bytes, items by theirs: the sums of the two may differ."""
    batch = Batch([item(40, 0), item(2_000, 1)])
    first, rest = cut(batch, bare_units(2, batch.bytes), Cost.guess(0))
    assert (first, rest) == (batch, None)
