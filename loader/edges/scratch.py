"""What a dry run makes on disk: in a directory of its own, locked while it runs and gone at its end."""

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Sequence

from loader.decisions.checkpoint import Head, printable
from loader.edges.journal import JOURNAL, LOCK, make_state_directory, sync_directory
from loader.edges.lock import FileLock
from loader.edges.reject_names import part_path
from loader.edges.rejects import RejectFile, require_free
from loader.edges.source import Source
from loader.edges.spool import is_spool_file
from loader.errors import BadOption, BadState

_log = logging.getLogger(__name__)

# No load's directory has such a name: see state_name.
_NAME = re.compile(r"\.ddbload-dry-run-[0-9a-f]{16}")
_REJECTS = "rejects.csv"
_FILES = (JOURNAL, _REJECTS, part_path(_REJECTS), f"{part_path(_REJECTS)}.sorted")
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def make_scratch(base: str) -> tuple[str, FileLock]:
    """A new directory in `base`, which is made where it is missing, and the lock of it. Raises BadState."""
    directory = make_state_directory(base, f".ddbload-dry-run-{secrets.token_hex(8)}")
    try:
        return directory, FileLock(os.path.join(directory, LOCK))
    except BadState:
        if not os.path.lexists(directory):
            # The sweep of another run, which took it for one that was killed.
            return make_scratch(base)
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        raise


def is_scratch(directory: str, names: Sequence[str]) -> bool:
    """Whether a dry run has made this directory, which holds `names`, and nobody has put anything there."""
    return _NAME.fullmatch(os.path.basename(directory)) is not None and all(
        name in (*_FILES, LOCK) or is_spool_file(name) for name in names
    )


def remove_scratch(directory: str) -> None:
    """Raises OSError. What a dry run has not made stays. Who calls it holds the lock, if there is one."""
    names = set(os.listdir(directory))
    # The lock last: by it another run knows what is left, should this one be killed in here.
    for name in (*filter(is_spool_file, names), *_FILES, LOCK):
        if name in names:
            os.unlink(os.path.join(directory, name))
    os.rmdir(directory)


class ScratchRejects(RejectFile):
    """
    The rejects of a dry run, made in its directory; only a whole file is put where the user wants it.

    So whatever a load has in the making for that place is left alone.
    """

    _wanted = ""

    @classmethod
    def begin(cls, directory: str, head: Head, source: Source) -> "ScratchRejects":
        """Raises BadOption where no file can be made where the head wants one, DiskFailed for a full disk."""
        wanted = head.rejects
        if wanted:
            _require_place(wanted)
            if os.path.lexists(part_path(wanted)):
                _warn(wanted, _in_making(wanted))
                wanted = ""
        final = os.path.join(directory, _REJECTS)
        file = cls.open(final, source.header_record(), source.header, head.dialect)
        assert isinstance(file, cls)
        file._wanted = wanted
        return file

    def finish(self) -> str | None:
        """
        As that of a load; None too where nobody wants the file, or it cannot be put there, which the log
        then tells: what else was found is not given up for it.
        """
        if not self._wanted:
            self.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.part)
            return None
        made = super().finish()
        if made is None:
            return None
        try:
            if os.path.lexists(part_path(self._wanted)):
                raise FileExistsError(errno.EEXIST, _in_making(self._wanted))
            _put(made, self._wanted)
        except OSError as error:
            _warn(self._wanted, error.strerror)
            return None
        finally:
            os.unlink(made)
        return self._wanted


def _in_making(path: str) -> str:
    return f"{printable(part_path(path))} is of a load that is to put its own there"


def _warn(wanted: str, why: str | None) -> None:
    _log.warning(
        "The rejects of a dry run cannot be put in %s: %s. Name another with --rejects.",
        printable(wanted),
        why,
    )


def _require_place(path: str) -> None:
    require_free(path)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        what = "cannot be written to" if os.path.isdir(directory) else "is no directory"
        raise BadOption(
            f"The reject file {printable(path)} cannot be made: {printable(directory)} {what}. "
            "Name another with --rejects."
        )


def _put(path: str, final_path: str) -> None:
    """What is at `path`, at `final_path` too. Raises OSError, FileExistsError where that is taken."""
    try:
        os.link(path, final_path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(path, final_path)
    sync_directory(os.path.dirname(final_path))


def _copy(path: str, final_path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(path, "rb") as file, open(os.open(final_path, flags, 0o600), "wb") as copy:
        try:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(final_path)
            raise
