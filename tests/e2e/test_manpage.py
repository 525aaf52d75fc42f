"""The man page: made from the parser by the build, shipped in the wheel, whole when groff sets it."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.options import CommandParser
from cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
GROFF = shutil.which("groff")
needs_groff = pytest.mark.skipif(GROFF is None, reason="groff is not installed")
# Of setup.py: the first that reads pyproject.toml as it is written.
SETUPTOOLS_NEEDED = 77


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as setup.py makes it, by argparse-manpage."""
    path = tmp_path_factory.mktemp("man") / "ddbload.1"
    source = ["--module", "cli.parser", "--function", "build_parser", "--prog", "ddbload"]
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from argparse_manpage.cli import main; main()",
            *source,
            "--output",
            str(path),
        ],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100000"},
        check=True,
    )
    return path


def groff(*options: str, page: Path) -> subprocess.CompletedProcess[str]:
    assert GROFF is not None
    return subprocess.run(
        [GROFF, "-man", "-ww", *options, str(page)], capture_output=True, text=True, check=True
    )


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of the verbs below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in set(action.choices.values()):
                yield from parsers(verb)


def shown(action: argparse.Action) -> Sequence[str]:
    """The names of an option, unless the page leaves it out."""
    return (
        [] if action.help == argparse.SUPPRESS or "--help" in action.option_strings else action.option_strings
    )


def help_texts(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The texts of a parser, as --help shows them."""
    yield parser.description or ""
    if isinstance(parser, CommandParser):
        yield from (meaning for _, meaning in parser.exit_statuses)
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from (choice.help or "" for choice in action._choices_actions)
        elif action.help and action.help != argparse.SUPPRESS and "--help" not in action.option_strings:
            yield formatter._expand_help(action)


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


@needs_groff
def test_groff_has_nothing_to_say(page: Path) -> None:
    done = groff("-z", page=page)
    assert done.stdout + done.stderr == ""


@needs_groff
def test_every_description_is_on_the_page(page: Path) -> None:
    # A line that starts with a dot or a quote would be taken for a request, and vanish.
    shown = squeezed(groff("-Tascii", "-P-cbou", "-rHY=0", "-rLL=1000n", page=page).stdout)
    texts = [text for parser in parsers(build_parser()) for text in help_texts(parser) if text]
    assert len(texts) > 20
    assert [text for text in texts if squeezed(text) not in shown] == []


@needs_groff
def test_the_exit_statuses_of_each_verb_have_a_section_of_their_own(page: Path) -> None:
    text = groff("-Tascii", "-P-cbou", page=page).stdout
    section = text[text.index("\nEXIT STATUS\n") :]
    verbs = re.split(r"\n   (\w+)\n", section)[1:]
    assert verbs[::2] == ["load", "generate", "verify", "demo"]
    assert all(re.search(r"^ +0 .*^ +130 ", told, re.DOTALL | re.MULTILINE) for told in verbs[1::2])
    assert "COMMENTS" not in text


def test_every_option_is_on_the_page(page: Path) -> None:
    text = page.read_text().replace("\\-", "-")
    names = {
        name for parser in parsers(build_parser()) for action in parser._actions for name in shown(action)
    }
    assert names >= {"--table", "--batch-size", "--types", "--output"}
    assert sorted(name for name in names if f"\\fB{name}\\fR" not in text) == []


def test_the_parser_is_built_without_any_dependency() -> None:
    # As in an isolated build: neither site-packages nor the caller's path.
    code = "import sys; sys.path.insert(0, sys.argv[1]); import cli.parser; cli.parser.build_parser()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) < SETUPTOOLS_NEEDED,
    reason=f"setuptools {version('setuptools')} is older than the test extra asks: run scripts/test once",
)
def test_the_wheel_holds_packages_types_page_and_command(tmp_path: Path) -> None:
    copy = tmp_path / "clone of it"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("loader", "cli"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = wheel.name.rsplit("-", 3)[0]
        assert {"loader/py.typed", "cli/main.py", f"{info}.data/data/share/man/man1/ddbload.1"} <= set(names)
        assert {name.split("/")[0] for name in names} == {
            "loader",
            "cli",
            f"{info}.dist-info",
            f"{info}.data",
        }
        entry_points = archive.read(f"{info}.dist-info/entry_points.txt").decode()
        assert "ddbload = cli.main:main" in entry_points
        assert b".SH OPTIONS" in archive.read(f"{info}.data/data/share/man/man1/ddbload.1")
