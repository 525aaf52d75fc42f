"""A service that is gone for a while: everybody waits, nothing is spent, and all go on when it is back."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.errors import Stalled
from loader.model import Summary
from tests.loads import as_table, expected, load, write_csv
from tests.server.client import Server, start
from tests.server.faults import FaultPlan

ROWS = 2500


@pytest.fixture
def server() -> Iterator[Server]:
    with start() as running:
        running.create_table("people", "id:S")
        running.set_faults(FaultPlan(latency_ms=20))
        yield running


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_csv(tmp_path / "people.csv", [["id", "v"], *([f"k{n}", str(n)] for n in range(ROWS))])


def load_over_an_outage(server: Server, path: Path, seconds: float, **options: Any) -> Summary:
    """It begins once some batches were answered."""

    def cut_off() -> None:
        deadline = time.monotonic() + 30
        while server.stats()["requests"].get("BatchWriteItem", 0) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        server.outage(seconds)

    cutter = threading.Thread(target=cut_off)
    cutter.start()
    try:
        return load(server.endpoint, "people", path, **options)
    finally:
        cutter.join()


@pytest.mark.parametrize("transport", ["fast", "boto3"])
@pytest.mark.parametrize("options", [{}, {"max_retries": 0, "workers": 2}, {"max_retries": 1, "threads": 1}])
def test_an_outage_costs_no_row_and_no_try(
    server: Server, path: Path, transport: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "loader"):
        summary = load_over_an_outage(server, path, 1.0, transport=transport, **options)
    assert (summary.complete, summary.counts.rejected, summary.counts.written) == (True, 0, ROWS)
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])
    stats = server.stats()
    ((began, ended),) = stats["outages"]
    assert ended - began >= 0.9
    assert stats["violations"] == []
    said = [record.getMessage() for record in caplog.records if "service" in record.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("The service cannot be reached, and the load waits for it: ")
    assert said[1] == "The service answers again."
    # All that waited asked again one by one: those that had a fault once, of which there is no end.
    retries = summary.counts.retries
    assert retries <= 2 * 2 * (summary.threads + 1)
    # At most half a second after its return, and with the whole rate at once.
    assert min(tenth for tenth, _ in stats["timeline"] if tenth > ended * 10) / 10 - ended < 1.5


def test_the_fast_path_is_not_given_up_over_an_outage(
    server: Server, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # One sender: where there are more, the answers of others vouch for it too.
    load_over_an_outage(server, path, 0.5, threads=1, limit=1500)
    assert "through boto3" not in caplog.text


def test_an_outage_without_end_is_a_stall(server: Server, path: Path) -> None:
    with pytest.raises(Stalled, match="--stall-timeout") as stalled:
        load_over_an_outage(server, path, 2.5, stall_timeout=1.0)
    assert stalled.value.summary is not None
    assert stalled.value.summary.counts.rejected == 0
    # It is continued once the service is back.
    while True:
        try:
            server.stats()
            break
        except OSError:
            time.sleep(0.1)
    done = load(server.endpoint, "people", path)
    assert (done.complete, done.counts.written) == (True, ROWS)
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])


@pytest.mark.parametrize("fault", ["reset_before", "error503_html", "html200", "error500"])
def test_batches_that_alone_get_no_answer_are_no_outage(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The service is there: it says so when asked for nothing. So these tries count."""
    server.set_faults(FaultPlan.from_json({f"{fault}_share": 1.0}))
    monkeypatch.chdir(tmp_path)
    path = write_csv(tmp_path / "people.csv", [["id", "v"], ["k1", "old"], ["k1", "new"], ["k2", "x"]])
    summary = load(server.endpoint, "people", path, max_retries=2)
    assert (summary.counts.rejected, summary.counts.duplicates, summary.counts.written) == (2, 1, 0)
    assert summary.reject_codes == {"unknown_outcome": 2}
