"""Capacities and their buckets in the tests' own server: what fits when, and who refuses what does not."""

from dataclasses import asdict
from typing import Any

import orjson
import pytest

from tests.server.buckets import Bucket, PartitionBuckets
from tests.server.capacity import Capacity
from tests.server.client import table_request
from tests.server.index import Charge, EntryUnits, charge_indexes
from tests.server.limits import measure
from tests.server.schema import read_schema
from tests.server.throughput import Refusal, Throughput
from tests.server.usage import Usage, units_of, windows

ARN = "arn:tab"
# Far from 0, as a real clock is: there sums of small times lose the most.
NOW = 3_000_000.0


def throughput(**capacity: Any) -> Throughput:
    return Throughput(Capacity(**capacity), ARN, None, NOW)


def fitting(buckets: Throughput, now: float, units: float = 1.0, tries: int = 10_000) -> int:
    """How many writes of one partition fit at that time."""
    buckets.begin(now)
    for count in range(tries):
        if buckets.take("a", units):
            return count
    return tries


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"table": 0}, "capacity of table"),
        ({"table": "5"}, "capacity of table"),
        ({"partition": -1}, "capacity of partition"),
        ({"index_partition": float("inf")}, "capacity of index_partition"),
        ({"account": True}, "capacity of account"),
        ({"indexes": {"by-city": None}}, "capacity of by-city"),
        ({"indexes": ["by-city"]}, "by name"),
        ({"burst": 0}, "burst"),
        ({"filled": 1.1}, "filled"),
        ({"on_demand_max": 1}, "on_demand_max"),
        ({"tabel": 5}, "no tabel"),
    ],
)
def test_a_capacity_that_makes_no_sense_is_refused(members: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Capacity.from_json(members)


def test_a_capacity_survives_the_way_to_the_server() -> None:
    capacity = Capacity(table=5, indexes={"by-city": 2.5}, partition=1_000, burst=300, filled=0.02)
    assert Capacity.from_json(orjson.loads(orjson.dumps(asdict(capacity)))) == capacity


def test_a_bucket_without_burst_holds_one_second() -> None:
    buckets = throughput(table=100)
    assert fitting(buckets, NOW) == 100
    assert fitting(buckets, NOW + 0.5) == 50
    assert fitting(buckets, NOW + 100) == 100


def test_a_burst_bucket_starts_as_full_as_it_is_said_and_saves_up_the_rest() -> None:
    buckets = throughput(table=100, burst=300, filled=0.02)
    assert fitting(buckets, NOW) == 600
    assert fitting(buckets, NOW + 1) == 100
    assert fitting(buckets, NOW + 1_000, tries=40_000) == 30_000


def test_a_write_larger_than_its_bucket_waits_until_it_is_full_and_leaves_a_debt() -> None:
    buckets = throughput(table=100)
    assert fitting(buckets, NOW, 400, tries=2) == 1
    for seconds, fits in ((2.9, 0), (3.5, 1)):
        buckets.begin(NOW + seconds)
        assert (not buckets.take("a", 1)) == bool(fits)
    buckets.begin(NOW + 3.9)
    assert buckets.take("a", 400)
    buckets.begin(NOW + 4.1)
    assert not buckets.take("a", 400)


def test_a_write_larger_than_a_partition_waits_until_it_is_full_and_leaves_a_debt() -> None:
    partitions = PartitionBuckets(100)
    assert partitions.has("a", 400, NOW)
    partitions.take("a", 400, NOW)
    assert not partitions.has("a", 1, NOW + 2.99)
    assert partitions.has("a", 50, NOW + 3.5)
    assert not partitions.has("a", 400, NOW + 3.5)
    assert partitions.has("a", 400, NOW + 4)


def test_a_partition_takes_a_second_of_small_writes_and_not_one_more() -> None:
    partitions = PartitionBuckets(1_000)
    for _ in range(1_000):
        assert partitions.has("a", 1, NOW)
        partitions.take("a", 1, NOW)
    assert not partitions.has("a", 1, NOW)
    assert partitions.has("b", 1_000, NOW)
    assert partitions.has("a", 500, NOW + 0.5)
    assert not partitions.has("a", 501, NOW + 0.5)


def test_a_partition_saves_up_no_more_than_a_second() -> None:
    partitions = PartitionBuckets(1_000)
    partitions.take("a", 1, NOW)
    partitions.take("a", 1_000, NOW + 100)
    assert not partitions.has("a", 1, NOW + 100)


def test_partitions_that_are_full_again_are_forgotten() -> None:
    partitions = PartitionBuckets(1_000)
    partitions.take("slow", 1_000_000, NOW)
    for number in range(300_000):
        partitions.take(number, 1, NOW + number / 40_000)
    assert len(partitions) <= 10_001
    assert not partitions.has("slow", 1, NOW + 8)


def test_partitions_that_are_not_full_are_all_remembered() -> None:
    partitions = PartitionBuckets(1)
    for number in range(50_000):
        partitions.take(number, 1, NOW)
    assert len(partitions) == 50_000


@pytest.mark.parametrize(
    ("spent", "rate", "now_there"), [(0, 400, 100), (80, 400, 20), (0, 10, 10), (80, 10, 10)]
)
def test_another_rate_keeps_what_is_in_a_bucket_as_far_as_it_fits(
    spent: int, rate: int, now_there: int
) -> None:
    buckets = throughput(table=100, partition=1_000_000)
    assert not buckets.take("a", spent)
    buckets.set(Capacity(table=rate, partition=1_000_000), None, NOW)
    assert fitting(buckets, NOW) == now_there
    assert fitting(buckets, NOW + 0.5) == rate / 2


@pytest.mark.parametrize(("rate", "now_there"), [(400, 20), (10, 10)])
def test_another_rate_keeps_what_is_in_a_partition_as_far_as_it_fits(rate: int, now_there: int) -> None:
    buckets = throughput(partition=100)
    assert not buckets.take("a", 80)
    buckets.set(Capacity(partition=rate), None, NOW)
    assert fitting(buckets, NOW) == now_there
    assert fitting(buckets, NOW + 0.5) == rate / 2


@pytest.mark.parametrize(("rate", "now_there"), [(400, 20), (10, 10)])
def test_another_rate_keeps_what_is_in_a_partition_of_an_index_too(rate: int, now_there: int) -> None:
    def entries(units: int) -> list[EntryUnits]:
        return [EntryUnits("by-city", ("x",), units)]

    buckets = throughput(index_partition=100)
    assert not buckets.take("a", 1, {"by-city": 80}, entries(80))
    buckets.set(Capacity(index_partition=rate), None, NOW)
    fits = 0
    while not buckets.take("a", 1, {"by-city": 1}, entries(1)):
        fits += 1
    assert fits == now_there


def test_the_account_takes_the_units_of_indexes_too() -> None:
    buckets = Throughput(Capacity(account=10), ARN, Bucket(10, 10, 9, NOW), NOW)
    assert buckets.take("a", 5, {"by-city": 5}) == [("TableWriteAccountLimitExceeded", ARN)]
    assert not buckets.take("a", 5, {"by-city": 4})
    assert buckets.take("a", 1) == [("TableWriteAccountLimitExceeded", ARN)]


def test_a_debt_outlives_another_rate() -> None:
    bucket = Bucket(100, 100, -300, NOW)
    bucket.resize(1_000, 1_000, NOW)
    bucket.refill(NOW + 0.2)
    assert not bucket.has(1)
    bucket.refill(NOW + 0.5)
    assert bucket.has(100)


def test_nothing_is_taken_from_any_bucket_when_one_refuses() -> None:
    buckets = throughput(table=100, indexes={"by-city": 1}, partition=50, index_partition=50)
    entries = [EntryUnits("by-city", ("x",), 1)]
    assert not buckets.take("a", 1, {"by-city": 1}, entries)
    for _ in range(500):
        assert buckets.take("a", 1, {"by-city": 1}, entries)
    assert fitting(buckets, NOW) == 49
    # The second of these writes was in another partition, so the table has 50 left.
    assert not buckets.take("b", 50)
    assert buckets.take("c", 1) == [Refusal("TableWriteProvisionedThroughputExceeded", ARN)]


def test_every_bucket_that_refuses_is_named() -> None:
    account = Bucket(10, 10, 10, NOW)
    capacity = Capacity(table=1, indexes={"by-city": 1}, partition=1, index_partition=1, account=10)
    buckets = Throughput(capacity, ARN, account, NOW)
    entries = [EntryUnits("by-city", ("x",), 20)]
    assert not buckets.take("a", 20, {"by-city": 20}, entries)
    refused = buckets.take("a", 1, {"by-city": 1}, entries)
    assert refused == [
        ("TableWriteProvisionedThroughputExceeded", ARN),
        ("TableWriteAccountLimitExceeded", ARN),
        ("TableWriteKeyRangeThroughputExceeded", ARN),
        ("IndexWriteProvisionedThroughputExceeded", f"{ARN}/index/by-city"),
        ("IndexWriteKeyRangeThroughputExceeded", f"{ARN}/index/by-city"),
    ]
    assert buckets.spent(refused) == refused[:2]


def test_the_maximum_of_an_on_demand_table_is_named_in_place_of_a_provisioned_one() -> None:
    buckets = throughput(table=1, indexes={"by-city": 1}, filled=0, on_demand_max=True)
    assert [refusal.reason for refusal in buckets.take("a", 1, {"by-city": 1})] == [
        "TableWriteMaxOnDemandThroughputExceeded",
        "IndexWriteMaxOnDemandThroughputExceeded",
    ]


def test_an_entry_that_moves_is_charged_to_both_its_partitions() -> None:
    schema = read_schema(
        table_request("tab", "pk:S,sk:S", gsis={"by-city": "city:S,age:S"}, lsis={"by-age": "age:S"})
    )

    def item(city: str, age: str, text: str = "") -> dict[str, Any]:
        return {name: {"S": of} for name, of in (("pk", "a"), ("city", city), ("age", age), ("text", text))}

    for old, new, units in (
        (None, item("x", "1"), [("x", 1)]),
        (item("x", "1"), None, [("x", 1)]),
        (item("x", "1"), item("y", "1", "t" * 2_000), [("x", 1), ("y", 2)]),
        (item("x", "1"), item("x", "2", "t" * 2_000), [("x", 3)]),
        (item("x", "1"), item("x", "1"), []),
    ):
        entries = charge_indexes(schema, old, new, measure(new) if new else 0, Charge())
        assert entries == [EntryUnits("by-city", (city,), of) for city, of in units]


# --- usage --------------------------------------------------------------------------------------


def test_windows_are_those_that_lie_inside_the_series() -> None:
    units = [(tenth / 10, float(tenth)) for tenth in range(5)]
    assert windows(units, 0.3) == [3, 6, 9]
    assert windows(units, 0.5) == [10]
    assert windows(units, 0.6) == []
    assert windows([], 10) == []
    with pytest.raises(ValueError, match="tenth"):
        windows(units, 0.01)


def test_units_of_tenths_without_any_are_zero() -> None:
    timeline = [(21, 5, {}), (18, 1, {"by-city": 2, "by-age": 4})]
    assert units_of(timeline) == [(1.8, 7), (1.9, 0), (2.0, 0), (2.1, 5)]
    assert units_of([]) == []


def test_of_very_many_refused_keys_the_most_refused_stay() -> None:
    usage = Usage()
    refused = [Refusal("TableWriteProvisionedThroughputExceeded", ARN)]
    for number in range(60_000):
        usage.count_refused(f"once {number}", refused)
        if number % 3 == 0:
            usage.count_refused("hot", refused)
    told = usage.as_json()["refused_by_partition"]
    assert told[0] == ("hot", 20_000)
    assert len(told) == 100
    assert len(usage.refused_keys) <= 20_000
    assert usage.refused == 80_000


def test_the_timeline_is_bounded() -> None:
    usage = Usage()
    for tenth in range(20_000):
        usage.count_accepted(1, Charge(1), tenth / 10 + 0.05)
    timeline = usage.as_json()["units_timeline"]
    assert len(timeline) == 6_000
    assert timeline[-1] == (19_999, 1, {})
