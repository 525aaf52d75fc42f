"""Batches of any items: none is lost, their order is kept, and count and bytes stay within their limits."""

from collections.abc import Sequence
from itertools import groupby, pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from loader.config import BATCH_LIMIT
from loader.decisions.batch import BODY_LIMIT, Batch, Item, batches, fill, halves, shares_of
from loader.decisions.wire import BETWEEN_ITEMS, join_items, request_body, split_items

# The texts are shared, and zero pages take no memory: an item costs its name alone.
_TEXTS = [bytes(size) for size in (2, 60, 4_000, 400_000, 670_000, 2_400_000, 8_388_000, BODY_LIMIT - 2_000)]
# Longer than any item that DynamoDB takes can be.
_HUGE = bytes(BODY_LIMIT + 1)
_TABLE = "t" * 255
_AROUND = len(request_body(_TABLE, [b""], per_index=True))
_EACH = len(request_body(_TABLE, [b"", b""], per_index=True)) - _AROUND

texts = st.lists(st.sampled_from(_TEXTS), max_size=90)
counts = st.integers(1, BATCH_LIMIT)

# Names and values made of what stands between two items, of pieces of it, and of what may come in between.
_BETWEEN = BETWEEN_ITEMS.decode()
_PIECES = [
    _BETWEEN,
    _BETWEEN[:3],
    _BETWEEN[3:],
    '{"',
    '"',
    "\\",
    "}",
    ":",
    ",",
    "PutRequest",
    "Item",
    "x",
    "é",
    "\n",
]
nasty = st.lists(st.sampled_from(_PIECES), max_size=5).map("".join)
values = nasty.map(lambda text: {"S": text}) | st.sampled_from([{"N": "1"}, {"BOOL": True}])
items_json = st.dictionaries(nasty.filter(bool), values, min_size=1, max_size=4).map(orjson.dumps)


@st.composite
def placed(draw: st.DrawFn) -> list[Item]:
    """Items of several shards, some with older rows behind them, some tried before."""
    texts = draw(st.lists(items_json, min_size=1, max_size=BATCH_LIMIT))
    few = st.integers(0, 2)
    return [Item(text, draw(few), entry, range(draw(few)), draw(few)) for entry, text in enumerate(texts)]


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
    assert [item for batch in cut for item in batch.items] == items
    assert all(1 <= len(batch) <= size for batch in cut)
    assert all(body(batch.items) <= BODY_LIMIT for batch in cut)
    for batch, following in pairwise(cut):
        assert full(batch.items, following.items[0], size)


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
    assert [item for batch in cut for item in batch.items] == items
    assert all(len(batch) == 1 or body(batch.items) <= BODY_LIMIT for batch in cut)
    filled, rest = [], items
    while rest:
        batch, rest = fill(rest, [], size)
        filled.append(batch)
    assert filled == [list(batch.items) for batch in cut]


@given(
    texts=st.lists(st.sampled_from(_TEXTS), min_size=1, max_size=BATCH_LIMIT), bad=st.sets(st.integers(0, 24))
)
def test_splitting_ends_with_each_bad_item_alone(texts: list[bytes], bad: set[int]) -> None:
    parts, refused, written = [Batch(numbered(texts))], [], []
    while parts:
        part = parts.pop()
        if not bad & {item.entry for item in part.items}:
            written += [item.entry for item in part.items]
        elif len(part) == 1:
            refused.append(part.items[0].entry)
        else:
            parts.extend(halves(part.items))
    assert sorted(refused) == sorted(bad & set(range(len(texts))))
    assert sorted(refused + written) == list(range(len(texts)))


@given(texts=st.lists(items_json, min_size=1, max_size=BATCH_LIMIT))
def test_joined_items_come_back_exactly_whatever_they_hold(texts: list[bytes]) -> None:
    joined = join_items(texts)
    assert split_items(joined) == texts
    # Joined or not, they make the same body.
    body = request_body(_TABLE, (joined,), per_index=True)
    assert body == request_body(_TABLE, texts, per_index=True)
    puts = orjson.loads(body)["RequestItems"][_TABLE]
    assert puts == [{"PutRequest": {"Item": orjson.loads(text)}} for text in texts]


@given(items=placed())
def test_a_batch_is_its_items(items: list[Item]) -> None:
    batch = Batch(items)
    assert list(batch.items) == items
    assert split_items(batch.json) == [item.json for item in items]
    assert len(batch) == len(items)
    assert batch.bytes == sum(len(item.json) for item in items)
    assert batch.failures == max(item.failures for item in items)
    assert batch.shares == shares_of(items)


@given(
    texts=st.lists(items_json, min_size=1, max_size=BATCH_LIMIT),
    shard=st.integers(0, 9),
    entries=st.permutations(range(BATCH_LIMIT)),
)
def test_a_batch_made_ready_is_the_one_made_of_its_items(
    texts: list[bytes], shard: int, entries: list[int]
) -> None:
    entries = entries[: len(texts)]
    made = Batch([Item(text, shard, entry) for text, entry in zip(texts, entries, strict=True)])
    ready = Batch.ready(shard, entries, join_items(texts))
    assert (len(ready), ready.bytes, ready.json) == (len(made), made.bytes, made.json)
    assert (ready.failures, ready.shares) == (made.failures, made.shares)
    assert list(ready.items) == made.items
    assert (len(ready), ready.bytes) == (len(made), made.bytes)


@given(items=placed())
def test_the_shares_of_any_items_add_up_shard_by_shard(items: list[Item]) -> None:
    shares = shares_of(items)
    assert [share.shard for share in shares] == [
        shard for shard, _ in groupby(items, lambda item: item.shard)
    ]
    for shard in range(3):
        own = [item for item in items if item.shard == shard]
        assert sum(share.items for share in shares if share.shard == shard) == len(own)
        assert sum(share.older for share in shares if share.shard == shard) == sum(len(i.older) for i in own)


@given(items=placed())
def test_the_bytes_of_halves_are_those_of_the_whole(items: list[Item]) -> None:
    if len(items) > 1:
        left, right = halves(items)
        assert left.bytes + right.bytes == Batch(items).bytes
        assert [*left.items, *right.items] == items
