"""Real files against dynalite, a strict server that is not ours: every item compared."""

import math
from pathlib import Path
from typing import Any

import pytest

from loader.config import ConnectionConfig
from loader.decisions.wire import Reply
from loader.edges.clients import open_session
from loader.edges.table import scan
from tests.loads import as_table, expected, load
from tests.server.client import table_request


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def create(endpoint: str, name: str, key: str) -> None:
    with open_session(ConnectionConfig(endpoint_url=endpoint)).factory(1).table_client() as client:
        reply = client.call("CreateTable", table_request(name, key))
        assert isinstance(reply, Reply)
        assert reply.status == 200, reply.body


def table(endpoint: str, name: str, key: list[str]) -> dict[Any, Any]:
    with open_session(ConnectionConfig(endpoint_url=endpoint)).factory(1).table_client() as client:
        return as_table((item for page in scan(client, name, 0, 1) for item in page), key)


def test_airports(dynalite: str, airports_csv: Path) -> None:
    create(dynalite, "airports", "icao:S")

    summary = load(dynalite, "airports", airports_csv, workers=2, threads=8)

    text = airports_csv.read_text(encoding="utf-8")
    assert (summary.counts.rows, summary.counts.rejected) == (28_298, 0)
    assert table(dynalite, "airports", ["icao"]) == expected(text, ["icao"])


def test_zipcodes_keep_their_leading_zeros(dynalite: str, zipcodes_csv: Path) -> None:
    create(dynalite, "zipcodes", "zip_code:S")

    summary = load(dynalite, "zipcodes", zipcodes_csv, workers=2, threads=8)

    text = zipcodes_csv.read_text(encoding="utf-8")
    found = table(dynalite, "zipcodes", ["zip_code"])
    assert (summary.counts.rows, summary.counts.rejected) == (42_049, 0)
    assert found == expected(text, ["zip_code"])
    assert sum(key[0].startswith("0") for key in found) == 3_256


@pytest.mark.parametrize(("workers", "windows"), [(1, 1), (2, 5), (4, 5)])
def test_flights_leave_the_last_row_of_each_key(
    dynalite: str, flights_csv: Path, workers: int, windows: int
) -> None:
    name = f"flights-{workers}-{windows}"
    create(dynalite, name, "carrier:S,time_hour:S")

    summary = load(
        dynalite,
        name,
        flights_csv,
        workers=workers,
        threads=8,
        window_size=math.ceil(flights_csv.stat().st_size / windows),
    )

    assert (summary.counts.rows, summary.counts.rejected) == (336_776, 0)
    key = ["carrier", "time_hour"]
    assert table(dynalite, name, key) == expected(flights_csv.read_text(encoding="utf-8"), key)
