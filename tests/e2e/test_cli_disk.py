"""A disk that is full, read-only, failing or gone: found at the start, or the load ends and can go on."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.loads import as_table, expected, rejected, write_csv
from tests.program import Done, call, command, finish, run, start
from tests.server.client import ROOT, Server
from tests.server.faults import FaultPlan

ONE_WORKER = ("--workers", "1", "--threads", "2")
MOUNT = 'mount -t tmpfs -o size=64k small "$0"'
FULL = f'{MOUNT} && {{ dd if=/dev/zero of="$0/fill" bs=4k 2>/dev/null; true; }}'
ONE_PAGE = f'{MOUNT} && {{ dd if=/dev/zero of="$0/fill" bs=4k count=15 2>/dev/null; true; }}'
READ_ONLY = f'{MOUNT} && mount -o remount,ro "$0"'


@pytest.fixture(autouse=True)
def small(empty_table: None) -> None:
    Path("small").mkdir()


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file system of one's own, seen by one process and its children alone."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    place = tmp_path_factory.mktemp("place")
    tried = subprocess.run(["unshare", "-Urm", "sh", "-c", MOUNT, str(place)], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")


def people(count: int, bad: int = 0, size: int = 10) -> Path:
    """Rows with `size` characters of text; every age of the first `bad` is none."""
    rows = [[f"k{n}", "v" * size, "x" if n < bad else str(n)] for n in range(count)]
    return write_csv(Path("people.csv"), [["id", "name", "age"], *rows])


def to(server: Server, *words: str | Path) -> list[str]:
    given = ["--state-dir", "state", "--rejects", "r.csv", "--types", "age=N", *ONE_WORKER, "--json"]
    return [*map(str, words), "-t", "people", "--endpoint-url", server.endpoint, *given]


def with_files_of(size: int, words: list[str]) -> Done:
    """No file of the program's may grow past this many bytes: to it, that is a full disk."""
    begin = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
    return call([sys.executable, "-c", f"{begin} os.execv(sys.argv[1], sys.argv[1:])", *command(*words)])


def failed(done: Done, path: str, reason: str) -> None:
    assert (done.status, done.summary["exit_reason"]) == (4, "disk_failed"), done.err
    assert "Traceback" not in done.err
    message = done.summary["message"]
    assert path in message and reason in message
    assert "continue with: " in done.summary["resume"]


def goes_on(server: Server, words: list[str], path: Path, rows: int, bad: int) -> Done:
    """The same command once there is room: the table and the rejects are what the file says."""
    done = run(*words)
    assert (done.status, done.summary["rows"]) == (1 if bad else 0, rows), done.err
    assert (done.summary["written"], done.summary["rejected"]) == (rows - bad, bad)
    assert [row["id"] for row in rejected(done.summary["rejects_file"])] == [f"k{n}" for n in range(bad)]
    table = as_table(server.items("people"), ["id"])
    assert table == expected(path.read_text(), ["id"], {"age": "N"})
    assert os.listdir("state") == [] and not os.path.exists("r.csv.part")
    return done


# --- at the start ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "script"),
    [
        *(("--state-dir", script) for script in (FULL, ONE_PAGE, READ_ONLY)),
        *(("--rejects", script) for script in (FULL, READ_ONLY)),
    ],
    ids=["state full", "state nearly full", "state read-only", "rejects full", "rejects read-only"],
)
def test_a_disk_that_takes_nothing_is_found_before_anything_is_sent(
    server: Server, mounts: None, script: str, option: str
) -> None:
    value = "small/state" if option == "--state-dir" else "small/r.csv"
    words = command(*to(server, people(30)), option, value)
    left = 'test ! -e small/r.csv.part && test -z "$(find small/state -type f 2>&1 | grep -v such)"'
    inside = f'{script} && {{ "$@"; status=$?; {left} || echo left >&2; exit $status; }}'
    done = call(["unshare", "-Urm", "sh", "-c", inside, "small", *words])
    reason = "Read-only file system" if script == READ_ONLY else "No space left on device"
    assert (done.status, done.summary["exit_reason"][:4]) == (2, "bad_"), done.err
    (line,) = done.err.splitlines()
    assert value in line and reason in line and option in line
    assert server.stats()["requests"].get("BatchWriteItem", 0) == 0
    assert sorted(os.listdir()) == ["people.csv", "small", *(["state"] if option == "--rejects" else [])]


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--state-dir", "people.csv", "people.csv"),
        ("--state-dir", "people.csv/x", "cannot be made"),
        ("--rejects", "small", "exists"),
        ("--rejects", "taken.csv", "Is a directory"),
        ("--rejects", "nowhere/r.csv", "No such file or directory"),
    ],
)
def test_a_place_that_cannot_be_is_found_before_anything_is_sent(
    server: Server, option: str, value: str, reason: str
) -> None:
    Path("taken.csv.part").mkdir()
    done = run(*to(server, people(30)), option, value)
    assert done.status == 2
    assert value in done.err and reason in done.err and len(done.err.splitlines()) == 1
    assert server.stats()["requests"].get("BatchWriteItem", 0) == 0


