"""What most tests of the program begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import client
from tests.server.client import Server
from tests.server.faults import FaultPlan


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with client.start() as running:
        yield running


@pytest.fixture
def empty_table(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has nothing but an empty table `people` of key id:S, the working directory no file."""
    server.reset()
    server.set_faults(FaultPlan())
    server.create_table("people", "id:S")
    monkeypatch.chdir(tmp_path)
