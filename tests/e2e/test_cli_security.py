"""What leaves the program, and for whom: on the wire, in logs, on the terminal, in files."""

import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loader import DynamoDBLoader
from loader.errors import BadConnection
from perf.processes import children
from tests.certificates import Authority
from tests.functional.raw_server import Request, error_reply, http_reply, json_reply, raw_server
from tests.loads import write_csv
from tests.program import Done, command, environment, finish, run, run_on_terminal, start
from tests.server.client import Server
from tests.server.faults import FaultPlan

ONE_WORKER = ("--workers", "1", "--threads", "2")
TOKEN, SECRET = "MarkedToken4711", "MarkedSecret4711"
# Cells and keys begin so; no word of the program's does.
CELL = "zq4711"
ANSI, BIDI, MARKUP = "\x1b[31m", "\u202e", "[bold red]"
NASTY = f"{ANSI}{BIDI}{MARKUP}\x07\x9b2J\r"
TABLE = {
    "TableName": "people",
    "TableStatus": "ACTIVE",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
}


pytestmark = pytest.mark.usefixtures("empty_table")


def people(count: int, bad: int = 0) -> Path:
    """Rows of which the first `bad` have an age that is no number."""
    rows = [[f"{CELL}k{n}", f"{CELL}v{n}", "x" if n < bad else str(n)] for n in range(count)]
    return write_csv(Path("people.csv"), [["id", "name", "age"], *rows])


def to(server: Server, *words: str | Path) -> list[str]:
    return [*map(str, words), "-t", "people", "--endpoint-url", server.endpoint, *ONE_WORKER]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def answer(request: Request) -> bytes:
    """A service that takes everything."""
    if "DescribeTable" in request.headers["x-amz-target"]:
        return json_reply(200, {"Table": TABLE})
    if "Scan" in request.headers["x-amz-target"]:
        return json_reply(200, {"Items": [], "Count": 0})
    return json_reply(200, {"UnprocessedItems": {}})


# --- plain http -----------------------------------------------------------------------------------

# 127.1 is this machine to those who connect, and may be any name to those who read: what is sent there
# arrives, and goes nowhere else.


@pytest.mark.parametrize(
    ("verb", "way"),
    [
        *(("load", way) for way in ("option", "AWS_ENDPOINT_URL_DYNAMODB")),
        *(("verify", way) for way in ("option", "profile")),
    ],
)
def test_plain_http_to_another_machine_needs_permission(verb: str, way: str, own_environment: Path) -> None:
    with raw_server(answer) as listener:
        url = f"http://127.1:{listener.port}"
        config = {
            "profile": f"[default]\nendpoint_url = {url}\n",
        }
        (own_environment / "aws-config").write_text(config.get(way, ""))
        words = [verb, str(people(3)), "-t", "people", "--json"]
        words += ["--endpoint-url", url] if way == "option" else []
        extra = {way: url} if way.startswith("AWS") else {}
        done = run(*words, extra=extra)
        assert (done.status, done.summary["exit_reason"]) == (2, "bad_connection")
        assert done.err == (
            f"ddbload: Nothing is sent to {url}. This is plain http to another machine: "
            "whoever is on the way could read and change the rows. Use https, or give --allow-http.\n"
        )
        assert listener.accepted == 0
        if way == "option":
            allowed = run(*words, "--allow-http", extra=extra)
            assert allowed.status == (0 if verb == "load" else 1), allowed.err
            assert listener.accepted > 0


@pytest.mark.parametrize("transport", ["fast", "boto3"])
def test_plain_http_with_permission_reaches_the_workers_on_both_transports(transport: str) -> None:
    with raw_server(answer) as listener:
        url = f"http://127.1:{listener.port}"
        words = [
            str(people(30)),
            "-t",
            "people",
            "--endpoint-url",
            url,
            "--transport",
            transport,
            *ONE_WORKER,
        ]
        done = run(*words, *ONE_WORKER, "--allow-http", "--json")
        assert (done.status, done.summary["written"]) == (0, 30), done.err


def test_the_api_refuses_and_permits_alike(own_environment: Path) -> None:
    path = people(3)
    with raw_server(answer) as listener:
        url = f"http://127.1:{listener.port}"
        with pytest.raises(BadConnection, match="--allow-http"):
            DynamoDBLoader("people", endpoint_url=url, max_workers=1).load_csv(path)
        assert listener.accepted == 0
        loaded = DynamoDBLoader("people", endpoint_url=url, max_workers=1, allow_http=True).load_csv(path)
        assert loaded.successful_writes == 3


