"""
The way of most scripts on a table that throttles: 16 threads, a default resource for each, a batch_writer for
every thousand rows. What boto3 does not retry any more is an exception; such scripts log it and go on with
the next thousand. The last line printed is {"failed": chunks, "errors": {code: chunks}}.
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from queue import SimpleQueue
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

THREADS = 16
CHUNK = 1000


def write(tables: "SimpleQueue[Any]", rows: list[dict[str, str]]) -> str:
    """The code of the error that ended it, or ""."""
    # A resource may not be used by two threads at a time.
    table = tables.get()
    try:
        with table.batch_writer() as batch:
            for row in rows:
                batch.put_item(Item=row)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except BotoCoreError as error:
        return type(error).__name__
    finally:
        tables.put(table)
    return ""


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
    errors: Counter[str] = Counter()
    with ThreadPoolExecutor(THREADS) as pool:
        running: set[Future[str]] = set()
        for chunk in chunks(path):
            running.add(pool.submit(write, tables, chunk))
            if len(running) >= 2 * THREADS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                errors.update(each.result() for each in done)
        errors.update(each.result() for each in running)
    errors.pop("", None)
    print(json.dumps({"failed": errors.total(), "errors": errors}))


main()
