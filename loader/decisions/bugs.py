"""A bug in words that can be passed on: where it happened, and nothing of the data it happened to."""

import traceback


def trace(error: BaseException) -> str:
    """
    A traceback without the texts of the exceptions, for they quote what could not be worked with: a KeyError
    its key, a ValueError its cell. The system's own words, in an OSError, are kept.
    """
    told = traceback.TracebackException.from_exception(error)
    lines: list[str] = []
    seen: list[tuple[traceback.TracebackException, BaseException]] = []
    here: BaseException | None = error
    found: traceback.TracebackException | None = told
    while here is not None and found is not None:
        seen.append((found, here))
        if here.__cause__ is not None:
            here, found = here.__cause__, found.__cause__
        elif here.__suppress_context__:
            break
        else:
            here, found = here.__context__, found.__context__
    for number, (found, here) in enumerate(reversed(seen)):
        if number:
            lines.append("\nThat led to this:\n")
        lines += ["Traceback (most recent call last):\n", *found.stack.format(), f"{name_of(here)}\n"]
    return "".join(lines)


def name_of(error: BaseException) -> str:
    """`KeyError`, `OSError: No space left on device`: what can be said of any exception."""
    kind = type(error).__qualname__
    return f"{kind}: {error.strerror}" if isinstance(error, OSError) and error.strerror else kind


def place_of(error: BaseException) -> str:
    """`KeyError in builder.py, line 120`: the innermost place it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno}" if frames else ""
    return f"{name_of(error)}{where}"
