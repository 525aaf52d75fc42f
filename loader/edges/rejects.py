"""The reject file: rows that are not in the table, in a form that can be mended and loaded again."""

import contextlib
import errno
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from loader.decisions.checkpoint import printable
from loader.decisions.reject_form import RejectForm
from loader.edges.journal import sync_directory, write_at
from loader.edges.lock import open_locked
from loader.errors import BadOption, BadState, DiskFailed
from loader.model import Dialect, Header, Reject

_PIECE = 1 << 20
_WAITING = 8 << 20  # bytes: a shard's rejects have no limit in all
_STEM_BYTES = 200  # of the 255 that a name may have
_GLOB = re.compile(r"\[!?\]?[^]]*\]|[][*?]")  # a set of characters as a whole
_SEPARATORS = "-_. "
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def default_path(source_path: str, directory: str) -> str:
    """
    The absolute path of `STEM.rejects.csv` in `directory`, STEM being that of the source without its glob
    characters (`rejects.csv` where it has no others); or of the first of `STEM.rejects-2.csv`, `-3` ... that
    is not taken, be it by a file still in the making.
    """
    stem = _without_glob(os.path.splitext(os.path.basename(source_path))[0])
    stem = os.fsdecode(os.fsencode(stem)[:_STEM_BYTES])
    name = f"{stem}.rejects" if stem else "rejects"
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        path = os.path.join(os.path.abspath(directory), f"{name}{suffix}.csv")
        if not os.path.lexists(path) and not os.path.lexists(part_path(path)):
            return path
        number += 1


def _without_glob(stem: str) -> str:
    """`part` for `part-*`: a name that no pattern is needed to give, nor is one."""
    parts = _GLOB.split(stem)
    if len(parts) == 1:
        return stem
    joined = parts[0]
    for part in parts[1:]:
        # Of the separators on both sides of what is taken out, one stays.
        joined += part.lstrip(_SEPARATORS) if not joined or joined[-1] in _SEPARATORS else part
    return joined.strip(_SEPARATORS)


def part_path(final_path: str) -> str:
    """Where the rejects are until the load is complete."""
    return f"{final_path}.part"


def discard_part(final_path: str) -> None:
    """Remove what a load that is given up (--restart) left. Raises BadState while another run is at it."""
    path = part_path(final_path)
    if not os.path.lexists(path):
        return
    try:
        descriptor = open_locked(path)
        try:
            os.unlink(path)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadState(f"{printable(path)} cannot be removed: {error.strerror}.") from error


