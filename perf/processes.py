"""A program run to its end, and what it and its children took of the machine. Linux only."""

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.2


@dataclass(slots=True)
class Run:
    """
    One program: when it began (unix seconds), CPU seconds of it and of all children it waited for (`own`: of
    its own process alone), wall seconds, what it printed. `peak` and `peaks` are the most bytes of anonymous
    memory of it and of each child: without the page cache of files.
    """

    began: float = 0.0
    cpu: float = 0.0
    own: float = 0.0
    seconds: float = 0.0
    output: str = ""
    peak: int = 0
    peaks: dict[int, int] = field(default_factory=dict)


def environment(**more: str) -> dict[str, str]:
    """Nothing of this machine's AWS settings, nor of its proxies: the sink is on this machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }
    return kept | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
        **more,
    }


def run(command: Sequence[str], env: Mapping[str, str], timeout: float, *, memory: bool = True) -> Run:
    """Raises SystemExit where it fails or takes too long."""
    found = Run(began=time.time())
    began = time.monotonic()
    # Files, not pipes: nobody reads while it runs, and a pipe that is full would stop it.
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, env=env, stdout=output, stderr=errors) as process,
    ):
        handle = os.pidfd_open(process.pid)
        try:
            while not select.select([handle], [], [], SAMPLE_SECONDS)[0]:
                if time.monotonic() - began > timeout:
                    process.kill()
                    raise SystemExit(f"{' '.join(command)} took more than {timeout:g} seconds")
                if memory:
                    _sample(process.pid, found)
        finally:
            os.close(handle)
        found.seconds = time.monotonic() - began
        # Still there to be asked, until it is waited for.
        found.own = own_cpu(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        # Popen did not see it end.
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        found.output = output.read()
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()}")
    found.cpu = usage.ru_utime + usage.ru_stime
    return found


def _sample(pid: int, found: Run) -> None:
    found.peak = max(found.peak, anonymous(pid))
    for child in filter(is_worker, children(pid)):
        found.peaks[child] = max(found.peaks.get(child, 0), anonymous(child))


def own_cpu(pid: int) -> float:
    """
    CPU seconds of all threads of a process, without its children. Of one that has ended too, until it is
    waited for.
    """
    # The clock that clock_getcpuclockid(3) finds, which Python does not offer.
    return time.clock_gettime((~pid << 3) | 2)


def anonymous(pid: int) -> int:
    """Bytes; 0 once the process is gone."""
    line = next(
        (line for line in _lines(pid, "smaps_rollup") if line.startswith("Anonymous:")), "Anonymous: 0"
    )
    return int(line.split()[1]) * 1024


def children(pid: int) -> list[int]:
    return [int(child) for line in _lines(pid, f"task/{pid}/children") for child in line.split()]


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    state = "".join(_lines(pid, "stat")).rpartition(")")[2].split()
    return bool(state) and state[0] not in "ZX"


def is_worker(pid: int) -> bool:
    # multiprocessing's resource tracker is a child too, and not ours to measure.
    return any("spawn_main" in line for line in _lines(pid, "cmdline"))


def _lines(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
