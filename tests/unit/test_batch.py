"""What goes into one request: count and bytes, in order, nothing lost."""

from collections.abc import Iterator

import pytest

from loader.config import BATCH_LIMIT
from loader.decisions.batch import BODY_LIMIT, Item, batches, fill, halves
from loader.decisions.wire import request_body

NAME = "t" * 255
"""As long as a table's name can be."""


def item(entry: int, size: int = 10) -> Item:
    return Item(bytes(size), 0, entry)


def some(count: int, size: int = 10, first: int = 0) -> list[Item]:
    return [item(entry, size) for entry in range(first, first + count)]


def sizes(cut: list[list[Item]]) -> list[int]:
    return [len(batch) for batch in cut]


def body_of(batch: list[Item]) -> int:
    return len(request_body(NAME, [item.json for item in batch], per_index=True))


# --- a stream -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(0, 25, []), (1, 25, [1]), (25, 25, [25]), (26, 25, [25, 1]), (7, 3, [3, 3, 1]), (3, 1, [1, 1, 1])],
)
def test_a_stream_is_cut_by_count(count: int, size: int, expected: list[int]) -> None:
    items = some(count)
    cut = list(batches(iter(items), size))
    assert sizes(cut) == expected
    assert [item for batch in cut for item in batch] == items


def test_a_batch_is_given_before_more_of_the_stream_is_taken() -> None:
    taken: list[int] = []

    def stream() -> Iterator[Item]:
        for each in some(10):
            taken.append(each.entry)
            yield each

    next(batches(stream(), 3))
    assert taken == [0, 1, 2, 3]


def test_a_body_stays_below_its_limit() -> None:
    # Escapes make an item of 400 KB six times as long.
    cut = list(batches(some(20, 2_400_000), BATCH_LIMIT))
    assert set(sizes(cut[:-1])) == {6}
    assert max(map(body_of, cut)) <= BODY_LIMIT
    # Not one more would have fitted.
    assert body_of(cut[0] + cut[1][:1]) > BODY_LIMIT


def test_the_body_of_a_full_batch_is_below_the_limit_by_little() -> None:
    size = BODY_LIMIT // BATCH_LIMIT - 100
    (batch,) = batches(some(BATCH_LIMIT, size), BATCH_LIMIT)
    assert BODY_LIMIT - 4096 < body_of(batch) <= BODY_LIMIT
    assert sizes(list(batches(some(BATCH_LIMIT, size + 100), BATCH_LIMIT))) == [24, 1]


def test_an_item_that_fills_a_body_goes_alone() -> None:
    items = [item(0), item(1, BODY_LIMIT), item(2), item(3)]
    cut = list(batches(items, BATCH_LIMIT))
    assert cut == [[items[0]], [items[1]], [items[2], items[3]]]


@pytest.mark.parametrize("count", [2, 3, 25])
def test_what_is_put_around_items_is_reckoned_with(count: int) -> None:
    around = len(request_body(NAME, [b""] * count, per_index=True))
    # With this size the body of all of them would be just past the limit.
    size = (BODY_LIMIT - around) // count + 1
    cut = list(batches(some(count, size), BATCH_LIMIT))
    assert sizes(cut) == [count - 1, 1]
    assert sizes(list(batches(some(count, size - 1_500 // count), BATCH_LIMIT))) == [count]


# --- what is left of one batch, and another -------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "fresh", "size", "taken"),
    [
        (0, 0, 25, 0),
        (3, 0, 25, 3),
        (0, 4, 25, 4),
        (3, 22, 25, 25),
        (3, 25, 25, 25),
        (25, 25, 25, 25),
        (9, 9, 4, 4),
    ],
)
def test_a_batch_is_filled_up_in_order(left: int, fresh: int, size: int, taken: int) -> None:
    first, then = some(left), some(fresh, first=left)
    batch, rest = fill(first, then, size)
    assert len(batch) == taken
    assert batch + rest == first + then
    assert (first, then) == (some(left), some(fresh, first=left))


def test_a_batch_is_filled_up_to_the_limit_of_a_body() -> None:
    first, then = some(5, 2_400_000), some(5, 2_400_000, first=5)
    batch, rest = fill(first, then, BATCH_LIMIT)
    assert (len(batch), len(rest)) == (6, 4)
    assert batch + rest == first + then


def test_the_first_item_always_goes() -> None:
    huge, small = item(0, BODY_LIMIT), item(1)
    assert fill([huge], [small], BATCH_LIMIT) == ([huge], [small])
    assert fill([], [huge, small], BATCH_LIMIT) == ([huge], [small])
    assert fill([small], [huge], BATCH_LIMIT) == ([small], [huge])


def test_a_stream_and_what_is_filled_up_hold_the_same() -> None:
    items = [item(entry, 1 + entry * 90_001) for entry in range(40)]
    cut = []
    rest = items
    while rest:
        batch, rest = fill(rest, [], BATCH_LIMIT)
        cut.append(batch)
    assert cut == list(batches(items, BATCH_LIMIT))


# --- a refused batch ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(2, 26))
def test_halves_are_both_smaller_and_lose_nothing(count: int) -> None:
    items = some(count)
    left, right = halves(items)
    assert left + right == items
    assert abs(len(left) - len(right)) <= 1
    assert left
    assert right


def test_halving_again_and_again_finds_the_bad_item_alone() -> None:
    parts, alone = [some(25)], []
    while parts:
        part = parts.pop()
        if len(part) == 1:
            alone.append(part[0].entry)
        else:
            parts.extend(halves(part))
    assert sorted(alone) == list(range(25))
