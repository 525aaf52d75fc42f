"""botocore asked where and how to send: what it may not tell anybody, and when it says nothing."""

import logging
import socket
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from loader.errors import BadConnection, ConnectionFault
from tests.functional.test_fast import factory

SECRETIVE = "http://user:pass%20word@127.0.0.1:{port}"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_the_password_of_an_endpoint_is_told_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = closed_port()
    with factory(SECRETIVE.format(port=port) + "/a//b").table_client() as client:
        assert client.target("cities") is None
        assert client.endpoint == f"http://127.0.0.1:{port}/a//b"
        with pytest.raises(ConnectionFault) as fault:
            client.call("DescribeTable", {"TableName": "cities"})
    with pytest.raises(BadConnection) as bad:
        factory("http://user:pass%20word@my_host:80").table_client()
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("loader")]
    assert f"requests to 127.0.0.1:{port}/a//b are signed" in told
    assert f"http://127.0.0.1:{port}/a//b" in str(fault.value)
    assert "http://my_host:80" in str(bad.value)
    assert not any("pass" in text or "user" in text for text in (told, str(fault.value), str(bad.value)))


def test_where_botocore_makes_no_request_the_fast_path_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    """Such as with a plug-in of somebody's that answers first."""

    def answer(**_: object) -> Any:
        return AWSResponse("http://127.0.0.1", 200, {}, None), {}

    caplog.set_level(logging.INFO)
    with factory(f"http://127.0.0.1:{closed_port()}").table_client() as client:
        raw: Any = client._client
        raw._client.meta.events.register_first("before-call.dynamodb", answer)
        assert client.target("cities") is None
    assert "botocore made no request to look at" in caplog.text
