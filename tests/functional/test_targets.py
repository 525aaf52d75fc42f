"""Where batches go, as botocore has it, found without sending anything."""

import logging
import pickle
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from loader.config import ConnectionConfig
from loader.edges.clients import ClientFactory, Credentials, open_session
from loader.edges.table import describe
from loader.edges.target import Target
from loader.errors import BadConnection, Fatal
from tests.functional.raw_server import json_reply, raw_server

KEYS = Credentials("key", "secret")
ACCOUNT = "111122223333"
OF_ACCOUNT = Credentials("key", "secret", "token", ACCOUNT)


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of these hosts are Amazon's: a connection to any of them, or a look for one, fails the test."""

    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(f"a connection to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def find(
    credentials: Credentials = KEYS,
    url: str | None = None,
    table: str = "cities",
    region: str = "eu-west-1",
    profile: str | None = None,
) -> Target | None:
    with ClientFactory(region, url, credentials, 1, profile).table_client() as client:
        return client.target(table)


def found(
    credentials: Credentials = KEYS,
    url: str | None = None,
    table: str = "cities",
    region: str = "eu-west-1",
    profile: str | None = None,
) -> Target:
    target = find(credentials, url, table, region, profile)
    assert target is not None
    return target


def test_without_anything_special_it_is_the_endpoint_of_the_region() -> None:
    target = found()
    assert (target.host, target.port) == ("dynamodb.eu-west-1.amazonaws.com", 443)
    assert target.host_header == target.host
    assert (target.region, target.service, target.path) == ("eu-west-1", "dynamodb", "/")
    assert target.ca_file is not None
    assert target.user_agent.startswith("Boto3/") and "Botocore/" in target.user_agent
    assert pickle.loads(pickle.dumps(target)) == target


def test_credentials_with_an_account_go_to_the_host_of_the_account() -> None:
    target = found(OF_ACCOUNT)
    assert target.host == f"{ACCOUNT}.ddb.eu-west-1.amazonaws.com"
    assert target.account_id == ACCOUNT


def test_an_arn_goes_to_the_host_of_its_own_account() -> None:
    arn = "arn:aws:dynamodb:eu-west-1:444455556666:table/cities"
    assert found(OF_ACCOUNT, table=arn).host == "444455556666.ddb.eu-west-1.amazonaws.com"


