"""
Every exception of the loader. Callers see this vocabulary and no other.

    LoaderError
    ├── Refused                 the load was not started; this run wrote nothing
    │   ├── BadOption           an option's value, or two that contradict each other
    │   ├── BadSource           a file that cannot be read, or whose header does not fit
    │   ├── BadTable            no such table, not active, a key the loader cannot write
    │   ├── BadConnection       no credentials, no region, nobody at the endpoint
    │   └── BadState            a checkpoint that does not fit, or is in use by another run
    ├── Stopped                 the load was ended on purpose; the checkpoint is kept
    │   ├── TooManyRejects      past --max-rejects
    │   └── EverythingRejected  a systemic fault: nothing of what was tried was accepted
    └── Fatal                   the load cannot go on; the checkpoint is kept
        ├── SourceChanged       the file is not what it was when the load began
        ├── RecordTooLarge      a record over the limit, most often an unclosed quote
        ├── Denied              credentials refused or expired, access denied
        ├── TableGone           the table vanished or stopped taking writes
        ├── Stalled             nothing was written for --stall-timeout seconds
        ├── WorkerFailed        a worker process died again and again, or hit a bug
        └── DiskFailed          state, spool or reject file cannot be written

    ConnectionFault             no answer, or none that can be trusted: between a transport
                                and its caller only; the retry policy decides what follows
"""

from loader.model import Summary


class LoaderError(Exception):
    """The message is one or two plain sentences for the user."""

    summary: Summary | None = None
    """What had been done when the load ended, once it had begun."""


class Refused(LoaderError):
    """The load was not started; this run wrote nothing."""


class BadOption(Refused):
    pass


class BadSource(Refused):
    pass


class BadTable(Refused):
    pass


class BadConnection(Refused):
    pass


class BadState(Refused):
    pass


class Stopped(LoaderError):
    """The load was ended on purpose; its checkpoint is kept."""


class TooManyRejects(Stopped):
    pass


class EverythingRejected(Stopped):
    pass


class Fatal(LoaderError):
    """The load cannot go on; its checkpoint is kept."""


class SourceChanged(Fatal):
    pass


class RecordTooLarge(Fatal):
    pass


class Denied(Fatal):
    pass


class TableGone(Fatal):
    pass


class Stalled(Fatal):
    pass


class WorkerFailed(Fatal):
    pass


class DiskFailed(Fatal):
    pass


class ConnectionFault(Exception):
    """
    A request got no answer, or none that can be trusted.

    Its writes may have been applied, may be applied later, or never: only a repeat tells.
    `sent` is False where it is certain that no byte of the request left this machine.
    """

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.sent = sent
