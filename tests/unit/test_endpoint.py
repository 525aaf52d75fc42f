"""Which hosts are this machine, and what plain HTTP may carry where."""

import pytest

from loader.decisions.endpoint import is_loopback, plain_http_problem


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.255.3.4", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"),
        *("localhost", "LocalHost", "localhost.", "db.localhost", "DB.Localhost."),
    ],
)
def test_these_are_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert plain_http_problem("http", host, None, allow_http=False) is None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "192.0.2.1",
            "10.0.0.1",
            "128.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "::",
            "::2",
            "::ffff:1.2.3.4",
        ),
        *("::", "::2", "::ffff:1.2.3.4"),
        # Names that a resolver, or another reader of addresses, may take for anything.
        *(
            "localhost.example.com",
            "notlocalhost",
            "127.0.0.1.example.com",
            "ip6-localhost",
            "dynamodb-local",
        ),
        *("127.1", "2130706433", "0x7f000001", "127.0.0.01", "127.0.0.1 ", "localhost.."),
    ],
)
def test_these_are_not_for_sure(host: str) -> None:
    assert not is_loopback(host)
    assert "--allow-http" in (plain_http_problem("http", host, None, allow_http=False) or "")


def test_tls_and_permission_let_everything_pass() -> None:
    assert plain_http_problem("https", "192.0.2.1", "192.0.2.2", allow_http=False) is None
    assert plain_http_problem("http", "192.0.2.1", "192.0.2.2", allow_http=True) is None


def test_a_proxy_counts_as_the_host_it_goes_to() -> None:
    assert plain_http_problem("http", "127.0.0.1", "127.0.0.1", allow_http=False) is None
    told = plain_http_problem("http", "127.0.0.1", "proxy.example.com", allow_http=False)
    assert told is not None and "proxy.example.com" in told and "NO_PROXY" in told


def test_another_scheme_is_not_taken_for_tls() -> None:
    assert plain_http_problem("ftp", "192.0.2.1", None, allow_http=False) is not None
    assert plain_http_problem("HTTPS", "192.0.2.1", None, allow_http=False) is None
