"""The reject file: rows that are not in the table, in a form that can be mended and loaded again."""

import contextlib
import errno
import os
from array import array
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from xxhash import xxh3_64

from loader.decisions.checkpoint import RecordedRejects, printable
from loader.decisions.reject_form import RejectForm
from loader.edges.journal import sync_directory, write_at
from loader.edges.lock import open_locked
from loader.edges.reject_names import part_path
from loader.errors import BadOption, BadState, DiskFailed
from loader.model import Dialect, Header, Reject

_PIECE = 1 << 20
_WAITING = 8 << 20  # bytes: a shard's rejects have no limit in all
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


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

    def __init__(
        self, final_path: str, descriptor: int | None, form: RejectForm, first_line: bytes, content: xxh3_64
    ) -> None:
        self._final = final_path
        self._part = part_path(final_path)
        self._descriptor = descriptor
        self._form = form
        self._first_line = first_line
        self._length = len(first_line)  # of what has been written
        self._content = content  # hashed: what has been written, and what waits
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
        resume: RecordedRejects | None = None,
        *,
        all_done: bool = False,
    ) -> "RejectFile":
        """
        Begin the reject file of a load, or go on with it (`resume`, as in checkpoint.Resume.rejects).

        `header_record` is the header of the first source as it stands there. What the checkpoint does not
        know of is cut off. `all_done` as in checkpoint.Resume: only then may the last run have put the file
        at its final path. Raises BadOption for a final path that is taken, BadState for a file in the making
        that is in use, of another load, not as it was written, or moved.
        """
        final_path = os.path.abspath(final_path)
        form = RejectForm(header, dialect)
        first_line = form.first_line(header_record)
        recorded = resume or RecordedRejects()
        length = len(first_line) + sum(recorded.lengths)
        file = cls(final_path, None, form, first_line, xxh3_64(first_line))
        for position, size in zip(recorded.positions, recorded.lengths, strict=True):
            file._enter(position, size)
        file._length = length
        checksum = recorded.sum
        in_making = os.path.lexists(part_path(final_path))
        # The last run may have been stopped between completing the file and ending its checkpoint.
        completed = all_done and checksum is not None and file._is_completed(checksum)
        if completed and not in_making:
            return file
        if not completed and not in_making and checksum is not None:
            _require_unmoved(final_path, length, checksum)
        if not completed:
            require_free(final_path)
        file._descriptor, file._content = _open_part(final_path, first_line, length, checksum, resume is None)
        return file

    @property
    def sum(self) -> int:
        """The checksum of the file as far as it was appended to, for the checkpoint to know it again."""
        return self._content.intdigest()

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
        self._content.update(data)
        if len(self._waiting) > _WAITING:
            self.sync()
        return len(data)

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Where this is left by an error, nothing that was appended in it is part of the file."""
        end = self._length + len(self._waiting)
        count = len(self._positions)
        content = self._content.copy()
        try:
            yield
        except BaseException:
            # What waited before may be on disk by now; what came behind it there is overwritten or cut off.
            self._length = min(self._length, end)
            del self._waiting[end - self._length :]
            for each in (self._positions, self._offsets, self._lengths):
                del each[count:]
            self._content = content
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

    def _is_completed(self, checksum: int) -> bool:
        """
        Whether what stands at the final path is this file, put in order: read in the order in which it was
        written, it has the checksum.
        """
        order = np.argsort(np.array(self._positions, np.int64), kind="stable")
        lengths = np.array(self._lengths, np.int64)[order]
        offsets = np.empty_like(lengths)
        offsets[order] = len(self._first_line) + np.cumsum(lengths) - lengths
        content = xxh3_64()
        try:
            with open(os.open(self._final, _READ_FLAGS), "rb") as file:
                if os.fstat(file.fileno()).st_size != self._length:
                    return False
                content.update(file.read(len(self._first_line)))
                for offset, length in zip(offsets.tolist(), self._lengths, strict=True):
                    file.seek(offset)
                    content.update(file.read(length))
        except OSError:
            return False
        return content.intdigest() == checksum

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


def _open_part(
    final_path: str, first_line: bytes, length: int, checksum: int | None, fresh: bool
) -> tuple[int, xxh3_64]:
    """
    The file in the making, locked, with its first line and `length` bytes in all, and these hashed.
    `checksum` is theirs where the checkpoint knows it.
    """
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
            if checksum is not None and size < length:
                raise BadState(
                    f"{shown} is gone or was changed: the checkpoint knows of {length:,} bytes, "
                    f"there are {size:,}. Give --restart to load everything anew."
                )
            content = xxh3_64(first_line) if checksum is None else _hashed(descriptor, length)
            if checksum is not None and content.intdigest() != checksum:
                raise BadState(
                    f"{shown} was changed: its first {length:,} bytes are not those that this load wrote. "
                    "Undo the change, or give --restart to load everything anew."
                )
            if checksum is None:
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
    return descriptor, content


def _hashed(descriptor: int, length: int) -> xxh3_64:
    """The first `length` bytes of a file, or all where it has fewer, hashed."""
    content = xxh3_64()
    done = 0
    while done < length and (data := os.pread(descriptor, min(_PIECE, length - done), done)):
        content.update(data)
        done += len(data)
    return content


def _require_unmoved(final_path: str, length: int, checksum: int) -> None:
    """Raises BadState where the file in the making has been given its final name before its time."""
    try:
        with open(os.open(final_path, _READ_FLAGS), "rb") as file:
            moved = _hashed(file.fileno(), length).intdigest() == checksum
    except OSError:
        return
    if moved:
        raise BadState(
            f"The rejects of this load are in {printable(final_path)}, and it is not complete. Move that "
            f"file back to {printable(part_path(final_path))}, or give --restart to load everything anew."
        )


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
    with open(os.open(path, _READ_FLAGS), "rb") as other:
        while data := file.read(_PIECE):
            if other.read(len(data)) != data:
                return False
        return not other.read(1)
