"""Loads that a table takes only at its own pace: the summary names what held them up."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from loader.capacity import Limit, LimitKind
from loader.decisions.limits import sentence
from loader.model import Summary
from tests.loads import load, write_csv
from tests.server.capacity import Capacity
from tests.server.client import Server, start

HOT = ("hot one", "hot two")
TEXT = "x" * 40_000
ITEM_UNITS = 40
"""Of an item with that text: what takes 400 units a second refuses it, even alone, while it is used up."""
ROWS = 16


@pytest.fixture
def server() -> Iterator[Server]:
    with start() as made:
        yield made


def file_of(path: Path, rows: Sequence[tuple[str, ...]]) -> Path:
    return write_csv(path / "rows.csv", [("id", "n", "city", "text")[: len(rows[0])], *rows])


def spread(count: int) -> list[tuple[str, str, str]]:
    """Each row in a partition of its own, of the table and of the index."""
    return [(f"id{n}", str(n), f"city{n}") for n in range(count)]


def large(count: int) -> list[tuple[str, ...]]:
    return [(*row, TEXT) for row in spread(count)]


def loaded(server: Server, path: Path, rows: Sequence[tuple[str, ...]]) -> Summary:
    """Into the table `cities`, whole, however often that refuses."""
    summary = load(server.endpoint, "cities", file_of(path, rows), workers=2)
    assert (summary.complete, summary.counts.written) == (True, len(rows))
    assert len(server.items("cities")) == len(rows)
    return summary


def first_limit(summary: Summary) -> Limit:
    assert summary.counts.throttled + summary.counts.unprocessed > 0
    return summary.limits[0]


def test_a_load_limited_by_the_table(server: Server, tmp_path: Path) -> None:
    server.create_table("cities", "id:S,n:S", gsis={"by_city": "city:S"})
    server.set_capacity("cities", Capacity(table=400, filled=0.25))
    limit = first_limit(loaded(server, tmp_path, large(ROWS)))
    assert (limit.kind, limit.index, limit.keys) == (LimitKind.TABLE, "", ())
    assert sentence(limit) == "the write capacity of the table"


def test_a_load_limited_by_an_index_s_own_capacity(server: Server, tmp_path: Path) -> None:
    server.create_table("cities", "id:S,n:S", gsis={"by_city": "city:S", "by_n": "n:S"})
    indexes = {"by_city": 400, "by_n": 20_000}
    server.set_capacity("cities", Capacity(table=20_000, indexes=indexes, filled=0.25))
    summary = loaded(server, tmp_path, large(ROWS))
    limit = first_limit(summary)
    assert (limit.kind, limit.index) == (LimitKind.INDEX, "by_city")
    assert sentence(limit) == "index by_city: its own write capacity"
    # All was charged for once, and what of it the indexes took is told apart.
    units = ROWS * ITEM_UNITS
    assert summary.index_units == {"by_city": units, "by_n": units}
    assert summary.counts.write_units == 3 * units


def test_a_load_limited_by_key_ranges_of_the_table_names_the_hot_keys(server: Server, tmp_path: Path) -> None:
    server.create_table("cities", "id:S,n:S")
    server.set_capacity("cities", Capacity(partition=400))
    # Smaller ones, of which more are refused.
    hot = [(HOT[n % 2], str(n), "x", TEXT[:20_000]) for n in range(76)]
    cold = [(*row, "") for row in spread(800)]
    summary = loaded(server, tmp_path, [*cold, *hot])
    limit = first_limit(summary)
    assert (limit.kind, limit.index) == (LimitKind.KEY_RANGE, "")
    assert sorted(key for key, _ in limit.keys[:2]) == sorted(HOT)
    assert all(count > 10 for _, count in limit.keys[:2])
    assert "refused most: hot " in sentence(limit)


def test_a_load_limited_by_a_key_range_of_an_index_names_its_hot_key(server: Server, tmp_path: Path) -> None:
    server.create_table("cities", "id:S,n:S", gsis={"by_city": "city:S", "by_n": "n:S"})
    server.set_capacity("cities", Capacity(index_partition=400))
    paris = [(f"of Paris {n}", str(n), "Paris", TEXT) for n in range(16)]
    cold = [(*row, "") for row in spread(500)]
    limit = first_limit(loaded(server, tmp_path, [*cold, *paris]))
    assert (limit.kind, limit.index) == (LimitKind.KEY_RANGE, "by_city")
    assert limit.keys[0][0] == "Paris"
    assert sentence(limit).startswith("a key range of index by_city ")


def test_a_load_limited_by_the_maximum_of_an_on_demand_table(server: Server, tmp_path: Path) -> None:
    server.create_table("cities", "id:S,n:S")
    server.set_capacity("cities", Capacity(table=400, on_demand_max=True, filled=0.25))
    limit = first_limit(loaded(server, tmp_path, large(ROWS)))
    assert (limit.kind, limit.index) == (LimitKind.ON_DEMAND_MAXIMUM, "")


def test_a_load_limited_by_the_account(server: Server, tmp_path: Path) -> None:
    server.create_table("cities", "id:S,n:S")
    server.set_capacity("cities", Capacity(account=400))
    # That bucket begins full.
    limit = first_limit(loaded(server, tmp_path, large(ROWS + 2)))
    assert (limit.kind, limit.index) == (LimitKind.ACCOUNT, "")


def test_reasons_of_items_that_only_ever_stay_unprocessed_are_learned_by_asking(
    server: Server, tmp_path: Path
) -> None:
    """Where a hot key stands among others no batch is refused whole: only a single item tells why."""
    server.create_table("cities", "id:S,n:S")
    server.set_capacity("cities", Capacity(partition=200))
    hot = [("hot", str(n), "x", TEXT) for n in range(10)]
    cold = [(*row, "") for row in spread(3000)]
    limit = first_limit(loaded(server, tmp_path, [*cold, *hot]))
    assert (limit.kind, limit.keys[0][0]) == (LimitKind.KEY_RANGE, "hot")


def test_a_load_that_is_never_refused_has_no_limits(server: Server, tmp_path: Path) -> None:
    server.create_table("cities", "id:S,n:S", gsis={"by_city": "city:S"})
    summary = loaded(server, tmp_path, spread(200))
    assert summary.limits == ()
    assert summary.index_units == {"by_city": 200}
