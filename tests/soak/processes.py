"""Loads as processes of their own, killed at any moment, and surely gone at the end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perf.processes import ROOT, children, environment, is_worker

POLL = 0.01
_TAIL = 2_000


class LoadProblem(Exception):
    """A load that hung, or ended in a way that no load should."""


class Interrupted(Exception):
    """The soak is to end: nothing more is started."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a load ended: exit status, summary, and what the loader warned of. Counts as in model.Counts."""

    status: int
    error: str
    complete: bool
    rows: int
    written: int
    duplicates: int
    rejected: int
    requests: int
    throttled: int
    unprocessed: int
    retries: int
    resumed: int
    rejects_file: str | None
    reject_codes: Mapping[str, int]
    warnings: tuple[str, ...]


class _Running:
    """What was started and has not ended, each the leader of a group of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def start(self, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        """Raises Interrupted once `stop` was called."""
        with self._lock:
            if self._stopped:
                raise Interrupted
            process: subprocess.Popen[bytes] = subprocess.Popen(command, process_group=0, **more)
            self._processes.add(process)
            return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill whatever is left of the group, and wait for its leader."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with self._lock:
            self._processes.discard(process)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


running = _Running()
"""Of this process: a soak that is interrupted stops them all."""


class Load:
    """
    A load of `path` into `table` as a child process, with options of tests.loads.load. Leaving the block
    kills it and its workers.
    """

    def __init__(
        self,
        endpoint: str,
        table: str,
        path: Path,
        options: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
    ) -> None:
        folder = path.parent
        asked = {
            "endpoint": endpoint,
            "table": table,
            "path": str(path),
            "options": {
                "state_dir": str(folder / "state"),
                "rejects": str(folder / "rejects.csv"),
                **options,
            },
        }
        self._told = folder / "load.out"
        self._said = folder / "load.err"
        with self._told.open("wb") as told, self._said.open("ab") as said:
            self._process = running.start(
                [sys.executable, "-m", "tests.soak.child", json.dumps(asked)],
                cwd=ROOT,
                env=env or credentials(),
                stdin=subprocess.PIPE,
                stdout=told,
                stderr=said,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running.end(self._process)
        if self._process.stdin is not None:
            self._process.stdin.close()

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    def workers(self) -> list[int]:
        return [child for child in children(self.pid) if is_worker(child)]

    def kill(self) -> None:
        """The coordinator alone: its workers have to end by themselves."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout: float) -> Ended:
        """How it ended. Raises LoadProblem where it has not after so many seconds, or crashed."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.problem(f"it hung: not done after {timeout:g} s") from None
        lines = self._told.read_text().splitlines()
        if not lines:
            raise self.problem(f"it ended with {status} and no word")
        members = json.loads(lines[-1])
        values = {field.name: members[field.name] for field in fields(Ended)}
        return Ended(**values | {"warnings": tuple(values["warnings"])})

    def wait_until(self, holds: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Raises LoadProblem where the load ends before, or it takes too long."""
        deadline = time.monotonic() + timeout
        while not holds():
            if self.over:
                raise self.problem(f"it ended before {what}")
            if time.monotonic() > deadline:
                raise self.problem(f"{what}: not within {timeout:g} s")
            time.sleep(POLL)

    def problem(self, what: str) -> LoadProblem:
        """With the last that the load said."""
        said = "".join(path.read_text(errors="replace")[-_TAIL:] for path in (self._told, self._said)).strip()
        return LoadProblem(f"{what}; it said: {said}" if said else what)


def credentials() -> dict[str, str]:
    """An environment with keys whose signatures the server can check, and nothing of this machine's."""
    return environment(AWS_ACCESS_KEY_ID="testAccessKey", AWS_SECRET_ACCESS_KEY="testSecretKey")


def resident(pid: int) -> int:
    """Bytes of memory that a process has in use now, the pages of files included; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0
