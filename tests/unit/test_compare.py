"""When two items are equal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.decisions.compare import canonical, difference

EQUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"N": "5"}, {"N": "5.0"}),
    ({"N": "-0"}, {"N": "0"}),
    ({"N": "1e2"}, {"N": "100"}),
    ({"NS": ["1", "2.0"]}, {"NS": ["2", "1"]}),
    ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
    ({"BS": ["YQ==", "Yg=="]}, {"BS": ["Yg==", "YQ=="]}),
    ({"L": [{"N": "5"}]}, {"L": [{"N": "05"}]}),
    ({"M": {"a": {"N": "5"}, "b": {"S": ""}}}, {"M": {"b": {"S": ""}, "a": {"N": "5e0"}}}),
]
UNEQUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"S": "5"}, {"N": "5"}),
    ({"S": "5"}, {"S": "5.0"}),
    ({"S": "a"}, {"S": "A"}),
    ({"S": "\u00e9"}, {"S": "e\u0301"}),
    ({"S": "a "}, {"S": "a"}),
    ({"BOOL": True}, {"BOOL": False}),
    ({"BOOL": True}, {"S": "true"}),
    ({"NULL": True}, {"BOOL": True}),
    ({"L": [{"S": "a"}, {"S": "b"}]}, {"L": [{"S": "b"}, {"S": "a"}]}),
    ({"SS": ["a"]}, {"L": [{"S": "a"}]}),
    ({"N": "1"}, {"N": "1.0000000000000000001"}),
    ({"S": "\ud800"}, {"S": "\ud801"}),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_have_one_form(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical({"a": one, "b": {"S": "x"}}) == canonical({"b": {"S": "x"}, "a": other})
    assert difference({"a": one}, {"a": other}) is None


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_unequal_values_have_two_and_the_attribute_is_named(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert canonical({"a": one}) != canonical({"a": other})
    found = difference({"k": {"S": "x"}, "a": one}, {"k": {"S": "x"}, "a": other})
    assert found is not None
    assert found[0] == "a"


def test_an_attribute_on_one_side_only_is_a_difference() -> None:
    assert difference({"a": {"S": "x"}}, {}) == ("a", 'the file says S "x", the table has no such attribute')
    assert difference({}, {"a": {"N": "5"}}) == ("a", "the table has N 5, the file no value")


def test_the_first_difference_by_the_file_is_named() -> None:
    expected = {"z": {"S": "1"}, "a": {"S": "1"}}
    found = difference(expected, {"z": {"S": "2"}, "a": {"S": "2"}, "b": {"S": "2"}})
    assert found is not None
    assert found[0] == "z"


def test_a_long_value_with_escapes_is_clipped_and_shown() -> None:
    found = difference({"a": {"S": "\x1b[2J" + "x" * 1000}}, {"a": {"S": ""}})
    assert found is not None
    assert found[1].isprintable()
    assert len(found[1]) < 200


_attributes = st.recursive(
    st.one_of(
        st.builds(lambda text: {"S": text}, st.text(max_size=3)),
        st.builds(lambda number: {"N": str(number)}, st.integers(-20, 20)),
        st.builds(lambda flag: {"BOOL": flag}, st.booleans()),
        st.just({"NULL": True}),
    ),
    lambda inner: st.one_of(
        st.builds(lambda values: {"L": values}, st.lists(inner, max_size=2)),
        st.builds(lambda values: {"M": values}, st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    ),
    max_leaves=4,
)
_items = st.dictionaries(st.text(max_size=2), _attributes, max_size=3)


@given(_items, _items)
def test_one_form_means_no_difference_and_the_other_way_round(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (difference(one, other) is None) == (one == other)
