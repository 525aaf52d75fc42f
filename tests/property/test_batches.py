"""Batches of any items: none is lost, their order is kept, and count and bytes stay within their limits."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loader.config import BATCH_LIMIT
from loader.decisions.batch import BODY_LIMIT, Item, batches, fill, halves
from loader.decisions.wire import request_body

# The texts are shared, and zero pages take no memory: an item costs its name alone.
_TEXTS = [bytes(size) for size in (2, 60, 4_000, 400_000, 670_000, 2_400_000, 8_388_000, BODY_LIMIT - 2_000)]
# Longer than any item that DynamoDB takes can be.
_HUGE = bytes(BODY_LIMIT + 1)
_TABLE = "t" * 255
_AROUND = len(request_body(_TABLE, [b""], per_index=True))
_EACH = len(request_body(_TABLE, [b"", b""], per_index=True)) - _AROUND

texts = st.lists(st.sampled_from(_TEXTS), max_size=90)
counts = st.integers(1, BATCH_LIMIT)


def numbered(texts: Sequence[bytes], first: int = 0) -> list[Item]:
    return [Item(text, 0, entry) for entry, text in enumerate(texts, first)]


def body(batch: Sequence[Item]) -> int:
    """The length of the body; the real one is joined of the same parts."""
    return _AROUND + _EACH * (len(batch) - 1) + sum(len(item.json) for item in batch)


def full(batch: Sequence[Item], following: Item, size: int) -> bool:
    """Whether there was hardly room for one more."""
    return len(batch) == size or body([*batch, following]) > BODY_LIMIT - 2_048


@given(texts=texts, size=counts)
def test_a_stream_in_batches_is_the_stream(texts: list[bytes], size: int) -> None:
    items = numbered(texts)
    cut = list(batches(iter(items), size))
    assert [item for batch in cut for item in batch] == items
    assert all(1 <= len(batch) <= size for batch in cut)
    assert all(body(batch) <= BODY_LIMIT for batch in cut)
    for batch, following in pairwise(cut):
        assert full(batch, following[0], size)


@given(left=texts, fresh=texts, size=counts)
def test_filling_up_takes_from_the_front_as_much_as_goes(
    left: list[bytes], fresh: list[bytes], size: int
) -> None:
    first, then = numbered(left), numbered(fresh, len(left))
    batch, rest = fill(first, then, size)
    assert batch + rest == first + then
    assert bool(batch) == bool(left or fresh)
    assert len(batch) <= size
    assert not batch or body(batch) <= BODY_LIMIT
    assert not rest or full(batch, rest[0], size)


@given(texts=st.lists(st.sampled_from([*_TEXTS, _HUGE]), min_size=1, max_size=40), size=counts)
def test_an_item_past_the_limit_goes_alone_and_holds_up_nothing(texts: list[bytes], size: int) -> None:
    items = numbered(texts)
    cut = list(batches(items, size))
    assert [item for batch in cut for item in batch] == items
    assert all(len(batch) == 1 or body(batch) <= BODY_LIMIT for batch in cut)
    filled, rest = [], items
    while rest:
        batch, rest = fill(rest, [], size)
        filled.append(batch)
    assert filled == cut


@given(
    texts=st.lists(st.sampled_from(_TEXTS), min_size=1, max_size=BATCH_LIMIT), bad=st.sets(st.integers(0, 24))
)
def test_splitting_ends_with_each_bad_item_alone(texts: list[bytes], bad: set[int]) -> None:
    parts, refused, written = [numbered(texts)], [], []
    while parts:
        part = parts.pop()
        if not bad & {item.entry for item in part}:
            written += [item.entry for item in part]
        elif len(part) == 1:
            refused.append(part[0].entry)
        else:
            parts.extend(halves(part))
    assert sorted(refused) == sorted(bad & set(range(len(texts))))
    assert sorted(refused + written) == list(range(len(texts)))
