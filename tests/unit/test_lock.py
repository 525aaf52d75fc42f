"""The lock: one at a time, gone with its process, and never on a file that is not the one at the path."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.edges.lock import FileLock, open_locked, require_own_at
from loader.errors import BadState

HOLD = """
import sys
from loader.edges.lock import FileLock, open_locked
held = FileLock(sys.argv[2]) if sys.argv[1] == "noted" else open_locked(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


@pytest.fixture(params=["noted", "bare"])
def holder(request: pytest.FixtureRequest, path: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, with or without its number in the file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, request.param, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_and_told_who_holds_it(path: str, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(BadState) as caught:
        FileLock(path)
    assert str(caught.value) == (
        f"{path} is in use by another run (process {holder.pid}). Wait for it to end, or stop it."
    )


def test_the_lock_of_a_killed_process_is_free(path: str, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with FileLock(path):
        assert Path(path).read_text() == f"{os.getpid()}\n"


def test_one_process_gets_it_once(path: str) -> None:
    with FileLock(path), pytest.raises(BadState, match=rf"\(process {os.getpid()}\)"):
        FileLock(path)
    with FileLock(path):
        pass


def test_closing_twice_is_closing_once(path: str) -> None:
    lock = FileLock(path)
    lock.close()
    taken = os.open(os.devnull, os.O_RDONLY)
    lock.close()
    os.fstat(taken)
    os.close(taken)


def test_the_file_is_for_its_owner_alone(path: str) -> None:
    with FileLock(path):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_the_number_of_an_earlier_holder_does_not_stay(path: str) -> None:
    Path(path).write_text("123456789012\n")
    with FileLock(path):
        assert Path(path).read_text() == f"{os.getpid()}\n"


def test_a_child_does_not_inherit_it(path: str) -> None:
    with FileLock(path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        # Were the descriptor the child's too, it would hold the lock on.
        with FileLock(path):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_file_removed_in_between_is_not_the_lock(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race: the last holder removes the file after we opened it and before we locked it."""
    opened = os.open
    made: list[int] = []

    def open_and_lose(name: str, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(name, flags, mode)
        made.append(os.fstat(descriptor).st_ino)
        if len(made) == 1:
            os.rename(name, tmp_path / "removed")  # kept, so that its inode is not used again at once
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    descriptor = open_locked(path)
    monkeypatch.undo()
    assert len(made) == 2
    assert os.fstat(descriptor).st_ino == os.stat(path).st_ino
    os.close(descriptor)


def test_a_link_is_not_followed(path: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    os.symlink(target, path)
    with pytest.raises(BadState, match="is a symbolic link"):
        FileLock(path)
    assert target.read_text() == "precious"


def test_what_is_no_regular_file_is_refused(path: str) -> None:
    os.mkfifo(path)
    with pytest.raises(BadState, match="is not a regular file"):
        FileLock(path)


def test_a_file_with_another_name_is_refused(path: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", path)
    with pytest.raises(BadState, match="has other names too"):
        FileLock(path)
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_file_open_to_others_is_closed(path: str) -> None:
    Path(path).touch()
    os.chmod(path, 0o666)
    with FileLock(path):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_file_that_is_locked_by_its_name_alone_keeps_its_mode_and_content(path: str) -> None:
    """Whose it is only its content tells, which is looked at under the lock."""
    Path(path).write_text("mine")
    os.chmod(path, 0o644)
    os.close(open_locked(path))
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert Path(path).read_text() == "mine"


def test_a_file_of_ours_is_closed_to_others_by_its_path(path: str, tmp_path: Path) -> None:
    Path(path).touch()
    os.chmod(path, 0o644)
    require_own_at(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    os.symlink(path, tmp_path / "link")
    with pytest.raises(BadState, match="is a symbolic link"):
        require_own_at(str(tmp_path / "link"))
    require_own_at(str(tmp_path / "nothing"))


def test_who_holds_it_for_a_moment_keeps_nobody_out(path: str) -> None:
    """As the sweep of another run does, while it looks for what is left there."""
    descriptor = open_locked(path)
    timer = threading.Timer(0.3, os.close, (descriptor,))
    timer.start()
    with FileLock(path):
        timer.join()
        assert Path(path).read_text() == f"{os.getpid()}\n"


def test_who_is_refused_has_not_waited_long(path: str, holder: subprocess.Popen[str]) -> None:
    began = time.monotonic()
    with pytest.raises(BadState, match="is in use by another run"):
        FileLock(path)
    assert 0.8 < time.monotonic() - began < 3
    began = time.monotonic()
    with pytest.raises(BadState, match="is in use by another run"):
        open_locked(path)
    assert time.monotonic() - began < 0.5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(path: str) -> None:
    Path(path).touch()
    os.chown(path, 65534, 65534)
    with pytest.raises(BadState, match="is a file of another user's"):
        FileLock(path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadState, match="No such file or directory"):
        FileLock(str(tmp_path / "no" / "lock"))
