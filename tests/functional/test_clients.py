"""Credentials along the AWS chain, and the boto3 client as a carrier of raw bodies and replies."""

import pickle
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from loader.config import ConnectionConfig
from loader.decisions.wire import (
    CHECKSUM,
    UNREADABLE,
    Reply,
    Throttled,
    Transient,
    Written,
    read_reply,
    request_body,
)
from loader.edges import clients
from loader.edges.clients import ClientFactory, Credentials, open_session, translate
from loader.errors import BadConnection, ConnectionFault, Denied, Fatal
from tests.functional.raw_server import (
    HANG_UP,
    RESET,
    STALL,
    RawServer,
    Request,
    error_reply,
    http_reply,
    json_reply,
    raw_server,
)
from tests.server.client import ROOT, Server, start
from tests.server.faults import FaultPlan

KEYS = Credentials("handedDown", "secret1")
SUCCESS = json_reply(200, {"UnprocessedItems": {}})
BODY = request_body("cities", [b'{"id":{"S":"x"}}'], per_index=False)


def factory(url: str | None, credentials: Credentials = KEYS, connections: int = 4) -> ClientFactory:
    return ClientFactory("eu-west-1", url, credentials, connections)


def send_one(server: RawServer) -> Reply:
    with closing(factory(server.url).transport()) as transport:
        return transport.send(BODY)


