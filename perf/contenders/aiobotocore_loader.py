"""aiobotocore with at most 100 requests at a time, no validation, on uvloop where it is installed."""

import asyncio
import csv
import sys
from importlib import import_module
from itertools import islice
from typing import Any

CONNECTIONS = 100
BATCH = 25


async def write(client: Any, table: str, rows: list[list[str]], names: list[str]) -> None:
    requests = [
        {"PutRequest": {"Item": {name: {"S": cell} for name, cell in zip(names, row, strict=True)}}}
        for row in rows
    ]
    left = {table: requests}
    while left:
        left = (await client.batch_write_item(RequestItems=left)).get("UnprocessedItems", {})
        if left:
            await asyncio.sleep(0.1)


async def load(path: str, endpoint: str, table: str) -> None:
    # It is in no environment but its own.
    session = import_module("aiobotocore.session").get_session()
    config = import_module("aiobotocore.config").AioConfig(
        max_pool_connections=CONNECTIONS, parameter_validation=False
    )
    async with session.create_client("dynamodb", endpoint_url=endpoint, config=config) as client:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            names = next(reader)
            running: set[asyncio.Task[None]] = set()
            while batch := list(islice(reader, BATCH)):
                running.add(asyncio.create_task(write(client, table, batch, names)))
                if len(running) >= CONNECTIONS:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for each in done:
                        each.result()
            await asyncio.gather(*running)


def main() -> None:
    path, endpoint, table = sys.argv[1:4]
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        asyncio.run(load(path, endpoint, table))
    else:
        uvloop.run(load(path, endpoint, table))


main()
