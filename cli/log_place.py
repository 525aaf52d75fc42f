"""Where a log may not be: in a file that it would spoil."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from cli.text import visible
from loader.edges.reject_names import part_path
from loader.errors import BadOption
from loader.model import REJECT_COLUMNS

_LONGEST_HEADER = 1 << 20


def require_apart(path: str, sources: Iterable[str], rejects: str | None) -> None:
    """
    Raises BadOption where a log at `path` would be one of the sources, or go between rejects. Opens nothing
    for writing.

    `rejects` is the reject file that was named; that of a load which goes on is known by its content.
    """
    if any(_is_source(path, source) for source in sources):
        raise BadOption(
            f"--log-file {visible(path)}: this is one of the sources, and a log would be added to its rows. "
            "Name another file."
        )
    of_rejects = () if rejects is None else (rejects, part_path(rejects))
    if any(_same(path, each) for each in of_rejects) or _holds_rejects(path):
        raise BadOption(
            f"--log-file {visible(path)}: this is a reject file, and a log would be added to its rows. "
            "Name another file."
        )


def _is_source(path: str, source: str) -> bool:
    if any(_same(path, file) for file in _files(source)):
        return True
    # Made now, it would be one of those that the pattern stands for.
    return not os.path.lexists(path) and not os.path.lexists(source) and _matches(path, source)


def _files(source: str) -> Iterator[str]:
    yield source
    if not os.path.lexists(source):
        yield from glob.iglob(source, recursive=True)


def _matches(path: str, pattern: str) -> bool:
    name = os.path.basename(path)
    hidden = name.startswith(".") and not os.path.basename(pattern).startswith(".")
    return not hidden and PurePath(os.path.abspath(path)).match(os.path.abspath(pattern))


def _same(path: str, other: str) -> bool:
    """Whether both are one file; or would be, were they made."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return os.path.realpath(path) == os.path.realpath(other)


def _holds_rejects(path: str) -> bool:
    try:
        # A pipe must make nobody wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            first = file.readline(_LONGEST_HEADER)
    except OSError:
        return False
    return first.rstrip(b"\r\n").endswith(",".join(REJECT_COLUMNS).encode())