# --- TLS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["fast", "boto3"])
@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_is_verified_with_and_without_permission_for_http(
    trusted: bool, transport: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    extra = {"AWS_CA_BUNDLE": str(authority.path)} if trusted else {}
    with raw_server(answer, authority.server_context("127.0.0.1")) as listener:
        words = [str(people(30)), "-t", "people", "--endpoint-url", listener.url, "--transport", transport]
        done = run(*words, *ONE_WORKER, "--allow-http", "--json", extra=extra)
        if trusted:
            assert (done.status, done.summary["written"]) == (0, 30), done.err
        else:
            assert (done.status, done.summary["exit_reason"]) == (2, "bad_connection")
            assert "AWS_CA_BUNDLE" in done.err and "CERTIFICATE_VERIFY_FAILED" in done.err
            assert listener.requests == []


def test_nothing_switches_verification_off() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = {path: path.read_text() for part in ("loader", "cli") for path in (root / part).rglob("*.py")}
    off = re.compile(
        r"verify\s*=\s*False|CERT_NONE|_create_unverified|check_hostname\s*=\s*False|--no-verify"
    )
    assert [str(path) for path, text in sources.items() if off.search(text)] == []


# --- logs and what else is printed ----------------------------------------------------------------


def everything_said(done: Done) -> str:
    logged = Path("log").read_text() if os.path.exists("log") else ""
    return done.out + done.err + logged


def assert_untold(text: str, *markers: str) -> None:
    for marker in (*markers, TOKEN, SECRET, "AWS4-HMAC", "Signature="):
        at = text.find(marker)
        assert at < 0, f"{marker}: {text[max(at - 200, 0) : at + 100]}"


SECRETS = {
    "AWS_ACCESS_KEY_ID": "MarkedKey",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": TOKEN,
}


@pytest.mark.parametrize(("transport", "to_file"), [("fast", True), ("boto3", False)])
def test_no_log_has_credentials_or_cells(server: Server, transport: str, to_file: bool) -> None:
    server.set_faults(
        FaultPlan(
            seed=7,
            unprocessed_share=0.1,
            throttle_share=0.1,
            error500_share=0.04,
            error503_html_share=0.04,
            html200_share=0.04,
            cut_reply_share=0.04,
            reset_after_share=0.04,
        )
    )
    words = to(server, people(600), "-b", "10", "--transport", transport, "--log-level", "debug")
    done = run(*words, *(["--log-file", "log"] if to_file else []), "--json", extra=SECRETS)
    assert (done.status, done.summary["written"]) == (0, 600), done.err
    said = everything_said(done)
    assert "DEBUG loader.engines.delivery" in said and "again in" in said
    assert_untold(said, CELL)


def quoting() -> Callable[[Request], bytes]:
    """A service whose messages repeat what it was sent, as DynamoDB's do here and there; then it works."""
    ways: list[Callable[[str], bytes]] = [
        lambda told: http_reply(200, told.encode()),
        lambda told: http_reply(503, f"<html>{told}</html>".encode()),
        lambda told: error_reply("InternalServerError", told, 500),
        lambda told: error_reply("ThrottlingException", told),
        lambda told: error_reply("ValidationException", told),
        lambda told: error_reply(told, told),
        lambda told: json_reply(200, {"UnprocessedItems": told}),
        lambda told: json_reply(200, {"UnprocessedItems": {}, "Echo": told}),
    ]

    def reply(request: Request) -> bytes:
        if "BatchWriteItem" not in request.headers["x-amz-target"] or not ways:
            return answer(request)
        return ways.pop(0)(request.body.decode() + json.dumps(request.headers))

    return reply


@pytest.mark.parametrize("transport", ["fast", "boto3"])
def test_what_a_service_repeats_of_a_request_is_in_no_log(transport: str) -> None:
    with raw_server(quoting()) as listener:
        words: list[str | Path] = [people(60), "-t", "people", "--endpoint-url", listener.url]
        words += [
            "--log-level",
            "debug",
            "--log-file",
            "log",
            "-b",
            "5",
            "--transport",
            transport,
            *ONE_WORKER,
        ]
        done = run(*words, "--json", extra=SECRETS)
    assert done.status in (0, 1, 3), done.err
    assert_untold(Path("log").read_text(), CELL)


def test_a_bug_is_told_without_the_cells_in_its_text(tmp_path: Path) -> None:
    """Put into each worker as it starts: Python runs sitecustomize in every process."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import loader.engines.builder as builder\n"
        "def batches(self, shard, entries, size):\n"
        f"    raise KeyError('{CELL}', '{TOKEN}')\n"
        "builder.Builder.batches = batches\n"
    )
    root = Path(__file__).resolve().parents[2]
    with raw_server(answer) as listener:
        words: list[str | Path] = [people(30), "-t", "people", "--endpoint-url", listener.url, *ONE_WORKER]
        done = run(*words, "--log-file", "log", extra={"PYTHONPATH": f"{site}{os.pathsep}{root}"})
    assert done.status == 4
    log = Path("log").read_text()
    assert "Traceback" in log and "in batches" in log and "KeyError" in log + done.err
    assert_untold(done.out + done.err)
    # The line of the program's own source stands in a traceback; the text of the exception does not.
    told = [line for line in log.splitlines() if CELL in line and "raise KeyError" not in line]
    assert (told, CELL in done.err) == ([], False)


def test_a_credential_that_is_refused_is_not_repeated(server: Server) -> None:
    server.set_faults(FaultPlan(expired_token_after_requests=0))
    words = to(server, people(30), "--log-level", "debug", "--log-file", "log")
    done = run(*words, "--json", extra=SECRETS)
    assert (done.status, done.summary["exit_reason"]) == (4, "denied")
    assert_untold(everything_said(done), CELL)


def test_a_password_in_the_endpoint_is_not_repeated(server: Server) -> None:
    url = server.endpoint.replace("://", f"://user:{SECRET}@")
    for words in (["-t", "people"], ["-t", "nobody"]):
        done = run(people(30), *words, "--endpoint-url", url, "--log-level", "debug", "--log-file", "log")
        assert_untold(everything_said(done), CELL)
    with raw_server(lambda _: http_reply(403, b"no")) as listener:
        dead = listener.url
    url = dead.replace("://", f"://user:{SECRET}@")
    done = run(people(30), "-t", "people", "--endpoint-url", url, "--json")
    assert done.status == 2
    assert_untold(done.out + done.err, CELL)


def test_neither_command_lines_nor_state_have_credentials_or_cells(
    server: Server, own_environment: Path
) -> None:
    server.set_faults(FaultPlan(latency_ms=300))
    words = to(server, people(600, bad=1), "--types", "age=N", "--state-dir", "state")
    process = start(*words, extra=SECRETS)
    lines: set[bytes] = set()
    try:
        wait_until(lambda: server.stats()["requests"].get("BatchWriteItem", 0) >= 2)
        for child in children_of(process.pid):
            lines.add(Path(f"/proc/{child}/cmdline").read_bytes())
        held = b"".join(path.read_bytes() for path in Path("state").rglob("*") if path.is_file())
        process.send_signal(signal.SIGINT)
    finally:
        done = finish(process)
    assert done.status == 130 and lines
    kept = b"".join(path.read_bytes() for path in Path("state").rglob("*") if path.is_file())
    assert b"journal" not in kept and b'"sources"' in kept
    for text in (b"".join(lines), held, kept):
        assert_untold(text.decode("latin-1"), CELL, "MarkedKey")


def children_of(pid: int) -> list[int]:
    """And theirs."""
    found = children(pid)
    return [*found, *(each for child in found for each in children_of(child))]


# --- the terminal ---------------------------------------------------------------------------------


def assert_tame(text: str, *, bars: bool = False) -> None:
    """Nothing in it orders a terminal to do what the program does not order itself."""
    if bars:
        # Colours, the cursor and erasing are the bars' own; what the file says has another parameter.
        assert "\x1b[31m" not in text
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    odd = {c for c in text if not c.isprintable()} - {"\n"}
    assert not odd, f"{odd} in {text!r}"


def test_what_a_file_says_orders_no_terminal(server: Server) -> None:
    name = f"p{NASTY}.csv"
    rows = [["id", f"age{NASTY}"], *([f"k{n}", f"{NASTY}{n}"] for n in range(8)), ["a", "1"]]
    write_csv(Path(name), rows)
    words = to(server, name, "--types", f"age{NASTY}=N", "--log-level", "debug")
    done = run(*words, "--rejects", f"r{NASTY}.csv")
    assert done.status == 1, done.err
    assert MARKUP in done.out and "\\x1b[31m" in done.out and "\\u202e" in done.out
    assert_tame(done.out + done.err)
    status, sent = run_on_terminal(*words, "--rejects", f"s{NASTY}.csv")
    assert status == 1
    assert MARKUP in sent and "\\x1b[31m" in sent
    assert_tame(sent, bars=True)
    as_json = run(*words, "--rejects", f"t{NASTY}.csv", "--json")
    assert_tame(as_json.out + as_json.err)
    assert as_json.summary["rejects_file"] == os.path.abspath(f"t{NASTY}.csv")


@pytest.mark.parametrize(
    "words",
    [
        [f"no{NASTY}.csv", "-t", "people"],
        ["people.csv", "-t", f"no{NASTY}"],
        ["people.csv", "-t", "people", "--types", f"no{NASTY}=N"],
        ["people.csv", "-t", "people", "--rejects", f"no{NASTY}/x.csv"],
        ["people.csv", "-t", "people", "--log-file", f"no{NASTY}/log"],
        ["people.csv", "-t", "people", "--state-dir", f"people.csv/{NASTY}"],
        ["people.csv", "-t", "people", "--region", f"no{NASTY}"],
        ["people.csv", "-t", "people", "--profile", f"no{NASTY}"],
        ["people.csv", "-t", "people", "--endpoint-url", f"http://127.0.0.1:1/{NASTY}"],
        ["people.csv", "-t", "people", "--endpoint-url", f"http://{NASTY}"],
        ["people.csv", "-t", "people", f"--no{NASTY}"],
        ["odd.csv", "-t", "people"],
    ],
    ids=[
        "file",
        "table",
        "types",
        "rejects",
        "log",
        "state",
        "region",
        "profile",
        "path",
        "host",
        "option",
        "header",
    ],
)
def test_what_an_option_says_orders_no_terminal(server: Server, words: list[str]) -> None:
    people(3)
    Path("odd.csv").write_text(f'id,"a{NASTY}","a{NASTY}"\n1,2,3\n')
    if "--endpoint-url" not in words:
        words = [*words, "--endpoint-url", server.endpoint]
    done = run(*words)
    assert done.status == 2
    assert done.err.startswith("ddbload: ") and len(done.err.splitlines()) == 1
    assert_tame(done.out + done.err)


def test_what_a_service_says_orders_no_terminal() -> None:
    def nasty(request: Request) -> bytes:
        if "DescribeTable" in request.headers["x-amz-target"]:
            return answer(request)
        return error_reply("ValidationException", f"{NASTY} is wrong")

    path = people(30)
    with raw_server(nasty) as listener:
        words: list[str | Path] = [path, "-t", "people", "--endpoint-url", listener.url, *ONE_WORKER]
        done = run(*words)
        assert done.status in (1, 3) and "is wrong" in done.out
        assert_tame(done.out + done.err)
        status, sent = run_on_terminal(*words)
        assert status in (1, 3) and "is wrong" in sent
        assert_tame(sent, bars=True)
    with raw_server(lambda _: error_reply(f"Access{NASTY}", NASTY)) as listener:
        done = run(path, "-t", "people", "--endpoint-url", listener.url)
        assert done.status == 2
        assert_tame(done.out + done.err)


def test_what_verify_finds_orders_no_terminal(server: Server) -> None:
    name = f"v{NASTY}.csv"
    write_csv(Path(name), [["id", f"a{NASTY}"], [f"k{NASTY}", f"v{NASTY}"], ["same", "x"]])
    assert run(*to(server, name)).status == 0
    write_csv(Path(name), [["id", f"a{NASTY}"], [f"k{NASTY}", f"w{NASTY}"], [f"l{NASTY}", "x"]])
    words = ["verify", name, "-t", "people", "--endpoint-url", server.endpoint]
    done = run(*words)
    assert (done.status, done.out.count("\\x1b[31m") >= 4) == (1, True), done.err
    assert_tame(done.out + done.err)
    status, sent = run_on_terminal(*words)
    assert status == 1
    assert_tame(sent, bars=True)
    as_json = run(*words, "--json")
    assert_tame(as_json.out + as_json.err)
    assert {each["kind"] for each in as_json.summary["findings"]} == {"missing", "different", "extra"}


# --- files ----------------------------------------------------------------------------------------


def modes(*roots: str) -> dict[str, int]:
    paths = [Path(root) for root in roots] + [path for root in roots for path in Path(root).rglob("*")]
    return {path.name: stat.S_IMODE(os.lstat(path).st_mode) for path in paths if os.path.lexists(path)}


def test_all_that_is_made_is_for_its_owner_alone_whatever_the_umask(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=200))
    words = command(*to(server, people(400, bad=5), "--types", "age=N", "--state-dir", "a/state"))
    words += ["--rejects", "rejects.csv", "--log-file", "log", "--log-level", "debug", "--json"]
    process = start_in_shell('umask 000; exec "$@"', words)
    seen: dict[str, int] = {}
    try:
        while process.poll() is None:
            seen |= modes("a/state", "rejects.csv.part", "rejects.csv", "log")
            time.sleep(0.01)
    finally:
        done = finish(process)
    assert done.status == 1, done.err
    seen |= modes("rejects.csv", "log")
    folders = {name for name, mode in seen.items() if mode == 0o700}
    assert folders == {"state", *(name for name in seen if name.startswith("people-people-"))}
    assert set(seen) - folders == {
        *("journal.jsonl", "lock", "window-0.index", "rejects.csv.part", "rejects.csv", "log"),
    }
    assert {seen[name] for name in set(seen) - folders} == {0o600}


def start_in_shell(script: str, words: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", "-c", script, "-", *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped_load(server: Server) -> tuple[list[str], Path]:
    """The words of a load that has stopped with its state kept, and its state directory."""
    words = to(server, people(60, bad=3), "--types", "age=N", "--state-dir", "state", "--rejects", "r.csv")
    done = run(*words, "--max-rejects", "1")
    assert done.status == 3, done.err
    (directory,) = Path("state").iterdir()
    return words, directory


def put_elsewhere(path: Path, link: Callable[[Path, Path], None]) -> Path:
    """What stands at `path` (or a text, where nothing does) under another name, and a link to it there."""
    target = Path("precious").absolute()
    if path.exists():
        path.rename(target)
    else:
        target.write_text("precious")
    link(target, path)
    return target


SYMBOLIC, HARD = os.symlink, os.link


@pytest.mark.parametrize(
    ("name", "link", "words"),
    [
        *((name, SYMBOLIC, []) for name in ("journal.jsonl", "lock", "r.csv", "r.csv.part", "log")),
        *((name, HARD, []) for name in ("journal.jsonl", "lock", "r.csv.part", "log")),
        ("journal.jsonl", SYMBOLIC, ["--restart"]),
    ],
)
def test_a_link_in_place_of_a_file_is_refused(
    server: Server, name: str, link: Callable[[Path, Path], None], words: list[str]
) -> None:
    given, directory = stopped_load(server)
    before = server.stats()["requests"].get("BatchWriteItem", 0)
    path = directory / name if name in ("journal.jsonl", "lock") else Path(name)
    target = put_elsewhere(path, link)
    content = target.read_bytes()
    if words:
        # Whose rejects they are the journal cannot tell, so that they are refused before it is.
        os.unlink("r.csv.part")
    done = run(*given, *words, "--log-file", "log")
    assert done.status == 2, done.err
    assert name in done.err and "Traceback" not in done.err
    assert target.read_bytes() == content
    assert os.path.lexists(path)
    assert server.stats()["requests"].get("BatchWriteItem", 0) == before


@pytest.mark.parametrize(
    ("name", "link"),
    [("window-0.index", SYMBOLIC), ("window-0.index", HARD), ("r.csv.part.sorted", SYMBOLIC)],
)
def test_a_link_in_place_of_a_scratch_file_is_taken_away(
    server: Server, name: str, link: Callable[[Path, Path], None]
) -> None:
    words, directory = stopped_load(server)
    path = directory / name if name.startswith("window") else Path(name)
    target = put_elsewhere(path, link)
    content = target.read_bytes()
    done = run(*words, "--json")
    assert (done.status, done.summary["written"], done.summary["rejected"]) == (1, 57, 3), done.err
    assert target.read_bytes() == content
    assert not os.path.lexists(path)
    assert sorted(os.listdir()) == ["people.csv", "precious", "r.csv", "state"]


def test_a_link_in_place_of_the_state_of_a_load_is_refused(server: Server) -> None:
    words, directory = stopped_load(server)
    directory.rename("elsewhere")
    directory.symlink_to(Path("elsewhere").absolute())
    before = {path: path.read_bytes() for path in Path("elsewhere").iterdir()}
    for more in ([], ["--restart"]):
        done = run(*words, *more)
        assert done.status == 2 and directory.name in done.err
    assert {path: path.read_bytes() for path in Path("elsewhere").iterdir()} == before


def test_a_log_that_was_open_to_others_is_closed(server: Server) -> None:
    Path("log").touch()
    Path("log").chmod(0o644)
    assert run(*to(server, people(3), "--log-file", "log")).status == 0
    assert modes("log") == {"log": 0o600}


def test_a_generated_file_takes_the_place_of_what_a_link_leads_to_only_when_it_is_whole() -> None:
    Path("real.csv").write_text("before\n")
    os.symlink("real.csv", "link.csv")
    os.link("real.csv", "other.csv")
    assert run("generate", "-o", "link.csv", "-c", "10").status == 0
    assert Path("link.csv").is_symlink() and Path("real.csv").read_text().startswith("id,")
    assert Path("other.csv").read_text() == "before\n"
    assert sorted(os.listdir()) == ["link.csv", "other.csv", "real.csv"]
