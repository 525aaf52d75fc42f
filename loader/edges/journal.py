"""The journal: a checkpoint on disk, one JSON object a line, that is whole after a crash at any moment."""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from loader.decisions.checkpoint import BadLine, Head, Line, Resume
from loader.decisions.journal_form import (
    OtherFormat,
    checked,
    decode_head,
    encode_head,
    encode_line,
)
from loader.decisions.journal_form import (
    decode_line as decode_line,  # also for who reads a journal line by line
)
from loader.decisions.replay import Replay
from loader.edges.lock import require_own
from loader.edges.spool import is_spool_file
from loader.errors import BadState, DiskFailed

JOURNAL = "journal.jsonl"
LOCK = "lock"
_PIECE = 1 << 20
_RESTART = "Give --restart to load everything anew."


def default_state_dir(environ: Mapping[str, str]) -> str:
    """Where the checkpoints of all loads are, by the rules of the XDG base directories."""
    home = environ.get("XDG_STATE_HOME", "")
    # A relative one is to be ignored, as the rules say.
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "ddbload")


def state_name(endpoint: str, arn: str, paths: Sequence[str]) -> str:
    """The directory of one load: words to know it by, and a hash of what it is of (`paths` are absolute)."""
    told = json.dumps([endpoint, arn, list(paths)]).encode()
    stem = os.path.splitext(os.path.basename(paths[0]))[0]
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{arn.rpartition('/')[2]}-{stem}").strip("-.")
    return f"{words[:60]}-{hashlib.sha256(told).hexdigest()[:16]}"


