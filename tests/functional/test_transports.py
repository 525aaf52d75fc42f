"""Whole loads through either transport: what the workers import, and the same table at the end."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.engines.coordinator import Stop
from tests.functional.test_real_files import create, table
from tests.loads import as_table, expected, load, write_csv
from tests.server.client import Server, start
from tests.server.faults import FaultPlan

TRANSPORTS = pytest.mark.parametrize("transport", ["fast", "boto3"])
ROWS = [["id", "name", "age"], *([f"k{n % 900}", f"nämé {n} €", str(n)] for n in range(1000))]

NOTE_IMPORTS = """
import atexit, os, sys

def note():
    with open(os.path.join({folder!r}, str(os.getpid())), "w") as file:
        file.write("\\n".join(sys.modules))

atexit.register(note)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@pytest.fixture
def path(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    server.reset()
    server.create_table("people", "id:S")
    monkeypatch.chdir(tmp_path)
    return write_csv(tmp_path / "people.csv", ROWS)


class Imports:
    """What each worker process had imported when it ended."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "imported"
        self._folder.mkdir()
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(NOTE_IMPORTS.format(folder=str(self._folder)))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, sys.path)]))

    def of_workers(self) -> list[set[str]]:
        imported = [set(path.read_text().splitlines()) for path in self._folder.iterdir()]
        return [names for names in imported if "loader.engines.worker" in names]


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imports:
    return Imports(tmp_path, monkeypatch)


def test_workers_do_without_boto3_where_nothing_is_unusual(
    server: Server, path: Path, imports: Imports
) -> None:
    faults = FaultPlan(throttle_share=0.1, error500_share=0.1, unprocessed_share=0.1, html200_share=0.05)
    server.set_faults(faults)
    summary = load(server.endpoint, "people", path, workers=2)
    assert summary.complete
    workers = imports.of_workers()
    assert len(workers) == 2
    for names in workers:
        assert not {name.partition(".")[0] for name in names} & {"boto3", "botocore", "urllib3"}


def test_workers_have_boto3_where_it_is_asked_for(server: Server, path: Path, imports: Imports) -> None:
    server.set_faults(FaultPlan())
    assert load(server.endpoint, "people", path, transport="boto3").complete
    (names,) = imports.of_workers()
    assert {"boto3", "botocore"} <= names


def test_workers_have_boto3_after_a_fault(server: Server, path: Path, imports: Imports) -> None:
    # Of more requests than senders at least one is a second try, which is boto3's.
    server.set_faults(FaultPlan(reset_before_share=1.0))
    over = threading.Event()

    def mend() -> None:
        while server.stats()["requests"].get("BatchWriteItem", 0) <= 4 and not over.is_set():
            time.sleep(0.01)
        server.set_faults(FaultPlan())

    mender = threading.Thread(target=mend)
    mender.start()
    try:
        assert load(server.endpoint, "people", path, threads=4).complete
    finally:
        over.set()
        mender.join()
    (names,) = imports.of_workers()
    assert {"boto3", "botocore"} <= names


@TRANSPORTS
@pytest.mark.parametrize("faulty", [False, True], ids=["clean", "faulty"])
def test_the_table_is_the_same_with_either(transport: str, faulty: bool, server: Server, path: Path) -> None:
    plan = FaultPlan()
    if faulty:
        plan = FaultPlan(
            throttle_share=0.1,
            unprocessed_share=0.2,
            error500_share=0.05,
            reset_before_share=0.05,
            reset_after_share=0.05,
            cut_reply_share=0.05,
            html200_share=0.05,
            wrong_crc_share=0.05,
        )
    server.set_faults(plan)

    summary = load(server.endpoint, "people", path, workers=2, transport=transport)

    assert summary.complete
    assert (summary.counts.rows, summary.counts.duplicates, summary.counts.rejected) == (1000, 100, 0)
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])
    assert server.stats()["violations"] == []


@TRANSPORTS
def test_the_table_is_the_same_with_either_on_moto(transport: str, path: Path, moto: str) -> None:
    load_and_compare(moto, transport, path)


@TRANSPORTS
def test_the_table_is_the_same_with_either_on_dynalite(transport: str, path: Path, dynalite: str) -> None:
    load_and_compare(dynalite, transport, path)


def load_and_compare(endpoint: str, transport: str, path: Path) -> None:
    name = f"people-{transport}"
    create(endpoint, name, "id:S")

    summary = load(endpoint, name, path, workers=2, transport=transport)

    assert (summary.complete, summary.counts.rejected) == (True, 0)
    assert table(endpoint, name, ["id"]) == expected(path.read_text(), ["id"])


def test_a_load_through_a_proxy_goes_through_boto3_and_says_so_once(
    server: Server,
    path: Path,
    imports: Imports,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The server is its own proxy; asked for a whole URL it cannot compare a signature, so it knows no key.
    monkeypatch.setenv("HTTP_PROXY", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "proxied")
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.set_faults(FaultPlan())

    with caplog.at_level(logging.INFO, "loader"):
        assert load(server.endpoint, "people", path, workers=2).complete

    told = [record.getMessage() for record in caplog.records if "through boto3" in record.getMessage()]
    assert told == ["Batches go through boto3: a proxy is configured for the endpoint."]
    assert all("botocore" in names for names in imports.of_workers())
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])


@pytest.mark.parametrize(("first", "second"), [("fast", "boto3"), ("boto3", "fast")])
def test_an_interrupted_load_can_be_continued_with_the_other_transport(
    first: str, second: str, server: Server, path: Path
) -> None:
    server.set_faults(FaultPlan(latency_ms=30))
    stop = Stop()

    def watch() -> None:
        while server.stats()["requests"].get("BatchWriteItem", 0) < 10 and stop.requested is None:
            time.sleep(0.01)
        stop.request("SIGINT")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        begun = load(
            server.endpoint, "people", path, stop=stop, threads=2, shard_records=100, transport=first
        )
    finally:
        stop.request("over")
        watcher.join()
    assert not begun.complete

    done = load(server.endpoint, "people", path, transport=second)

    assert (done.complete, done.counts.rows) == (True, 1000)
    assert done.resumed > 0
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])
