"""The way in and out: what becomes of an error that nobody foresaw."""

import json
from pathlib import Path

import pytest

from cli.main import main

LINE = 0


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the engine, which cannot be had by any input; its text quotes a cell."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by \x1b nought")

    global LINE
    LINE = fail.__code__.co_firstlineno + 1

    monkeypatch.setattr("loader.engines.coordinator.run_load", fail)


@pytest.mark.usefixtures("bug")
def test_a_bug_is_one_sentence_and_status_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.csv", "-t", "t", "--json"]) == 4
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        f"ddbload: This is a bug in the program: ZeroDivisionError in test_main.py, line {LINE}. "
        "The same command with --log-level debug tells where it happened."
    ]
    found = json.loads(out)
    assert (found["exit"], found["exit_reason"], found["source"]) == (4, "bug", ["a.csv"])


@pytest.mark.usefixtures("bug")
def test_the_traceback_of_a_bug_is_in_the_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert main(["a.csv", "-t", "t", "--log-level", "debug", "--log-file", str(log)]) == 4
    assert "Traceback" not in capsys.readouterr().err
    assert "Traceback" in log.read_text() and "in fail" in log.read_text()
    assert "by" not in log.read_text().partition("ZeroDivisionError\n")[2]
    assert main(["a.csv", "-t", "t", "--log-level", "debug"]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: ddbload load")


def test_a_ctrl_c_before_the_verb_begins_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.parser.parse", interrupted)
    assert main(["a.csv", "-t", "t", "--json"]) == 130
    out, err = capsys.readouterr()
    assert err == "ddbload: Interrupted by SIGINT.\n"
    assert json.loads(out)["exit"] == 130


def test_without_the_packages_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.installed.missing", lambda: ["boto3", "rich"])
    assert main(["verify", "a.csv", "-t", "t", "--json"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("ddbload: boto3 and rich are not installed") and len(err.splitlines()) == 1
    assert json.loads(out)["exit_reason"] == "not_installed"


def test_help_needs_no_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("cli.installed.missing", lambda: ["boto3"])
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: ddbload")