def make_state_directory(base: str, name: str) -> str:
    """The directory `name` in `base`, for us alone; both are made where they are missing. Raises BadState."""
    path = os.path.join(os.path.abspath(base), name)
    try:
        # Each by itself: a mode given to makedirs counts for the last alone.
        os.makedirs(os.path.dirname(os.path.dirname(path)), exist_ok=True)
        for directory in (os.path.dirname(path), path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise BadState(f"{path} is not a directory of yours. Choose another --state-dir.")
        if found.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        raise BadState(
            f"{path}, for the checkpoint, cannot be made: {error.strerror}. Choose another --state-dir."
        ) from error
    return path


class Journal:
    """
    The checkpoint of one load, in its state directory, while it is written. Who has it holds the lock there.

    `append` only remembers; `sync` brings what was appended to the disk. Sync the reject file before the
    journal: then no line ever tells of rejects that are not there.
    """

    def __init__(self, directory: str, descriptor: int) -> None:
        self._directory = directory
        self._path = os.path.join(directory, JOURNAL)
        self._descriptor = descriptor
        self._length = 0
        self._sum = 0  # of the last line that was appended
        self._waiting: list[bytes] = []

    @classmethod
    def create(cls, directory: str, head: Head) -> "Journal":
        """Begin a load; a journal that is there is forgotten. The head is on disk on return."""
        journal = cls._open(directory, os.O_CREAT)
        try:
            journal._cut(0)
            journal._append(encode_head(head))
            journal.sync()
            with journal._disk("written"):
                sync_directory(directory)
        except BaseException:
            journal.close()
            # Without a whole head it tells of no load.
            with contextlib.suppress(OSError):
                os.unlink(journal._path)
            raise
        return journal

    @staticmethod
    def load(directory: str) -> Resume | None:
        """
        What the journal there tells; None when there is none, or not even its first line is whole.

        A last line that is torn or garbled is left out. Raises BadState for any other that is not as it was
        written, or cannot follow.
        """
        path = os.path.join(directory, JOURNAL)
        try:
            descriptor = _opened(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadState(f"{path} cannot be read: {error.strerror}. {_RESTART}") from error
        with open(descriptor, "rb") as file:
            return _replay(file, path)

    @classmethod
    def resume(cls, directory: str, resume: Resume) -> "Journal":
        """Go on behind the whole lines that `load` found, on disk on return; what was torn is cut off."""
        journal = cls._open(directory, 0)
        try:
            journal._write_anew(resume.length)
            journal._cut(resume.length)
            journal._sum = resume.sum
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def _open(cls, directory: str, flags: int) -> "Journal":
        path = os.path.join(directory, JOURNAL)
        try:
            descriptor = _opened(path, os.O_RDWR | flags)
        except OSError as error:
            raise DiskFailed(f"The checkpoint {path} cannot be opened: {error.strerror}.") from error
        return cls(directory, descriptor)

    def append(self, line: Line) -> None:
        """Remember a line for the next `sync`."""
        self._append(encode_line(line, self._sum))

    def _append(self, data: bytes) -> None:
        self._sum = checked(data, self._sum)
        self._waiting.append(data)

    def sync(self) -> None:
        """
        Bring every appended line to the disk. Raises DiskFailed; the lines are then still to be written, so
        that another try, when there is room again, leaves out nothing.
        """
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        with self._disk("written"):
            try:
                write_at(self._descriptor, data, self._length)
                os.fsync(self._descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._length)
                raise
        self._length += len(data)
        self._waiting.clear()

    def close(self) -> None:
        """Keep the checkpoint; what was not synced is lost."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def delete(self) -> None:
        """
        The load is complete: remove what it has in its state directory, and that. Raises DiskFailed.

        What somebody else has put there stays. Whoever has removed it meanwhile has saved us the work.
        """
        self.close()
        with self._disk("removed"), contextlib.suppress(FileNotFoundError):
            # First, so that whatever is left by a crash here is not taken for a load that can be continued.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            sync_directory(self._directory)
            # The lock last: until then no other run may begin here.
            for name in (*filter(is_spool_file, os.listdir(self._directory)), LOCK):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, name))
            with contextlib.suppress(OSError):
                os.rmdir(self._directory)

    def _write_anew(self, length: int) -> None:
        """
        Lines whose sync failed before a run was killed can be read, and are not on disk: a sync brings there
        what was written since the last one, be it one that failed.
        """
        with self._disk("written"):
            for start in range(0, length, _PIECE):
                data = os.pread(self._descriptor, min(_PIECE, length - start), start)
                write_at(self._descriptor, data, start)

    def _cut(self, length: int) -> None:
        with self._disk("written"):
            os.ftruncate(self._descriptor, length)
            os.fsync(self._descriptor)
        self._length = length

    @contextlib.contextmanager
    def _disk(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskFailed(f"The checkpoint {self._path} cannot be {done}: {error.strerror}.") from error


def _opened(path: str, flags: int) -> int:
    """A descriptor of the journal. Raises OSError, and BadState for what is not a file of ours alone."""
    try:
        # NONBLOCK: a pipe that nobody writes to must not make this wait.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadState(f"{path} is a symbolic link, which is not followed. Remove it.") from error
        raise
    try:
        require_own(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_at(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`. A disk that is filling up takes a part first, then raises OSError."""
    done = 0
    # Released in any case: a bytearray cannot be added to while a traceback holds a view of it.
    with memoryview(data) as whole:
        while done < len(whole):
            with whole[done:] as rest:
                done += os.pwrite(descriptor, rest, offset + done)


def sync_directory(path: str) -> None:
    """Bring to the disk which files a directory has."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems keep directories in order by themselves, and do not let us ask.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _replay(file: BinaryIO, path: str) -> Resume | None:
    first = file.readline()
    if not first.endswith(b"\n"):
        # It is on disk before a load writes its first row: nothing was begun.
        return None
    try:
        replay = Replay(decode_head(first))
    except OtherFormat:
        raise BadState(f"{path} was written by another version of this program. {_RESTART}") from None
    except BadLine:
        raise _bad_line(path, 1) from None
    length, checksum = len(first), checked(first, 0)
    bad = 0
    for number, line in enumerate(file, 2):
        if bad:
            raise _bad_line(path, bad)
        try:
            checksum = checked(line, checksum)
        except BadLine:
            bad = number
            continue
        try:
            replay.take(decode_line(line))
        except BadLine:
            # It is as it was written, so that no crash has made it what it is.
            raise _bad_line(path, number) from None
        length += len(line)
    return replay.resume(length, checksum)


def _bad_line(path: str, number: int) -> BadState:
    return BadState(f"{path}, line {number:,}: this is not what a checkpoint says there. {_RESTART}")
