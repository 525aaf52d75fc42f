"""Worker processes that die, sources that change: noticed, and nothing is lost or counted twice."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from loader.engines import coordinator
from loader.errors import RecordTooLarge, SourceChanged, Stalled, WorkerFailed
from tests.loads import as_table, expected, load, write_csv
from tests.program import command, environment, finish, run
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


def test_a_file_that_grows_is_noticed_long_before_the_load_would_end(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert coordinator.SOURCE_SECONDS <= 5
    monkeypatch.setattr(coordinator, "SOURCE_SECONDS", 0.2)
    server.set_faults(FaultPlan(latency_ms=200))
    times: list[float] = []

    def grow() -> None:
        with path.open("a") as file:
            file.write("k9999,1\n")
        times.append(time.monotonic())

    grower = meanwhile(server, 3, grow)
    with pytest.raises(SourceChanged, match=r"people\.csv"):
        # A hundred batches, one after the other: twenty seconds.
        load(server.endpoint, "people", path, threads=1)
    grower.join()
    assert time.monotonic() - times[0] < 8


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


# --- signals to the whole group -------------------------------------------------------------------


def start_group(server: Server, path: Path, *words: str) -> "subprocess.Popen[str]":
    """A load in a process group of its own, as a shell or a service manager has it."""
    return start_in_group(command(path, "-t", "people", "--endpoint-url", server.endpoint, *words))


def start_in_group(argv: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        argv,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def await_python(process: "subprocess.Popen[str]") -> None:
    """Until the interpreter handles SIGINT, which is before it imports anything of ours."""
    caught = 0
    while not caught >> (signal.SIGINT - 1) & 1:
        assert process.poll() is None
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)


def await_worker(process: "subprocess.Popen[str]") -> None:
    """Until the first worker is there, which then has everything to import yet."""
    deadline = time.monotonic() + 20
    while not any("spawn_main" in words for words in commands_below(process.pid)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


def commands_below(pid: int) -> list[str]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            found.append(Path(f"/proc/{child}/cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_group_that_is_terminated_drains_and_can_be_continued(server: Server, path: Path) -> None:
    server.set_faults(FaultPlan(latency_ms=100))
    words = ("--json", "--workers", "2", "--threads", "1")
    process = start_group(server, path, *words)
    meanwhile(server, 10, lambda: os.killpg(process.pid, signal.SIGTERM)).join()
    done = finish(process)

    assert (done.status, done.summary["interrupted"]) == (143, "SIGTERM"), done.err
    assert "Traceback" not in done.err
    # The workers saw their requests through, and told of them.
    assert 0 < done.summary["written"] == server.stats()["items_applied"] < 2500

    server.set_faults(FaultPlan())
    again = run(path, "-t", "people", "--endpoint-url", server.endpoint, *words)
    assert (again.status, again.summary["rows"]) == (0, 3000), again.err
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3])
def test_an_interrupt_while_the_program_begins_leaves_no_traceback(
    server: Server, path: Path, delay: float
) -> None:
    process = start_group(server, path, "--workers", "3")
    await_python(process)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    # Where Python itself is in the middle of an import, it ends by the signal.
    assert done.status in (130, -signal.SIGINT)
    assert "Traceback" not in done.err


@pytest.mark.parametrize("module", ["numpy", "loader.engines.coordinator"])
def test_an_interrupt_in_the_middle_of_an_import_is_no_bug(server: Server, path: Path, module: str) -> None:
    arguments = ["load", str(path), "-t", "people", "--endpoint-url", server.endpoint]
    program = f"""
import os, signal, sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == {module!r}:
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("so does numpy, in C")
sys.meta_path.insert(0, Interrupted())
from cli.main import main
sys.exit(main({arguments!r}))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    assert server.stats()["items_applied"] == 0


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2])
def test_an_interrupt_while_workers_begin_leaves_no_traceback(
    server: Server, path: Path, delay: float
) -> None:
    process = start_group(server, path, "--workers", "3")
    await_worker(process)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert done.status == 130, done.err
    assert "Traceback" not in done.err
    assert "Error" not in done.err


