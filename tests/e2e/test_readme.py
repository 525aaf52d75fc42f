"""Every command in README.md is run as it stands there, against the server of our own."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loads import write_csv
from tests.server.client import ROOT, Server, start

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (\S.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
# Tried where they belong: in a fresh clone (tests/e2e/test_set_up.py, CI), and by the test of the wheel.
ELSEWHERE = ["./scripts/demo", "./scripts/test", "pip install ."]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> Path:
    server.reset()
    server.create_table("people", "id:S")
    rows = [[f"k{n}", str(n), "yes"] for n in range(50)]
    for name in ("data.csv", "part-1.csv", "part-2.csv"):
        write_csv(tmp_path / name, [["id", "age", "active"], *rows])
    return tmp_path


def environment(server: Server) -> dict[str, str]:
    program = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{program}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL_DYNAMODB": server.endpoint,
        "PYTHONPATH": str(ROOT),
    }


def test_the_readme_has_commands() -> None:
    assert set(ELSEWHERE) <= set(COMMANDS)
    assert sum(command.startswith("ddbload ") for command in COMMANDS) >= 5


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("ddbload ")])
def test_a_command_of_the_readme(server: Server, folder: Path, command: str) -> None:
    words = [sys.executable, "-P", "-m", "loader", *shlex.split(command)[1:]]
    if "verify" in words:
        subprocess.run(
            [*words[:4], "load", "data.csv", "--table", "people"],
            cwd=folder,
            env=environment(server),
            check=True,
            capture_output=True,
        )

    done = subprocess.run(
        words, cwd=folder, env=environment(server), capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    if "--table" in words:
        assert len(server.items("people")) == (0 if "--dry-run" in words else 50)


def test_the_python_of_the_readme(server: Server, folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (folder / "example.py").write_text(code)

    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env=environment(server),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "50 0 100.0\n"), done.stderr


def test_the_links_of_the_readmes_lead_somewhere() -> None:
    for readme in (ROOT / "README.md", ROOT / "loader" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", readme.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (readme.parent / target).exists(), target


def test_the_house_is_drawn_as_it_is() -> None:
    drawn = (ROOT / "loader" / "README.md").read_text(encoding="utf-8")
    for layer in ("engines", "edges", "decisions"):
        assert f"{layer}/" in drawn
    for name in re.findall(r"`((?:engines|edges|decisions)/\w+\.py)`", drawn):
        assert (ROOT / "loader" / name).is_file(), name