class RejectFile:
    """
    The rejects of one load: appended to `FINAL.part` as they come, put in file order at the end.

    The file in the making is locked, so it is ours alone. What stands at the final path is never overwritten.
    """

    def __init__(self, final_path: str, descriptor: int | None, form: RejectForm, first_line: bytes) -> None:
        self._final = final_path
        self._part = part_path(final_path)
        self._descriptor = descriptor
        self._form = form
        self._first_line = first_line
        self._length = len(first_line)  # of what has been written
        self._waiting = bytearray()
        self._unrecorded = bytearray()
        self._positions = array("Q")
        self._offsets = array("Q")
        self._lengths = array("Q")

    @classmethod
    def open(
        cls,
        final_path: str,
        header_record: bytes,
        header: Header,
        dialect: Dialect,
        resume: tuple[Sequence[int], Sequence[int]] | None = None,
    ) -> "RejectFile":
        """
        Begin the reject file of a load, or go on with it (`resume`, as in checkpoint.Resume.rejects).

        `header_record` is the header of the first source as it stands there. What the checkpoint does not
        know of is cut off. Raises BadOption for a final path that is taken, BadState for a file in the making
        that is in use, of another load, or not all there.
        """
        final_path = os.path.abspath(final_path)
        form = RejectForm(header, dialect)
        first_line = form.first_line(header_record)
        length = len(first_line) + (sum(resume[1]) if resume is not None else 0)
        descriptor = None
        if not _may_be_complete(final_path, first_line, length):
            require_free(final_path)
            descriptor = _open_part(final_path, first_line, length, resume is None)
        elif os.path.lexists(part_path(final_path)):
            descriptor = _open_part(final_path, first_line, length, False)
        file = cls(final_path, descriptor, form, first_line)
        for position, size in zip(*(resume or ((), ())), strict=True):
            file._enter(position, size)
        file._length = length
        return file

    @property
    def part(self) -> str:
        """Where the rejects are while the load is not complete."""
        return self._part

    def append(self, record: bytes, shown_file: str, line: int, reject: Reject) -> int:
        """
        Add a reject: its record's bytes, the file and line where it begins. The bytes it takes in the file,
        which the checkpoint must come to know: what stands where is found again by adding these up.

        It is on disk after the next `sync`, which this calls where much is waiting. See `all_or_none`.
        """
        data = self._form.line(record, shown_file, line, reject)
        self._enter(reject.position, len(data))
        self._waiting += data
        if len(self._waiting) > _WAITING:
            self.sync()
        return len(data)

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Where this is left by an error, nothing that was appended in it is part of the file."""
        end = self._length + len(self._waiting)
        count = len(self._positions)
        try:
            yield
        except BaseException:
            # What waited before may be on disk by now; what came behind it there is overwritten or cut off.
            self._length = min(self._length, end)
            del self._waiting[end - self._length :]
            for each in (self._positions, self._offsets, self._lengths):
                del each[count:]
            raise

    def append_unrecorded(self, record: bytes, shown_file: str, line: int, reject: Reject) -> None:
        """
        Add a reject of a shard that this run leaves unfinished, for the user to see. It is written by
        `close`, behind all that the checkpoint knows, and cut off when the load goes on.
        """
        self._unrecorded += self._form.line(record, shown_file, line, reject)

    def sync(self) -> None:
        """Bring to the disk what was appended. Raises DiskFailed; another try then leaves out nothing."""
        if not self._waiting:
            return
        if self._descriptor is None:
            raise DiskFailed(f"The reject file {printable(self._part)} is gone.")
        with self._disk():
            write_at(self._descriptor, self._waiting, self._length)
            # It tells of a failure once, and then holds the lost pages for written: after one, all is
            # written anew.
            os.fsync(self._descriptor)
        self._length += len(self._waiting)
        self._waiting.clear()

    def finish(self) -> str | None:
        """
        The load is complete: put the rejects in file order at the final path, which is returned; None, and no
        file, where there are none. Raises DiskFailed. After a crash in here it can be done again.
        """
        self.sync()
        if self._positions and self._descriptor is not None:
            with self._disk():
                self._put_in_order(f"{self._part}.sorted")
        if self._descriptor is not None:
            with self._disk():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._part)
                sync_directory(os.path.dirname(self._part))
        final = self._final if self._positions else None
        self._close()
        return final

    def close(self) -> None:
        """Keep what was synced for the run that continues; a file without rejects is not kept."""
        try:
            if self._descriptor is not None:
                # The load has ended already, one way or another, and all that the next run needs is on disk.
                with contextlib.suppress(OSError):
                    if self._positions or self._unrecorded:
                        os.ftruncate(self._descriptor, self._length)
                        write_at(self._descriptor, self._unrecorded, self._length)
                    else:
                        os.unlink(self._part)
        finally:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _enter(self, position: int, length: int) -> None:
        offset = self._offsets[-1] + self._lengths[-1] if self._offsets else len(self._first_line)
        self._positions.append(position)
        self._offsets.append(offset)
        self._lengths.append(length)

    def _put_in_order(self, sorted_path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sorted_path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(sorted_path, flags, 0o600), "w+b", buffering=_PIECE) as file:
                file.write(self._first_line)
                for offset, length in self._runs():
                    self._copy(file, offset, length)
                file.flush()
                os.fsync(file.fileno())
                # A run that was stopped in here may have put it there already.
                if not _publish(sorted_path, self._final) and not _same_content(file, self._final):
                    trouble = (
                        f"{printable(self._final)} has appeared; move it away, then give the command again"
                    )
                    raise FileExistsError(errno.EEXIST, trouble)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(sorted_path)
        sync_directory(os.path.dirname(self._final))

    def _runs(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of the stretches to copy so that rejects come out in the order of the source."""
        order = np.argsort(np.array(self._positions, np.int64), kind="stable")
        offsets = np.array(self._offsets, np.int64)[order]
        ends = offsets + np.array(self._lengths, np.int64)[order]
        begins = np.flatnonzero(np.append(True, offsets[1:] != ends[:-1]))
        lasts = np.append(begins[1:], len(order)) - 1
        yield from zip(offsets[begins].tolist(), (ends[lasts] - offsets[begins]).tolist(), strict=True)

    def _copy(self, file: BinaryIO, offset: int, length: int) -> None:
        assert self._descriptor is not None
        while length:
            data = os.pread(self._descriptor, min(length, _PIECE), offset)
            if not data:
                raise OSError(errno.EIO, "it is shorter than it was written")
            file.write(data)
            offset += len(data)
            length -= len(data)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskFailed(
                f"The reject file {printable(self._part)} cannot be written: {error.strerror}."
            ) from error


