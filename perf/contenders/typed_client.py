"""One boto3 client for 14 threads, client.batch_write_item with typed dicts, unprocessed items sent again."""

import csv
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

import boto3
from botocore.config import Config

THREADS = 14
BATCH = 25


def write(client: Any, table: str, rows: list[list[str]], names: list[str]) -> None:
    requests = [
        {"PutRequest": {"Item": {name: {"S": cell} for name, cell in zip(names, row, strict=True)}}}
        for row in rows
    ]
    left = {table: requests}
    while left:
        left = client.batch_write_item(RequestItems=left).get("UnprocessedItems", {})
        if left:
            time.sleep(0.1)


def batches(reader: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    while batch := list(islice(reader, BATCH)):
        yield batch


def main() -> None:
    path, endpoint, table = sys.argv[1:4]
    client = boto3.client("dynamodb", endpoint_url=endpoint, config=Config(max_pool_connections=THREADS))
    with open(path, newline="", encoding="utf-8") as file, ThreadPoolExecutor(THREADS) as pool:
        reader = csv.reader(file)
        names = next(reader)
        running = set()
        for batch in batches(reader):
            running.add(pool.submit(write, client, table, batch, names))
            if len(running) >= 4 * THREADS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    each.result()
        for each in running:
            each.result()


main()
