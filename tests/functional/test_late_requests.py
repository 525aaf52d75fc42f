"""What was not acknowledged when a connection is given up must not arrive later, behind a newer value."""

import socket
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from loader.decisions.wire import request_body
from loader.edges.clients import ClientFactory, Credentials, _RawClient
from loader.edges.connections import Connections
from loader.errors import ConnectionFault

BODY = request_body("t", [b'{"id":{"S":"%s"}}' % (b"x" * 4_000_000)], per_index=False)


def by_ourselves(port: int) -> None:
    with closing(Connections("127.0.0.1", port, None, read_timeout=0.3)) as connections:
        connections.exchange(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY)


def by_boto3(port: int) -> None:
    factory = ClientFactory("us-east-1", f"http://127.0.0.1:{port}", Credentials("a", "b"), 1)
    with closing(_RawClient(factory, 1, 0.3)) as client:
        client.call("BatchWriteItem", BODY, {"RequestItems": {"t": []}})


@pytest.mark.parametrize("send", [by_ourselves, by_boto3])
def test_the_rest_of_a_request_that_was_given_up_is_not_sent(send: Callable[[int], None]) -> None:
    with socket.socket() as listener:
        # It takes little, and then nothing, as a network does that loses packets.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with pytest.raises(ConnectionFault):
            send(listener.getsockname()[1])
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5.0)
            time.sleep(0.1)
            arrived = 0
            with pytest.raises(ConnectionResetError):
                while piece := connection.recv(1 << 20):
                    arrived += len(piece)
            assert arrived < len(BODY)
