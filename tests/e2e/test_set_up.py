"""scripts/_env and scripts/demo where something is missing, or where nothing is to be done."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# All that the scripts call besides a Python and uv.
TOOLS = ("bash", "dirname", "mktemp", "rm", "tail")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The scripts alone, in a folder with a space in its name, and a folder `bin` for the PATH."""
    clone = tmp_path / "a clone"
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, clone)
    (clone / "bin").mkdir()
    for tool in TOOLS:
        path = shutil.which(tool)
        assert path is not None
        (clone / "bin" / tool).symlink_to(path)
    return clone


def program(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"#!{shutil.which('bash')}", *lines, ""]))
    path.chmod(0o755)


def run(
    clone: Path, *argv: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a script from elsewhere, with nothing but PATH and HOME, so that no install can succeed."""
    return subprocess.run(
        ["bash", str(clone / argv[0]), *argv[1:]],
        cwd="/",
        env={"PATH": str(clone / "bin"), "HOME": str(clone), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_a_python_it_says_so(clone: Path) -> None:
    done = run(clone, "scripts/_env", "demo")
    assert done.returncode == 1
    assert done.stderr.startswith("This needs Python 3.11 or newer; python3 on PATH is not there.")


def test_an_old_python_is_named_with_its_version(clone: Path) -> None:
    program(clone / "bin/python3", '[[ $1 != --version ]] || { echo "Python 3.9.2"; exit 0; }', "exit 1")
    done = run(clone, "scripts/_env", "demo")
    assert done.returncode == 1
    assert "python3 on PATH is Python 3.9.2." in done.stderr


def test_a_python_that_cannot_make_environments_is_told_from_an_old_one(clone: Path) -> None:
    # As Debian's python3 is without python3-venv.
    refuse = 'for word; do [[ $word != *ensurepip* ]] || exit 1; done; exec "$REAL" "$@"'
    program(clone / "bin/python3", refuse)
    done = run(clone, "scripts/_env", "demo", environment={"REAL": sys.executable})
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


def test_an_install_that_fails_shows_its_reason(clone: Path) -> None:
    (clone / "bin/python3").symlink_to(sys.executable)
    # An environment that holds a pip, which only says why it cannot.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(clone / ".venv")], check=True)
    (site,) = (clone / ".venv").glob("lib/python*/site-packages")
    (site / "pip.py").write_text(
        "if __name__ == '__main__':\n    raise SystemExit('no such thing as moto')\n"
    )
    done = run(clone, "scripts/_env", "demo")
    assert done.returncode == 1
    assert done.stderr.startswith("The packages could not be installed into .venv.")
    assert "no such thing as moto" in done.stderr
    assert not (clone / ".venv/ddbload-setup").exists()


def test_what_is_set_up_is_not_set_up_again(clone: Path) -> None:
    (clone / "bin/python3").symlink_to(sys.executable)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(clone / ".venv")], check=True)
    (site,) = (clone / ".venv").glob("lib/python*/site-packages")
    tries = clone / "tries"
    (site / "pip.py").write_text(
        f"if __name__ == '__main__':\n    with open({str(tries)!r}, 'a') as file:\n        file.write('x')\n"
    )

    def installs(extra: str) -> int:
        tries.write_text("")
        done = run(clone, "scripts/_env", extra)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return len(tries.read_text())

    assert installs("demo") == 1
    assert installs("demo") == 0
    assert installs("test") == 1
    assert installs("demo") == 0
    with open(clone / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    assert installs("demo") == 1
    (site / "by_hand-1.dist-info").mkdir()
    assert installs("demo") == 1
    assert installs("demo") == 0


def test_the_demo_gets_its_options_and_no_aws_setting(clone: Path) -> None:
    program(clone / "scripts/_env", "exit 0")
    program(clone / ".venv/bin/python", 'printf "%s\\n" "$@" ${!AWS_*}')
    real = {"AWS_PROFILE": "production", "AWS_ACCESS_KEY_ID": "AKIA"}
    done = run(clone, "scripts/demo", "--rows", "a b", environment=real)
    assert done.stdout.splitlines() == ["-P", "-m", "loader", "demo", "--rows", "a b"]
    assert "AWS_PROFILE" not in os.environ
