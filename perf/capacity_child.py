"""
This loader through its API, which tells what it has been charged while it runs: `python -m
perf.capacity_child PATH ENDPOINT TABLE WORKERS` prints a line {"at": epoch seconds, "units": write units} at
every progress event. A server that meters a table does not know which of two loads it is that writes.
"""

import json
import sys
import tempfile
import time

from loader import ConnectionConfig, LoadConfig, run_load
from loader.model import ProgressEvent


def _tell(event: ProgressEvent) -> None:
    print(json.dumps({"at": time.time(), "units": event.counts.write_units}))


def main() -> None:
    path, endpoint, table, workers = sys.argv[1:5]
    with tempfile.TemporaryDirectory() as folder:
        run_load(
            LoadConfig(
                sources=(path,),
                table=table,
                connection=ConnectionConfig(endpoint_url=endpoint),
                workers=int(workers),
                state_dir=f"{folder}/state",
                rejects=f"{folder}/rejects.csv",
            ),
            _tell,
        )


if __name__ == "__main__":
    main()