def require_free(final_path: str) -> None:
    """Raises BadOption where something stands at the path: a reject file never takes its place."""
    if os.path.lexists(final_path):
        raise BadOption(
            f"The reject file {printable(final_path)} exists, and is not overwritten. "
            "Move it away, or name another with --rejects."
        )


def _may_be_complete(final_path: str, first_line: bytes, length: int) -> bool:
    """Whether the last run may have been stopped between completing this file and ending its checkpoint."""
    if length == len(first_line):
        return False
    try:
        with open(os.open(final_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return os.fstat(file.fileno()).st_size == length and file.read(len(first_line)) == first_line
    except OSError:
        return False


def _open_part(final_path: str, first_line: bytes, length: int, fresh: bool) -> int:
    """The file in the making, locked, with its first line and `length` bytes in all."""
    path = part_path(final_path)
    shown = printable(path)
    try:
        descriptor = open_locked(path)
        try:
            size = os.fstat(descriptor).st_size
            found = os.pread(descriptor, len(first_line), 0)
            # One that holds no reject yet may be taken over: a run ended right after it had begun.
            if not first_line.startswith(found) or (fresh and size > len(first_line)):
                raise BadState(
                    f"{shown} is of another load. Move it away, or name another file with --rejects."
                )
            if length > len(first_line) and size < length:
                raise BadState(
                    f"{shown} is gone or was changed: the checkpoint knows of {length:,} bytes, "
                    f"there are {size:,}. Give --restart to load everything anew."
                )
            if length == len(first_line):
                # Even where it seems to be there: a sync that failed may have lost it.
                write_at(descriptor, first_line, 0)
            os.ftruncate(descriptor, length)
            # Before the checkpoint names it: what a power failure made of its first line would not be known
            # for ours again.
            os.fsync(descriptor)
            sync_directory(os.path.dirname(path))
        except BaseException as error:
            try:
                # A full disk does not take the first line: what is refused shall leave nothing.
                if isinstance(error, OSError) and fresh:
                    with contextlib.suppress(OSError):
                        os.unlink(path)
            finally:
                os.close(descriptor)
            raise
    except OSError as error:
        raise BadOption(
            f"The reject file {shown} cannot be made: {error.strerror}. Name another with --rejects."
        ) from error
    return descriptor


def _publish(path: str, final_path: str) -> bool:
    """Give the file at `path` its final name unless that is taken."""
    try:
        os.link(path, final_path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links: take the name first, then put the file there.
        try:
            os.close(os.open(final_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        os.replace(path, final_path)
    return True


def _same_content(file: BinaryIO, path: str) -> bool:
    file.seek(0)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as other:
        while data := file.read(_PIECE):
            if other.read(len(data)) != data:
                return False
        return not other.read(1)
