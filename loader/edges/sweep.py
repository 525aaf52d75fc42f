"""What runs that were killed left in the state directory, and no run will ask for again."""

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from loader.edges.journal import JOURNAL, LOCK
from loader.edges.lock import may_be_lock, open_locked
from loader.edges.scratch import is_scratch, remove_scratch
from loader.edges.spool import is_spool_file
from loader.edges.staged import STAGED, is_staged, remove_staged
from loader.errors import BadState

_log = logging.getLogger(__name__)

_OF_A_LOAD = re.compile(r"-[0-9a-f]{16}\Z")
_OLD_SECONDS = 3600.0
"""A directory without a journal may be of a run that begins just now; one so old is of none."""


def sweep(base: str, own: str) -> None:
    """
    Remove the spool files of dead runs below the state directory `base`, and dead dry runs as a whole;
    checkpoints stay, and so does every directory that holds anything which is not a run's.

    `own` is the directory of the load that begins, which holds its lock: what is there is of an earlier run
    of it. What cannot be looked at or removed is left: it is in nobody's way.
    """
    with suppress(OSError):
        _remove_remains(own)
    sweep_dry_runs(base)
    for directory in _directories(base):
        if _OF_A_LOAD.search(directory) and directory != own and not is_scratch(directory, ()):
            with suppress(OSError, BadState):
                _sweep_one(directory)


def sweep_dry_runs(base: str) -> None:
    """Remove what dry runs that were killed left in `base`; what cannot be removed is left."""
    for directory in _directories(base):
        with suppress(OSError, BadState):
            if is_scratch(directory, ()):
                _sweep_dry_run(directory)


def _directories(base: str) -> Iterator[str]:
    try:
        yield from [each.path for each in os.scandir(base) if each.is_dir(follow_symlinks=False)]
    except OSError as error:
        _log.debug("%s cannot be looked at: %s.", base, error.strerror)


def _sweep_dry_run(directory: str) -> None:
    names = os.listdir(directory)
    if not names and os.stat(directory).st_mtime < time.time() - _OLD_SECONDS:
        os.rmdir(directory)
    if LOCK not in names or not is_scratch(directory, names):
        return
    # A run that is at it holds this.
    lock = open_locked(os.path.join(directory, LOCK))
    try:
        if may_be_lock(lock) and is_scratch(directory, os.listdir(directory)):
            remove_scratch(directory)
            _log.info("Removed %s, which a dry run that was killed had left.", directory)
    finally:
        os.close(lock)


def _sweep_one(directory: str) -> None:
    names = os.listdir(directory)
    abandoned = JOURNAL not in names and os.stat(directory).st_mtime < time.time() - _OLD_SECONDS
    dead = STAGED in names or any(map(is_spool_file, names))
    if not (abandoned or dead) or not _is_of_a_load(directory, names):
        return
    path = os.path.join(directory, LOCK)
    # A run that is at it holds this.
    lock = open_locked(path)
    try:
        # Looked at again: until now it may have changed hands.
        names = os.listdir(directory)
        if not may_be_lock(lock) or not _is_of_a_load(directory, names):
            return
        _remove_remains(directory)
        if abandoned and JOURNAL not in names:
            os.unlink(path)
            os.rmdir(directory)
    finally:
        os.close(lock)


def _is_of_a_load(directory: str, names: Sequence[str]) -> bool:
    """
    Whether a run has made this directory: it has a lock, and nothing that a run does not make. The user may
    have told us to keep our state among directories of the user's own, whose names look like ours.
    """
    return LOCK in names and all(
        name in (JOURNAL, LOCK) or is_spool_file(name) or is_staged(directory, name) for name in names
    )


def _remove_remains(directory: str) -> None:
    for name in filter(is_spool_file, os.listdir(directory)):
        os.unlink(os.path.join(directory, name))
        _log.info("Removed %s, which a run that was killed had left.", os.path.join(directory, name))
    remove_staged(directory)
