"""What is told of a bug: where it happened, and never what was said."""

import errno
import traceback

from loader.decisions.bugs import name_of, place_of, trace


def caught(kind: type[Exception] = KeyError, *, cause: bool = False, hidden: bool = False) -> Exception:
    try:
        try:
            raise kind("cell-4711")
        except Exception as first:
            if cause:
                raise RuntimeError("from cell-4711") from first
            if hidden:
                raise RuntimeError("of cell-4711") from None
            if kind is not KeyError:
                raise RuntimeError("while cell-4711") from first
            raise
    except Exception as error:
        error.add_note("noted: cell-4711")
        return error


def test_a_trace_has_the_frames_and_none_of_the_texts() -> None:
    for error in (caught(), caught(cause=True), caught(ValueError), caught(hidden=True)):
        assert "cell-4711" in "".join(traceback.format_exception(error))
        told = trace(error).replace('cell-4711")', "")
        assert "noted" not in told and told.count("in caught") >= 1
        for line in told.splitlines():
            assert "cell-4711" not in line or line.startswith("    ")


def test_a_trace_tells_the_causes_first() -> None:
    told = trace(caught(cause=True))
    assert told.index("KeyError\n") < told.index("That led to this") < told.rindex("RuntimeError\n")
    assert "KeyError\n" not in trace(caught(hidden=True))


def test_the_systems_own_words_are_kept() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "cell-4711")
    assert name_of(error) == "OSError: No space left on device"
    assert name_of(OSError("cell-4711")) == "OSError"


def test_the_place_is_the_innermost() -> None:
    assert place_of(caught()).startswith("KeyError in test_bugs.py, line ")
    assert place_of(KeyError("cell-4711")) == "KeyError"
