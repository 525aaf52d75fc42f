"""How a load that ended early goes on: the command as it was given, or what has to be changed."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

_LONGEST = 2000
"""A longer command (of a thousand files, say) is not repeated."""

_AT_ONCE = frozenset({"hung_up", "interrupted", "terminated", "stalled"})
_TOLD = frozenset({"source_changed", "record_too_large"})
"""Reasons whose message says what to do."""


def command(argv: Sequence[str], original: Sequence[str]) -> str:
    """
    What continues this process's load, as a shell takes it: its command line without --restart.

    `argv` and `original` are sys.argv and sys.orig_argv. Empty where it is too long to be of use.
    """
    script, *arguments = argv
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [word for word in arguments[:end] if word != "--restart"] + arguments[end:]
    interpreter = original[: len(original) - len(arguments)]
    line = shlex.join([*_program(script, interpreter), *kept])
    return line if len(line) <= _LONGEST else ""


def _program(script: str, interpreter: Sequence[str]) -> Sequence[str]:
    name = os.path.basename(script)
    if name == "__main__.py" or not os.access(script, os.X_OK):
        return interpreter
    found = shutil.which(name)
    if found is not None and Path(found).samefile(script):
        return (name,)
    return (script if os.sep in script else os.path.join(os.curdir, script),)


def hint(reason: str, command: str) -> str | None:
    """
    What continues a load that ended for `reason`, as in exits.Ending; None where its message says it.
    `command` as the function of that name gives it.
    """
    if reason in _TOLD:
        return None
    same = f"continue with: {command}" if command else "continue with the same command, without --restart."
    match reason:
        case "too_many_rejects":
            return (
                "To continue, raise --max-rejects or leave it out. To load a mended source from the start, "
                "give --restart."
            )
        case "everything_rejected":
            return f"Other --types or a mended source need --restart. Where the table was at fault, {same}"
        case "table_gone":
            return f"A table that was made anew needs --restart. Once the old one takes writes again, {same}"
    return same[0].upper() + same[1:] if reason in _AT_ONCE else f"Once that is mended, {same}"
