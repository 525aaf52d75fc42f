"""What runs that were killed left: removed by the next start, unless somebody is at it."""

import os
import time
from pathlib import Path

import pytest

from loader.edges.journal import JOURNAL, LOCK, state_name
from loader.edges.lock import FileLock
from loader.edges.scratch import is_scratch, make_scratch
from loader.edges.staged import STAGED
from loader.edges.sweep import sweep, sweep_dry_runs

OWN, OTHER = "t-own-0123456789abcdef", "t-other-fedcba9876543210"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in (OWN, OTHER):
        (tmp_path / name).mkdir()
        for file in (JOURNAL, LOCK, "window-0.index", "window-12.index"):
            (tmp_path / name / file).write_text("4711\n" if file == LOCK else file)
    return tmp_path


def left(base: Path) -> dict[str, list[str]]:
    return {place.name: sorted(path.name for path in place.iterdir()) for place in base.iterdir()}


def test_spool_files_go_and_checkpoints_stay(base: Path) -> None:
    with FileLock(str(base / OWN / LOCK)):
        sweep(str(base), str(base / OWN))
    assert left(base) == {OWN: [JOURNAL, LOCK], OTHER: [JOURNAL, LOCK]}


def test_what_another_run_is_at_is_left_alone(base: Path) -> None:
    with FileLock(str(base / OTHER / LOCK)):
        sweep(str(base), str(base / OWN))
    assert left(base) == {OWN: [JOURNAL, LOCK], OTHER: [JOURNAL, LOCK, "window-0.index", "window-12.index"]}


def test_files_of_other_names_and_directories_that_are_no_loads_are_left_alone(base: Path) -> None:
    (base / "notes").mkdir()
    (base / "notes" / "window-1.index").write_text("mine")
    target = base / "notes" / "linked"
    target.mkdir()
    (target / "window-2.index").write_text("mine")
    (base / "t-link-00112233445566aa").symlink_to(target)
    sweep(str(base), str(base / OWN))
    assert (base / "notes" / "window-1.index").exists()
    assert (target / "window-2.index").exists()


@pytest.mark.parametrize(("age", "stays"), [(10.0, True), (7200.0, False)])
def test_a_directory_without_a_checkpoint_goes_once_it_is_old(base: Path, age: float, stays: bool) -> None:
    (base / OTHER / JOURNAL).unlink()
    then = time.time() - age
    os.utime(base / OTHER, (then, then))
    sweep(str(base), str(base / OWN))
    assert (base / OTHER).exists() == stays
    assert not (base / OTHER / "window-0.index").exists()


@pytest.mark.parametrize("name", ["keep", "window-x.index", "journal.jsonl.bak"])
def test_a_directory_with_a_file_that_is_no_loads_is_left_alone(base: Path, name: str) -> None:
    (base / OTHER / JOURNAL).unlink()
    (base / OTHER / name).write_text("mine")
    os.utime(base / OTHER, (1, 1))
    before = left(base)[OTHER]
    sweep(str(base), str(base / OWN))
    assert left(base)[OTHER] == before


@pytest.mark.parametrize("content", ["mine", "12 apples\n", "1\n2\n", "4711"])
@pytest.mark.parametrize("journal", [False, True])
def test_a_directory_whose_lock_is_no_loads_is_left_alone(base: Path, content: str, journal: bool) -> None:
    if not journal:
        (base / OTHER / JOURNAL).unlink()
    lock = base / OTHER / LOCK
    lock.write_text(content)
    lock.chmod(0o644)
    os.utime(base / OTHER, (1, 1))
    before = left(base)[OTHER]
    sweep(str(base), str(base / OWN))
    assert left(base)[OTHER] == before
    assert (lock.read_text(), lock.stat().st_mode & 0o777) == (content, 0o644)


def test_a_directory_without_a_lock_is_no_loads(base: Path) -> None:
    (base / OTHER / LOCK).unlink()
    (base / OTHER / JOURNAL).unlink()
    os.utime(base / OTHER, (1, 1))
    sweep(str(base), str(base / OWN))
    assert left(base)[OTHER] == ["window-0.index", "window-12.index"]


def test_a_lock_that_was_made_and_not_written_is_a_loads(base: Path) -> None:
    (base / OTHER / JOURNAL).unlink()
    (base / OTHER / LOCK).write_text("")
    os.utime(base / OTHER, (1, 1))
    sweep(str(base), str(base / OWN))
    assert not (base / OTHER).exists()


@pytest.mark.parametrize("name", [OWN, OTHER])
def test_a_journal_that_was_to_take_the_place_of_another_goes(base: Path, name: str) -> None:
    (base / name / STAGED).mkdir()
    (base / name / STAGED / JOURNAL).write_text("new")
    sweep(str(base), str(base / OWN))
    assert left(base) == {OWN: [JOURNAL, LOCK], OTHER: [JOURNAL, LOCK]}


def test_a_base_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    sweep(str(tmp_path / "none"), str(tmp_path / "none" / OWN))


# --- dry runs -------------------------------------------------------------------------------------


def test_a_dry_run_that_was_killed_goes_as_a_whole(tmp_path: Path) -> None:
    directory, lock = make_scratch(str(tmp_path))
    for name in (JOURNAL, "window-0.index", "rejects.csv.part", "rejects.csv.part.sorted", "rejects.csv"):
        (Path(directory) / name).write_text("x")
    before = left(tmp_path)
    sweep(str(tmp_path), str(tmp_path / OWN))
    assert left(tmp_path) == before
    lock.close()
    sweep(str(tmp_path), str(tmp_path / OWN))
    assert left(tmp_path) == {}


@pytest.mark.parametrize("name", ["keep", "rejects.csv.bak"])
def test_a_dry_runs_directory_with_a_file_of_the_users_is_left_alone(tmp_path: Path, name: str) -> None:
    directory, lock = make_scratch(str(tmp_path))
    lock.close()
    (Path(directory) / name).write_text("mine")
    (Path(directory) / JOURNAL).write_text("x")
    sweep_dry_runs(str(tmp_path))
    assert left(tmp_path)[Path(directory).name] == sorted([JOURNAL, LOCK, name])


@pytest.mark.parametrize(("age", "stays"), [(10.0, True), (7200.0, False)])
def test_a_dry_run_that_was_killed_before_its_lock_goes_once_it_is_old(
    tmp_path: Path, age: float, stays: bool
) -> None:
    directory, lock = make_scratch(str(tmp_path))
    lock.close()
    Path(lock.path).unlink()
    then = time.time() - age
    os.utime(directory, (then, then))
    sweep_dry_runs(str(tmp_path))
    assert Path(directory).exists() == stays


def test_no_load_has_a_directory_like_a_dry_runs() -> None:
    name = state_name("http://x", "arn:aws:dynamodb:r:1:table/.ddbload-dry", [".ddbload-dry-run-.csv"])
    assert not is_scratch(name, ())
