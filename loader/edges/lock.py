"""A lock on a file, which the kernel lets go of when its process ends, however it ends."""

import contextlib
import errno
import fcntl
import os
import re
import stat
import time

from loader.decisions.checkpoint import printable
from loader.errors import BadState

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_PATIENCE = 1.0
"""Seconds. Another run that sweeps has the lock for a moment; one that loads keeps it."""
_PAUSE = 0.02
_NOTE = re.compile(rb"(\d+)\n")
_NOTE_BYTES = 32


def open_locked(path: str, patience: float = 0.0) -> int:
    """
    A descriptor of the regular file `path` (made if there is none, mode 0600), locked for us alone.

    What is there keeps its mode: whether the loader made it only its content can tell. Raises BadState,
    naming the process, where another still holds it after `patience` seconds, or this one does already, and
    for what is not a file of our user's with one name; OSError where it cannot be opened.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            raise _refusal(path, error) from error
        try:
            _require_own(descriptor, path)
            # Else its last holder removed it after we had opened it: a lock on it would keep nobody out.
            if _locked(descriptor, path, deadline) and _stands_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _locked(descriptor: int, path: str, deadline: float) -> bool:
    """Lock it; False once another file stands at `path`. Raises BadState when it is past the deadline."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise BadState(
                    f"{printable(path)} is in use by another run{_holder(descriptor)}. "
                    "Wait for it to end, or stop it."
                ) from None
        time.sleep(_PAUSE)
        if not _stands_at(descriptor, path):
            return False


def _refusal(path: str, error: OSError) -> BadState | OSError:
    if error.errno == errno.ELOOP and os.path.islink(path):
        return BadState(f"{printable(path)} is a symbolic link, which is not followed. Remove it.")
    return error


def require_own(descriptor: int, path: str) -> None:
    """
    Close to others a file that is known for one that the loader makes.

    Raises BadState for what others may have put at `path` for us to write to: all that the loader makes are
    regular files of its user's with one name. One by another name may be anything of the user's.
    """
    _require_own(descriptor, path)
    if os.fstat(descriptor).st_mode & 0o077:
        # Where a file system knows no modes nothing can be closed.
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o600)


def require_own_at(path: str) -> None:
    """As `require_own`, for the file at `path`, if there is one. Raises BadState."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        refusal = _refusal(path, error)
        if isinstance(refusal, OSError):
            refusal = BadState(f"{printable(path)} cannot be opened: {error.strerror}. Move it away.")
        raise refusal from error
    try:
        require_own(descriptor, path)
    finally:
        os.close(descriptor)


def _require_own(descriptor: int, path: str) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise BadState(f"{printable(path)} is not a regular file. Move it away.")
    if found.st_uid != os.geteuid():
        raise BadState(f"{printable(path)} is a file of another user's. Move it away.")
    if found.st_nlink > 1:
        raise BadState(f"{printable(path)} has other names too (hard links), and is left alone. Remove it.")


def may_be_lock(descriptor: int) -> bool:
    """Whether this is what a FileLock makes: a process number and a line end, or not even that yet."""
    content = os.pread(descriptor, _NOTE_BYTES, 0)
    return not content or _NOTE.fullmatch(content) is not None


def _stands_at(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _holder(descriptor: int) -> str:
    """` (process 123)`, or nothing where that cannot be told: its own note, else what the kernel says."""
    noted = _NOTE.fullmatch(os.pread(descriptor, _NOTE_BYTES, 0))
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

    Raises BadState when another run holds it and does not let go within a second, or it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._descriptor: int | None = open_locked(path, _PATIENCE)
        except OSError as error:
            raise BadState(
                f"{path} cannot be locked: {error.strerror}. Choose another --state-dir."
            ) from error
        try:
            require_own(self._descriptor, path)
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