@pytest.fixture
def no_keys(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that credentials could come from; returns the home."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return own_environment


# --- region -------------------------------------------------------------------------------------


def test_the_region_follows_option_environment_profile_and_then_us_east_1(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def region(**options: Any) -> str:
        return open_session(ConnectionConfig(**options)).region

    assert region() == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert region() == "eu-north-1"
    (own_environment / "aws-config").write_text("[default]\nregion = eu-south-1\n")
    assert region() == "eu-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert region() == "eu-west-2"
    assert region(region="eu-west-3") == "eu-west-3"


# --- credentials --------------------------------------------------------------------------------


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_ACCOUNT_ID", "111122223333")
    session = open_session(ConnectionConfig())
    assert session.credentials == Credentials("testAccessKey", "testSecretKey", "token", "111122223333")
    assert session.refreshed() is None
    assert session.renewed() is None


@pytest.mark.parametrize("by_option", [True, False])
def test_a_profile_gives_credentials_and_region(
    by_option: bool, no_keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (no_keys / "aws-credentials").write_text(
        "[work]\naws_access_key_id = fromFile\naws_secret_access_key = s\naws_account_id = 111122223333\n"
    )
    (no_keys / "aws-config").write_text("[profile work]\nregion = ap-south-1\n")
    if not by_option:
        monkeypatch.setenv("AWS_PROFILE", "work")
    session = open_session(ConnectionConfig(profile="work" if by_option else None))
    assert session.region == "ap-south-1"
    assert session.credentials == Credentials("fromFile", "s", None, "111122223333")


def test_a_named_profile_comes_before_keys_in_the_environment(own_environment: Path) -> None:
    (own_environment / "aws-credentials").write_text(
        "[work]\naws_access_key_id = fromFile\naws_secret_access_key = s\n"
    )
    assert open_session(ConnectionConfig(profile="work")).credentials.access_key == "fromFile"


@pytest.mark.parametrize("by_option", [True, False])
def test_an_unknown_profile_is_named(by_option: bool, no_keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not by_option:
        monkeypatch.setenv("AWS_PROFILE", "elsewhere")
    with pytest.raises(BadConnection, match=r"\(elsewhere\) could not be found.*--profile"):
        open_session(ConnectionConfig(profile="elsewhere" if by_option else None))


def test_without_credentials_it_is_said_how_to_give_them(no_keys: Path) -> None:
    with pytest.raises(BadConnection, match=r"No AWS credentials.*--profile.*AWS_ACCESS_KEY_ID"):
        open_session(ConnectionConfig())


def test_half_a_pair_of_keys_is_refused(no_keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    with pytest.raises(BadConnection, match="AWS_SECRET_ACCESS_KEY"):
        open_session(ConnectionConfig())


def test_no_secret_shows_in_a_representation_and_a_factory_can_be_pickled() -> None:
    made = ClientFactory("eu-west-1", None, Credentials("key", "hidden1", "hidden2", "1111"), 3, "work")
    assert "hidden" not in repr(made)
    assert pickle.loads(pickle.dumps(made)) == made


class Helper:
    """A credential_process that counts its runs; each gives keys of its own, valid for `lifetime` seconds."""

    def __init__(self, home: Path) -> None:
        self._runs = home / "runs"
        self._script = home / "helper.py"
        self.gives("''")
        command = shlex.join([sys.executable, str(self._script)])
        (home / "aws-config").write_text(f"[default]\ncredential_process = {command}\n")

    def gives(self, output: str) -> None:
        """`output` is an expression that may use `run`, the number of the run."""
        self._script.write_text(
            f"runs = open({str(self._runs)!r}, 'a+')\nruns.write('.')\nrun = runs.tell()\nprint({output})\n"
        )

    def gives_keys(self, lifetime: float | None) -> None:
        members = {"Version": 1, "AccessKeyId": "key%d", "SecretAccessKey": "s", "SessionToken": "t"}
        if lifetime is not None:
            members["Expiration"] = (datetime.now(UTC) + timedelta(seconds=lifetime)).isoformat()
        self.gives(f"{orjson.dumps(members).decode()!r} % run")

    @property
    def runs(self) -> int:
        return self._runs.stat().st_size


@pytest.fixture
def helper(no_keys: Path) -> Helper:
    return Helper(no_keys)


@pytest.mark.parametrize("lifetime", [None, 24 * 3600, 3600, 300, 20])
def test_a_credential_process_runs_once_however_short_its_credentials_live(
    lifetime: float | None, helper: Helper
) -> None:
    helper.gives_keys(lifetime)
    session = open_session(ConnectionConfig())
    assert session.credentials == Credentials("key1", "s", "t")
    assert [session.refreshed() for _ in range(50)] == [None] * 50
    assert session.factory(1).credentials == Credentials("key1", "s", "t")
    assert helper.runs == 1


def test_credentials_are_renewed_once_ahead_of_their_expiry(helper: Helper) -> None:
    helper.gives_keys(lifetime=3)
    session = open_session(ConnectionConfig())
    helper.gives_keys(lifetime=3600)
    fresh = _wait_for(session.refreshed)
    assert fresh == Credentials("key2", "s", "t")
    assert session.credentials == fresh
    assert session.factory(1).credentials == fresh
    assert [session.refreshed() for _ in range(50)] == [None] * 50
    assert helper.runs == 2


def test_a_helper_that_fails_is_borne_until_its_credentials_have_expired(helper: Helper) -> None:
    helper.gives_keys(lifetime=3)
    session = open_session(ConnectionConfig())
    before = session.credentials
    helper.gives("undefined")
    with pytest.raises(Denied, match=r"expired and cannot be renewed.*undefined"):
        _wait_for(session.refreshed)
    assert session.credentials == before
    # Asked a few times more while they lasted, and not at every look.
    assert 2 <= helper.runs <= 5


@pytest.mark.parametrize("output", ["undefined", "'no JSON'", "'{}'", "'[]'", "'{\"Version\": 1}'"])
def test_a_helper_that_gives_no_credentials_is_refused(output: str, helper: Helper) -> None:
    helper.gives(output)
    with pytest.raises(BadConnection, match="The AWS credentials cannot be had"):
        open_session(ConnectionConfig())


def test_a_helper_that_is_not_there_is_refused(no_keys: Path) -> None:
    (no_keys / "aws-config").write_text("[default]\ncredential_process = /no/such/helper\n")
    with pytest.raises(BadConnection, match="/no/such/helper"):
        open_session(ConnectionConfig())


def test_credentials_are_got_anew_from_the_whole_chain(no_keys: Path) -> None:
    file = no_keys / "aws-credentials"
    file.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = s\n")
    session = open_session(ConnectionConfig())
    assert session.renewed() is None
    file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = s\n")
    assert session.renewed() == Credentials("new", "s") == session.credentials
    file.unlink()
    with pytest.raises(Denied, match="No AWS credentials"):
        session.renewed()
    assert session.credentials == Credentials("new", "s")


def _wait_for(look: Callable[[], Credentials | None]) -> Credentials:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing came within 10 s")


# --- what is sent -------------------------------------------------------------------------------


def test_the_body_arrives_as_it_was_made_signed_and_asks_for_no_compression() -> None:
    body = request_body(
        "cities", ['{"id":{"S":"Århus"}}'.encode(), b'{"id" : {"S":"\\u00e9"}}'], per_index=True
    )
    with raw_server(lambda request: SUCCESS) as server:
        with closing(factory(server.url).transport()) as transport:
            reply = transport.send(body)
        (request,) = server.requests
    assert reply.status == 200
    assert reply.body == b'{"UnprocessedItems":{}}'
    assert reply.headers["content-type"] == "application/x-amz-json-1.0"
    assert request.body == body
    assert request.headers["x-amz-target"] == "DynamoDB_20120810.BatchWriteItem"
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert request.headers.get("accept-encoding", "identity") == "identity"
    assert "Credential=handedDown/" in request.headers["authorization"]
    assert "/eu-west-1/dynamodb/aws4_request" in request.headers["authorization"]
    assert "x-amz-security-token" not in request.headers


def test_the_signature_covers_the_body() -> None:
    with (
        raw_server(lambda request: SUCCESS) as server,
        closing(factory(server.url).transport()) as transport,
    ):
        # The same second, with some luck within three pairs, gives the same signature to the same body.
        signatures = [_signatures(transport.send, server) for _ in range(3)]
    assert any(one == again for one, again, _ in signatures)
    assert all(other not in (one, again) for one, again, other in signatures)


def _signatures(send: Callable[[bytes], Reply], server: RawServer) -> tuple[str, ...]:
    server.requests.clear()
    for body in (BODY, BODY, BODY.replace(b'"x"', b'"y"')):
        send(body)
    return tuple(request.headers["authorization"].rpartition("=")[2] for request in server.requests)


def test_new_credentials_sign_the_next_request() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        with closing(factory(server.url).transport()) as transport:
            transport.send(BODY)
            transport.use(Credentials("renewed", "secret2", "token2"))
            transport.send(BODY)
        assert [request.access_key for request in server.requests] == ["handedDown", "renewed"]
        assert server.requests[1].headers["x-amz-security-token"] == "token2"


def test_a_table_client_too_takes_new_credentials() -> None:
    with raw_server(lambda request: json_reply(200, {})) as server:
        with factory(server.url).table_client() as client:
            client.call("Scan", {"TableName": "cities"})
            client.use(Credentials("renewed", "secret2"))
            client.call("Scan", {"TableName": "cities"})
        assert [request.access_key for request in server.requests] == ["handedDown", "renewed"]
        assert server.requests[0].headers["x-amz-target"] == "DynamoDB_20120810.Scan"


def test_a_worker_looks_for_no_credentials_of_its_own(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_environment / "aws-config").write_text("[default]\ncredential_process = /no/such/helper\n")
    (own_environment / "aws-credentials").write_text(
        "[default]\naws_access_key_id = fromFile\naws_secret_access_key = s\n"
    )
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
    with (
        raw_server(lambda request: http_reply(404, b"")) as metadata,
        raw_server(lambda request: SUCCESS) as server,
    ):
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        send_one(server)
        assert [request.access_key for request in server.requests] == ["handedDown"]
        assert metadata.requests == []


def test_the_account_of_the_credentials_is_addressed_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with raw_server(lambda request: http_reply(502, b"", length=1)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        credentials = Credentials("key", "secret", None, "111122223333")
        with closing(factory(None, credentials).transport()) as transport:
            with pytest.raises(ConnectionFault):
                transport.send(BODY)
            transport.use(Credentials("key", "secret"))
            with pytest.raises(ConnectionFault):
                transport.send(BODY)
        with closing(factory(None).table_client()) as client:
            assert client.endpoint == "https://dynamodb.eu-west-1.amazonaws.com"
        assert [request.line.rpartition(" ")[0] for request in proxy.requests] == [
            "CONNECT 111122223333.ddb.eu-west-1.amazonaws.com:443",
            "CONNECT dynamodb.eu-west-1.amazonaws.com:443",
        ]


def test_an_arn_is_addressed_at_its_own_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(lambda request: http_reply(502, b"", length=1)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        credentials = Credentials("key", "secret", None, "111122223333")
        arn = "arn:aws:dynamodb:eu-west-1:444455556666:table/cities"
        with closing(factory(None, credentials).transport(arn)) as transport, pytest.raises(ConnectionFault):
            transport.send(BODY)
        assert [request.line.rpartition(" ")[0] for request in proxy.requests] == [
            "CONNECT 444455556666.ddb.eu-west-1.amazonaws.com:443"
        ]


def test_other_settings_of_a_profile_reach_the_workers(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_environment / "aws-config").write_text(
        "[profile gov]\naws_access_key_id = k\naws_secret_access_key = s\nuse_fips_endpoint = true\n"
    )
    made = open_session(ConnectionConfig(profile="gov", region="us-east-2")).factory(1)
    with closing(pickle.loads(pickle.dumps(made)).table_client()) as client:
        assert client.endpoint == "https://dynamodb-fips.us-east-2.amazonaws.com"


# --- what comes back ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_an_error_is_a_reply_like_any_other_and_nothing_is_tried_twice(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    answers = [
        error_reply("ProvisionedThroughputExceededException", "slower"),
        error_reply("InternalServerError", status=500),
        http_reply(503, b"<html>busy</html>"),
    ]
    given = iter(answers)
    with raw_server(lambda request: next(given)) as server:
        with closing(factory(server.url).transport()) as transport:
            replies = [transport.send(BODY) for _ in answers]
        assert len(server.requests) == 3
    assert [reply.status for reply in replies] == [400, 500, 503]
    assert read_reply(replies[0], "cities") == Throttled("ProvisionedThroughputExceededException", "slower")
    assert replies[2].body == b"<html>busy</html>"


WHOLE = b'{"UnprocessedItems":{}}'


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http_reply(200, b""), UNREADABLE),
        (http_reply(200, b"{}"), UNREADABLE),
        (b"HTTP/1.1 200", UNREADABLE),
        (http_reply(200, b"<html>Log in first</html>", content_type="text/html"), UNREADABLE),
        (http_reply(200, b"[]"), UNREADABLE),
        (http_reply(200, b"\xff\x00"), UNREADABLE),
        (http_reply(200, WHOLE[:-1], length=len(WHOLE)), UNREADABLE),
        (http_reply(200, b"", length=len(WHOLE)), UNREADABLE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE[:5], UNREADABLE),
        (http_reply(200, WHOLE, x_amz_crc32="1"), CHECKSUM),
        (http_reply(200, WHOLE, x_amz_crc32="odd"), CHECKSUM),
        (http_reply(400, b'{"__type":"x#ValidationException"}', x_amz_crc32="1"), CHECKSUM),
        (http_reply(400, b'{"__type":"x#ValidationExc'), "400"),
        (http_reply(400, b"[]"), "400"),
        (http_reply(204, b""), "204"),
        (http_reply(302, b"", location="http://127.0.0.1:1/"), "302"),
    ],
)
def test_a_reply_that_only_looks_like_an_answer_is_seen_for_what_it_is(answer: bytes, code: str) -> None:
    with raw_server(lambda request: answer) as server:
        reply = send_one(server)
        assert len(server.requests) == 1
    judged = read_reply(reply, "cities")
    assert isinstance(judged, Transient)
    assert judged.code == code


@pytest.mark.parametrize(
    "answer",
    [
        RESET,
        HANG_UP,
        b"\x00\x01\x02\r\n",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"U',
    ],
)
def test_a_connection_that_breaks_is_a_fault_and_the_request_may_have_arrived(answer: bytes) -> None:
    with raw_server(lambda request: answer) as server:
        with pytest.raises(ConnectionFault) as caught:
            send_one(server)
        assert len(server.requests) == 1
    assert caught.value.sent
    assert str(caught.value).endswith(".")


def test_a_reply_that_stalls_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "READ_TIMEOUT", 0.3)
    with (
        raw_server(lambda request: STALL) as server,
        pytest.raises(ConnectionFault, match="timeout") as caught,
    ):
        send_one(server)
    assert caught.value.sent


def test_nobody_at_the_endpoint_is_a_fault_of_which_nothing_was_sent() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        gone = server.url
    with (
        closing(factory(gone).transport()) as transport,
        pytest.raises(ConnectionFault, match=r"Could not connect.*\(Connection refused\)") as caught,
    ):
        transport.send(BODY)
    assert not caught.value.sent


def test_a_proxy_that_is_not_there_is_a_fault_of_which_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with raw_server(lambda request: SUCCESS) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
    with (
        closing(factory(None).transport()) as transport,
        pytest.raises(ConnectionFault, match="proxy") as caught,
    ):
        transport.send(BODY)
    assert not caught.value.sent


def test_after_a_fault_the_same_client_goes_on() -> None:
    answers = iter([RESET, http_reply(200, b"<html>"), SUCCESS])
    with (
        raw_server(lambda request: next(answers)) as server,
        closing(factory(server.url).transport()) as transport,
    ):
        with pytest.raises(ConnectionFault):
            transport.send(BODY)
        assert isinstance(read_reply(transport.send(BODY), "cities"), Transient)
        assert read_reply(transport.send(BODY), "cities") == Written((), 0.0)


def test_threads_that_share_a_client_each_get_their_own_reply() -> None:
    def echo(request: Request) -> bytes:
        # The later half overtakes the earlier one.
        time.sleep(0.002 if len(request.body) % 2 else 0.0)
        return http_reply(200, request.body)

    def send(number: int) -> bool:
        body = b'{"n":%d}' % number
        return transport.send(body).body == body

    with (
        raw_server(echo) as server,
        closing(factory(server.url, connections=8).transport()) as transport,
        ThreadPoolExecutor(8) as pool,
    ):
        assert all(pool.map(send, range(400)))


# --- settings that cannot be used ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (ClientFactory("eu-west-1", "localhost:8000", KEYS, 1), "--endpoint-url"),
        (ClientFactory("eu west", "http://127.0.0.1:1", KEYS, 1), "--region"),
    ],
)
def test_what_cannot_be_addressed_is_refused_naming_the_option(made: ClientFactory, named: str) -> None:
    with pytest.raises(BadConnection, match=named):
        made.table_client()
    with pytest.raises(Fatal, match=named):
        made.transport()


