"""What holds for every file: style, types, size, declared dependencies, scripts that can be run."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = sorted(
    path
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"]
    if path.is_file() and path.read_bytes().startswith(b"#!") and b"bash" in path.read_bytes().split(b"\n")[0]
)
MODULES = sorted(path for package in ("loader", "cli") for path in (ROOT / package).rglob("*.py"))
MEASUREMENTS = sorted((ROOT / "perf").rglob("*.py"))
MODULE_LINES = 400


def run(*argv: str) -> str:
    """The output of a tool of this environment, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *argv], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", ".")


def test_every_file_is_formatted() -> None:
    run("ruff", "format", "--check", ".")


@pytest.mark.timeout(300)
def test_the_types_are_right() -> None:
    targets = [
        "loader",
        "cli",
        "perf",
        "tests",
        *(str(path) for path in sorted((ROOT / "scripts").glob("*.py"))),
    ]
    assert "Success" in run("mypy", "--strict", *targets)


@pytest.mark.parametrize("path", MODULES + MEASUREMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_stays_readable(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= MODULE_LINES, f"{lines} lines: past {MODULE_LINES} one module is two"


def test_what_is_imported_is_declared() -> None:
    imported = {name for path in MODULES for name in _imported(path)}
    foreign = imported - sys.stdlib_module_names - {"loader", "cli"}
    declared = {_bare(requirement) for requirement in PROJECT["dependencies"]}
    assert foreign <= declared


def test_the_constraints_pin_every_requirement() -> None:
    pins = {_bare(line) for line in (ROOT / "scripts/constraints.txt").read_text().splitlines()} - {""}
    extras = PROJECT["optional-dependencies"].values()
    wanted = {_bare(line) for lines in [PROJECT["dependencies"], *extras] for line in lines} - {"ddbload"}
    assert wanted <= pins


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_can_be_run(path: Path) -> None:
    assert os.access(path, os.X_OK), f"chmod +x {path.relative_to(ROOT)}"
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-n", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "set -euo pipefail" in path.read_text()


def test_the_scripts_are_found() -> None:
    assert {path.name for path in SCRIPTS} >= {"_env", "demo", "test", "run"}


def test_the_types_are_shipped() -> None:
    assert (ROOT / "loader/py.typed").is_file()


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def _bare(requirement: str) -> str:
    """The name alone, as PyPI compares names; nothing for a comment."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""
