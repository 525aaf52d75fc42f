"""The program as users have it: a process of its own, with its exit status and what it prints."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUMMARY_KEYS = frozenset(
    {
        *("table", "source", "mode", "rows", "written", "duplicates", "rejected", "resumed", "seconds"),
        *(
            "items_per_second",
            "write_units",
            "requests",
            "throttled_requests",
            "unprocessed_items",
            "retries",
        ),
        *("workers", "threads", "rejects_file", "interrupted", "exit", "exit_reason"),
    }
)


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object in the last line of standard output."""
        return dict(json.loads(self.out.splitlines()[-1]))


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "loader", *map(str, arguments)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, in which the program is found whether or not it is installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **(extra or {})}


def run(*arguments: str | Path, extra: Mapping[str, str] | None = None, timeout: float = 60.0) -> Done:
    """`python -m loader ARGUMENTS` in the working directory, without a terminal."""
    return call(command(*arguments), extra=extra, timeout=timeout)


def call(argv: Sequence[str], *, extra: Mapping[str, str] | None = None, timeout: float = 60.0) -> Done:
    done = subprocess.run(
        argv,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def start(*arguments: str | Path, extra: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments),
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]", timeout: float = 60.0) -> Done:
    """What became of a process that was started; it is killed when it takes longer."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out, err)


def run_on_terminal(*arguments: str | Path, extra: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit status, and everything that a terminal of 80 columns was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        env=environment({"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **(extra or {})}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    sent = b""
    try:
        while piece := _read(ours):
            sent += piece
    finally:
        os.close(ours)
        status = process.wait(60)
    return status, sent.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        # Linux's way to say that the other side is closed.
        return b""
