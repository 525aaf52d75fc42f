"""The books of a dry run: those of a load, in a directory of their own that is gone at the end."""

import os
import tempfile
from contextlib import ExitStack, suppress

from loader.decisions.checkpoint import Head, printable
from loader.edges.journal import Journal, default_state_dir
from loader.edges.lock import FileLock
from loader.edges.scratch import ScratchRejects, make_scratch, remove_scratch
from loader.edges.source import Source
from loader.edges.sweep import sweep_dry_runs
from loader.errors import BadState, DiskFailed


def open_directory(state_dir: str | None, stack: ExitStack) -> str:
    """
    A directory that `stack` removes: where checkpoints are, or else, unless `state_dir` was given, where the
    system has its temporary ones. What killed dry runs left there is removed too. Raises BadState.
    """
    directory, lock = _made(state_dir)
    stack.callback(lock.close)
    stack.callback(_remove, directory)
    sweep_dry_runs(os.path.dirname(directory))
    return directory


def _made(state_dir: str | None) -> tuple[str, FileLock]:
    if state_dir is not None:
        return make_scratch(state_dir)
    base = default_state_dir(os.environ)
    try:
        return make_scratch(base)
    except BadState:
        # A home that cannot be written to is no reason not to look at a file.
        try:
            return make_scratch(tempfile.gettempdir())
        except (OSError, BadState) as error:
            raise BadState(
                f"A dry run needs room for its index, and neither {printable(base)} nor the system's "
                "temporary directory can be written to. Name a directory with --state-dir."
            ) from error


def _remove(directory: str) -> None:
    # Where it cannot be removed the next run tries again; after a whole run the journal has taken it along.
    with suppress(OSError):
        remove_scratch(directory)


def open_books(
    head: Head, source: Source, directory: str, stack: ExitStack
) -> tuple[Journal, ScratchRejects]:
    """
    Journal and reject file. Raises BadOption where the reject file cannot be put where the head says,
    BadState for a full disk.
    """
    try:
        rejects = ScratchRejects.begin(directory, head, source)
        stack.callback(rejects.close)
        journal = Journal.create(directory, head)
    except DiskFailed as error:
        raise BadState(f"{error} Make room there, or choose another --state-dir.") from error
    stack.callback(journal.close)
    return journal, rejects
