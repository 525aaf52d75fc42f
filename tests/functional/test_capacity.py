"""How a load uses the capacity of a table: a slice of perf.capacity, and how that works out its figures."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perf import capacity, capacity_cases, harness
from perf.capacity_cases import SIZES, SMALL, steady_figures
from perf.capacity_inputs import by_partition, unique, units_of
from perf.capacity_loads import INDEX, TABLE, Kind, Seen, load, loader, table
from perf.capacity_watch import Watch, index_units, rates, seconds_until, span, taken
from tests.server.capacity import Capacity

UNITS = 1_000
STEP = [(at / 10, 10.0 if at < 30 else 40.0) for at in range(60)]
"""100 units a second for three seconds, then 400 for three."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is taken from the machine's own, and nothing left there."""
    folder = tmp_path_factory.mktemp("perf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDBLOAD_PERF_CACHE", str(folder))
        yield folder


# --- loads ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loads(cache: Path) -> dict[bool, Seen]:
    """Of a table whose capacity is known, and of one of which it is not; beside each other, to save time."""
    # With little saved up a load meets the ceiling at once.
    capacity, rows = Capacity(table=UNITS, burst=0.3), unique(4 * UNITS, SMALL)
    kinds = Kind(capacity, UNITS), Kind(capacity)
    with ThreadPoolExecutor(2) as pool:
        known, unknown = pool.map(lambda kind: load(kind, rows, loader("--workers", "2")), kinds)
    return {True: known, False: unknown}


@pytest.mark.parametrize("known", [True, False], ids=["known", "not_known"])
def test_a_load_uses_what_a_table_takes_and_is_hardly_refused(known: bool, loads: dict[bool, Seen]) -> None:
    seen = loads[known]
    # Where the machine is busy, it is a second until it is seen how far the first rise went too high.
    found = steady_figures(seen, seen.units, UNITS, begin=1.75, end=0.5)
    assert seen.lost == 0
    assert found["measured"] > 1.5
    # Less is used where other programs take the cores; half of it would be a pace that is wrong.
    assert 0.7 <= found["use"] <= 1.05
    assert found["refused"] < 0.10


def test_a_cap_holds_for_all_workers_and_the_index_from_the_first_second_on() -> None:
    # Windows of 3 s are more than those of 10 s that the promise is about.
    found = capacity_cases.cap(3.4, units=UNITS, workers=4, window=3.0)
    assert found["lost"] == 0
    assert found["worst"] <= 1.05 * UNITS
    assert found["first"] >= 0.85 * UNITS


# --- what is loaded -------------------------------------------------------------------------------


def test_items_cost_what_their_size_says() -> None:
    rows = unique(30, SIZES["10 KB"])
    assert rows.item_units == 10
    seen = load(Kind(Capacity()), rows, loader("--workers", "1"))
    assert sum(units for _, units in seen.units) == rows.count * rows.item_units
    _, *records = rows.path.read_text().splitlines(keepends=True)
    assert {len(record) for record in records} == {rows.record_bytes}


def test_the_largest_item_is_as_large_as_one_can_be() -> None:
    assert [units_of(size) for size in SIZES.values()] == [1, 1, 10, 100, 400]
    rows = unique(2, SIZES["400 KB"])
    header, first, second = rows.path.read_text().splitlines()
    assert {len(line) + 1 for line in (first, second)} == {rows.record_bytes}
    assert len(header.replace(",", "")) + len(first.replace(",", "")) == 409_600


def test_a_sorted_file_has_as_many_rows_of_each_key() -> None:
    rows = by_partition(4, 3, 225)
    with rows.path.open() as file:
        next(file)
        lines = list(file)
    assert [line.split(",")[0] for line in lines] == [f"key{key:05d}" for key in range(4) for _ in range(3)]
    assert {len(line) for line in lines} == {rows.record_bytes}


def test_files_of_different_parts_have_no_key_in_common() -> None:
    lines = [line for part in (0, 1) for line in unique(500, 225, part).path.read_text().splitlines()]
    assert len({line.split(",")[0] for line in lines}) == 1_001, "500 each, and the header twice"


def test_a_table_that_is_not_known_says_nothing_of_its_capacity() -> None:
    with table(Kind(Capacity(table=10), indexed=True)) as server:
        told = server.call("DescribeTable", {"TableName": TABLE})["Table"]
    for each in (told, told["GlobalSecondaryIndexes"][0]):
        assert each["ProvisionedThroughput"]["WriteCapacityUnits"] == 0
        assert each["WarmThroughput"]["WriteUnitsPerSecond"] == 0
        assert "OnDemandThroughput" not in each