def test_a_ca_bundle_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/bundle.pem")
    with (
        raw_server(lambda request: SUCCESS) as server,
        closing(factory(server.url.replace("http:", "https:")).table_client()) as client,
        pytest.raises(ConnectionFault, match=r"No such file.*AWS_CA_BUNDLE"),
    ):
        client.call("ListTables", {})


def test_botocore_is_imported_by_none_who_makes_no_client() -> None:
    code = "import sys, loader.edges.clients, loader.edges.table; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_a_bug_is_not_taken_for_a_fault() -> None:
    with pytest.raises(KeyError):
        translate(KeyError("x"))


# --- a server that knows DynamoDB ---------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        running.create_table("cities", "id:S")
        yield running


def test_expired_credentials_are_overcome_by_newer_ones(server: Server) -> None:
    server.set_faults(FaultPlan(expired_token_after_requests=1))
    with closing(factory(server.endpoint).transport()) as transport:
        refused = [transport.send(BODY) for _ in range(2)][-1]
        assert b"ExpiredTokenException" in refused.body
        transport.use(Credentials("renewed", "secret2", "token2"))
        assert transport.send(BODY).status == 200


def test_a_table_client_carries_any_operation(moto: str) -> None:
    with factory(moto).table_client() as client:
        assert client.endpoint == moto.rstrip("/")
        assert client.region == "eu-west-1"
        missing = client.call("DescribeTable", {"TableName": "no-such-table"})
    assert missing.status == 400
    assert b"ResourceNotFoundException" in missing.body
