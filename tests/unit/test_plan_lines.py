"""The plan in words: what is known only about is called so."""

import pytest

from cli.plan import lines, spelled
from loader.capacity import Measures, Plan, WriteCapacity
from loader.decisions.forecast import Terms, plan_of
from loader.decisions.measure import size_class
from loader.model import Counts, IndexDescription, KeyPart, KeySchema, TableDescription


def plan(exact: bool = True, price: float | None = None, index_units: int = 0) -> Plan:
    index = IndexDescription("city", False, (KeyPart("city", "S"),), (), "ALL")
    table = TableDescription(
        "people",
        "arn",
        "id",
        "0",
        "http://x",
        "ACTIVE",
        KeySchema(KeyPart("id", "S")),
        (index,) if index_units else (),
        WriteCapacity(warm=4000),
    )
    units = {"city": index_units} if index_units else {}
    measures = Measures(1000, 1_000_000, 1000, {size_class(1000): 1000}, 1000, units)
    return plan_of(measures, Counts(written=1000), table, Terms("eu-west-1", 2, None, price), exact=exact)


def line(label: str, plan: Plan) -> str:
    (found,) = [text for text in lines(plan) if text.startswith(f"  {label} ")]
    return found.partition(label)[2].strip()


def test_a_median_is_about_right_and_a_sample_has_seen_not_all() -> None:
    assert line("sizes", plan()).startswith("median item about ")
    assert line("sizes", plan()).endswith(", largest 1,000")
    assert line("sizes", plan(exact=False)).endswith(", largest seen 1,000")


def test_a_capacity_says_what_it_is_of() -> None:
    assert line("capacity", plan()) == (
        "4,000 write units a second: warm throughput 4,000, from DescribeTable"
    )
    assert line("capacity", plan(index_units=1000)) == (
        "8,000 write units a second for table and indexes together, while the table takes its 4,000 "
        "(warm throughput, from DescribeTable)"
    )


@pytest.mark.parametrize(
    ("price", "shown"),
    [(1.25, "0.00125"), (0.0001, "0.000000100"), (0.0, "0.00"), (1e6, "1,000.00"), (625.0, "0.625")],
)
def test_a_small_price_has_figures_that_tell_something(price: float, shown: str) -> None:
    assert line("price", plan(price=price)) == f"{shown}, write units alone"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.4, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (369, "6 min 9 s"),
        (3599.7, "1 h 0 min"),
        (79_980, "22 h 13 min"),
        (7_200_000, "2,000 h 0 min"),
    ],
)
def test_a_duration_has_its_units(seconds: float, text: str) -> None:
    assert spelled(seconds) == text