# --- what is made of it ---------------------------------------------------------------------------


def test_what_was_taken_counts_parts_of_a_tenth() -> None:
    assert taken(STEP, 0.0, 6.0) == pytest.approx(1_500)
    assert taken(STEP, 2.95, 3.05) == pytest.approx(5 + 20)
    assert taken(STEP, 7.0, 9.0) == 0


def test_a_load_spans_its_first_and_last_written_tenth() -> None:
    assert span([(0.0, 0.0), (0.1, 5.0), (0.2, 0.0), (0.3, 1.0), (0.4, 0.0)]) == pytest.approx((0.1, 0.4))


def test_the_rate_is_that_of_the_last_second() -> None:
    measured = dict(rates(STEP))
    assert [round(rate) for rate in list(measured.values())[:21]] == [100] * 21
    reached = seconds_until(rates(STEP), 3.0, lambda _, rate: rate >= 360)
    assert reached == pytest.approx(0.9)
    assert seconds_until(rates(STEP), 3.0, lambda _, rate: rate > 400.5) is None


def test_the_units_of_an_index_are_told_alone() -> None:
    timeline = [(10, 5.0, {INDEX: 3.0, "other": 9.0}), (12, 5.0, {})]
    assert index_units(timeline, INDEX) == [(1.0, 3.0), (1.1, 0.0), (1.2, 0.0)]


def test_what_was_refused_is_a_share_of_what_was_sent_meanwhile() -> None:
    with table(Kind(Capacity(table=5, filled=1.0))) as server:
        watch = Watch(server, TABLE)
        with watch:
            pass
        put = {"PutRequest": {"Item": {"id": {"S": "x"}}}}
        puts = [{"PutRequest": {"Item": {"id": {"S": str(number)}}}} for number in range(19)]
        server.call("BatchWriteItem", {"RequestItems": {TABLE: [put, *puts]}})
        before = watch.glances[-1].at
        with watch:
            pass
        after = watch.glances[-1]
    assert (after.accepted, after.refused) == (5, 15)
    assert watch.refused_share(before, after.at) == 0.75
    assert watch.refused_share(after.at, after.at) == 0


def test_a_load_too_short_for_a_steady_state_is_refused() -> None:
    with table(Kind(Capacity())) as server:
        seen = Seen({}, STEP, (), Watch(server, TABLE), 0)
    with pytest.raises(SystemExit, match="too short"):
        steady_figures(seen, STEP, UNITS)


# --- the command ----------------------------------------------------------------------------------


def figures(group: str, **known: float) -> dict[str, float]:
    return {column.name: 0.5 for column in capacity.COLUMNS[group]} | known


@pytest.mark.parametrize("group", capacity.GROUPS)
def test_every_group_has_cases_and_a_line_with_all_its_columns(group: str) -> None:
    columns = capacity.COLUMNS[group]
    for case in capacity.cases_of(group, 25.0):
        line = capacity.lines_of(case.told, columns, [figures(group)])
        assert line[0] == case.told
        assert len(line) == 1 + len(columns)


def test_a_line_has_medians_of_seconds_and_tells_of_a_server_that_was_ever_busy() -> None:
    found = [figures("steps", up=up, server=up / 3) for up in (1.0, 4.0, 2.0)]
    line = capacity.lines_of("steps", capacity.COLUMNS["steps"], found)
    assert line[:2] == ("steps (server busy)", "2.0")
    never = [figures("steps", up=math.inf)]
    assert capacity.lines_of("steps", capacity.COLUMNS["steps"], never)[:2] == ("steps", "never")


@pytest.mark.parametrize("group", capacity.GROUPS)
def test_what_is_promised_is_told_of_the_worst_pass(group: str) -> None:
    """A share of the capacity that was not had once is not promised, nor a cap that did not hold once."""
    columns = capacity.COLUMNS[group]
    found = [{column.name: of for column in columns} for of in (0.25, 0.75, 0.5)]
    line = capacity.lines_of(group, columns, found)[1:]
    most = {"refused", "refused_ever", "worst", "lost", "failed", "server"}
    middle = {"up", "down", "measured", "rows", "named"}
    for column, told in zip(columns, line, strict=True):
        of = 0.75 if column.name in most else 0.5 if column.name in middle else 0.25
        assert told == column.written(of), column.name


def test_the_stock_pool_writes_every_row_of_a_table_that_takes_all() -> None:
    contender = harness.program("batch_writer_pool", "batch_writer")
    seen = load(Kind(Capacity()), unique(1_000, SMALL), contender, keeps_items=True)
    assert seen.lost == 0
    assert seen.told == {"failed": 0, "errors": {}}
