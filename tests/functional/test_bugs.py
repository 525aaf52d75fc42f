"""A bug in a worker: its work goes to another, and nothing counts twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loads import as_table, expected, load, rejected, write_csv
from tests.server.client import ROOT, Server, start


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset()
    server.create_table("people", "id:S")
    monkeypatch.chdir(tmp_path)


SITE = """
import os

import loader.engines.delivery as delivery

right = delivery.Delivery.answered
calls = 0


def answered(self, part, answer, random, **options):
    global calls
    calls += 1
    if calls == 12 and not os.path.exists(os.environ["BUG_MARKER"]):
        open(os.environ["BUG_MARKER"], "w").close()
        raise RuntimeError("a bug")
    return right(self, part, answer, random, **options)


delivery.Delivery.answered = answered
"""


def test_a_worker_that_meets_a_bug_is_replaced_and_nothing_counts_twice(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is put into the first worker as it starts: Python runs sitecustomize in every process."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
    monkeypatch.setenv("BUG_MARKER", str(tmp_path / "met"))
    body = [[f"k{n}", "x" if n % 10 == 0 else str(n)] for n in range(2000)]
    path = write_csv(tmp_path / "bug.csv", [["id", "age"], *body])

    summary = load(server.endpoint, "people", path, types={"age": "N"}, shard_records=500)

    assert (tmp_path / "met").exists()
    assert (summary.counts.rows, summary.counts.rejected) == (2000, 200)
    assert len(rejected(summary.rejects_file)) == 200
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"], {"age": "N"})
