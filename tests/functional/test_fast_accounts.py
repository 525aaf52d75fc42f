"""Credentials of another account while the way to it cannot be found, for now or for good."""

import logging
from contextlib import closing
from dataclasses import replace

import pytest

from loader.decisions.standing import STRIKES
from loader.edges.clients import Credentials
from loader.edges.fast import Fallback, FastTransport
from loader.edges.target import Target
from loader.errors import BadConnection, ConnectionFault
from tests.functional.raw_server import raw_server
from tests.functional.test_fast import (
    BODY,
    KEYS,
    SUCCESS,
    by_boto3,
    factory,
    fast,
    only_boto3_gets_through,
    target_at,
)

OTHER = Credentials("other", "s", None, "111122223333")
RENEWED = Credentials("renewed", "s", None, "111122223333")


def behind(url: str, *found: Target | BadConnection | None) -> tuple[Fallback, list[Credentials]]:
    """A boto3 client at `url`, and what is found for other accounts, one after the other; who asked."""
    asked: list[Credentials] = []
    results = iter(found)

    def target(credentials: Credentials) -> Target | None:
        asked.append(credentials)
        result = next(results)
        if isinstance(result, BadConnection):
            raise result
        return result

    return Fallback(lambda keys: factory(url, keys).transport("cities"), target), asked


@pytest.mark.parametrize("passing", ["an error of botocore", "certificates that cannot be read", "a proxy"])
def test_a_new_account_that_cannot_be_reached_fast_is_tried_again_with_the_next_credentials(
    passing: str,
) -> None:
    with raw_server(lambda request: SUCCESS) as server:
        target = target_at(server.url, OTHER)
        firsts: dict[str, Target | BadConnection | None] = {
            "an error of botocore": BadConnection("Too many open files."),
            "certificates that cannot be read": replace(target, ca_file="/no/such.pem"),
            "a proxy": None,
        }
        fallback, asked = behind(server.url, firsts[passing], target)
        with closing(fast(server.url, fallback=fallback)) as transport:
            transport.send(BODY)
            transport.use(OTHER)
            transport.send(BODY)
            transport.use(RENEWED)
            transport.send(BODY)
        assert [request.access_key for request in server.requests] == ["handedDown", "other", "renewed"]
        assert [by_boto3(request) for request in server.requests] == [False, True, False]
    assert asked == [OTHER, RENEWED]


def test_the_first_account_is_reached_fast_again_without_asking() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        fallback, asked = behind(server.url, None)
        with closing(fast(server.url, fallback=fallback)) as transport:
            transport.use(OTHER)
            transport.use(KEYS)
            assert transport.send(BODY).status == 200
        assert not by_boto3(server.requests[0])
    assert asked == [OTHER]


def test_a_worker_that_cannot_begin_fast_does_so_with_the_next_credentials() -> None:
    with raw_server(lambda request: SUCCESS) as server:
        fallback, _ = behind(
            server.url, BadConnection("Too many open files."), target_at(server.url, RENEWED)
        )
        with closing(FastTransport(target_at(server.url), OTHER, fallback)) as transport:
            transport.send(BODY)
            transport.use(RENEWED)
            transport.send(BODY)
        assert [by_boto3(request) for request in server.requests] == [True, False]


def test_a_fast_path_that_stepped_aside_stays_there_whatever_the_credentials() -> None:
    with raw_server(only_boto3_gets_through) as server:
        fallback, asked = behind(server.url)
        with closing(fast(server.url, fallback=fallback)) as transport:
            for _ in range(STRIKES):
                with pytest.raises(ConnectionFault):
                    transport.send(BODY)
                transport.send(BODY)
            transport.use(OTHER)
            assert transport.send(BODY).status == 200
            assert transport.send(BODY).status == 200
    assert asked == []


def test_credentials_that_cannot_stand_in_a_header_are_told_as_such(caplog: pytest.LogCaptureFixture) -> None:
    bad = replace(KEYS, token="to ken")
    with raw_server(lambda request: SUCCESS) as server:
        fallback, _ = behind(server.url)
        with closing(fast(server.url, fallback=fallback)) as transport:
            transport.use(bad)
            transport.send(BODY)
        assert [by_boto3(request) for request in server.requests] == [True]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "credentials with characters that cannot stand in a header" in warning
    assert "to ken" not in warning