@pytest.mark.parametrize("delay", [0.0, 0.01])
def test_a_script_that_is_interrupted_while_workers_begin_ends(
    server: Server, path: Path, delay: float
) -> None:
    """It handles no signals, and Python waits at its end for every worker that it knows of."""
    script = (
        "from loader import DynamoDBLoader\n"
        f"DynamoDBLoader('people', max_workers=6, endpoint_url={server.endpoint!r}).load_csv({str(path)!r})\n"
    )
    process = start_in_group([sys.executable, "-c", script])
    await_worker(process)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process, timeout=15)
    assert done.status == -signal.SIGINT
    assert "KeyboardInterrupt" in done.err


# --- scripts --------------------------------------------------------------------------------------


def python(*arguments: str | Path, script: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment(),
        input=script,
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize("given", ["as a file", "on standard input"])
def test_a_script_without_a_guard_loads_once(server: Server, path: Path, tmp_path: Path, given: str) -> None:
    script = (
        "from loader import DynamoDBLoader\n"
        f"loader = DynamoDBLoader('people', max_workers=2, endpoint_url={server.endpoint!r})\n"
        f"print(loader.load_csv({str(path)!r}).total_records)\n"
    )
    if given == "as a file":
        (tmp_path / "script.py").write_text(script)
        done = python(tmp_path / "script.py")
    else:
        done = python("-", script=script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3000\n", "")
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])


def test_too_few_descriptors_for_so_many_workers_is_told_plainly(server: Server, path: Path) -> None:
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "from loader import DynamoDBLoader\n"
        "from loader.errors import WorkerFailed\n"
        "try:\n"
        f"    DynamoDBLoader('people', max_workers=20, endpoint_url={server.endpoint!r}).load_csv("
        f"{str(path)!r})\n"
        "except WorkerFailed as error:\n"
        "    print(error)\n"
    )
    done = python("-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    before, _, behind = done.stdout.strip().partition(" cannot be started: ")
    assert before.startswith("Worker process ") and 1 < int(before.split()[-1]) <= 20
    assert behind == "Too many open files. Ask for fewer with --workers."
    assert server.stats()["requests"].get("BatchWriteItem", 0) == 0


# --- credentials ----------------------------------------------------------------------------------


def test_credentials_that_expire_before_their_time_are_asked_for_once_more(
    server: Server, path: Path, own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock they are good: only the service's word says otherwise, to every worker and thread."""
    runs = own_environment / "runs"
    members = {"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "s", "SessionToken": "token-RUN"}
    members["Expiration"] = "2099-01-01T00:00:00Z"
    helper = own_environment / "helper.sh"
    helper.write_text(
        f"#!/bin/sh\necho run >> {runs}\n"
        f"echo '{orjson.dumps(members).decode()}' | sed s/RUN/$(wc -l < {runs})/\n"
    )
    helper.chmod(0o700)
    (own_environment / "aws-config").write_text(f"[profile helped]\ncredential_process = {helper}\n")
    monkeypatch.setenv("AWS_PROFILE", "helped")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    server.set_faults(FaultPlan(latency_ms=20, expired_token_after_requests=20))

    summary = load(server.endpoint, "people", path, workers=2, shard_records=100)

    assert (summary.complete, summary.counts.rows, summary.counts.rejected) == (True, 3000, 0)
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])
    assert server.stats()["faults"]["expired_token"] > 0
    assert runs.read_text() == "run\n" * 2


# --- the log --------------------------------------------------------------------------------------


def test_the_log_has_the_tries_of_the_workers_and_no_cell(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cells = [[f"secret-{n}", f"hidden-{n}"] for n in range(500)]
    path = write_csv(tmp_path / "people.csv", [["id", "v"], *cells])
    faults = FaultPlan(
        throttle_share=0.2, error500_share=0.2, unprocessed_share=0.2, refuse_keys=("secret-7",)
    )
    server.set_faults(faults)

    with caplog.at_level(logging.DEBUG, "loader"):
        summary = load(server.endpoint, "people", path, workers=2, shard_records=50)

    tries = [record for record in caplog.records if record.name == "loader.engines.delivery"]
    assert len(tries) == summary.counts.retries > 0
    assert {record.levelno for record in tries} == {logging.DEBUG}
    texts = " ".join(record.getMessage() for record in tries)
    for told in ("unprocessed", "ProvisionedThroughputExceededException", "InternalServerError"):
        assert told in texts
    assert summary.counts.rejected == 1
    assert "secret-" not in caplog.text and "hidden-" not in caplog.text
