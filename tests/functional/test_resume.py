"""Loads that were interrupted, killed or refused, and given again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.engines.coordinator import Stop
from loader.errors import BadState
from loader.model import Summary
from tests.loads import as_table, expected, load, rejected, write_csv
from tests.server.client import ROOT, Server, start
from tests.server.faults import FaultPlan

ROWS = 3000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start(log_writes=True) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset()
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(latency_ms=20))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Every fourth row repeats an earlier key, and every hundredth is bad."""
    body = [[f"k{n - n % 4 // 3}", "x" if n % 100 == 0 else str(n)] for n in range(ROWS)]
    return write_csv(tmp_path / "people.csv", [["id", "age"], *body])


OPTIONS: dict[str, Any] = {"types": {"age": "N"}, "shard_records": 100, "window_size": 16_000, "threads": 2}


def right(path: Path) -> object:
    return expected(path.read_text(), ["id"], {"age": "N"})


def interrupted(server: Server, path: Path, after: int, **options: Any) -> Summary:
    """Load until `after` requests were answered, then drain."""
    stop = Stop()

    def watch() -> None:
        while server.stats()["requests"].get("BatchWriteItem", 0) < after and stop.requested is None:
            time.sleep(0.01)
        stop.request("SIGINT")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return load(server.endpoint, "people", path, stop=stop, **(OPTIONS | options))
    finally:
        stop.request("over")
        watcher.join()


def test_an_interrupted_load_given_again_is_continued(server: Server, path: Path) -> None:
    first = interrupted(server, path, after=40)
    assert (first.interrupted, first.complete) == ("SIGINT", False)
    assert first.resume_hint is not None
    writes_before = len(server.writes("people"))

    second = load(server.endpoint, "people", path, **(OPTIONS | {"workers": 2, "threads": 3}))

    assert 0 < second.resumed < ROWS
    assert second.complete
    assert second.counts.rows == ROWS
    assert as_table(server.items("people"), ["id"]) == right(path)
    # What was recorded is not sent again: at most what a worker has open, and what was given up.
    assert len(server.writes("people")) - writes_before <= ROWS - second.resumed
    found = rejected(second.rejects_file)
    assert len(found) == second.counts.rejected == ROWS // 100
    assert [int(row["_line"]) for row in found] == [n + 2 for n in range(0, ROWS, 100)]
    assert not list(path.parent.glob("*.part"))


def test_a_load_interrupted_many_times_loses_nothing(server: Server, path: Path) -> None:
    for round_ in range(1, 4):
        summary = interrupted(server, path, after=round_ * 25, workers=1 + round_ % 2)
        assert summary.counts.rows <= ROWS
    done = load(server.endpoint, "people", path, **OPTIONS)

    assert (done.complete, done.counts.rows, done.counts.rejected) == (True, ROWS, ROWS // 100)
    assert as_table(server.items("people"), ["id"]) == right(path)
    assert len(rejected(done.rejects_file)) == ROWS // 100


def test_a_killed_coordinator_leaves_no_worker_and_can_be_continued(server: Server, path: Path) -> None:
    code = (
        "from tests.loads import load; from pathlib import Path; import sys\n"
        "if __name__ == '__main__':\n"
        f"    load({server.endpoint!r}, 'people', Path({str(path)!r}), workers=2, **{OPTIONS!r})\n"
    )
    script = path.parent / "run.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL
    ) as process:
        while server.stats()["requests"].get("BatchWriteItem", 0) < 40:
            assert process.poll() is None
            time.sleep(0.02)
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 2.0
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    done = load(server.endpoint, "people", path, **OPTIONS)

    assert (done.complete, done.counts.rows, done.counts.rejected) == (True, ROWS, ROWS // 100)
    assert as_table(server.items("people"), ["id"]) == right(path)
    assert len(rejected(done.rejects_file)) == ROWS // 100


def test_a_table_made_anew_is_refused_until_restart(server: Server, path: Path) -> None:
    interrupted(server, path, after=20)
    server.call("DeleteTable", {"TableName": "people"})
    server.create_table("people", "id:S")

    with pytest.raises(BadState, match=r"made anew.*--restart"):
        load(server.endpoint, "people", path, **OPTIONS)
    assert server.items("people") == []

    done = load(server.endpoint, "people", path, restart=True, **OPTIONS)
    assert (done.resumed, done.counts.rows) == (0, ROWS)
    assert as_table(server.items("people"), ["id"]) == right(path)
    assert Path(done.rejects_file or "").name == "people.rejects.csv"


def test_a_changed_file_is_refused(server: Server, path: Path) -> None:
    interrupted(server, path, after=20)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"k1,", b"q1,"))

    with pytest.raises(BadState, match=r"people\.csv.*--restart"):
        load(server.endpoint, "people", path, **OPTIONS)

    # Only touched, with the bytes it had, it is the same file.
    path.write_bytes(content)
    assert load(server.endpoint, "people", path, **OPTIONS).complete


def test_other_types_are_refused(server: Server, path: Path) -> None:
    interrupted(server, path, after=20)

    with pytest.raises(BadState, match="--types"):
        load(server.endpoint, "people", path, **(OPTIONS | {"types": {}}))


def test_a_second_run_at_the_same_time_is_refused(server: Server, path: Path) -> None:
    stop = Stop()
    first = threading.Thread(
        target=load, args=(server.endpoint, "people", path), kwargs={"stop": stop, **OPTIONS}
    )
    first.start()
    try:
        while server.stats()["requests"].get("BatchWriteItem", 0) < 5:
            time.sleep(0.02)
        with pytest.raises(BadState, match=f"process {os.getpid()}"):
            load(server.endpoint, "people", path, **OPTIONS)
    finally:
        stop.request("over")
        first.join()


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
