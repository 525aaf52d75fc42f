"""
What nobody can be cheaper than: requests made and signed beforehand, sent by threads over bare sockets.

Not a loader. The CPU of what comes beforehand is printed, to be taken off: {"before": seconds}.
"""

import csv
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections import deque
from itertools import islice
from urllib.parse import urlsplit

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

THREADS = 32
BATCH = 25
HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
}


def requests(path: str, endpoint: str, table: str) -> deque[bytes]:
    made: deque[bytes] = deque()
    host = urlsplit(endpoint).netloc
    auth = SigV4Auth(Credentials("a", "b"), "dynamodb", "us-east-1")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        names = next(reader)
        while rows := list(islice(reader, BATCH)):
            puts = [
                {"PutRequest": {"Item": {name: {"S": cell} for name, cell in zip(names, row, strict=True)}}}
                for row in rows
            ]
            body = orjson.dumps({"RequestItems": {table: puts}})
            request = AWSRequest("POST", endpoint, headers=HEADERS, data=body)
            auth.add_auth(request)
            lines = [f"Host: {host}", *(f"{name}: {value}" for name, value in request.headers.items())]
            head = "\r\n".join(("POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", ""))
            made.append(head.encode() + body)
    return made


def connect(endpoint: str) -> socket.socket:
    address = urlsplit(endpoint)
    assert address.hostname is not None and address.port is not None
    opened = socket.create_connection((address.hostname, address.port))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.scheme == "http":
        return opened
    context = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
    return context.wrap_socket(opened, server_hostname=address.hostname)


def send(endpoint: str, made: deque[bytes]) -> None:
    with connect(endpoint) as opened:
        while True:
            try:
                request = made.popleft()
            except IndexError:
                return
            opened.sendall(request)
            # The sink's replies come in one piece.
            if not opened.recv(1 << 16).startswith(b"HTTP/1.1 200"):
                raise SystemExit("not a success")


def main() -> None:
    path, endpoint, table = sys.argv[1:4]
    made = requests(path, endpoint, table)
    before = time.process_time()
    threads = [threading.Thread(target=send, args=(endpoint, made)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"before": before}))


main()
