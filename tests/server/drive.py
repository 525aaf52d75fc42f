"""Driving the server by hand: a boto3 client that never retries, and requests written to a socket."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from tests.server.client import Server

_CONFIG = Config(
    retries={"total_max_attempts": 1, "mode": "legacy"},
    # The server is to refuse what is wrong, not the client.
    parameter_validation=False,
    user_agent="test-of-server",
)


@contextmanager
def boto3_client(server: Server, access_key: str = "test", session_token: str | None = None) -> Iterator[Any]:
    client = boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        endpoint_url=server.endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key="test",
        aws_session_token=session_token,
        config=_CONFIG,
    )
    try:
        yield client
    finally:
        client.close()


def put(**item: Any) -> dict[str, Any]:
    return {"PutRequest": {"Item": item}}


def people(count: int) -> list[dict[str, Any]]:
    """Puts of "person 0", "person 1" and so on under the key `pk`, with a number `age`."""
    return [put(pk={"S": f"person {number}"}, age={"N": str(number)}) for number in range(count)]


def http_request(operation: str, body: bytes, **headers: str) -> bytes:
    lines = {"Host": "x", "X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **headers}.items())
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


def exchange(server: Server, request: bytes) -> bytes:
    """Everything that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))
