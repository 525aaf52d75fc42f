"""The fast path under TLS: whom it trusts, and whom not."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.decisions.wire import request_body
from loader.edges.clients import ClientFactory, Credentials
from loader.edges.fast import Fallback, FastTransport
from loader.edges.target import Target
from loader.errors import ConnectionFault
from tests.certificates import Authority
from tests.functional.raw_server import STALL, Request, http_reply, json_reply, raw_server

KEYS = Credentials("handedDown", "secret1")
SUCCESS = json_reply(200, {"UnprocessedItems": {}})
BODY = request_body("cities", [b'{"id":{"S":"x"}}'], per_index=False)
BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not this machine's settings."""
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def answer(request: Request) -> bytes:
    return STALL if request.body == b"{}" else SUCCESS


def target_at(url: str, profile: str | None = None) -> Target:
    with ClientFactory("eu-west-1", url, KEYS, 1, profile).table_client() as client:
        target = client.target("cities")
    assert target is not None
    return target


def no_other(_: Credentials) -> Any:
    raise AssertionError("botocore was asked")


@contextmanager
def fast(url: str, **options: Any) -> Iterator[FastTransport]:
    with closing(FastTransport(target_at(url), KEYS, Fallback(no_other, no_other), **options)) as transport:
        yield transport


def refusal(url: str, **options: Any) -> str:
    """What is said where there can be no connection."""
    with fast(url, **options) as transport, pytest.raises(ConnectionFault) as caught:
        transport.send(BODY)
    assert not caught.value.sent
    return str(caught.value)


def test_a_server_whose_authority_is_trusted_is_spoken_to_on_one_connection(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    with raw_server(answer, authority.server_context("127.0.0.1")) as server, fast(server.url) as transport:
        for _ in range(5):
            assert transport.send(BODY).body == b'{"UnprocessedItems":{}}'
        assert server.accepted == 1
        assert [request.access_key for request in server.requests] == ["handedDown"] * 5


def test_large_bodies_and_replies_arrive_whole(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    context = authority.server_context("127.0.0.1")
    with (
        raw_server(lambda request: http_reply(200, request.body), context) as server,
        fast(server.url) as transport,
    ):
        for size in (2 << 20, 16 << 10, 100, (16 << 10) - 100):
            body = bytes(range(256)) * (size // 256) + b"x"
            assert transport.send(body).body == body
        assert server.accepted == 1


def test_an_idle_connection_that_the_server_dropped_is_no_fault(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    with raw_server(answer, authority.server_context("127.0.0.1")) as server, fast(server.url) as transport:
        for number in range(1, 4):
            assert transport.send(BODY).status == 200
            assert server.accepted == number
            server.drop_connections()


def test_a_server_that_says_who_it_is_by_name_is_asked_by_name(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    asked: list[str | None] = []
    context = authority.server_context("localhost")
    context.sni_callback = lambda _, name, __: asked.append(name)
    with (
        raw_server(answer, context) as server,
        fast(f"https://localhost:{server.port}") as transport,
    ):
        assert transport.send(BODY).status == 200
    assert asked == ["localhost"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_CA_BUNDLE", None), ("REQUESTS_CA_BUNDLE", None), ("REQUESTS_CA_BUNDLE", "/no/such.pem")],
)
def test_the_settings_of_aws_come_before_those_of_all_programs(
    name: str, value: str | None, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    monkeypatch.setenv(name, value or str(authority.path))
    with raw_server(answer, authority.server_context("127.0.0.1")) as server, fast(server.url) as transport:
        assert transport.send(BODY).status == 200


def test_the_bundle_of_a_profile_is_used(authority: Authority, own_environment: Path) -> None:
    (own_environment / "aws-config").write_text(f"[profile corporate]\nca_bundle = {authority.path}\n")
    target = target_at("https://127.0.0.1:1", "corporate")
    assert target.ca_file == str(authority.path)


def test_without_a_setting_the_bundle_is_botocores() -> None:
    from botocore.httpsession import get_cert_path

    assert target_at("https://127.0.0.1:1").ca_file == get_cert_path(True)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.2", "example.com"])
def test_a_certificate_for_another_host_is_refused(
    name: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    with raw_server(answer, authority.server_context(name)) as server:
        said = refusal(server.url)
        assert server.requests == []
    assert said.startswith(f"The certificate of 127.0.0.1:{server.port} is not accepted (")
    assert "127.0.0.1" in said.partition("(")[2] and said.endswith("the endpoint's certificate.")


@pytest.mark.parametrize("bundle", ["another", "botocore's"])
def test_a_certificate_of_an_unknown_authority_is_refused(
    bundle: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bundle == "another":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(Authority(tmp_path, "another").path))
    with raw_server(answer, authority.server_context("127.0.0.1")) as server:
        said = refusal(server.url)
        assert server.requests == []
    assert "is not accepted (unable to get local issuer certificate). Check AWS_CA_BUNDLE" in said


def test_a_server_that_knows_no_tls_is_told(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    listener = socket.create_server(("127.0.0.1", 0))
    received = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(1 << 16))
            connection.sendall(http_reply(400, b""))

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    said = refusal(f"https://127.0.0.1:{port}")
    thread.join(10)
    listener.close()
    assert said.startswith(f"Could not agree on TLS with 127.0.0.1:{port} (")
    assert len(received) == 1 and b"POST" not in received[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_it_speaks_tls_from_1_2_on(
    version: ssl.TLSVersion, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    context = authority.server_context("127.0.0.1")
    context.minimum_version = context.maximum_version = version
    with raw_server(answer, context) as server, fast(server.url) as transport:
        assert transport.send(BODY).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_it_speaks_no_older_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    context = authority.server_context("127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with raw_server(answer, context) as server:
        assert "Could not agree on TLS" in refusal(server.url)


def test_a_handshake_that_stalls_does_not_hang(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            over.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    said = refusal(f"https://127.0.0.1:{port}", connect_timeout=0.3)
    over.set()
    thread.join(10)
    listener.close()
    assert said == f"127.0.0.1:{port} did not agree on TLS within 0.3 seconds."


def test_a_reply_that_stalls_does_not_hang(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    with (
        raw_server(answer, authority.server_context("127.0.0.1")) as server,
        fast(server.url, read_timeout=0.3) as transport,
        pytest.raises(ConnectionFault, match=r"^No reply from .* within 0\.3 seconds\.$") as caught,
    ):
        transport.send(b"{}")
    assert caught.value.sent


def test_certificates_that_cannot_be_read_leave_it_to_boto3(caplog: pytest.LogCaptureFixture) -> None:
    with raw_server(answer) as server:
        target = replace(target_at("https://127.0.0.1:1"), ca_file="/no/such.pem")

        def client(keys: Credentials) -> Any:
            return ClientFactory("eu-west-1", server.url, keys, 1).transport("cities")

        with closing(FastTransport(target, KEYS, Fallback(client, no_other))) as transport:
            assert transport.send(BODY).status == 200
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning == (
        "Batches go through boto3: /no/such.pem holds no certificates that can be read (No such file or"
        " directory)"
    )
