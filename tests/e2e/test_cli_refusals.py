"""Bad input: a sentence or two on standard error, exit 2, nothing written, the JSON summary if asked for."""

import gzip
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.program import SUMMARY_KEYS, Done, call, command, run
from tests.server.client import Server, start

WITHOUT_ROOTS_EYES = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
    # Who is not root has nothing to drop, and is told so.
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        running.create_table("people", "id:S")
        running.create_table("odd", "id:B")
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a good file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text("id,age\n1,2\n")
    return tmp_path


def refused(server: Server, *words: str, extra: dict[str, str] | None = None) -> str:
    """The message of a load that must be refused before it wrote or left anything."""
    before = sorted(os.listdir())
    done = run("load", *words, "--endpoint-url", server.endpoint, "--json", extra=extra)
    assert done.status == 2, done
    check_form(done)
    assert done.summary["exit_reason"].startswith("bad_")
    assert set(done.summary) >= SUMMARY_KEYS
    assert server.stats()["requests"].get("BatchWriteItem", 0) == 0
    assert sorted(os.listdir()) == before
    return done.err


def check_form(done: Done) -> None:
    """One line that begins with the program's name, of a few sentences; no traceback."""
    assert "Traceback" not in done.err + done.out
    (line,) = done.err.splitlines()
    assert line.startswith("ddbload: ")
    assert line.endswith(".")
    assert len(line) < 400


def file(name: str, data: bytes) -> str:
    Path(name).write_bytes(data)
    return name


def test_no_such_file(server: Server) -> None:
    assert "nowhere.csv" in refused(server, "nowhere.csv", "-t", "people")


def test_a_directory(server: Server, here: Path) -> None:
    (here / "folder").mkdir()
    assert "folder" in refused(server, "folder", "-t", "people")


def test_an_unreadable_file(server: Server, here: Path) -> None:
    (here / "good.csv").chmod(0)
    words = command("load", "good.csv", "-t", "people", "--endpoint-url", server.endpoint, "--json")
    # Root may read every file: what lets it is taken away before the program begins.
    done = call([sys.executable, "-c", WITHOUT_ROOTS_EYES, *words])
    check_form(done)
    assert (done.status, done.summary["exit_reason"]) == (2, "bad_source")
    assert "good.csv cannot be read: Permission denied" in done.err
    assert server.stats()["requests"].get("BatchWriteItem", 0) == 0


def test_a_pattern_without_a_match(server: Server) -> None:
    assert "part-*.csv" in refused(server, "part-*.csv", "-t", "people")


def test_an_empty_file(server: Server) -> None:
    assert "empty.csv" in refused(server, file("empty.csv", b""), "-t", "people")


def test_a_header_with_a_name_twice(server: Server) -> None:
    assert "id" in refused(server, file("twice.csv", b"id,id\n1,2\n"), "-t", "people")


def test_a_header_with_an_empty_name(server: Server) -> None:
    assert "column 2" in refused(server, file("nameless.csv", b"id,,x\n1,2,3\n"), "-t", "people")


def test_a_header_that_is_not_utf_8(server: Server) -> None:
    assert "UTF-8" in refused(server, file("latin.csv", b"id,\xe9\n1,2\n"), "-t", "people")


def test_a_header_without_the_key_names_the_columns_there_are(server: Server) -> None:
    said = refused(server, file("keyless.csv", b"name,town\na,b\n"), "-t", "people")
    assert "id" in said and "name, town" in said


def test_what_cannot_be_read_yet_says_so(server: Server) -> None:
    said = "is not there yet"
    assert said in refused(server, file("people.csv.gz", gzip.compress(b"id\n1\n")), "-t", "people")
    assert said in refused(server, "s3://bucket/people.csv", "-t", "people")
    assert said in refused(server, "-", "-t", "people")
    assert "semicolons" in refused(server, file("semi.csv", b"id;age\n1;2\n"), "-t", "people")


def test_no_such_table(server: Server) -> None:
    assert "nobody" in refused(server, "good.csv", "-t", "nobody")


def test_a_table_that_is_not_active(server: Server) -> None:
    server.create_table("young", "id:S")
    server.set_status("young", "CREATING")
    assert "CREATING" in refused(server, "good.csv", "-t", "young")


def test_a_table_with_a_binary_key(server: Server) -> None:
    assert "type B" in refused(server, "good.csv", "-t", "odd")


@pytest.mark.parametrize("types", ["town=N", "age=X", "age=SS", "age", "id=N"])
def test_types_that_do_not_fit(server: Server, types: str) -> None:
    assert "--types" in refused(server, "good.csv", "-t", "people", "--types", types)


def test_a_batch_too_large(server: Server) -> None:
    assert "--batch-size 26" in refused(server, "good.csv", "-t", "people", "--batch-size", "26")


def test_an_option_there_is_not(server: Server) -> None:
    assert "--dry-rum" in refused(server, "good.csv", "-t", "people", "--dry-rum")


def test_no_credentials(server: Server) -> None:
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert "credentials" in refused(server, "good.csv", "-t", "people", extra=nothing)