# --- in the middle --------------------------------------------------------------------------------


def test_a_journal_that_finds_no_more_room_can_go_on(server: Server) -> None:
    path = people(50, bad=3)
    words = to(server, path)
    assert run(*words, "--max-rejects", "0").status == 3
    (journal,) = Path("state").glob("*/journal.jsonl")
    head, window, *_ = journal.read_bytes().splitlines(keepends=True)
    shutil.rmtree("state")
    os.unlink("r.csv.part")
    failed(with_files_of(len(head + window) + 10, words), "journal.jsonl", "File too large")
    (journal,) = Path("state").glob("*/journal.jsonl")
    assert journal.read_bytes().count(b"\n") == 2
    goes_on(server, words, path, 50, 3)


def test_a_spool_that_finds_no_room_can_go_on(server: Server) -> None:
    path = people(900, bad=3)
    words = to(server, path)
    failed(with_files_of(8192, words), "window-0.index", "File too large")
    goes_on(server, words, path, 900, 3)


def test_a_reject_file_that_finds_no_more_room_can_go_on(server: Server) -> None:
    path = people(200, bad=60, size=200)
    words = to(server, path)
    failed(with_files_of(8192, words), "r.csv.part", "File too large")
    goes_on(server, words, path, 200, 60)


def test_a_log_that_finds_no_more_room_stops_nothing(server: Server) -> None:
    server.set_faults(FaultPlan(unprocessed_share=0.8))
    words = to(server, people(100), "--log-file", "log", "--log-level", "debug", "-b", "3")
    done = with_files_of(2048, words)
    assert (done.status, done.summary["written"]) == (0, 100), done.err
    assert done.err.count("The log file cannot be written any more; the load goes on without it.") == 1
    assert os.path.getsize("log") == 2048


@pytest.mark.parametrize(("name", "number"), [("journal.jsonl", 4), ("r.csv.part", 2)])
@pytest.mark.parametrize("code", ["EIO", "ENOSPC"])
def test_a_sync_that_fails_ends_the_load_which_can_go_on(
    server: Server, name: str, number: int, code: str, tmp_path: Path
) -> None:
    """The failure is put into the coordinator as it starts: Python runs sitecustomize in every process."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import errno, os\n"
        "right, calls = os.fsync, 0\n"
        "def fsync(descriptor):\n"
        "    global calls\n"
        f"    if os.readlink(f'/proc/self/fd/{{descriptor}}').endswith({name!r}):\n"
        "        calls += 1\n"
        f"        if calls == {number}:\n"
        f"            raise OSError(errno.{code}, os.strerror(errno.{code}))\n"
        "    return right(descriptor)\n"
        "os.fsync = fsync\n"
    )
    path = people(300, bad=30)
    words = to(server, path)
    done = call(command(*words), extra={"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"})
    failed(done, name, "Input/output error" if code == "EIO" else "No space left on device")
    goes_on(server, words, path, 300, 30)


@pytest.mark.parametrize("window", [[], ["--window-size", "2000"]], ids=["one window", "many windows"])
def test_a_state_that_is_removed_in_the_middle_is_no_hang_and_no_traceback(
    server: Server, window: list[str]
) -> None:
    server.set_faults(FaultPlan(latency_ms=150))
    path = people(400, bad=2)
    process = start(*to(server, path, *window))
    try:
        deadline = time.monotonic() + 20
        while server.stats()["requests"].get("BatchWriteItem", 0) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        shutil.rmtree("state")
    finally:
        done = finish(process)
    assert "Traceback" not in done.err
    if window:
        assert (done.status, done.summary["exit_reason"]) == (4, "disk_failed"), done.err
        assert "state/people-people-" in done.summary["message"]
        if os.path.exists("r.csv.part"):
            os.unlink("r.csv.part")
        server.set_faults(FaultPlan())
        goes_on(server, to(server, path, *window), path, 400, 2)
    else:
        assert (done.status, done.summary["written"]) == (1, 398), done.err
        assert not os.path.exists("state")
