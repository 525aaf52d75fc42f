"""The commands of the tool this one succeeds still work."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loads import as_table, expected
from tests.program import ROOT, Done, call
from tests.server import client
from tests.server.client import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with client.start() as running:
        running.create_table("people", "id:S")
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("people.csv").write_text("id,name\n" + "".join(f"k{n},x{n}\n" for n in range(60)))


def script(name: str, *words: str, extra: dict[str, str] | None = None) -> Done:
    """As in a clone that is not installed."""
    return call(
        [sys.executable, str(ROOT / "scripts" / name), *words], extra={"PYTHONPATH": "", **(extra or {})}
    )


@pytest.mark.parametrize("name", ["threaded_loader_cli.py", "async_loader_cli.py"])
@pytest.mark.parametrize("short", [False, True])
def test_the_loaders_take_their_old_options(server: Server, name: str, short: bool) -> None:
    words = [
        "--csv",
        "people.csv",
        "--table",
        "people",
        "--region",
        "eu-west-1",
        "--workers",
        "1",
        "--batch-size",
        "20",
    ]
    if short:
        words = ["--csv", "people.csv", "-t", "people", "-r", "eu-west-1", "-w", "1", "-b", "20"]
    done = script(name, *words, "--max-retries", "5", extra={"AWS_ENDPOINT_URL": server.endpoint})
    assert done.status == 0, done.err
    assert as_table(server.items("people"), ["id"]) == expected(Path("people.csv").read_text(), ["id"])
    assert server.stats()["requests"]["BatchWriteItem"] == 3
    assert ("async mode is not there yet" in done.err) == name.startswith("async")


def test_the_generator_takes_its_old_options() -> None:
    assert script("generate_csv.py", "--output", "a.csv", "--count", "10").status == 0
    assert script("generate_csv.py", "-o", "b.csv", "-c", "10").status == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


@pytest.mark.parametrize("name", ["threaded_loader_cli.py", "async_loader_cli.py", "generate_csv.py"])
def test_a_door_can_be_run_and_stays_thin(name: str) -> None:
    path = ROOT / "scripts" / name
    done = subprocess.run(
        [path, "--help"], capture_output=True, text=True, env={"PATH": str(Path(sys.executable).parent)}
    )
    assert done.stdout.startswith("usage: ddbload"), done.stderr
    assert len(path.read_text().splitlines()) <= 20


# --- in a clone without the packages --------------------------------------------------------------

WITHOUT_PACKAGES = (sys.executable, "-I", "-S")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    made = tmp_path / "a clone"
    for name in ("cli", "loader", "scripts"):
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", made)
    return made


def environment_of(clone: Path, script: str) -> None:
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)


@pytest.mark.parametrize("name", ["threaded_loader_cli.py", "async_loader_cli.py", "generate_csv.py"])
def test_a_script_finds_the_environment_of_its_clone(clone: Path, name: str) -> None:
    environment_of(clone, "shift 2; printf '%s|' \"$@\"; exit 7")
    path = clone / "scripts" / name
    done = call([*WITHOUT_PACKAGES, str(path), "a file.csv", "--flag"])
    assert (done.status, done.out, done.err) == (7, f"{path}|a file.csv|--flag|", "")


def test_an_environment_that_lacks_the_packages_too_is_asked_once(clone: Path) -> None:
    environment_of(clone, f'exec {shlex.quote(sys.executable)} -I -S "$@"')
    done = call([*WITHOUT_PACKAGES, str(clone / "scripts" / "generate_csv.py"), "-o", "x"])
    assert done.status == 2
    assert "not installed" in done.err and len(done.err.splitlines()) == 1


def test_without_the_packages_one_sentence_says_what_to_run(clone: Path) -> None:
    script = [*WITHOUT_PACKAGES, str(clone / "scripts" / "threaded_loader_cli.py"), "--csv", "x", "-t", "t"]
    done = call([*script, "--json"])
    assert done.status == 2
    assert done.err.count("\n") == 1 and "not installed" in done.err and f"{clone}/scripts/demo" in done.err
    assert done.summary["exit_reason"] == "not_installed"


def test_the_package_run_without_the_packages_says_the_same(clone: Path) -> None:
    done = call([sys.executable, "-S", "-m", "loader", "verify", "x"], extra={"PYTHONPATH": str(clone)})
    assert done.status == 2 and "--table" in done.err
    words = [sys.executable, "-S", "-m", "loader", "verify", "x", "-t", "t"]
    done = call(words, extra={"PYTHONPATH": str(clone)})
    assert done.status == 2
    assert done.err.startswith("ddbload: ") and "not installed" in done.err and done.err.count("\n") == 1
