"""Where the program begins: reads the command line, calls the verb, gives back the exit status."""

import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

# Nothing heavy up here: until `main` runs, Ctrl-C is answered with a traceback.
if TYPE_CHECKING:
    from argparse import Namespace

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (that of the process where `argv` is None) and return its exit status."""
    # In the middle of an import a KeyboardInterrupt would be a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    from cli import signals, streams
    from cli.exits import Interrupted

    arguments = list(sys.argv[1:] if argv is None else argv)
    streams.prepare()
    with signals.heard():
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            status = _run(arguments)
        except (KeyboardInterrupt, Interrupted) as error:
            # Before the verb was ready for it.
            status = _refuse(arguments, error)
        if argv is None:
            signals.ignore()
    return streams.settle(status)


def _run(arguments: list[str]) -> int:
    from cli import installed, signals, streams
    from cli.parser import parse
    from loader.errors import BadOption

    try:
        options = parse(arguments)
        with signals.held():
            installed.require()
    except (BadOption, installed.NotInstalled) as error:
        return _refuse(arguments, error)
    except SystemExit as after_help:
        streams.flush()
        return after_help.code if isinstance(after_help.code, int) else 0
    return _call(options)


def _call(options: "Namespace") -> int:
    from cli import signals

    # Only the verb that is wanted is imported, with what it needs.
    with signals.held():
        match options.verb:
            case "generate":
                from cli.generate import run
            case "verify":
                from cli.verify import run
            case "demo":
                from cli.demo import run
            case _:
                from cli.load import run
    return run(options)


def _refuse(arguments: Sequence[str], error: BaseException) -> int:
    """Where the options cannot be read, whether --json is among them is looked up by hand."""
    from cli import exits, streams, summary
    from cli.parser import MODES

    ending = exits.of_error(error)
    streams.complain(ending.message)
    before_files = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in before_files:
        streams.put([summary.as_json(summary.blank((), None, MODES[0]), ending, None)])
    return ending.status
