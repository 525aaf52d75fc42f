"""The books of a dry run: those of a load, in a directory of their own that is gone at the end."""

import os
import shutil
import tempfile
from contextlib import ExitStack, suppress

from loader.decisions.checkpoint import Head, printable
from loader.edges.journal import Journal
from loader.edges.lock import require_own_at
from loader.edges.rejects import RejectFile, discard_part
from loader.edges.source import Source
from loader.errors import BadState, DiskFailed

_REJECTS = "rejects.csv"


def temporary_directory(state_dir: str | None, stack: ExitStack) -> str:
    """
    A directory that `stack` removes: below `state_dir` where that was given and is there, since it may have
    room where the system's own place has none. Raises BadState.
    """
    below = state_dir if state_dir is not None and os.path.isdir(state_dir) else None
    try:
        directory = tempfile.mkdtemp(prefix="ddbload-dry-run-", dir=below)
    except OSError as error:
        where = printable(below or tempfile.gettempdir())
        raise BadState(
            f"No directory can be made in {where}: {error.strerror}. Name another with --state-dir."
        ) from error
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def open_books(head: Head, source: Source, directory: str, stack: ExitStack) -> tuple[Journal, RejectFile]:
    """
    Journal and reject file; the latter is where the head says, and in the directory where it names none.
    Raises BadOption and BadState for a reject file that cannot be made there, BadState for a full disk.
    """
    path = head.rejects or os.path.join(directory, _REJECTS)
    try:
        rejects = RejectFile.open(path, source.header_record(), source.header, head.dialect)
        # What is in the making is for a run that continues, and a dry run is begun anew.
        stack.callback(_discard, path)
        stack.callback(rejects.close)
        require_own_at(rejects.part)
        journal = Journal.create(directory, head)
    except DiskFailed as error:
        raise BadState(f"{error} Make room there, or choose another --state-dir.") from error
    stack.callback(journal.close)
    return journal, rejects


def _discard(path: str) -> None:
    # Another run may have begun there meanwhile.
    with suppress(BadState):
        discard_part(path)
