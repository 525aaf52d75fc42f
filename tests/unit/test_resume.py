"""How a load that ended early goes on: the command as it was given, and what else has to be changed."""

import os
from pathlib import Path

import pytest

from cli import resume

COMMAND = "ddbload a.csv -t t"


def test_the_command_is_the_one_that_was_given() -> None:
    argv = ["/src/loader/__main__.py", "load", "part-*.csv", "it's.csv", "-t", "t"]
    original = ["python3", "-m", "loader", *argv[1:]]
    assert resume.command(argv, original) == "python3 -m loader load 'part-*.csv' 'it'\"'\"'s.csv' -t t"


def test_what_is_run_by_its_path_is_named_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "old.py"
    script.touch(0o755)
    again = ["/venv/bin/python", "-X", "x", str(script), "a.csv"]
    assert resume.command([str(script), "a.csv"], again) == f"{script} a.csv"
    assert resume.command(["old.py", "a.csv"], ["python3", "old.py", "a.csv"]) == "./old.py a.csv"
    script.chmod(0o644)
    assert resume.command(["old.py", "a.csv"], ["python3", "old.py", "a.csv"]) == "python3 old.py a.csv"


def test_a_program_on_the_path_is_named_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ddbload"
    program.touch(0o755)
    original = ["/venv/bin/python", str(program), "a.csv"]
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert resume.command([str(program), "a.csv"], original) == "ddbload a.csv"
    monkeypatch.setenv("PATH", "/nowhere")
    assert resume.command([str(program), "a.csv"], original) == f"{program} a.csv"


def test_restart_is_left_out_since_it_would_begin_anew() -> None:
    argv = ["__main__.py", "--restart", "-t", "t", "--", "--restart"]
    original = ["py", "-m", "loader", *argv[1:]]
    assert resume.command(argv, original) == "py -m loader -t t -- --restart"


def test_a_command_too_long_to_be_read_is_not_repeated() -> None:
    argv = ["__main__.py", *(f"{n}.csv" for n in range(1000))]
    hint = resume.hint("interrupted", resume.command(argv, ["py", "-m", "loader", *argv[1:]]))
    assert hint == "Continue with the same command, without --restart."


@pytest.mark.parametrize("reason", ["interrupted", "hung_up", "terminated", "stalled"])
def test_the_same_command_continues(reason: str) -> None:
    assert resume.hint(reason, COMMAND) == f"Continue with: {COMMAND}"


@pytest.mark.parametrize("reason", ["denied", "worker_failed", "disk_failed", "fatal", "stopped"])
def test_the_same_command_continues_once_the_cause_is_mended(reason: str) -> None:
    assert resume.hint(reason, COMMAND) == f"Once that is mended, continue with: {COMMAND}"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("too_many_rejects", ["raise --max-rejects or leave it out", "--restart"]),
        ("everything_rejected", ["--types", "--restart"]),
        ("table_gone", ["--restart", COMMAND]),
    ],
)
def test_what_has_to_be_changed_is_named(reason: str, words: list[str]) -> None:
    hint = resume.hint(reason, COMMAND)
    assert hint is not None
    assert [word for word in words if word not in hint] == []


@pytest.mark.parametrize("reason", ["source_changed", "record_too_large"])
def test_no_hint_where_the_message_tells_what_to_do(reason: str) -> None:
    assert resume.hint(reason, COMMAND) is None
