"""What a test left behind: live processes, threads, open file descriptors.

A process counts as the test's when it is a child of this one or carries this run's mark in its environment:
a worker whose parent died is nobody's child here, and is just what must not stay. Linux only for processes
and descriptors; elsewhere threads and multiprocessing's own children are seen.
"""

import gc
import multiprocessing
import multiprocessing.resource_tracker as resource_tracker
import os
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 2.0

_MARK_NAME = "DDBLOAD_TEST_RUN"
_MARK = f"{os.getpid()}.{time.monotonic_ns()}"

_PROC = Path("/proc/self/fd").is_dir()
# Opened once and kept by the interpreter or its modules (random numbers, a place for output).
_SHARED_DEVICES = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/tty")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was there at one moment: process ids, threads, and what descriptors are open on, counted."""

    processes: frozenset[int]
    threads: frozenset[threading.Thread]
    descriptors: Counter[str]


def mark_this_run() -> None:
    """Lets every process started from now on, at whatever depth, be told from other runs' processes."""
    os.environ[_MARK_NAME] = _MARK


def snapshot() -> Snapshot:
    return Snapshot(_all_processes(), frozenset(threading.enumerate()), Counter(_descriptors().values()))


def leftovers(before: Snapshot, *, processes_only: bool = False, grace: float = GRACE_SECONDS) -> list[str]:
    """Names what is there now and was not at `before`, after up to `grace` seconds for it to go."""
    deadline = time.monotonic() + grace
    pause = 0.001
    collected = False
    while True:
        found = [_describe_process(pid) for pid in _own_processes(before)]
        if not processes_only:
            found += _new_threads(before) + _new_descriptors(before)
        if not found or time.monotonic() > deadline:
            return found
        if not collected:
            # A client dropped without close() keeps its sockets until the collector comes round.
            gc.collect()
            collected = True
            continue
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def end_processes(before: Snapshot) -> None:
    """Kills what `leftovers` would name, so that one leak does not fail every later test."""
    for pid in _own_processes(before):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    multiprocessing.active_children()


def _all_processes() -> frozenset[int]:
    if not _PROC:
        return frozenset(child.pid for child in multiprocessing.active_children() if child.pid)
    return frozenset(int(name) for name in os.listdir("/proc") if name.isdigit())


def _own_processes(before: Snapshot) -> list[int]:
    # Reaps children of multiprocessing that have ended, which would else stay as zombies.
    multiprocessing.active_children()
    new = _all_processes() - before.processes
    if not _PROC:
        return sorted(new)
    # Started by multiprocessing once in this process's life, and kept.
    tracker = getattr(resource_tracker._resource_tracker, "_pid", None)
    return sorted(pid for pid in new if pid != tracker and _is_own(pid))


def _is_own(pid: int) -> bool:
    try:
        # "pid (name) state ppid ...": the name may hold spaces and brackets.
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        if state in "ZX":
            return False
        if int(parent) == os.getpid():
            return True
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return f"{_MARK_NAME}={_MARK}".encode() in environment


def _describe_process(pid: int) -> str:
    try:
        command = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except (FileNotFoundError, ProcessLookupError):
        command = ""
    return f"process {pid}: {command or 'gone meanwhile'}"


def _new_threads(before: Snapshot) -> list[str]:
    new = [thread for thread in threading.enumerate() if thread not in before.threads and not thread.daemon]
    return [f"thread {thread.name!r}" for thread in new]


def _descriptors() -> dict[int, str]:
    """Descriptor -> what it is open on, e.g. `socket:[4711]` or a path."""
    if not _PROC:
        return {}
    targets = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        if not target.startswith(_SHARED_DEVICES):
            targets[int(name)] = target
    return targets


def _new_descriptors(before: Snapshot) -> list[str]:
    tracker = getattr(resource_tracker._resource_tracker, "_fd", None)
    # Counted by target, not by number: a file closed and opened again is not one more.
    allowance = before.descriptors.copy()
    new = []
    for number, target in sorted(_descriptors().items()):
        if allowance[target] > 0:
            allowance[target] -= 1
        elif number != tracker:
            new.append(f"file descriptor {number}: {target}{_addresses(number, target)}")
    return new


def _addresses(number: int, target: str) -> str:
    if not target.startswith("socket:"):
        return ""
    try:
        with socket.socket(fileno=os.dup(number)) as copy:
            own = copy.getsockname()
            try:
                return f" {own} connected to {copy.getpeername()}"
            except OSError:
                return f" {own}"
    except OSError:
        return ""
