"""A load begun anew: the one before it is given up when the new one can begin, and not a moment earlier."""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.edges.journal import JOURNAL, LOCK
from loader.edges.staged import STAGED
from loader.engines.coordinator import Stop
from loader.errors import BadOption, BadState, Refused
from loader.model import Summary
from tests.loads import as_table, expected, load, rejected, write_csv
from tests.server.client import ROOT, Server, start
from tests.server.faults import FaultPlan

ROWS, BAD = 1500, 15
OPTIONS: dict[str, Any] = {"types": {"age": "N"}, "shard_records": 100, "window_size": 16_000, "threads": 2}

SMALL_FILES = """
import resource, sys
from pathlib import Path
from loader.errors import BadState
from tests.loads import load
# The lock and the first line of a reject file fit; the first line of a journal does not.
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
try:
    load(sys.argv[1], "people", Path(sys.argv[2]), restart=True, **eval(sys.argv[3]))
except BadState as error:
    print(error)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset()
    server.create_table("people", "id:S")
    monkeypatch.chdir(tmp_path)


def people(name: str) -> Path:
    rows = [[f"{name[0]}{n}", "x" if n % (ROWS // BAD) == 0 else str(n)] for n in range(ROWS)]
    return write_csv(Path(name).absolute(), [["id", "age"], *rows])


def interrupted(server: Server, path: Path, **options: Any) -> Summary:
    """A load that was drained when some of its rejects were on disk."""
    stop = Stop()
    server.set_faults(FaultPlan(latency_ms=20))
    before = server.stats()["requests"].get("BatchWriteItem", 0)

    def watch() -> None:
        while server.stats()["requests"].get("BatchWriteItem", 0) < before + 30 and stop.requested is None:
            time.sleep(0.01)
        stop.request("SIGINT")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return load(server.endpoint, "people", path, stop=stop, **(OPTIONS | options))
    finally:
        stop.request("over")
        watcher.join()
        server.set_faults(FaultPlan())


def state(own_environment: Path) -> list[Path]:
    return sorted((own_environment / "state" / "ddbload").iterdir())


def kept(*paths: Path | str) -> dict[str, bytes]:
    files = [each for path in paths for each in (Path(path), *Path(path).rglob("*")) if each.is_file()]
    return {str(file): file.read_bytes() for file in files if file.name != LOCK}


def require_continued(server: Server, path: Path, final: str, **options: Any) -> None:
    """The old load goes on from where it was, with all its rejects."""
    done = load(server.endpoint, "people", path, **(OPTIONS | options))
    assert (done.complete, done.counts.rows, done.counts.rejected) == (True, ROWS, BAD)
    assert 0 < done.resumed < ROWS
    assert done.rejects_file == os.path.abspath(final)
    assert len(rejected(done.rejects_file)) == BAD
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"], {"age": "N"})


def no_directory() -> str:
    return "nowhere/b.csv"


def part_of_another() -> str:
    Path("b.csv.part").write_text("id,something,else\n1,2,3\n")
    return "b.csv"


def taken() -> str:
    Path("b.csv").write_text("mine")
    return "b.csv"


def taken_by_a_directory() -> str:
    Path("b.csv.part").mkdir()
    return "b.csv"


def completed() -> str:
    Path("a.csv").write_text("mine")
    return "a.csv"


@pytest.mark.parametrize(
    "obstacle",
    [no_directory, part_of_another, taken, taken_by_a_directory, completed],
    ids=lambda f: f.__name__,
)
def test_a_restart_that_is_refused_leaves_the_load_as_it_was(
    server: Server, own_environment: Path, obstacle: Callable[[], str]
) -> None:
    path = people("s.csv")
    interrupted(server, path, rejects="a.csv")
    rejects = obstacle()
    before = kept("a.csv.part", own_environment / "state")
    assert len(before) == 2
    with pytest.raises(Refused):
        load(server.endpoint, "people", path, restart=True, **(OPTIONS | {"rejects": rejects}))
    assert kept("a.csv.part", own_environment / "state") == before
    if obstacle is completed:
        Path("a.csv").unlink()
    require_continued(server, path, "a.csv")


def test_a_restart_while_another_is_at_the_reject_file_leaves_the_load_as_it_was(
    server: Server, own_environment: Path
) -> None:
    path = people("s.csv")
    interrupted(server, path, rejects="a.csv")
    before = kept("a.csv.part", own_environment / "state")
    with open("a.csv.part", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BadState, match=r"a\.csv\.part is in use"):
            load(server.endpoint, "people", path, restart=True, **OPTIONS)
    assert kept("a.csv.part", own_environment / "state") == before
    require_continued(server, path, "a.csv")


@pytest.mark.parametrize("rejects", ["a.csv", "b.csv"])
def test_a_restart_whose_journal_finds_no_room_leaves_the_load_as_it_was(
    server: Server, own_environment: Path, rejects: str
) -> None:
    path = people("s.csv")
    interrupted(server, path, rejects="a.csv")
    before = kept("a.csv.part", own_environment / "state")
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES, server.endpoint, path, repr(OPTIONS | {"rejects": rejects})],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout
    assert kept("a.csv.part", own_environment / "state") == before
    assert sorted(os.listdir()) == ["a.csv.part", "s.csv"]
    require_continued(server, path, "a.csv")


@pytest.mark.parametrize("rejects", [None, "a.csv", "b.csv"])
def test_a_restart_takes_the_place_of_the_load(
    server: Server, own_environment: Path, rejects: str | None
) -> None:
    path = people("s.csv")
    interrupted(server, path, rejects="a.csv")
    more: dict[str, Any] = {} if rejects is None else {"rejects": rejects}
    done = load(server.endpoint, "people", path, restart=True, **OPTIONS, **more)
    assert (done.complete, done.resumed, done.counts.rows) == (True, 0, ROWS)
    assert len(rejected(done.rejects_file)) == BAD
    assert sorted(os.listdir()) == [rejects or "a.csv", "s.csv"]
    assert state(own_environment) == []


def test_a_restart_can_itself_be_continued(server: Server, own_environment: Path) -> None:
    path = people("s.csv")
    interrupted(server, path, rejects="a.csv")
    again = interrupted(server, path, rejects="b.csv", restart=True)
    assert again.resumed == 0
    assert sorted(os.listdir()) == ["b.csv.part", "s.csv"]
    assert [each.name for each in state(own_environment)[0].iterdir() if each.name != LOCK] == [JOURNAL]
    require_continued(server, path, "b.csv")


def test_what_a_restart_left_that_was_killed_on_the_way_is_taken_away(
    server: Server, own_environment: Path
) -> None:
    path = people("s.csv")
    interrupted(server, path)
    (directory,) = state(own_environment)
    (directory / STAGED).mkdir()
    shutil.copy(directory / JOURNAL, directory / STAGED / JOURNAL)
    require_continued(server, path, "s.rejects.csv")
    assert state(own_environment) == []


def test_a_restart_on_the_checkpoint_of_another_load_leaves_that_one_its_rejects(
    server: Server, own_environment: Path
) -> None:
    path, other = people("s.csv"), people("t.csv")
    interrupted(server, path)
    (of_path,) = state(own_environment)
    interrupted(server, other)
    (of_other,) = set(state(own_environment)) - {of_path}
    shutil.copy(of_path / JOURNAL, of_other / JOURNAL)
    before = kept("s.rejects.csv.part")

    began = time.monotonic()
    done = load(server.endpoint, "people", other, restart=True, **(OPTIONS | {"late_write_grace": 1.5}))

    assert (done.complete, done.counts.rejected) == (True, BAD)
    # Of the load that had this place nothing is known, nor what it has under way.
    assert time.monotonic() - began >= 1.5
    assert done.rejects_file == os.path.abspath("t.rejects-2.csv")
    assert before and kept("s.rejects.csv.part") == before
    server.reset()
    server.create_table("people", "id:S")
    assert [each.name for each in state(own_environment)] == [of_path.name]


def test_a_reject_file_in_the_state_directory_of_its_load_is_refused(
    server: Server, own_environment: Path
) -> None:
    path = people("s.csv")
    interrupted(server, path)
    (directory,) = state(own_environment)
    before = kept("s.rejects.csv.part", own_environment / "state")
    Path("link").symlink_to(directory)
    for place in (directory, Path("link")):
        with pytest.raises(BadOption, match="--rejects"):
            load(server.endpoint, "people", path, restart=True, rejects=str(place / "r.csv"), **OPTIONS)
    assert kept("s.rejects.csv.part", own_environment / "state") == before
    require_continued(server, path, "s.rejects.csv")
    with pytest.raises(BadOption, match="--rejects"):
        load(server.endpoint, "people", path, rejects=str(directory / "r.csv"), **OPTIONS)
    assert state(own_environment) == []


@pytest.mark.parametrize("linked", [False, True])
def test_a_source_is_never_the_reject_file_in_the_making(
    server: Server, own_environment: Path, linked: bool
) -> None:
    source = Path("r.csv.part")
    if linked:
        Path("data.csv").write_text("id\n")
        source.symlink_to("data.csv")
    else:
        source.write_text("id\n")
    source.chmod(0o644)
    with pytest.raises(BadOption, match=r"r\.csv\.part"):
        load(server.endpoint, "people", source, rejects="r.csv")
    assert source.read_text() == "id\n"
    assert stat.S_IMODE(source.stat().st_mode) == 0o644
    assert state(own_environment) == []


def test_a_file_that_stands_where_the_rejects_would_be_keeps_its_mode(server: Server) -> None:
    path = people("s.csv")
    Path("r.csv.part").write_text("mine\n")
    Path("r.csv.part").chmod(0o644)
    with pytest.raises(BadState, match="of another load"):
        load(server.endpoint, "people", path, rejects="r.csv", **OPTIONS)
    assert stat.S_IMODE(Path("r.csv.part").stat().st_mode) == 0o644


def test_rejects_that_were_opened_to_others_are_closed_by_the_run_that_goes_on(server: Server) -> None:
    path = people("s.csv")
    interrupted(server, path)
    Path("s.rejects.csv.part").chmod(0o644)
    stop = Stop()
    stop.request("SIGINT")
    load(server.endpoint, "people", path, stop=stop, **OPTIONS)
    assert stat.S_IMODE(Path("s.rejects.csv.part").stat().st_mode) == 0o600


def test_a_load_begins_although_a_sweep_takes_its_old_directory_away(
    server: Server, own_environment: Path
) -> None:
    """A sweep of another run has the lock of a directory that is old and without a checkpoint."""
    path = people("s.csv")
    interrupted(server, path)
    Path("s.rejects.csv.part").unlink()
    (directory,) = state(own_environment)
    (directory / JOURNAL).unlink()

    def sweep_it() -> None:
        time.sleep(0.4)
        shutil.rmtree(directory)
        held.close()

    with open(directory / LOCK, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        sweeping = threading.Thread(target=sweep_it)
        sweeping.start()
        done = load(server.endpoint, "people", path, **OPTIONS)
        sweeping.join()
    assert (done.complete, done.counts.rejected) == (True, BAD)
