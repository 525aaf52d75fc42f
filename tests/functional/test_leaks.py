"""The check that runs after every test, tried on real leaks: it names them, and nothing else."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import leaks

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads Linux's /proc")

SLEEP = "import time; time.sleep(30)"
# Starts a sleeping child, prints its number and ends.
ORPHAN = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}], stdout=subprocess.DEVNULL).pid)
"""


def start_orphan(environment: Mapping[str, str]) -> int:
    """The number of a sleeping process whose parent has ended."""
    # stderr is left alone: the orphan would hold a captured one open.
    argv = [sys.executable, "-c", ORPHAN]
    return int(subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=dict(environment)).stdout)


def test_a_clean_test_is_not_held_up() -> None:
    before = leaks.snapshot()
    started = time.perf_counter()
    assert leaks.leftovers(before) == []
    assert time.perf_counter() - started < leaks.GRACE_SECONDS / 2


def test_a_running_child_is_named() -> None:
    before = leaks.snapshot()
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as child:
        found = leaks.leftovers(before, grace=0)
        child.kill()
    assert found == [f"process {child.pid}: {sys.executable} -c {SLEEP}"]


def test_a_process_whose_parent_died_is_named_and_ended() -> None:
    before = leaks.snapshot()
    orphan = start_orphan(os.environ)
    found = leaks.leftovers(before, grace=0)
    leaks.end_processes(before)
    assert [line.split(":")[0] for line in found] == [f"process {orphan}"]
    assert leaks.leftovers(before) == []


def test_a_foreign_process_is_not_named() -> None:
    before = leaks.snapshot()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DDBLOAD_TEST")}
    orphan = start_orphan(environment)
    try:
        assert leaks.leftovers(before, grace=0) == []
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_an_open_file_is_named(tmp_path: Path) -> None:
    before = leaks.snapshot()
    with open(tmp_path / "left", "w") as file:
        number = file.fileno()
        found = leaks.leftovers(before, grace=0)
    assert found == [f"file descriptor {number}: {tmp_path / 'left'}"]
    assert leaks.leftovers(before) == []


def test_an_open_socket_is_named_with_its_address() -> None:
    before = leaks.snapshot()
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = leaks.leftovers(before, grace=0)
        address = server.getsockname()
    assert len(found) == 1
    assert found[0].endswith(str(address))


def test_a_file_opened_anew_is_not_one_more(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = open(path, "w")  # noqa: SIM115 closed below, out of order on purpose
    before = leaks.snapshot()
    second = open(path, "w")  # noqa: SIM115
    first.close()
    try:
        assert leaks.leftovers(before, grace=0) == []
    finally:
        second.close()


def test_a_thread_is_named_unless_it_is_a_daemon() -> None:
    before = leaks.snapshot()
    stop = threading.Event()
    threads = [
        threading.Thread(target=stop.wait, name="stays", daemon=False),
        threading.Thread(target=stop.wait, name="may stay", daemon=True),
    ]
    for thread in threads:
        thread.start()
    found = leaks.leftovers(before, grace=0)
    stop.set()
    for thread in threads:
        thread.join()
    assert found == ["thread 'stays'"]


def test_what_goes_within_the_grace_is_not_named() -> None:
    before = leaks.snapshot()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"]):
        assert leaks.leftovers(before) == []


def test_the_check_fails_the_test_that_leaked(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_leaky.py").write_text(
        "import subprocess, sys\n"
        "kept = []\n"
        "def test_leaks():\n"
        f"    kept.append(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]))\n"
        "def test_innocent():\n"
        "    kept.pop().wait(5)\n"
    )
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ERROR at teardown of test_leaks" in done.stdout
    assert "The test left behind:\n  process " in done.stdout
