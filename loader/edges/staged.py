"""A journal that takes the place of another: made beside it, put there when nothing else can fail."""

import contextlib
import os

from loader.decisions.checkpoint import Head
from loader.edges.journal import JOURNAL, Journal, sync_directory
from loader.edges.lock import require_own_at
from loader.errors import BadState, DiskFailed

STAGED = "restart"
"""The directory, in that of the load, where the new journal is until then."""


class StagedJournal:
    """
    The checkpoint of a load that begins anew, while the one it replaces can still be continued.

    Who makes it holds the lock of `directory`. `put` ends it, or `remove`.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    @classmethod
    def create(cls, directory: str, head: Head) -> "StagedJournal":
        """The head is on disk on return. Raises BadState where a journal stands there that is not ours."""
        require_own_at(os.path.join(directory, JOURNAL))
        inner = os.path.join(directory, STAGED)
        remove_staged(directory)
        try:
            os.mkdir(inner, 0o700)
        except OSError as error:
            raise DiskFailed(f"{inner}, for the new checkpoint, cannot be made: {error.strerror}.") from error
        try:
            Journal.create(inner, head).close()
        except BaseException:
            with contextlib.suppress(OSError):
                remove_staged(directory)
            raise
        return cls(directory)

    def put(self) -> Journal:
        """Give up the journal that was there for this one, in one step. Raises DiskFailed, BadState."""
        try:
            inner = os.path.join(self._directory, STAGED, JOURNAL)
            os.replace(inner, os.path.join(self._directory, JOURNAL))
            sync_directory(self._directory)
        except OSError as error:
            raise DiskFailed(
                f"The new checkpoint cannot be put into {self._directory}: {error.strerror}."
            ) from error
        self.remove()
        begun = Journal.load(self._directory)
        if begun is None:
            raise BadState(f"The new checkpoint in {self._directory} has been changed by somebody else.")
        return Journal.resume(self._directory, begun)

    def remove(self) -> None:
        """Where it cannot be removed it is left: the next start tries again."""
        with contextlib.suppress(OSError):
            remove_staged(self._directory)


def is_staged(directory: str, name: str) -> bool:
    """Whether what has this name in the directory of a load is what a killed restart leaves there."""
    path = os.path.join(directory, name)
    return name == STAGED and not os.path.islink(path) and set(os.listdir(path)) <= {JOURNAL}


def remove_staged(directory: str) -> None:
    """Remove what a restart that was killed left of its journal. Raises OSError, also where there is more."""
    inner = os.path.join(directory, STAGED)
    if not os.path.lexists(inner):
        return
    if not os.path.islink(inner):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(inner, JOURNAL))
    os.rmdir(inner)
