"""What goes into one request: count and bytes, in order, nothing lost."""

from collections.abc import Iterable, Iterator

import pytest

from loader.config import BATCH_LIMIT
from loader.decisions.batch import BODY_LIMIT, Batch, Item, Share, batches, fill, halves, shares_of
from loader.decisions.wire import join_items, request_body

NAME = "t" * 255
"""As long as a table's name can be."""


def item(entry: int, size: int = 10) -> Item:
    return Item(bytes(size), 0, entry)


def some(count: int, size: int = 10, first: int = 0) -> list[Item]:
    return [item(entry, size) for entry in range(first, first + count)]


def sizes(cut: Iterable[Batch]) -> list[int]:
    return [len(batch) for batch in cut]


def items_of(cut: Iterable[Batch]) -> list[list[Item]]:
    return [list(batch.items) for batch in cut]


def body_of(batch: Batch) -> int:
    """As a sender makes the body: of the items as they are joined in the batch."""
    return len(request_body(NAME, (batch.json,), per_index=True))


# --- a batch --------------------------------------------------------------------------------------


def test_a_batch_holds_its_items_joined_and_one_by_one() -> None:
    items = [Item(b'{"id":{"S":"%d"}}' % entry, 3, entry, (7, 8)[: entry - 1]) for entry in (1, 2, 3)]
    batch = Batch(items)
    assert batch.json == join_items([item.json for item in items])
    assert (list(batch.items), len(batch)) == (items, 3)
    assert batch.bytes == sum(len(item.json) for item in items)
    assert batch.shares == (Share(3, 3, 3),)


def test_a_batch_made_ready_holds_the_same_items() -> None:
    texts = [b'{"id":{"S":"a"}}', b'{"id":{"S":"bc"}}', b'{"id":{"S":""}}']
    items = [Item(text, 4, entry) for text, entry in zip(texts, (9, 2, 5), strict=True)]
    ready = Batch.ready(4, (9, 2, 5), join_items(texts))
    made = Batch(items)
    # Before the items were asked for, and after.
    for _ in range(2):
        assert (len(ready), ready.bytes, ready.json, ready.shares, ready.failures) == (
            len(made),
            made.bytes,
            made.json,
            made.shares,
            made.failures,
        )
        assert ready.items == items


def test_a_batch_of_one_made_ready_is_that_item() -> None:
    ready = Batch.ready(0, [6], b'{"id":{"S":"x"}}')
    assert (len(ready), ready.bytes) == (1, 16)
    assert ready.items == [Item(b'{"id":{"S":"x"}}', 0, 6)]


def test_a_batch_made_ready_of_more_entries_than_items_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = Batch.ready(0, [1, 2, 3], join_items([b"{}", b"{}"])).items


@pytest.mark.parametrize("count", [0, 26])
def test_there_is_no_batch_of_no_item_or_of_more_than_25(count: int) -> None:
    items = [item(number) for number in range(count)]
    with pytest.raises(ValueError, match=f"a batch of {count} items"):
        Batch(items)
    with pytest.raises(ValueError, match=f"a batch of {count} items"):
        Batch.ready(0, range(count), join_items([each.json for each in items]))


def test_a_batch_was_tried_as_often_as_the_item_that_was_tried_most() -> None:
    assert Batch([item(0), item(1)._replace(failures=2), item(2)._replace(failures=1)]).failures == 2


def test_the_shares_of_a_batch_add_up_whatever_the_order() -> None:
    mixed = [Item(b"{}", shard, entry, range(entry)) for entry, shard in enumerate((1, 1, 0, 1, 0, 0))]
    assert shares_of(mixed) == (Share(1, 2, 1), Share(0, 1, 2), Share(1, 1, 3), Share(0, 2, 9))
    assert Batch(mixed).shares == shares_of(mixed)
    assert shares_of([]) == ()


# --- a stream -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(0, 25, []), (1, 25, [1]), (25, 25, [25]), (26, 25, [25, 1]), (7, 3, [3, 3, 1]), (3, 1, [1, 1, 1])],
)
def test_a_stream_is_cut_by_count(count: int, size: int, expected: list[int]) -> None:
    items = some(count)
    cut = list(batches(iter(items), size))
    assert sizes(cut) == expected
    assert [item for batch in cut for item in batch.items] == items


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
    assert body_of(Batch([*cut[0].items, cut[1].items[0]])) > BODY_LIMIT


def test_the_body_of_a_full_batch_is_below_the_limit_by_little() -> None:
    size = BODY_LIMIT // BATCH_LIMIT - 100
    (batch,) = batches(some(BATCH_LIMIT, size), BATCH_LIMIT)
    assert BODY_LIMIT - 4096 < body_of(batch) <= BODY_LIMIT
    assert sizes(batches(some(BATCH_LIMIT, size + 100), BATCH_LIMIT)) == [24, 1]


def test_an_item_that_fills_a_body_goes_alone() -> None:
    items = [item(0), item(1, BODY_LIMIT), item(2), item(3)]
    cut = items_of(batches(items, BATCH_LIMIT))
    assert cut == [[items[0]], [items[1]], [items[2], items[3]]]


@pytest.mark.parametrize("count", [2, 3, 25])
def test_what_is_put_around_items_is_reckoned_with(count: int) -> None:
    around = len(request_body(NAME, [b""] * count, per_index=True))
    # With this size the body of all of them would be just past the limit.
    size = (BODY_LIMIT - around) // count + 1
    cut = list(batches(some(count, size), BATCH_LIMIT))
    assert sizes(cut) == [count - 1, 1]
    assert sizes(batches(some(count, size - 1_500 // count), BATCH_LIMIT)) == [count]


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
    assert cut == items_of(batches(items, BATCH_LIMIT))


# --- a refused batch ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(2, 26))
def test_halves_are_both_smaller_and_lose_nothing(count: int) -> None:
    items = some(count)
    left, right = halves(items)
    assert [*left.items, *right.items] == items
    assert abs(len(left) - len(right)) <= 1
    assert min(len(left), len(right)) > 0


def test_halving_again_and_again_finds_the_bad_item_alone() -> None:
    parts, alone = [Batch(some(25))], []
    while parts:
        part = parts.pop()
        if len(part) == 1:
            alone.append(part.items[0].entry)
        else:
            parts.extend(halves(part.items))
    assert sorted(alone) == list(range(25))
