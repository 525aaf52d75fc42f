"""The sorted index on disk: what is written is what a worker reads, and a full disk is told of."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loader.decisions.plan import ENTRY, ENTRY_SAME, ENTRY_UNCLOSED
from loader.edges.spool import Spool, read_entries
from loader.errors import DiskFailed


def entries(count: int, first: int = 0) -> NDArray[np.void]:
    array = np.empty(count, ENTRY)
    numbers = np.arange(first, first + count, dtype=np.uint64)
    array["start"] = numbers * np.uint64(1 << 40)
    array["size"] = numbers % 16_777_217
    array["flags"] = (numbers % 3 == 0) * ENTRY_UNCLOSED + (numbers % 2 == 0) * ENTRY_SAME
    return array


def test_pieces_stand_one_behind_the_other(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    path = spool.write(
        7, (entries(count, first) for count, first in [(3, 0), (0, 3), (100_000, 3), (1, 100_003)])
    )
    assert path == spool.path_of(7)
    assert os.path.getsize(path) == 100_004 * 16
    whole = entries(100_004)
    for start, stop in [(0, 100_004), (0, 1), (2, 5), (100_003, 100_004), (50, 50)]:
        found = read_entries(path, start, stop)
        assert found.dtype == ENTRY
        assert found.tobytes() == whole[start:stop].tobytes()


def test_the_bytes_are_little_endian_and_packed(tmp_path: Path) -> None:
    array = np.array([(0x0102030405060708, 0x090A0B0C, 3)], ENTRY)
    path = Spool(str(tmp_path)).write(0, [array])
    assert Path(path).read_bytes() == bytes.fromhex("08070605040302010c0b0a0903000000")


def test_an_array_with_gaps_is_written_right(tmp_path: Path) -> None:
    path = Spool(str(tmp_path)).write(0, [entries(10)[::2]])
    assert read_entries(path, 0, 5).tobytes() == entries(10)[::2].tobytes()


def test_a_window_of_no_records_has_an_empty_file(tmp_path: Path) -> None:
    path = Spool(str(tmp_path)).write(0, [])
    assert os.path.getsize(path) == 0
    assert len(read_entries(path, 0, 0)) == 0


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.write(0, [entries(1000)])
    path = spool.write(0, [entries(2, 5)])
    assert Path(path).read_bytes() == entries(2, 5).tobytes()


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert os.stat(Spool(str(tmp_path)).write(0, [entries(1)])).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_is_not_written_through(link: Callable[[Path, str], None], tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    spool = Spool(str(tmp_path))
    link(tmp_path / "target", spool.path_of(0))
    path = spool.write(0, [entries(1)])
    assert (tmp_path / "target").read_text() == "precious"
    assert not os.path.islink(path) and Path(path).read_bytes() == entries(1).tobytes()


def test_removing_is_done_once_or_not_at_all(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    path = spool.write(3, [entries(1)])
    spool.remove(3)
    spool.remove(3)
    assert not os.path.exists(path)
    os.mkdir(path)
    with pytest.raises(DiskFailed, match="cannot be removed"):
        spool.remove(3)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow past 64 KiB: to the program that is a full disk."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_told_of_and_the_room_given_back(tmp_path: Path, small_files: None) -> None:
    with pytest.raises(DiskFailed) as caught:
        Spool(str(tmp_path)).write(0, [entries(4000), entries(4000)])
    assert str(tmp_path / "window-0.index") in str(caught.value)
    assert "File too large" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_missing_directory_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match="No such file or directory"):
        Spool(str(tmp_path / "no")).write(0, [entries(1)])


def test_a_short_or_missing_file_is_told_of(tmp_path: Path) -> None:
    path = Spool(str(tmp_path)).write(0, [entries(10)])
    with pytest.raises(DiskFailed, match="is shorter than it was written"):
        read_entries(path, 5, 11)
    os.truncate(path, 159)
    with pytest.raises(DiskFailed, match="is shorter than it was written"):
        read_entries(path, 9, 10)
    os.unlink(path)
    with pytest.raises(DiskFailed, match="cannot be read: No such file"):
        read_entries(path, 0, 1)
