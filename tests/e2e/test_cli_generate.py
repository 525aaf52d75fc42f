"""The verb generate as a process."""

import csv
import os
import signal
import time
from pathlib import Path

import pytest

from tests.program import finish, run, start


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_same_seed_gives_the_same_bytes() -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run("generate", "--output", name, "--count", "500", "--seed", seed).status == 0
    assert Path("a").read_bytes() == Path("b").read_bytes() != Path("c").read_bytes()
    with open("a", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "id"
    assert len({row[0] for row in rows}) == 500


def test_options_shape_the_file_and_its_size_is_told() -> None:
    done = run(
        "generate", "-o", "a", "-c", "400", "--row-bytes", "300", "--duplicates", "25%", "--sorted-keys", "4"
    )
    assert done.status == 0
    assert done.out == f"a: 400 rows, {Path('a').stat().st_size:,} bytes\n"
    with open("a", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[:2] == ["id", "seq"]
    assert len({(row[0], row[1]) for row in rows}) == 300


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "nowhere/a"],
        ["-o", "."],
        ["-o", "a", "-c", "-1"],
        ["-o", "a", "--duplicates", "100%"],
        ["-o", "a", "--row-bytes", "1"],
        ["-o", "a", "--sorted-keys", "0"],
        ["-o", "a", "--seed", "x"],
        [],
    ],
    ids=" ".join,
)
def test_what_cannot_be_made_is_refused_and_nothing_is_left(words: list[str]) -> None:
    done = run("generate", *words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("ddbload: ") and len(done.err.splitlines()) == 1
    assert os.listdir() == []


def test_an_interrupted_run_leaves_the_earlier_file() -> None:
    Path("a").write_text("earlier")
    process = start("generate", "-o", "a", "-c", "50000000")
    deadline = time.monotonic() + 20
    while len(os.listdir()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.status, done.err) == (130, "ddbload: Interrupted by SIGINT.\n")
    assert (os.listdir(), Path("a").read_text()) == (["a"], "earlier")


def test_one_row_is_no_plural_and_a_bad_number_names_its_option() -> None:
    done = run("generate", "-o", "a", "-c", "1")
    assert done.out == f"a: 1 row, {Path('a').stat().st_size:,} bytes\n"
    assert run("generate", "-o", "a", "-c", "-1").err == "ddbload: --count -1: give a number of at least 0.\n"
