"""A disk that fills up, and a machine that goes down: stands in for `os` in the loader."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock


class Killed(BaseException):
    """The process ends here: nothing of it touches the disk any more."""


@dataclass(frozen=True, slots=True)
class Tear:
    """
    How much of what was written to a file and not synced a power failure leaves: so many whole changes, of
    the next one so many bytes, and `garbage` in place of the rest. Numbers are taken modulo what there is.
    """

    changes: int
    size: int
    garbage: bytes


@dataclass(slots=True)
class _File:
    """`changes` since the last sync, in order: (offset, bytes written there), or (new length, None)."""

    durable: bytes = b""
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)


class FragileDisk:
    """
    Has what `os` has. Writing, syncing, cutting and removing files are counted, and fail where told.

    A process that was killed goes on here only to unwind: whatever it asks for then is not done. A sync
    that fails takes what it should have brought to the disk with it, as Linux does: the file still shows
    it until the power fails, and the next sync says that all is well.
    """

    def __init__(self) -> None:
        self.dead = False
        self.failures = 0
        self._death: int | None = None
        self._full: int | None = None
        self._files: dict[int, _File] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @contextmanager
    def under(self, *modules: ModuleType) -> Iterator[None]:
        """While this lasts it is the `os` of these modules."""
        with ExitStack() as stack:
            for module in modules:
                stack.enter_context(mock.patch.object(module, "os", self))
            yield

    @property
    def may_die(self) -> bool:
        return self._death is not None

    @property
    def fills_up(self) -> bool:
        return self._full is not None

    # --- trouble --------------------------------------------------------------------------------

    def die_before(self, operation: int) -> None:
        """Before so many operations more, or in the middle of that write."""
        self._death = operation

    def fill_up(self, operation: int) -> None:
        """The write or sync behind so many of them finds no room; the one behind that does."""
        self._full = operation

    def no_more_trouble(self) -> None:
        self._death = self._full = None

    def kill(self) -> None:
        self.dead = True
        self.no_more_trouble()

    def boot(self) -> None:
        """Another process has the disk now."""
        self.dead = False

    def durable(self, path: str) -> bytes:
        """What the file at `path` is sure to hold when the power fails now."""
        found = self._files.get(os.stat(path).st_ino)
        return b"" if found is None else found.durable

    def power_fails(self, path: str, tear: Tear) -> None:
        """Of the file at `path` only what is on disk is left."""
        found = self._files.get(os.stat(path).st_ino)
        if found is None:
            return
        content = found.durable
        whole = tear.changes % (len(found.changes) + 1)
        for change in found.changes[:whole]:
            content = _changed(content, *change)
        for offset, data in found.changes[whole : whole + 1]:
            if data is not None:
                kept = tear.size % (len(data) + 1)
                content = _changed(content, offset, (data[:kept] + tear.garbage)[: len(data)])
        with open(path, "r+b") as file:
            file.truncate(0)
            file.write(content)
        found.durable, found.changes = content, []

    def remove(self, path: str) -> None:
        """Somebody else removes it."""
        self._files.pop(os.stat(path).st_ino, None)
        os.unlink(path)

    # --- what os does ---------------------------------------------------------------------------

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        def put(size: int) -> int:
            done = os.pwrite(descriptor, data[:size], offset)
            file = self._file(descriptor)
            # Written over with what it holds, a place holds that, however far the disk came.
            if file.changes or file.durable[offset : offset + done] != data[:done]:
                file.changes.append((offset, bytes(data[:done])))
            return done

        return self._written(len(data), put)

    def write(self, descriptor: int, data: memoryview) -> int:
        return self._written(len(data), lambda size: os.write(descriptor, data[:size]))

    def fsync(self, descriptor: int) -> None:
        if not self._goes_on():
            return
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return
        file = self._file(descriptor)
        changes, file.changes = file.changes, []
        if self._has_room():
            for change in changes:
                file.durable = _changed(file.durable, *change)
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def ftruncate(self, descriptor: int, length: int) -> None:
        if self._goes_on():
            os.ftruncate(descriptor, length)
            self._file(descriptor).changes.append((length, None))

    def unlink(self, path: str) -> None:
        if self._goes_on():
            found = os.lstat(path)
            os.unlink(path)
            if found.st_nlink == 1:
                self._files.pop(found.st_ino, None)

    def link(self, path: str, other: str) -> None:
        if self._goes_on():
            os.link(path, other)

    def rmdir(self, path: str) -> None:
        if self._goes_on():
            os.rmdir(path)

    def _written(self, size: int, put: Callable[[int], int]) -> int:
        if self.dead:
            return size
        if self._death == 0:
            put(size // 2)
        self._goes_on()
        if self._has_room():
            return put(size)
        put(size // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _goes_on(self) -> bool:
        """Whether an operation is done. Raises Killed when it is the one that is not."""
        if self.dead:
            return False
        if self._death == 0:
            self.kill()
            raise Killed
        if self._death is not None:
            self._death -= 1
        return True

    def _has_room(self) -> bool:
        if self._full == 0:
            self._full = None
            self.failures += 1
            return False
        if self._full is not None:
            self._full -= 1
        return True

    def _file(self, descriptor: int) -> _File:
        return self._files.setdefault(os.fstat(descriptor).st_ino, _File())


def _changed(content: bytes, at: int, data: bytes | None) -> bytes:
    before = content[:at].ljust(at, b"\0")
    return before if data is None else before + data + content[at + len(data) :]
