"""
Rows a second by sender threads a worker, against the test server at a set latency, side by side in each pass.

    python -m perf.threads [--rows 200000] [--latency-ms 10] [--workers 2] [--passes 3] [--threads 4 8 16 32]

The server runs on the same machine and takes a part of its CPU: what counts is where the curve flattens.
"""

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median

from loader.config import ConnectionConfig, LoadConfig
from loader.edges.generate import GenerateSpec, generate
from loader.engines.coordinator import run_load
from tests.server.client import Server, start
from tests.server.faults import FaultPlan


def rate(server: Server, path: Path, workers: int, threads: int, latency_ms: float) -> float:
    """Rows a second of one load, starting the workers included."""
    server.reset()
    server.create_table("threads", "id:S")
    server.set_faults(FaultPlan(latency_ms=latency_ms))
    config = LoadConfig(
        sources=(str(path),),
        table="threads",
        connection=ConnectionConfig(endpoint_url=server.endpoint),
        workers=workers,
        threads=threads,
        state_dir=str(path.parent / "state"),
        rejects=str(path.parent / "rejects.csv"),
    )
    summary = run_load(config)
    return summary.counts.rows / summary.seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.threads", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--latency-ms", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    rates: dict[int, list[float]] = {threads: [] for threads in asked.threads}
    with tempfile.TemporaryDirectory() as folder, start(count_only=True) as server:
        path = Path(folder) / "threads.csv"
        generate(path, GenerateSpec(count=asked.rows))
        for _ in range(asked.passes):
            for threads in asked.threads:
                rates[threads].append(rate(server, path, asked.workers, threads, asked.latency_ms))
    print("threads   rows/s (median)   of each pass")
    for threads, found in rates.items():
        print(f"{threads:<9} {median(found):>9,.0f}         {'  '.join(f'{each:,.0f}' for each in found)}")


if __name__ == "__main__":
    main()
