"""How the fast path asks whether the service is there at all."""

import logging
import time
from contextlib import closing

import pytest

from loader.decisions.outage import PROBE
from loader.decisions.standing import STRIKES
from loader.edges import fast as fast_path
from loader.errors import ConnectionFault
from tests.functional.raw_server import HANG_UP, STALL, Request, error_reply, raw_server
from tests.functional.test_fast import BODY, SUCCESS, alone, by_boto3, fast

REFUSAL = error_reply("ValidationException")


def is_probe(request: Request) -> bool:
    return request.body == PROBE


def test_a_probe_goes_out_signed_on_a_connection_of_its_own() -> None:
    def answer(request: Request) -> bytes:
        return REFUSAL if is_probe(request) else SUCCESS

    with raw_server(answer) as server, closing(alone(server.url)) as transport:
        transport.send(BODY)
        assert transport.probe(PROBE).status == 400
        transport.send(BODY)
        assert [is_probe(request) for request in server.requests] == [False, True, False]
        assert server.requests[1].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
        # The one that was open is used on; that of the probe is not kept.
        assert server.accepted == 2


def test_a_probe_that_hangs_is_not_waited_for_as_long_as_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_path, "PROBE_TIMEOUT", 0.2)
    monkeypatch.setattr(fast_path, "CLIENT_PROBE_SECONDS", 1e9)

    def answer(request: Request) -> bytes:
        return REFUSAL if by_boto3(request) else STALL

    with raw_server(answer) as server, closing(fast(server.url)) as transport:
        # Once boto3 is asked as well, for it may get through where the fast path does not.
        assert transport.probe(PROBE).status == 400
        began = time.monotonic()
        with pytest.raises(ConnectionFault, match="No reply"):
            transport.probe(PROBE)
        assert time.monotonic() - began < 2
        assert [by_boto3(request) for request in server.requests] == [False, True, False]


def test_probes_say_nothing_of_the_fast_path(caplog: pytest.LogCaptureFixture) -> None:
    """Only batches do: one that boto3 gets through is no better than one that it does not."""

    def answer(request: Request) -> bytes:
        return HANG_UP if is_probe(request) and not by_boto3(request) else SUCCESS

    with (
        caplog.at_level(logging.WARNING),
        raw_server(answer) as server,
        closing(fast(server.url)) as transport,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(fast_path, "CLIENT_PROBE_SECONDS", 0.0)
        for _ in range(STRIKES + 1):
            assert transport.probe(PROBE).status == 200
        transport.send(BODY)
        assert not by_boto3(server.requests[-1])
    assert caplog.records == []
