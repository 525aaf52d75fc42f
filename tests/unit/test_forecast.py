"""The plan: what limits a load, how long it takes, what it costs, and what is said about it."""

import json
import shlex
from typing import Any

import pytest

from loader.capacity import Measures, Plan, WriteCapacity
from loader.decisions.forecast import ROWS_A_WORKER, Terms, plan_of, scaled
from loader.decisions.measure import size_class
from loader.model import Counts, IndexDescription, KeyPart, KeySchema, TableDescription

KEY = KeySchema(KeyPart("id", "S"))


def table(capacity: WriteCapacity | None = None, **more: Any) -> TableDescription:
    return TableDescription(
        "people", "arn", "id", "0", "http://x", "ACTIVE", KEY, capacity=capacity or WriteCapacity(), **more
    )


def index(name: str, capacity: WriteCapacity | None = None, *, local: bool = False) -> IndexDescription:
    return IndexDescription(
        name, local, (KeyPart(name, "S"),), (), "ALL", capacity=capacity or WriteCapacity()
    )


def items(count: int, size: int = 100, **indexes: int) -> Measures:
    units = -(-size // 1024)
    return Measures(count, count * size, size, {size_class(size): count}, count * units, indexes)


def plan(
    measures: Measures,
    described: TableDescription,
    *,
    workers: int = 2,
    max_wcu: int | None = None,
    price: float | None = None,
    **terms: Any,
) -> Plan:
    counts = Counts(written=measures.items, duplicates=3, rejected=2)
    return plan_of(measures, counts, described, Terms("eu-west-1", workers, max_wcu, price, **terms))


def test_figures_are_those_of_counts_and_measures() -> None:
    found = plan(items(1000, 2000, city=500), table(item_count=0))
    assert (found.exact, found.rows, found.duplicates, found.rejected, found.items) == (
        True,
        1005,
        3,
        2,
        1000,
    )
    assert (found.table_units, found.index_units, found.write_units) == (2000, {"city": 500}, 2500)
    assert found.largest_size == 2000 and abs(found.median_size - 2000) <= 20
    assert (found.price, found.notes, found.advice) == (None, (), "")


def test_a_median_is_never_larger_than_the_largest() -> None:
    assert plan(items(10, 1024 * 300 + 7), table()).median_size <= 1024 * 300 + 7


def test_without_a_known_capacity_there_is_no_time() -> None:
    found = plan(items(1000), table())
    assert (found.capacity, found.seconds, found.capacity_source) == (None, None, "not known")


@pytest.mark.parametrize(
    ("capacity", "rate", "source"),
    [
        (WriteCapacity(provisioned=500), 500, "provisioned 500, from DescribeTable"),
        (WriteCapacity(warm=4000), 4000, "warm throughput 4,000, from DescribeTable"),
        (WriteCapacity(warm=4000, maximum=900), 900, "on-demand maximum 900, from DescribeTable"),
    ],
)
def test_the_smallest_limit_of_the_table_counts(capacity: WriteCapacity, rate: int, source: str) -> None:
    found = plan(items(9000), table(capacity))
    assert (found.capacity, found.capacity_source) == (rate, source)
    assert found.seconds == pytest.approx(9000 / rate)


def test_an_index_limits_a_load_by_its_own_units() -> None:
    described = table(
        WriteCapacity(provisioned=1000), indexes=(index("city", WriteCapacity(provisioned=100)),)
    )
    found = plan(items(10_000, city=2_000), described)
    # 2,000 entries at 100 a second take 20 seconds; the table's part, 10,000 at 1,000, takes 10.
    assert found.seconds == pytest.approx(20)
    assert found.capacity == pytest.approx(12_000 / 20)
    assert found.capacity_source == "index city takes its 100 (provisioned, from DescribeTable)"
    found = plan(items(10_000, city=100), described)
    assert found.capacity_source == "the table takes its 1,000 (provisioned, from DescribeTable)"


def test_an_index_without_entries_limits_nothing() -> None:
    described = table(indexes=(index("city", WriteCapacity(provisioned=1)),))
    assert plan(items(10_000, city=0), described).seconds is None


def test_a_local_index_takes_from_the_table() -> None:
    described = table(WriteCapacity(provisioned=1000), indexes=(index("size", local=True),))
    found = plan(items(10_000) + Measures(index_units={"size": 5_000}), described)
    assert found.seconds == pytest.approx(15)
    assert found.capacity == pytest.approx(1000)
    assert found.notes == ("Local index size: what is written there is taken from the table's capacity.",)


def test_a_cap_holds_for_table_and_indexes_together() -> None:
    described = table(WriteCapacity(provisioned=1000), indexes=(index("city"),))
    found = plan(items(10_000, city=10_000), described, max_wcu=500)
    assert (found.capacity, found.capacity_source, found.notes) == (500, "--max-wcu 500", ())
    assert found.seconds == pytest.approx(40)


def test_a_cap_above_what_the_table_takes_is_said_to_be_idle() -> None:
    found = plan(items(10_000), table(WriteCapacity(provisioned=1000)), max_wcu=5000)
    assert found.notes == (
        "--max-wcu 5,000 is more than the table and its indexes take, 1,000 write units a second: it will "
        "not be reached.",
    )
    # What is warm grows: then the cap may be reached.
    assert plan(items(10_000), table(WriteCapacity(warm=1000)), max_wcu=5000).notes == ()


def test_no_load_is_faster_than_the_loader() -> None:
    found = plan(items(1_000_000), table(WriteCapacity(provisioned=10_000_000)), workers=2)
    assert found.seconds == pytest.approx(1_000_000 / (2 * ROWS_A_WORKER))
    assert any("that sets the time" in note for note in found.notes)


def test_a_load_of_nothing_takes_no_time_and_costs_nothing() -> None:
    found = plan(Measures(), table(WriteCapacity(provisioned=5)), price=1.0)
    assert (found.capacity, found.seconds, found.price, found.median_size) == (5, 0, 0, 0)


def test_the_price_is_that_of_all_replicas() -> None:
    measures = items(1_000_000, city=500_000)
    assert plan(measures, table(), price=0.625).price == pytest.approx(0.9375)
    found = plan(measures, table(replicas=("us-east-1", "ap-south-1")), price=0.625)
    assert found.price == pytest.approx(3 * 0.9375)
    assert found.notes == (
        "The table is replicated to us-east-1 and ap-south-1, where every write is charged once more; the "
        "price counts that, not the transfer.",
    )


def test_what_the_load_sets_off_is_said() -> None:
    found = plan(
        items(10),
        table(item_count=5, size_bytes=700, stream="NEW_IMAGE", ttl="expires", indexes=(index("city"),)),
        ttl_type="N",
    )
    holds, stream, ttl = found.notes
    assert "already holds 5 items of 700 bytes" in holds and "twice in an index" in holds
    assert "stream (NEW_IMAGE)" in stream and "trigger" in stream
    assert "attribute expires" in ttl and "vanish" in ttl
    assert "last five years" in ttl
    assert plan(items(10), table(ttl=None)).notes == plan(items(10), table(ttl="")).notes == ()


def test_a_time_to_live_that_the_file_does_not_set_is_not_spoken_of() -> None:
    assert plan(items(10), table(ttl="expires"), ttl_type=None).notes == ()


def test_a_time_that_is_no_number_lets_nothing_expire() -> None:
    (note,) = plan(items(10), table(ttl="expires"), ttl_type="S").notes
    assert "nothing will expire" in note and "written as S" in note and "--types expires=N" in note


# --- partition keys -------------------------------------------------------------------------------


def hot(key: str, units: int, index: str = "") -> Measures:
    return Measures(keys={index: {key: units, "another": 1}})


def test_a_partition_key_with_much_of_a_load_sets_its_time() -> None:
    cold = table(WriteCapacity(warm=4000))
    found = plan(items(3_600_000) + hot("Paris", 1_800_000), cold)
    assert found.seconds == pytest.approx(1800)
    assert found.capacity == pytest.approx(2000)
    assert found.capacity_source == (
        "partition key Paris of the table has 50% of the units there, and a partition takes 1,000"
    )
    (note,) = found.notes
    assert note.startswith("Partition key Paris of the table has 50% of the write units there.")
    assert found.advice == ""


def test_a_partition_key_of_an_index_counts_too() -> None:
    described = table(WriteCapacity(warm=4000), indexes=(index("city", WriteCapacity(warm=4000)),))
    found = plan(items(400_000, city=400_000) + hot("Paris", 400_000, "city"), described)
    assert found.seconds == pytest.approx(400)
    assert "of index city has 100%" in found.capacity_source


def test_a_partition_key_with_little_of_a_load_bounds_what_is_advised() -> None:
    found = plan(items(3_600_000) + hot("Paris", 360_000), table(WriteCapacity(warm=4000)))
    assert found.seconds == pytest.approx(900)
    # At 10,000 a second the key's partition is busy all the time.
    assert advised(found)["--warm-throughput"] == "WriteUnitsPerSecond=10000"


def test_what_tells_no_capacity_has_no_partitions_that_are_known_of() -> None:
    assert plan(items(1000) + hot("Paris", 900), table()).seconds is None


def test_a_key_that_is_seen_a_few_times_in_a_sample_tells_nothing() -> None:
    sample = items(100) + Measures(keys={"": {"often": 40, "seldom": 9}})
    assert scaled(sample, 1000).keys == {"": {"often": 400}}
    # Some items of many units are no more often seen for that.
    large = items(100, 4000) + Measures(keys={"": {"often": 160, "seldom": 39}})
    assert scaled(large, 1000).keys == {"": {"often": 1600}}


def test_a_median_just_over_a_border_of_units_is_pointed_out() -> None:
    (note,) = plan(items(10, 1060), table()).notes
    assert "costs 2 write units" in note and "would cost 1" in note
    for size in (900, 1024, 1500, 2000, 50 * 1024 + 60):
        assert plan(items(10, size), table()).notes == ()


def test_a_median_at_a_border_is_not_taken_for_one_beyond_it() -> None:
    measures = items(10, 1024) + items(1, 3000)
    assert plan(measures, table()).notes == ()


def test_a_sample_is_scaled_to_all_items() -> None:
    found = scaled(items(10, 2000, city=5), 1000)
    assert (found.items, found.table_units, found.index_units) == (1000, 2000, {"city": 500})
    assert (found.bytes, found.largest) == (2_000_000, 2000)
    assert scaled(Measures(), 7) == Measures(items=7)


# --- advice -------------------------------------------------------------------------------------


def advised(found: Plan) -> dict[str, Any]:
    """The options of the call that is advised, as a shell would read them."""
    words = shlex.split(found.advice)
    assert words[:3] == ["aws", "dynamodb", "update-table"]
    return dict(zip(words[3::2], words[4::2], strict=True))


def test_a_cold_table_is_to_be_warmed_up_for_a_long_load() -> None:
    found = plan(items(3_600_000), table(WriteCapacity(warm=4000, warm_reads=12_000)))
    assert advised(found) == {
        "--table-name": "people",
        "--warm-throughput": "WriteUnitsPerSecond=40000,ReadUnitsPerSecond=12000",
        "--region": "eu-west-1",
    }
    assert any("after some minutes" in note for note in found.notes)


def test_reads_that_are_not_known_are_left_alone() -> None:
    found = plan(items(3_600_000), table(WriteCapacity(warm=4000)))
    assert advised(found)["--warm-throughput"] == "WriteUnitsPerSecond=40000"


def test_no_more_warmth_is_advised_than_makes_the_load_a_short_one() -> None:
    found = plan(items(600_000), table(WriteCapacity(warm=4000)))
    # 150 seconds; 10,000 make it one minute.
    assert advised(found)["--warm-throughput"] == "WriteUnitsPerSecond=10000"


@pytest.mark.parametrize(
    ("measures", "capacity", "max_wcu"),
    [
        (items(400_000), WriteCapacity(warm=4000), None),
        (items(3_600_000), WriteCapacity(provisioned=4000), None),
        (items(3_600_000), WriteCapacity(warm=4000, maximum=4000), None),
        (items(3_600_000), WriteCapacity(warm=4000, maximum=6000), None),
        (items(3_600_000), WriteCapacity(warm=4000), 5000),
        (items(3_600_000), WriteCapacity(warm=30_000), None),
        (items(3_600_000), WriteCapacity(), None),
    ],
    ids=["short", "provisioned", "at its maximum", "below twice", "capped", "warm already", "unknown"],
)
def test_nothing_is_advised_where_it_would_not_help(
    measures: Measures, capacity: WriteCapacity, max_wcu: int | None
) -> None:
    assert plan(measures, table(capacity), max_wcu=max_wcu).advice == ""


def test_an_index_is_warmed_up_with_the_table_where_it_limits_too() -> None:
    name = "it's_hot"
    described = table(
        WriteCapacity(warm=4000, warm_reads=1),
        indexes=(index(name, WriteCapacity(warm=4000, warm_reads=2)), index("few", WriteCapacity(warm=4000))),
    )
    found = plan(items(3_600_000) + Measures(index_units={name: 1_800_000, "few": 100}), described)
    options = advised(found)
    assert options["--warm-throughput"] == "WriteUnitsPerSecond=40000,ReadUnitsPerSecond=1"
    assert json.loads(options["--global-secondary-index-updates"]) == [
        {
            "Update": {
                "IndexName": name,
                "WarmThroughput": {"WriteUnitsPerSecond": 20_000, "ReadUnitsPerSecond": 2},
            }
        }
    ]


def test_an_index_alone_is_warmed_up_where_the_table_is_warm() -> None:
    described = table(WriteCapacity(warm=40_000), indexes=(index("city", WriteCapacity(warm=4000)),))
    options = advised(plan(items(3_600_000, city=3_600_000), described))
    assert "--warm-throughput" not in options
    assert "40000" in options["--global-secondary-index-updates"]


def test_the_call_is_for_the_profile_that_was_given() -> None:
    found = plan(items(3_600_000), table(WriteCapacity(warm=4000)), profile="my own")
    assert advised(found)["--profile"] == "my own"


def test_nothing_is_advised_for_a_table_elsewhere() -> None:
    found = plan(items(3_600_000), table(WriteCapacity(warm=4000)), endpoint_url="http://localhost:8000")
    assert found.advice == ""


def test_a_name_is_quoted_for_the_shell() -> None:
    described = table(WriteCapacity(warm=4000))
    terms = Terms("eu west; rm", 2)
    found = plan_of(items(3_600_000), Counts(), described, terms)
    assert shlex.split(found.advice)[-1] == "eu west; rm"
