"""Worker processes that die, sources that change: noticed, and nothing is lost or counted twice."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loader.errors import RecordTooLarge, SourceChanged, Stalled, WorkerFailed
from tests.loads import as_table, expected, load, write_csv
from tests.server.client import Server, start
from tests.server.faults import FaultPlan


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset()
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(latency_ms=20))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_csv(
        tmp_path / "people.csv", [["id", "age"], *([f"k{n % 2500}", str(n)] for n in range(3000))]
    )


def meanwhile(server: Server, requests: int, act: Callable[[], None]) -> threading.Thread:
    """Calls `act` once so many requests were answered."""

    def watch() -> None:
        while server.stats()["requests"].get("BatchWriteItem", 0) < requests:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def kill_a_worker() -> None:
    os.kill(next(p.pid for p in multiprocessing.active_children() if p.pid), signal.SIGKILL)


def test_a_worker_that_is_killed_is_replaced(server: Server, path: Path) -> None:
    killer = meanwhile(server, 30, kill_a_worker)

    summary = load(server.endpoint, "people", path, workers=2, shard_records=100, window_size=20_000)
    killer.join()

    assert (summary.complete, summary.counts.rows) == (True, 3000)
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])


def test_workers_that_die_again_and_again_stop_the_load(server: Server, path: Path) -> None:
    server.set_faults(FaultPlan(latency_ms=3000))
    over = threading.Event()

    def kill_all() -> None:
        while not over.wait(0.05):
            for process in multiprocessing.active_children():
                if process.pid and process.is_alive() and server.stats()["connections_open"] > 1:
                    process.kill()

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(WorkerFailed, match="shard"):
            load(server.endpoint, "people", path, workers=1, threads=1)
    finally:
        over.set()
        killer.join()


def test_a_file_that_shrinks_ends_the_load(server: Server, path: Path) -> None:
    cutter = meanwhile(server, 20, lambda: os.truncate(path, 1000))

    with pytest.raises(SourceChanged, match=r"people\.csv"):
        load(server.endpoint, "people", path, shard_records=100)
    cutter.join()


def test_a_file_that_grows_ends_the_load(server: Server, path: Path) -> None:
    def grow() -> None:
        with path.open("a") as file:
            file.write("k9999,1\n")

    grower = meanwhile(server, 20, grow)

    with pytest.raises(SourceChanged, match=r"people\.csv"):
        load(server.endpoint, "people", path, shard_records=100)
    grower.join()


def test_a_record_over_the_limit_names_its_line(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.write(b'id,v\nk1,a\n"k2\nb",c\nk3,"')
        for _ in range(20):
            file.write(b"x" * (1 << 20))
        file.write(b"\nk4,d\n")

    with pytest.raises(RecordTooLarge, match=r"huge\.csv.*line 5 "):
        load(server.endpoint, "people", path)


def test_a_load_in_which_nothing_succeeds_is_given_up(server: Server, path: Path) -> None:
    server.set_faults(FaultPlan(throttle_share=1.0))
    began = time.monotonic()

    with pytest.raises(Stalled, match="--stall-timeout"):
        load(server.endpoint, "people", path, stall_timeout=2.0)

    assert time.monotonic() - began < 12