def test_no_such_profile(server: Server) -> None:
    assert "nobody" in refused(server, "good.csv", "-t", "people", "--profile", "nobody")


def test_nobody_at_the_endpoint() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = run("good.csv", "-t", "people", "--endpoint-url", url)
    assert done.status == 2
    check_form(done)
    assert url in done.err


def test_an_endpoint_that_is_no_address() -> None:
    done = run("good.csv", "-t", "people", "--endpoint-url", "somewhere")
    assert done.status == 2
    check_form(done)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_log_file_that_is_not_a_plain_file(server: Server, here: Path, kind: str) -> None:
    log = here / "log"
    if kind == "link":
        log.symlink_to(here / "good.csv")
    elif kind == "pipe":
        os.mkfifo(log)
    else:
        log.mkdir()
    assert "--log-file" in refused(server, "good.csv", "-t", "people", "--log-file", "log")
    assert (here / "good.csv").read_text() == "id,age\n1,2\n"


@pytest.mark.parametrize("verb", ["load", "verify"])
@pytest.mark.parametrize(
    ("source", "log"),
    [
        ("good.csv", "good.csv"),
        ("good.csv", "./folder/../good.csv"),
        ("link.csv", "good.csv"),
        ("goo?.csv", "good.csv"),
        ("g*.csv", "folder/../good.csv"),
        # There is none yet, and the log would be the first.
        ("new.csv", "new.csv"),
        ("g*.csv", "great.csv"),
    ],
)
def test_a_log_file_that_is_a_source_is_refused_untouched(
    server: Server, here: Path, verb: str, source: str, log: str
) -> None:
    good = here / "good.csv"
    good.chmod(0o644)
    (here / "link.csv").symlink_to("good.csv")
    (here / "folder").mkdir()
    before = sorted(os.listdir())
    words = [verb, source, "-t", "people", "--log-file", log, "--log-level", "debug", "--json"]
    done = run(*words, "--endpoint-url", server.endpoint)
    check_form(done)
    assert (done.status, done.summary["exit_reason"]) == (2, "bad_option")
    assert f"--log-file {log}" in done.err and "source" in done.err
    assert good.read_text() == "id,age\n1,2\n"
    assert good.stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir()) == before


def test_a_log_beside_what_a_pattern_takes_in_is_none_of_the_sources(server: Server, here: Path) -> None:
    (here / "logs").mkdir()
    words = ["verify", "g*.csv", "-t", "people", "--endpoint-url", server.endpoint]
    for log in ("logs/good.csv", "good.log", ".good.csv"):
        assert run(*words, "--log-file", log).status == 1
        assert (here / log).exists()


@pytest.mark.parametrize(
    ("rejects", "log"),
    [("r.csv", "r.csv"), ("r.csv", "./r.csv.part"), ("link/r.csv", "r.csv.part")],
)
def test_a_log_file_that_is_the_reject_file_is_refused(
    server: Server, here: Path, rejects: str, log: str
) -> None:
    (here / "link").symlink_to(here)
    said = refused(server, "good.csv", "-t", "people", "--rejects", rejects, "--log-file", log)
    assert f"--log-file {log}" in said and "reject" in said


@pytest.mark.parametrize("name", ["good.rejects.csv", "good.rejects.csv.part"])
def test_a_log_file_that_holds_rejects_is_refused_untouched(server: Server, here: Path, name: str) -> None:
    """Those of a load that goes on are where its checkpoint says."""
    text = "id,age,_file,_line,_column,_code,_reason,_superseded\r\n1,x,good.csv,2,age,bad_number,no,\r\n"
    (here / name).write_bytes(text.encode())
    (here / name).chmod(0o644)
    said = refused(server, "good.csv", "-t", "people", "--log-file", name)
    assert f"--log-file {name}" in said and "reject" in said
    assert (here / name).read_bytes() == text.encode()
    assert (here / name).stat().st_mode & 0o777 == 0o644


def test_rejects_over_a_source_are_refused(server: Server, here: Path) -> None:
    assert "good.csv" in refused(server, "good.csv", "-t", "people", "--rejects", "good.csv")
    assert (here / "good.csv").read_text() == "id,age\n1,2\n"


def test_a_name_that_is_not_utf_8_is_in_json_that_everybody_reads(server: Server, here: Path) -> None:
    name = os.fsdecode(b"odd\xff.csv")
    (here / name).write_text("id,age\n1,x\n")
    for verb, more in (("verify", []), ("load", ["--types", "x"]), ("load", ["--types", "id=N"])):
        done = run(verb, name, "-t", "people", "--json", "--endpoint-url", server.endpoint, *more)
        assert orjson.loads(done.out.splitlines()[-1])["source"] == [r"odd\udcff.csv"], done


def test_without_a_verb_or_a_file() -> None:
    done = run()
    assert (done.status, done.out) == (2, "")
    check_form(done)


def test_a_name_with_escapes_in_it_is_shown_not_obeyed(server: Server) -> None:
    done = run("x\x1b[2J\r\n.csv", "-t", "people", "--endpoint-url", server.endpoint)
    assert done.status == 2
    assert "\x1b" not in done.err and "\r" not in done.err
    assert len(done.err.splitlines()) == 1
