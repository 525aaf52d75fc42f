"""The verb demo as a process: all of it on this machine, and nothing of it left behind."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import finish, run, start
from tests.server import client
from tests.server.client import Server
from tests.server.faults import FaultPlan


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its folder; the working directory is elsewhere."""
    made = tmp_path / "tmp"
    made.mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("TMPDIR", str(made))
    return made


@pytest.fixture
def server() -> Iterator[Server]:
    with client.start() as running:
        yield running


# Whoever has these must not see them used.
REAL = {
    "AWS_PROFILE": "production",
    "AWS_ENDPOINT_URL": "http://192.0.2.1",
    "HTTP_PROXY": "http://192.0.2.1:1",
}


def test_the_demo_ends_with_its_verdict(temporary: Path, own_environment: Path) -> None:
    done = run("demo", "--rows", "500", extra=REAL, timeout=110)
    assert done.status == 0, done.err
    assert done.out == "500 of 500 items equal\n"
    assert "written     500" in done.err
    assert list(temporary.iterdir()) == list(Path().iterdir()) == []
    assert not (own_environment / "state").exists()


def test_a_server_that_runs_already_can_be_used_and_keeps_no_table(server: Server, temporary: Path) -> None:
    done = run("demo", "--rows", "500", "--endpoint-url", server.endpoint, extra=REAL)
    assert (done.status, done.out) == (0, "500 of 500 items equal\n"), done.err
    assert server.call("ListTables", {})["TableNames"] == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://dynamodb.us-east-1.amazonaws.com",
        "http://192.0.2.1:8000",
        "http://127.0.0.1@192.0.2.1",
        "http://192.0.2.1\\@127.0.0.1/",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0:8000",
        "http://127.0.0.1:port",
        "ftp://127.0.0.1",
        "somewhere",
    ],
)
def test_an_endpoint_elsewhere_is_refused(url: str) -> None:
    done = run("demo", "--endpoint-url", url)
    assert (done.status, done.out) == (2, "")
    assert "only talks to this machine" in done.err


def test_without_moto_it_says_what_to_install(tmp_path: Path) -> None:
    # A module of this name that is found first and is none: as if it were not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['flask'] = None\n")
    done = run("demo", extra={"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"})
    assert done.status == 2
    assert "ddbload[demo]" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_neither_server_nor_files(number: signal.Signals, temporary: Path) -> None:
    # That no process is left is what `nothing_left_behind` sees to.
    process = start("demo")
    deadline = time.monotonic() + 30
    while not list(temporary.glob("*/server.log")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    done = finish(process)
    assert done.status == 128 + number, done.err
    assert "Traceback" not in done.err
    assert list(temporary.iterdir()) == []


def test_a_killed_demo_leaves_no_server(temporary: Path) -> None:
    process = start("demo")
    deadline = time.monotonic() + 30
    while not list(temporary.glob("*/server.log")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    process.kill()
    finish(process)


def test_a_second_signal_leaves_no_files_either(server: Server, temporary: Path) -> None:
    server.set_faults(FaultPlan(latency_ms=5000))
    process = start("demo", "--endpoint-url", server.endpoint)
    deadline = time.monotonic() + 30
    while not server.stats()["requests"].get("BatchWriteItem") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    done = finish(process, timeout=3)
    assert done.status == 130
    assert done.err.endswith("ddbload: Interrupted by SIGINT.\n")
    assert list(temporary.iterdir()) == []
