"""What items weigh, against the server's rules, which know nothing of the loader's code."""

from collections.abc import Mapping

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.capacity import Measures
from loader.decisions.item_size import stored_value_size
from loader.decisions.measure import ItemMeasure, class_size, median_size, size_class, units_of
from loader.model import IndexDescription, KeyPart, KeySchema
from tests.server.limits import measure

KEY = KeySchema(KeyPart("id", "S"), KeyPart("at", "N"))
BY_CITY = IndexDescription("by_city", False, (KeyPart("city", "S"),), (KeyPart("age", "N"),), "KEYS_ONLY")
BY_SIZE = IndexDescription("by_size", True, (KeyPart("id", "S"),), (KeyPart("size", "N"),), "ALL")
BY_NAME = IndexDescription("by_name", False, (KeyPart("name", "S"),), (), "INCLUDE", ("note", "nowhere"))


def measured(*items: Mapping[str, object], indexes: tuple[IndexDescription, ...] = ()) -> Measures:
    return ItemMeasure(KEY, indexes).of([orjson.dumps(item) for item in items])


def test_an_item_weighs_its_names_and_values_in_utf8() -> None:
    found = measured({"id": {"S": "Zoë"}, "at": {"N": "123"}, "größe": {"BOOL": True}})
    assert (found.items, found.bytes, found.largest) == (1, 2 + 4 + 2 + 3 + 7 + 1, 19)


def test_a_unit_is_each_kib_begun() -> None:
    assert [units_of(size) for size in (1, 1024, 1025, 2048, 2049, 409_600)] == [1, 1, 2, 2, 3, 400]
    # 6 bytes of names and key, 4 of them the name and 2 the number.
    exact = {"id": {"S": "a"}, "at": {"N": "1"}, "x": {"S": "y" * (1024 - 3 - 4 - 1)}}
    more = {**exact, "x": {"S": "y" * (1024 - 3 - 4)}}
    assert (measured(exact).largest, measured(exact).table_units) == (1024, 1)
    assert (measured(more).largest, measured(more).table_units) == (1025, 2)


def test_an_item_is_in_an_index_when_it_has_all_of_its_keys() -> None:
    key = {"id": {"S": "a"}, "at": {"N": "1"}}
    found = measured(
        {**key, "city": {"S": "Paris"}, "age": {"N": "7"}},
        {**key, "city": {"S": "Paris"}},
        {**key, "name": {"S": "x"}},
        indexes=(BY_CITY, BY_SIZE, BY_NAME),
    )
    assert found.index_units == {"by_city": 1, "by_size": 0, "by_name": 1}
    assert found.table_units == 3


def test_an_entry_weighs_what_the_index_projects() -> None:
    long = {"S": "z" * 3000}
    item = {
        "id": {"S": "a"},
        "at": {"N": "1"},
        "city": {"S": "Paris"},
        "age": {"N": "7"},
        "size": {"N": "1"},
        "name": {"S": "x"},
        "other": long,
    }
    indexes = (BY_CITY, BY_SIZE, BY_NAME)
    assert measured(item, indexes=indexes).index_units == {"by_city": 1, "by_size": 3, "by_name": 1}
    assert measured({**item, "note": long}, indexes=indexes).index_units == {
        "by_city": 1,
        "by_size": 6,
        "by_name": 3,
    }


def test_measures_add_up() -> None:
    some = measured({"id": {"S": "a"}, "at": {"N": "1"}}, indexes=(BY_CITY,))
    more = measured({"id": {"S": "b" * 2000}, "at": {"N": "1"}}, indexes=(BY_CITY,))
    both = some + more + Measures()
    assert (both.items, both.bytes, both.largest) == (2, some.bytes + more.bytes, more.largest)
    assert (both.table_units, both.index_units) == (3, {"by_city": 0})
    assert sum(both.sizes.values()) == 2


def test_partition_keys_with_much_of_the_units_are_told() -> None:
    measure = ItemMeasure(KEY, (BY_CITY, BY_SIZE))
    rows = [
        {
            "id": {"S": "hot" if n % 4 == 0 else f"k{n}"},
            "at": {"N": str(n)},
            "age": {"N": "1"},
            "filler": {"S": "x" * 1500},
            # Of the half that is in the index all are there under one key.
            **({"city": {"S": "Paris"}} if n % 2 else {}),
        }
        for n in range(60_000)
    ]
    for begin in range(0, len(rows), 7):
        measure.of([orjson.dumps(row) for row in rows[begin : begin + 7]])
    keys = measure.keys()
    assert set(keys) == {"", "by_city"}
    assert keys[""] == {"hot": pytest.approx(30_000, rel=0.1)}
    assert keys["by_city"] == {"Paris": pytest.approx(30_000, rel=0.05)}


def test_without_a_sort_key_no_partition_key_has_more_than_an_item() -> None:
    measure = ItemMeasure(KeySchema(KeyPart("id", "S")), ())
    measure.of([orjson.dumps({"id": {"S": "a"}})])
    assert measure.keys() == {}


def test_keys_add_up() -> None:
    both = Measures(keys={"": {"a": 1, "b": 2}}) + Measures(keys={"": {"b": 3}, "x": {"c": 4}})
    assert both.keys == {"": {"a": 1, "b": 5}, "x": {"c": 4}}


@given(st.integers(1, 409_600))
def test_a_class_of_sizes_is_within_one_percent_of_each(size: int) -> None:
    assert abs(class_size(size_class(size)) - size) <= 0.01 * size


@given(st.lists(st.integers(1, 409_600), min_size=1, max_size=50))
def test_the_median_is_within_one_percent(sizes: list[int]) -> None:
    counted: dict[int, int] = {}
    for size in sizes:
        counted[size_class(size)] = counted.get(size_class(size), 0) + 1
    right = sorted(sizes)[(len(sizes) - 1) // 2]
    assert abs(median_size(counted) - right) <= 0.01 * right


def test_the_median_of_nothing_is_none_at_all() -> None:
    assert median_size({}) == 0


_TEXT = st.text(min_size=1, max_size=20)
_NUMBER = st.one_of(
    st.integers(-(10**37), 10**37).map(str), st.decimals(-1000, 1000, places=4).map(lambda d: f"{d:f}")
)
_SCALAR = st.one_of(
    _TEXT.map(lambda text: {"S": text}),
    _NUMBER.map(lambda number: {"N": number}),
    st.booleans().map(lambda flag: {"BOOL": flag}),
    st.just({"NULL": True}),
    st.sampled_from([{"B": "AAE="}, {"SS": ["a", "bc"]}, {"NS": ["1", "2.5"]}, {"BS": ["AA==", "AAEC"]}]),
)
_VALUE = st.recursive(
    _SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: {"L": values}),
        st.dictionaries(_TEXT, inner, max_size=3).map(lambda values: {"M": values}),
    ),
    max_leaves=8,
)


@given(st.dictionaries(_TEXT, _VALUE, min_size=1, max_size=5))
def test_every_type_weighs_what_the_server_says(item: dict[str, dict[str, object]]) -> None:
    assert measured(item).bytes == measure(item)


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="no value"):
        stored_value_size({"X": "y"})
