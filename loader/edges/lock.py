"""A lock on a file, which the kernel lets go of when its process ends, however it ends."""

import contextlib
import errno
import fcntl
import os
import re
import stat

from loader.decisions.checkpoint import printable
from loader.errors import BadState

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def open_locked(path: str) -> int:
    """
    A descriptor of the regular file `path` (made if there is none, mode 0600), locked for us alone.

    One that is open to others is closed to them. Raises BadState, naming the process, where another holds it
    or this one does already, and for what is not a file of ours alone; OSError where it cannot be opened.
    """
    while True:
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP and os.path.islink(path):
                raise BadState(
                    f"{printable(path)} is a symbolic link, which is not followed. Remove it."
                ) from error
            raise
        try:
            require_own(descriptor, path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadState(
                    f"{path} is in use by another run{_holder(descriptor)}. Wait for it to end, or stop it."
                ) from None
            if _stands_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Its last holder removed it after we had opened it: a lock on it would keep nobody out.
        os.close(descriptor)


def require_own(descriptor: int, path: str) -> None:
    """
    Raises BadState for what others may have put at `path` for us to write to: all that the loader makes are
    regular files of its user's with one name. One by another name may be anything of the user's.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise BadState(f"{printable(path)} is not a regular file. Move it away.")
    if found.st_uid != os.geteuid():
        raise BadState(f"{printable(path)} is a file of another user's. Move it away.")
    if found.st_nlink > 1:
        raise BadState(f"{printable(path)} has other names too (hard links), and is left alone. Remove it.")
    if found.st_mode & 0o077:
        # Where a file system knows no modes nothing can be closed.
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o600)


def _stands_at(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _holder(descriptor: int) -> str:
    """` (process 123)`, or nothing where that cannot be told: its own note, else what the kernel says."""
    noted = re.fullmatch(rb"(\d+)\n", os.pread(descriptor, 32, 0))
    if noted is not None:
        return f" (process {int(noted[1])})"
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            lines = locks.read()
    except OSError:
        # Other systems than Linux have no such list.
        return ""
    inode = os.fstat(descriptor).st_ino
    held = re.search(rf"FLOCK +ADVISORY +WRITE +(\d+) +\S+:{inode} ", lines)
    return f" (process {held[1]})" if held is not None else ""


class FileLock:
    """
    Holds `path` from its making until `close`; our process number stands in it. Not inherited by children.

    Raises BadState when another run holds it, or when it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._descriptor: int | None = open_locked(path)
        except OSError as error:
            raise BadState(
                f"{path} cannot be locked: {error.strerror}. Choose another --state-dir."
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            # It says nothing yet, and what is refused shall leave nothing.
            with contextlib.suppress(OSError):
                os.unlink(path)
            self.close()
            raise BadState(
                f"{path} cannot be written: {error.strerror}. Choose another --state-dir."
            ) from error

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