def test_account_hosts_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    assert found(OF_ACCOUNT).host == "dynamodb.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("settings", "region", "host"),
    [
        (["AWS_USE_FIPS_ENDPOINT"], "us-east-2", "dynamodb-fips.us-east-2.amazonaws.com"),
        (["AWS_USE_DUALSTACK_ENDPOINT"], "eu-west-1", "dynamodb.eu-west-1.api.aws"),
        (
            ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"],
            "us-east-2",
            "dynamodb-fips.us-east-2.api.aws",
        ),
        ([], "cn-north-1", "dynamodb.cn-north-1.amazonaws.com.cn"),
        ([], "us-gov-west-1", "dynamodb.us-gov-west-1.amazonaws.com"),
    ],
)
def test_fips_and_dual_stack_and_other_partitions(
    settings: list[str], region: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in settings:
        monkeypatch.setenv(name, "true")
    target = found(region=region)
    assert (target.host, target.region) == (host, region)


def test_an_endpoint_of_ones_own_comes_from_the_option_the_environment_or_the_profile(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_environment / "aws-config").write_text(
        "[profile local]\nservices = here\n[services here]\ndynamodb =\n  endpoint_url = http://127.0.0.1:4\n"
    )
    assert found(profile="local").port == 4
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:3")
    assert found().port == 3
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2")
    assert found().port == 2
    target = found(url="http://127.0.0.1:1", credentials=OF_ACCOUNT)
    assert (target.host, target.port, target.ca_file) == ("127.0.0.1", 1, None)


def test_a_session_s_factory_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCOUNT_ID", ACCOUNT)
    session = open_session(ConnectionConfig(region="eu-west-1"))
    with session.factory(1).table_client() as client:
        target = client.target("cities")
    assert target is not None and target.host == f"{ACCOUNT}.ddb.eu-west-1.amazonaws.com"


# --- plain http -----------------------------------------------------------------------------------

ELSEWHERE = "http://192.0.2.1:8000"
PROFILE = f"[profile here]\nendpoint_url = {ELSEWHERE}\n"
KEYS_OF_PROFILE = "aws_access_key_id = a\naws_secret_access_key = b\n"
SERVICES = f"services = s\n[services s]\ndynamodb =\n  endpoint_url = {ELSEWHERE}\n"
SECTION = f"[profile here]\n{KEYS_OF_PROFILE}{SERVICES}"


@pytest.mark.parametrize(
    ("connection", "variables", "config"),
    [
        (ConnectionConfig(endpoint_url=ELSEWHERE), {}, ""),
        (ConnectionConfig(endpoint_url="http://u:word@192.0.2.1:8000/?word#word"), {}, ""),
        (ConnectionConfig(endpoint_url="HTTP://192.0.2.1:8000"), {}, ""),
        (ConnectionConfig(), {"AWS_ENDPOINT_URL": ELSEWHERE}, ""),
        (ConnectionConfig(), {"AWS_ENDPOINT_URL_DYNAMODB": ELSEWHERE}, ""),
        (ConnectionConfig(), {"AWS_PROFILE": "here"}, PROFILE),
        (ConnectionConfig(profile="here"), {"AWS_ENDPOINT_URL_S3": "https://localhost"}, SECTION),
    ],
)
def test_plain_http_to_another_machine_is_refused_wherever_it_is_from(
    connection: ConnectionConfig,
    variables: dict[str, str],
    config: str,
    monkeypatch: pytest.MonkeyPatch,
    own_environment: Path,
) -> None:
    (own_environment / "aws-config").write_text(config)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with open_session(connection).factory(1).table_client() as client:
        for send in (lambda: describe(client, "cities"), lambda: client.target("cities")):
            with pytest.raises(BadConnection, match=r"Nothing is sent to .*--allow-http") as caught:
                send()
            assert "192.0.2.1:8000" in str(caught.value) and "word" not in str(caught.value)
    with open_session(replace(connection, allow_http=True)).factory(1).table_client() as client:
        target = client.target("cities")
        # What has a password or a query in its URL is botocore's to send.
        assert target is None or (target.host, target.ca_file) == ("192.0.2.1", None)


def test_a_worker_refuses_it_on_both_transports() -> None:
    for keys in (KEYS, OF_ACCOUNT):
        with (
            closing(ClientFactory("eu-west-1", ELSEWHERE, keys, 1).transport("cities")) as transport,
            pytest.raises(Fatal, match=r"Nothing is sent to http://192\.0\.2\.1:8000"),
        ):
            transport.send(b"{}")
    factory = ClientFactory("eu-west-1", "http://127.0.0.1:1", KEYS, 1)
    with factory.table_client() as client:
        target = client.target("cities")
    # An address of the account's that is found later, when its credentials come.
    with closing(replace(factory, target=target, endpoint_url=ELSEWHERE).transport("cities")) as transport:
        transport.use(OF_ACCOUNT)
        with pytest.raises(Fatal, match=r"Nothing is sent to http://192\.0\.2\.1:8000"):
            transport.send(b"{}")


def test_a_role_is_not_asked_for_over_plain_http_either(
    monkeypatch: pytest.MonkeyPatch, own_environment: Path
) -> None:
    (own_environment / "aws-config").write_text(
        "[profile role]\nrole_arn = arn:aws:iam::111122223333:role/x\ncredential_source = Environment\n"
        "region = eu-west-1\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", ELSEWHERE)
    with pytest.raises(BadConnection, match=r"Nothing is sent to http://192\.0\.2\.1:8000"):
        open_session(ConnectionConfig(profile="role"))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1\\@192.0.2.1:1", "http://192.0.2.1:1\\@127.0.0.1", "http://127.0.0.1@192.0.2.1:1"],
)
def test_a_host_that_can_be_read_in_two_ways_is_not_this_machine(url: str) -> None:
    with pytest.raises(BadConnection):
        find(url=url)


def test_a_proxy_elsewhere_takes_it_off_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:word@192.0.2.1:3128")
    with pytest.raises(BadConnection, match=r"proxy on another machine, 192\.0\.2\.1: .*NO_PROXY"):
        find(url="http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert found(url="http://127.0.0.1:1").host == "127.0.0.1"


# --- where only botocore can send -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "url", "applies"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, None, True),
        ({"https_proxy": "proxy:3128"}, None, True),
        ({"HTTP_PROXY": "http://localhost:3128"}, "http://127.0.0.1:1", True),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}, None, True),
        ({"HTTP_PROXY": "http://proxy:3128"}, None, False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://127.0.0.1:1", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "amazonaws.com"}, None, False),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "example.com,.amazonaws.com"}, None, False),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:1", False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, None, False),
    ],
)
def test_a_proxy_for_the_endpoint_is_left_to_boto3_and_the_log_says_so(
    settings: dict[str, str],
    url: str | None,
    applies: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.INFO, "loader"):
        assert (find(url=url) is None) is applies
    told = [(each.levelno, each.getMessage()) for each in caplog.records if each.name.startswith("loader")]
    said = (logging.INFO, "Batches go through boto3: a proxy is configured for the endpoint.")
    assert told == ([said] if applies else [])


def test_a_url_that_botocore_spells_anew_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "loader"):
        assert find(url="http://127.0.0.1:1/a%20b") is None
    assert "Batches go through boto3: requests to 127.0.0.1:1/a%20b are signed in" in caplog.text


def test_a_client_that_was_asked_where_to_still_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with raw_server(lambda request: json_reply(200, {"Table": {}})) as server:
        with ClientFactory("eu-west-1", server.url, KEYS, 1).table_client() as client:
            client.call("DescribeTable", {"TableName": "cities"})
            assert client.target("cities") is not None
            client.call("BatchWriteItem", {"RequestItems": {"cities": []}})
        assert [request.headers["x-amz-target"].rpartition(".")[2] for request in server.requests] == [
            "DescribeTable",
            "BatchWriteItem",
        ]
