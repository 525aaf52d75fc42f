"""
This loader through its API, since the size of a shard is no option: `python FILE.py CSV ENDPOINT TABLE
WORKERS RECORDS`, with 0 records for the size it finds itself.
"""

import sys
import tempfile

from loader import ConnectionConfig, LoadConfig, run_load


def main() -> None:
    path, endpoint, table, workers, records = sys.argv[1:6]
    with tempfile.TemporaryDirectory() as folder:
        run_load(
            LoadConfig(
                sources=(path,),
                table=table,
                connection=ConnectionConfig(endpoint_url=endpoint),
                workers=int(workers),
                shard_records=int(records) or None,
                state_dir=f"{folder}/state",
                rejects=f"{folder}/rejects.csv",
            )
        )


main()
