"""Which keys come most often, in bounded memory."""

import pytest

from loader.decisions.heavy_hitters import HeavyHitters, merged


def sketch(keys: str, capacity: int = 128) -> HeavyHitters:
    made = HeavyHitters(capacity)
    for key in keys:
        made.add(key)
    return made


def test_while_there_is_room_counts_are_exact() -> None:
    made = sketch("abracadabra", 5)
    assert made.most(9) == (("a", 5), ("b", 2), ("r", 2), ("c", 1), ("d", 1))
    assert made.most(2) == (("a", 5), ("b", 2))
    assert made.most(9, certainty=1.0) == made.most(9)


def test_a_new_key_takes_the_place_of_the_least_and_inherits_its_count() -> None:
    made = sketch("aaabbc", 3)
    assert made.unseen == 1
    made.add("d")
    assert made.most(9) == (("a", 3), ("b", 2), ("d", 2))
    assert made.unseen == 2


def test_a_key_counted_several_times_at_once() -> None:
    made = HeavyHitters(2)
    made.add("a", 5)
    made.add("b", 2)
    made.add("c", 10)
    assert made.most(9) == (("c", 12), ("a", 5))


def test_passers_by_are_left_out_where_certainty_is_asked_for() -> None:
    made = sketch("a" * 20 + "bcdefghijkl" + "m", 3)
    # `m` inherited nearly all of what it is counted with.
    assert len(made.most(9)) == 3
    assert made.most(9, certainty=0.5) == (("a", 20),)


def test_nothing_is_unseen_where_there_is_room() -> None:
    assert sketch("ab", 3).unseen == 0
    assert HeavyHitters(1).most(3) == ()


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_sketch_has_room_for_a_key(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"a sketch of {capacity} keys"):
        HeavyHitters(capacity)


@pytest.mark.parametrize("count", [0, -3])
def test_a_key_is_counted_at_least_once(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} times"):
        HeavyHitters().add("a", count)


def test_lists_are_added_up() -> None:
    lists = [(("a", 3), ("b", 2)), (("b", 2),), ()]
    assert merged(lists, 9) == (("b", 4), ("a", 3))
    assert merged(lists, 1) == (("b", 4),)
    assert merged([], 3) == ()
