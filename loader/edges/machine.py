"""What this process may use of its machine: processors and memory, a container's limits included."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def cpus(cgroups: Path = _CGROUPS) -> int:
    """Processors: those it may be scheduled on, or as many as its quota is worth, rounded up."""
    # Linux tells which; elsewhere it is all there are.
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota in _quotas(cgroups):
        count = min(count, math.ceil(quota))
    return max(1, count)


def cores() -> tuple[int, ...]:
    """The numbers of the processors it may be scheduled on; none where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_setaffinity") else ()


def stay_on(core: int) -> bool:
    """Let all threads of this process run on one core alone; False where that is not allowed."""
    try:
        for thread in os.listdir("/proc/self/task"):
            # One that has just ended needs no core.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), {core})
    except OSError:
        return False
    return True


def busy_seconds(stat: Path = Path("/proc/stat")) -> dict[int, float]:
    """How long each processor has worked since the start; nothing where the system does not tell."""
    busy: dict[int, float] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in stat.read_text().splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu") and name != "cpu":
                # user nice system idle iowait irq softirq steal; what follows is counted among them.
                times = [int(tick) for tick in ticks[:8]]
                busy[int(name[3:])] = (sum(times) - sum(times[3:5])) / os.sysconf("SC_CLK_TCK")
    return busy


def memory(cgroups: Path = _CGROUPS) -> int:
    """Bytes: of the machine, or of the container it runs in."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # The second and the third are version 1's.
    for name in ("memory.max", "memory/memory.limit_in_bytes", "memory.limit_in_bytes"):
        for text in _texts(cgroups, name):
            if text.isdecimal():
                total = min(total, int(text))
    return total


def _quotas(cgroups: Path) -> Iterator[float]:
    """Processors' worth of time: version 2 tells `quota period` in one file, version 1 in two."""
    for text in _texts(cgroups, "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)
    for folder in ("cpu", "cpu,cpuacct"):
        quotas = _texts(cgroups, f"{folder}/cpu.cfs_quota_us")
        periods = _texts(cgroups, f"{folder}/cpu.cfs_period_us")
        for quota, period in zip(quotas, periods, strict=False):
            if quota.isdecimal() and period.isdecimal() and int(period):
                yield int(quota) / int(period)


def _texts(cgroups: Path, name: str) -> Iterator[str]:
    """The file `name` of the groups this process is in, which see themselves as the root in a container."""
    paths = [cgroups / name]
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            group = line.rpartition(":")[2].strip("/")
            # A group's limit holds for the groups in it.
            parts = group.split("/") if group else []
            paths += [cgroups.joinpath(*parts[: depth + 1], name) for depth in range(len(parts))]
    for path in paths:
        with contextlib.suppress(OSError):
            yield path.read_text().strip()
