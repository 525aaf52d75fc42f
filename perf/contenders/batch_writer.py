"""The way most scripts go: csv.DictReader, 14 threads, a resource for each, Table.batch_writer()."""

import csv
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from queue import SimpleQueue
from typing import Any

import boto3

THREADS = 14
CHUNK = 1000


def write(tables: "SimpleQueue[Any]", rows: list[dict[str, str]]) -> None:
    # A resource may not be used by two threads at a time.
    table = tables.get()
    with table.batch_writer() as batch:
        for row in rows:
            batch.put_item(Item=row)
    tables.put(table)


def chunks(path: str) -> Iterator[list[dict[str, str]]]:
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        while chunk := list(islice(reader, CHUNK)):
            yield chunk


def main() -> None:
    path, endpoint, table = sys.argv[1:4]
    tables: SimpleQueue[Any] = SimpleQueue()
    for _ in range(THREADS):
        resource = boto3.session.Session().resource("dynamodb", endpoint_url=endpoint)
        tables.put(resource.Table(table))
    with ThreadPoolExecutor(THREADS) as pool:
        running = set()
        for chunk in chunks(path):
            running.add(pool.submit(write, tables, chunk))
            if len(running) >= 2 * THREADS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    each.result()
        for each in running:
            each.result()


main()
