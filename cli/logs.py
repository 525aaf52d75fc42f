"""The log: what `loader` and `cli` write through the logging module, to a file or above the bars."""

import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from cli import log_place
from cli.text import visible
from cli.view import View
from loader.decisions.bugs import trace
from loader.errors import BadOption, LoaderError

# Not the root logger: botocore's debug messages hold session tokens and signed requests.
_LOGGERS = ("loader", "cli")

_log = logging.getLogger(__name__)


@contextmanager
def kept(
    level: str, path: str | None, view: View, sources: Sequence[str] = (), rejects: str | None = None
) -> Iterator[None]:
    """
    Keep a log while this lasts; the traceback of a bug goes there too, on the error's way out.

    Raises BadOption for a file that cannot, or should not, be written to: one of `sources` (files or
    patterns), the reject file `rejects`, or another one of rejects.
    """
    if path is not None:
        log_place.require_apart(path, sources, rejects)
    handler = _ViewHandler(view) if path is None else _FileHandler(_open(path), view)
    handler.setFormatter(_Formatter())
    before = [(logger := logging.getLogger(name), logger.level, logger.propagate) for name in _LOGGERS]
    for logger, _, _ in before:
        logger.setLevel(level.upper())
        logger.propagate = False
        logger.addHandler(handler)
    try:
        yield
    except Exception as error:
        if not isinstance(error, LoaderError):
            _log.debug("This is a bug.\n%s", trace(error))
        raise
    finally:
        for logger, old_level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(old_level)
            logger.propagate = propagate
        handler.close()


class _Formatter(logging.Formatter):
    """`2025-01-31T12:00:00.123+0100 WARNING loader.engines.writer: text`; further lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.localtime(record.created)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{int(record.msecs):03}"
        zone = time.strftime("%z", moment)
        first, *more = (visible(part) for part in record.getMessage().rstrip("\n").split("\n"))
        head = f"{stamp}{zone} {record.levelname} {record.name}: {first}"
        return "\n    ".join([head, *more])


class _ViewHandler(logging.Handler):
    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.say(self.format(record))


class _FileHandler(logging.StreamHandler[TextIO]):
    """Says once that the log cannot be written, and lets the load go on."""

    def __init__(self, stream: TextIO, view: View) -> None:
        super().__init__(stream)
        self._view = view
        self._failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._failed:
            self._failed = True
            self._view.say("The log file cannot be written any more; the load goes on without it.")

    def close(self) -> None:
        try:
            self.stream.close()
        except OSError:
            self._failed = True
        super().close()


def _open(path: str) -> TextIO:
    # NONBLOCK: opening a pipe that nobody reads must not wait.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if os.path.islink(path):
            raise BadOption(f"--log-file {path}: this is a symbolic link. Name the file itself.") from error
        raise BadOption(f"--log-file {path} cannot be written: {error.strerror}.") from error
    found = os.fstat(descriptor)
    # By another of its names it may be a file that means much more than a log.
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
        os.close(descriptor)
        what = "has other names too (hard links)" if found.st_nlink > 1 else "is not a file of yours"
        raise BadOption(f"--log-file {path}: this {what}. Name another one.")
    if found.st_mode & 0o077:
        with suppress(OSError):
            os.fchmod(descriptor, 0o600)
    return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")
