"""The command line's words: what they mean, and how what they cannot mean is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.load import config_of
from cli.parser import build_parser, parse
from loader.config import LoadConfig, RejectLimit
from loader.errors import BadOption

ROOT = Path(__file__).resolve().parents[2]


def config(*words: str) -> LoadConfig:
    return config_of(parse(words))


def refusal(*words: str) -> str:
    with pytest.raises(BadOption) as caught:
        config_of(parse(words))
    return str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["load", "a.csv", "b.csv", "--table", "t"],
        ["a.csv", "b.csv", "-t", "t"],
        ["-t", "t", "a.csv", "b.csv"],
        ["a.csv", "-t", "t", "b.csv"],
        ["--csv", "a.csv", "-tt", "--csv", "b.csv"],
        ["--table=t", "--", "a.csv", "b.csv"],
        ["a.csv", "--table=t", "--", "b.csv"],
    ],
    ids=" ".join,
)
def test_a_missing_verb_means_load_and_files_stand_anywhere(words: list[str]) -> None:
    assert parse(words).verb == "load"
    assert config(*words) == LoadConfig(("a.csv", "b.csv"), "t")


def test_a_file_that_looks_like_an_option_or_a_verb_can_be_named() -> None:
    assert config("-t", "t", "--", "-w.csv", "--").sources == ("-w.csv", "--")
    assert config("load", "verify", "-t", "t").sources == ("verify",)
    assert parse(["verify", "-t", "t", "demo"]).source == ["demo"]


def test_every_option_of_load_reaches_the_configuration() -> None:
    words = (
        "load a.csv -t t -r eu-west-1 --profile p --endpoint-url http://127.0.0.1:1 --mode processes -w 3 "
        "--threads 5 -b 7 --max-retries 0 --transport boto3 --stall-timeout 1.5 --max-rejects 2.5% "
        "--types a=N,b=BOOL --types c=S --rejects r.csv --include-superseded --state-dir s --restart "
        "--window-size 64KiB --limit 9 --max-wcu 2000 --dry-run "
        "--price-per-million .625 --json --progress none --log-level debug --log-file l"
    )
    found = config(*words.split())
    assert found == LoadConfig(
        sources=("a.csv",),
        table="t",
        connection=type(found.connection)("eu-west-1", "p", "http://127.0.0.1:1"),
        workers=3,
        threads=5,
        batch_size=7,
        max_retries=0,
        transport="boto3",
        stall_timeout=1.5,
        max_rejects=RejectLimit(percent=2.5),
        types={"a": "N", "b": "BOOL", "c": "S"},
        rejects="r.csv",
        include_superseded=True,
        state_dir="s",
        restart=True,
        window_size=65536,
        limit=9,
        max_wcu=2000,
        dry_run=True,
        price_per_million=0.625,
    )


def test_what_is_not_given_is_the_configuration_s_default() -> None:
    assert config("a.csv", "-t", "t") == LoadConfig(("a.csv",), "t")


@pytest.mark.parametrize("option", ["--mode=async", "--mode=spark"])
def test_what_is_not_built_yet_is_not_accepted(option: str) -> None:
    assert option.partition("=")[0] in refusal("a.csv", "-t", "t", option)


@pytest.mark.parametrize("word", ["--tab", "--work", "--end"])
def test_an_option_cannot_be_shortened(word: str) -> None:
    assert word in refusal("a.csv", "-t", "t", f"{word}=1")


@pytest.mark.parametrize(
    "words",
    [
        ["-b", "26"],
        ["-b", "0"],
        ["-b", "x"],
        ["-b", "1_0"],
        ["-b", "٣"],
        ["-b", "9" * 5000],
        ["-w", "0"],
        ["-w", "-1"],
        ["--threads", "0"],
        ["--max-retries", "-1"],
        ["--limit", "-1"],
        ["--transport", "curl"],
        ["--max-wcu", "0"],
        ["--max-wcu", "-5"],
        ["--max-wcu", "1.5"],
        ["--price-per-million", "-1"],
        ["--price-per-million", "$1"],
        ["--price-per-million", "nan"],
        ["--price-per-million", "1e3"],
        ["--price-per-million", "9" * 5000],
        ["--stall-timeout", "0"],
        ["--stall-timeout", "nan"],
        ["--stall-timeout", "1e9999"],
        ["--max-rejects", "101%"],
        ["--max-rejects", "many"],
        ["--max-rejects", "9" * 5000],
        ["--types", "age"],
        ["--types", "age=X"],
        ["--types", "age=SS"],
        ["--types", "age=N,age=S"],
        ["--window-size", "big"],
        ["--window-size", "9" * 5000],
        ["--progress", "loud"],
        ["--log-level", "all"],
        ["--region", ""],
        ["--rejects", ""],
        ["--endpoint-url", ""],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_bad_value_is_refused_in_a_sentence_that_names_the_option(words: list[str]) -> None:
    message = refusal("a.csv", "-t", "t", *words)
    full = {"-b": "--batch-size", "-w": "--workers"}.get(words[0], words[0])
    assert message.startswith(full)
    assert message.endswith(".")
    assert len(message) < 200


def test_an_empty_value_that_must_be_given_cannot_be_left_out() -> None:
    assert refusal("a.csv", "-t", "") == "--table is empty. Give it a value."
    assert refusal("", "-t", "t") == "SOURCE is empty. Give it a value."
    assert refusal("generate", "-o", "") == "--output is empty. Give it a value."
    assert refusal("a.csv", "-t", "t", "-r", "") == "--region is empty. Give it a value, or leave it out."


def test_words_that_are_missing_are_named() -> None:
    assert "-t/--table" in refusal("a.csv")
    assert "No source" in refusal("-t", "t")
    assert "--table" in refusal("a.csv", "-t")
    assert "-o/--output" in refusal("generate")
    assert refusal().startswith("No verb and no file")


def test_files_with_and_without_csv_are_refused_since_their_order_is_not_clear() -> None:
    assert "--csv" in refusal("a.csv", "--csv", "b.csv", "-t", "t")


def test_what_stands_behind_two_dashes_is_refused_where_no_file_is_asked_for() -> None:
    assert "x.csv" in refusal("generate", "-o", "f", "--", "x.csv")


@pytest.mark.parametrize(("text", "share"), [("0.2", 0.2), ("20%", 0.2), ("0", 0.0), (".5", 0.5)])
def test_a_share_of_duplicates_is_a_fraction_or_a_percentage(text: str, share: float) -> None:
    assert parse(["generate", "-o", "f", "--duplicates", text]).duplicates == share


def test_the_help_of_load_shows_files_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["load", "a.csv", "--help"])
    assert capsys.readouterr().out == build_parser().verbs["load"].format_help()


@pytest.mark.parametrize(
    "words", [["--version"], ["--help"], ["load", "--help"], ["demo", "-h"]], ids=" ".join
)
def test_help_and_version_are_told_and_end_well(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(words)
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(("ddbload ", "usage: ddbload"))


@pytest.mark.parametrize("verb", ["load", "generate", "verify", "demo"])
def test_every_verb_has_examples_and_tells_its_exit_statuses(verb: str) -> None:
    text = build_parser().verbs[verb].format_help()
    assert f"\n  ddbload {verb} " in text or f"\n  ddbload {verb}\n" in text
    assert "Exit status:\n  0 " in text
    assert "  130 " in text


def test_the_parser_needs_none_of_the_dependencies() -> None:
    heavy = {"numpy", "orjson", "xxhash", "boto3", "botocore", "rich"}
    code = f"import sys, cli.parser; cli.parser.build_parser(); print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
