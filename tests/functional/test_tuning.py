"""What a load finds out by itself: how many senders, which core for a worker, how many workers to feed."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from loader.capacity import Flow
from loader.config import RECORD_LIMIT
from loader.decisions.senders import FIRST, MOST
from loader.decisions.wire import Reply
from loader.edges import machine
from loader.edges.table import describe
from loader.engines.coordinator import Stop
from loader.engines.tuner import INTERVAL, Tuner
from tests.loads import load, write_csv
from tests.server.client import ROOT, Server, start
from tests.server.faults import FaultPlan

several_cores = pytest.mark.skipif(len(machine.cores()) < 2, reason="there is one core alone to be on")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start(count_only=True) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset()
    server.create_table("people", "id:S")
    monkeypatch.chdir(tmp_path)


def rows(path: Path, count: int, width: int = 1) -> Path:
    return write_csv(path, [["id", "v"], *([f"k{n}", "x" * width] for n in range(count))])


# --- senders ------------------------------------------------------------------------------------


def test_senders_are_added_while_answers_are_slow(server: Server, tmp_path: Path) -> None:
    server.set_faults(FaultPlan(latency_ms=100))
    path = rows(tmp_path / "people.csv", 12_000)
    summary = load(server.endpoint, "people", path, threads=None)
    assert summary.counts.written == 12_000
    assert FIRST < summary.threads <= MOST


def test_a_number_of_senders_that_is_given_stays(server: Server, tmp_path: Path) -> None:
    server.set_faults(FaultPlan(latency_ms=100))
    summary = load(server.endpoint, "people", rows(tmp_path / "people.csv", 1_500), threads=5)
    assert (summary.counts.written, summary.threads) == (1_500, 5)


class Pool:
    """Senders that are only counted, and have as much to do as one likes."""

    def __init__(self, disturbances: int = 0) -> None:
        self.sizes: list[int] = []
        self.resized = threading.Event()
        self.disturbances = disturbances

    def resize(self, senders: int) -> None:
        self.sizes.append(senders)
        self.resized.set()

    def waiting(self) -> bool:
        return True


def tune(flow: Callable[[], Flow], *, adapts: bool, disturbances: int = 0) -> list[int]:
    pool = Pool(disturbances)
    failures: list[BaseException] = []
    tuner = Tuner(pool, flow, failures.append, adapts=adapts, core=None, cores=())
    tuner.start()
    pool.resized.wait(8 * INTERVAL)
    tuner.close()
    assert failures == []
    return pool.sizes


def rising() -> Callable[[], Flow]:
    began = time.monotonic()
    return lambda: Flow(written=int(1e5 * (time.monotonic() - began)))


def test_a_worker_whose_batches_wait_for_senders_has_more() -> None:
    assert tune(rising(), adapts=True)[0] == 2 * FIRST


def test_a_worker_whose_batches_wait_for_their_share_has_not() -> None:
    written = rising()
    assert tune(lambda: written() + Flow(held=time.monotonic() / 2), adapts=True) == []


def test_what_comes_out_of_an_outage_changes_nothing() -> None:
    assert tune(rising(), adapts=True, disturbances=1) == []


def test_a_worker_that_does_not_adapt_is_left_alone() -> None:
    assert tune(lambda: Flow(int(1e6 * time.monotonic())), adapts=False) == []


# --- cores --------------------------------------------------------------------------------------


def cores_of(pid: int) -> set[int]:
    threads = os.listdir(f"/proc/{pid}/task")
    return {core for thread in threads for core in os.sched_getaffinity(int(thread))}


@several_cores
def test_each_worker_keeps_to_a_core_of_its_own(server: Server, tmp_path: Path) -> None:
    server.set_faults(FaultPlan(latency_ms=50))
    path = rows(tmp_path / "people.csv", 6_000)
    stop, seen = Stop(), list[set[int]]()

    def look() -> None:
        # One may still be starting when the other writes.
        while len(seen) < 2 or max(map(len, seen)) > 1:
            time.sleep(0.05)
            seen[:] = [cores_of(process.pid) for process in multiprocessing.active_children() if process.pid]
        stop.request("seen enough")

    watcher = threading.Thread(target=look)
    watcher.start()
    load(server.endpoint, "people", path, workers=2, stop=stop)
    watcher.join()
    first, second = seen
    assert len(first) == len(second) == 1
    assert first != second, "both on one core"


@several_cores
def test_a_process_moves_with_all_its_threads() -> None:
    core = machine.cores()[1]
    program = f"""
import os, threading
from loader.edges import machine
done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
assert machine.stay_on({core})
print(sorted(core for thread in os.listdir("/proc/self/task") for core in os.sched_getaffinity(int(thread))))
done.set()
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip() == str([core, core])


def test_a_core_that_there_is_not_is_refused() -> None:
    assert not machine.stay_on(1 << 20)


def test_work_shows_on_the_cores() -> None:
    before, began = machine.busy_seconds(), time.process_time()
    while time.process_time() - began < 0.3:
        pass
    after = machine.busy_seconds()
    assert set(machine.cores()) <= set(after) == set(before)
    assert sum(after.values()) - sum(before.values()) > 0.2


# --- workers ------------------------------------------------------------------------------------


@several_cores
def test_a_small_table_gets_no_more_workers_than_it_can_feed(server: Server, tmp_path: Path) -> None:
    server.create_table("small", "id:S", write_units=1_000)
    path = rows(tmp_path / "people.csv", 1_200, width=2_000)
    assert path.stat().st_size > 2 << 20 and RECORD_LIMIT > 2_000

    found = {table: load(server.endpoint, table, path, workers=None).workers for table in ("small", "people")}

    assert found == {"small": 1, "people": 2}


class Described:
    """A client that describes an on-demand table."""

    region = "us-east-1"
    endpoint = "http://127.0.0.1:1"

    def __init__(self, throughput: dict[str, int]) -> None:
        self._throughput = throughput

    def call(self, operation: str, request: object) -> Reply:
        table = {
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "OnDemandThroughput": self._throughput,
        }
        return Reply(200, {}, orjson.dumps({"Table": table}))


@pytest.mark.parametrize(
    ("throughput", "limit"),
    [({"MaxWriteRequestUnits": 5_000}, 5_000), ({"MaxWriteRequestUnits": -1}, None), ({}, None)],
)
def test_the_limit_of_an_on_demand_table(throughput: dict[str, int], limit: int | None) -> None:
    assert describe(Described(throughput), "people").capacity.maximum == limit
