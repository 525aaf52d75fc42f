"""What the tests' own server remembers of the order and the time of writes."""

import pytest

from tests.server.limits import Key
from tests.server.places import Places
from tests.server.stats import Stats


def put(places: Places, *numbers: int, key: Key = "a") -> None:
    for number in numbers:
        places.put(key, {"n": {"N": str(number)}})


def test_an_older_row_over_a_newer_one_is_counted() -> None:
    places = Places("n")
    put(places, 1, 2, 2, 10, 9, 3, 4)
    put(places, 0, key="b")
    assert places.older_over_newer == 2
    assert places.examples == [("a", 10, 9), ("a", 9, 3)]
    assert places.unknown == 0


def test_only_the_first_20_are_listed() -> None:
    places = Places("n")
    put(places, *range(30, 0, -1))
    assert places.older_over_newer == 29
    assert places.examples == [("a", number, number - 1) for number in range(30, 10, -1)]


@pytest.mark.parametrize(
    ("key", "text"), [("é", "é"), (b"\x00\xff", "AP8="), (("a", "5"), "a,5"), ((b"\x00", "b"), "AA==,b")]
)
def test_a_key_is_told_as_text(key: Key, text: str) -> None:
    places = Places("n")
    put(places, 2, 1, key=key)
    assert places.examples == [(text, 2, 1)]


def test_a_deleted_item_is_replaced_by_nothing() -> None:
    places = Places("n")
    put(places, 2)
    places.delete("a")
    put(places, 1)
    assert places.older_over_newer == 0


def test_a_place_may_be_text_of_digits() -> None:
    places = Places("n")
    places.put("a", {"n": {"S": "0010"}})
    places.put("a", {"n": {"S": "9"}})
    assert places.examples == [("a", 10, 9)]


@pytest.mark.parametrize(
    "value",
    [None, {"S": ""}, {"S": "x"}, {"S": "٣"}, {"N": "-1"}, {"N": "1.5"}, {"L": []}, {"S": "9" * 5_000}],
)
def test_an_item_without_a_place_is_counted_and_forgotten(value: dict[str, object] | None) -> None:
    places = Places("n")
    put(places, 5)
    places.put("a", {} if value is None else {"n": value})
    put(places, 1)
    assert (places.older_over_newer, places.unknown) == (0, 1)


def test_a_timeline_has_items_by_tenth_of_a_second_in_order() -> None:
    stats = Stats()
    for items, now in ((3, 100.0), (2, 100.09), (5, 100.51), (1, 99.95), (0, 101.0)):
        stats.count_applied(items, now)
    assert stats.as_json()["timeline"] == [(999, 1), (1000, 5), (1005, 5)]
    assert stats.applied == 11


def test_a_timeline_keeps_its_last_6000_tenths() -> None:
    stats = Stats()
    for tenth in range(20_001):
        stats.count_applied(1, tenth / 10 + 0.05)
    assert stats.as_json()["timeline"] == [(tenth, 1) for tenth in range(14_001, 20_001)]
    assert len(stats.timeline) < 12_000
    assert stats.applied == 20_001
