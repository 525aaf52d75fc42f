"""
Peak memory of each process of a load, against the test server (which counts items, and keeps none).

    python -m perf.memory --rows 1000000 --rows 10000000 [--row-bytes 120] [--workers 2] [--window-size 2GiB]

Anonymous memory (smaps_rollup), sampled five times a second: what the processes hold, without the page cache
of the source and of the spool file. Linux only.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from loader.edges.generate import GenerateSpec, generate
from tests.server.client import ROOT, Server, start

SAMPLE_SECONDS = 0.2


@dataclass(slots=True)
class Peaks:
    """Bytes: of the coordinator, and of each worker."""

    coordinator: int = 0
    workers: dict[int, int] = field(default_factory=dict)


def anonymous(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    line = next((line for line in text.splitlines() if line.startswith("Anonymous:")), "Anonymous: 0 kB")
    return int(line.split()[1]) * 1024


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_worker(pid: int) -> bool:
    # multiprocessing's resource tracker is a child too, and not ours to measure.
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def measure(server: Server, path: Path, options: list[str]) -> tuple[Peaks, float]:
    """Run one load and watch it; the peaks and the seconds it took."""
    server.reset()
    server.create_table("memory", "id:S")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_STATE_HOME": str(path.parent / "state"),
    }
    command = [sys.executable, "-m", "loader", "load", str(path), "--table", "memory"]
    command += ["--endpoint-url", server.endpoint, "--progress", "none"]
    command += ["--rejects", str(path.with_suffix(".rejects")), *options]
    peaks = Peaks()
    began = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peaks.coordinator = max(peaks.coordinator, anonymous(process.pid))
            for child in filter(is_worker, children(process.pid)):
                peaks.workers[child] = max(peaks.workers.get(child, 0), anonymous(child))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode != 0:
        raise SystemExit(f"the load ended with status {process.returncode}")
    return peaks, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.memory", description=__doc__)
    parser.add_argument("--rows", type=int, action="append", required=True)
    parser.add_argument("--row-bytes", type=int, default=120)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--window-size", default="2GiB")
    asked = parser.parse_args()
    options = ["--workers", asked.workers, "--window-size", asked.window_size]
    print("rows         coordinator   bytes a row   workers                seconds")
    with tempfile.TemporaryDirectory() as folder, start(count_only=True) as server:
        for rows in asked.rows:
            path = Path(folder) / "memory.csv"
            generate(path, GenerateSpec(count=rows, row_bytes=asked.row_bytes))
            peaks, seconds = measure(server, path, options)
            workers = " ".join(f"{peak / 1e6:.0f}" for peak in peaks.workers.values())
            print(
                f"{rows:<12,} {peaks.coordinator / 1e6:>8.0f} MB   {peaks.coordinator / rows:>8.1f}   "
                f"      {workers + ' MB':<20}   {seconds:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
