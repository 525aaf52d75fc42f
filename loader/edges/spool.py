"""The sorted index of a window, on disk: the coordinator writes it, workers read their shards of it."""

import contextlib
import os
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from loader.decisions.plan import ENTRY
from loader.errors import DiskFailed

_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = re.compile(r"window-\d+\.index")


class Spool:
    """
    One file a window in `directory`: its entries (plan.ENTRY, 16 bytes each) in sorted order, nothing else.

    What a run that was killed left there is of no use, since windows are indexed again: see sweep.py.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def path_of(self, window: int) -> str:
        return os.path.join(self._directory, f"window-{window}.index")

    def write(self, window: int, pieces: Iterable[NDArray[np.void]]) -> str:
        """
        Write the pieces one behind the other; the path of the file. Raises DiskFailed, leaving none.

        A file that is there, or a link, is not written to: it is taken away.
        """
        path = self.path_of(window)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            descriptor = os.open(path, _WRITE_FLAGS, 0o600)
            try:
                for piece in pieces:
                    _write_all(descriptor, piece)
            finally:
                os.close(descriptor)
        except OSError as error:
            # The room is needed: the journal and the reject file go on being written to the end.
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise DiskFailed(
                f"The index of a part of the source cannot be written to {path}: {error.strerror}. "
                "Make room there, or choose another --state-dir."
            ) from error
        return path

    def remove(self, window: int) -> None:
        """Remove the file of a window that is done, if there is one. Raises DiskFailed."""
        path = self.path_of(window)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DiskFailed(f"{path} cannot be removed: {error.strerror}.") from error


def is_spool_file(name: str) -> bool:
    """Whether a file of this name is one that `Spool` makes."""
    return _NAME.fullmatch(name) is not None


def read_entries(path: str, start: int, stop: int) -> NDArray[np.void]:
    """Entries [start, stop) of a file that `Spool.write` made, an array of plan.ENTRY. Raises DiskFailed."""
    size = (stop - start) * ENTRY.itemsize
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            data = os.pread(descriptor, size, start * ENTRY.itemsize)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DiskFailed(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) != size:
        raise DiskFailed(f"{path} is shorter than it was written. Give the same command again.")
    return np.frombuffer(data, ENTRY)


def _write_all(descriptor: int, piece: NDArray[np.void]) -> None:
    # Not every structured array is one run of memory, and a disk that is filling up takes part of one.
    rest = np.ascontiguousarray(piece, ENTRY).view(np.uint8).data
    while rest:
        rest = rest[os.write(descriptor, rest) :]
