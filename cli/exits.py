"""
How a run ended: the exit status, a word for machines, a sentence for people.

    0    complete                     every row written or superseded
    1    rows_rejected                finished, some rows rejected
         not_equal                    verify, demo: the table is not what the file says
    2    bad_option, bad_source, ...  refused, this run wrote nothing
         not_installed
    3    too_many_rejects, everything_rejected
    4    stalled, denied, ... bug     failed on the way, or the outcome could not be written
    129  hung_up    130 interrupted    143 terminated
"""

import signal
from dataclasses import dataclass

from cli.installed import NotInstalled
from loader import errors
from loader.decisions.bugs import place_of
from loader.model import Summary

OK, NOT_ALL, REFUSED, STOPPED, FATAL = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Ending:
    """`message` is empty where the summary says it all."""

    status: int
    reason: str
    message: str = ""


class Interrupted(BaseException):
    """A signal asked a run that keeps no checkpoint to end. Not an Exception: nothing may swallow it."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


# The first that fits counts, so a class stands before the one it derives from.
_OF_ERRORS: tuple[tuple[type[errors.LoaderError], int, str], ...] = (
    (errors.BadOption, REFUSED, "bad_option"),
    (errors.BadSource, REFUSED, "bad_source"),
    (errors.BadTable, REFUSED, "bad_table"),
    (errors.BadConnection, REFUSED, "bad_connection"),
    (errors.BadState, REFUSED, "bad_state"),
    (errors.Refused, REFUSED, "refused"),
    (errors.TooManyRejects, STOPPED, "too_many_rejects"),
    (errors.EverythingRejected, STOPPED, "everything_rejected"),
    (errors.Stopped, STOPPED, "stopped"),
    (errors.SourceChanged, FATAL, "source_changed"),
    (errors.RecordTooLarge, FATAL, "record_too_large"),
    (errors.Denied, FATAL, "denied"),
    (errors.TableGone, FATAL, "table_gone"),
    (errors.Stalled, FATAL, "stalled"),
    (errors.WorkerFailed, FATAL, "worker_failed"),
    (errors.DiskFailed, FATAL, "disk_failed"),
    (errors.LoaderError, FATAL, "fatal"),
)

_SIGNAL_REASONS = {"SIGHUP": "hung_up", "SIGINT": "interrupted", "SIGTERM": "terminated"}


def of_summary(summary: Summary) -> Ending:
    """The ending of a load that came back without an error."""
    if summary.interrupted is not None and not summary.complete:
        return of_signal(summary.interrupted)
    if summary.counts.rejected:
        return Ending(NOT_ALL, "rows_rejected")
    return Ending(OK, "complete")


def of_signal(name: str) -> Ending:
    """`name` as in the signal module, such as SIGINT."""
    reason = _SIGNAL_REASONS.get(name, "interrupted")
    number = getattr(signal, name, signal.SIGINT)
    return Ending(128 + number, reason, f"{reason.replace('_', ' ').capitalize()} by {name}.")


def of_error(error: BaseException) -> Ending:
    """The ending that `error` means; one that is none of the loader's is a bug."""
    if isinstance(error, Interrupted):
        return of_signal(error.signal_name)
    if isinstance(error, KeyboardInterrupt):
        return of_signal("SIGINT")
    for kind, status, reason in _OF_ERRORS:
        if isinstance(error, kind):
            return Ending(status, reason, str(error))
    if isinstance(error, NotInstalled):
        return Ending(REFUSED, "not_installed", str(error))
    if isinstance(error, MemoryError):
        return Ending(
            FATAL, "out_of_memory", "There is not enough memory. A smaller --window-size needs less."
        )
    return Ending(
        FATAL,
        "bug",
        f"This is a bug in the program: {place_of(error)}. "
        "The same command with --log-level debug tells where it happened.",
    )
