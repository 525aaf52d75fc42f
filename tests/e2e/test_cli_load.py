"""The verb load as a process: what it prints where, its exit statuses, and that it may be interrupted."""

import os
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.loads import as_table, expected, rejected, write_csv
from tests.program import SUMMARY_KEYS, Done, call, command, environment, finish, run, run_on_terminal, start
from tests.server.client import Server
from tests.server.faults import FaultPlan

ONE_WORKER = ("--workers", "1", "--threads", "2")


pytestmark = pytest.mark.usefixtures("empty_table")


def people(count: int, path: Path | None = None) -> Path:
    rows = [["id", "name", "age"], *([f"k{n}", f"[bold]{n}[/bold]", str(n)] for n in range(count))]
    return write_csv(path or Path("people.csv"), rows)


def load(server: Server, *words: str | Path, extra: dict[str, str] | None = None) -> Done:
    return run(*words, "-t", "people", "--endpoint-url", server.endpoint, *ONE_WORKER, extra=extra)


def await_requests(server: Server, count: int) -> None:
    wait_until(lambda: server.stats()["requests"].get("BatchWriteItem", 0) >= count)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# --- what is printed ------------------------------------------------------------------------------


def test_the_last_line_of_standard_output_is_the_json_summary(server: Server) -> None:
    done = load(server, people(100), "--json")
    assert done.status == 0, done.err
    found = done.summary
    assert set(found) >= SUMMARY_KEYS
    assert len(done.out.splitlines()) == 1
    counts = [found[name] for name in ("rows", "written", "duplicates", "rejected", "resumed")]
    assert counts == [100, 100, 0, 0, 0]
    assert (found["table"], found["source"], found["mode"]) == ("people", ["people.csv"], "processes")
    assert (found["workers"], found["threads"], found["requests"], found["write_units"]) == (1, 2, 4, 100)
    assert (found["exit"], found["exit_reason"], found["interrupted"]) == (0, "complete", None)
    assert found["items_per_second"] > 0
    assert "written     100" in done.err


def test_without_json_a_short_summary_goes_to_standard_output(server: Server) -> None:
    done = load(server, people(30))
    assert done.status == 0
    assert "30 rows" in done.out and "written     30" in done.out
    assert "\x1b" not in done.out + done.err and "\r" not in done.out + done.err


def test_no_terminal_means_no_escapes_whatever_the_environment_forces(server: Server) -> None:
    forced = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "TTY_COMPATIBLE": "1"}
    for progress in ("auto", "rich"):
        done = load(server, people(30), "--progress", progress, extra=forced)
        assert done.status == 0
        assert "\x1b" not in done.err + done.out


def test_a_terminal_gets_bars_and_its_cursor_back(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=100))
    status, sent = run_on_terminal(
        people(300), "-t", "people", "--endpoint-url", server.endpoint, *ONE_WORKER
    )
    assert status == 0
    assert "rows/s" in sent and "WCU/s" in sent and "100%" in sent
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")


def test_a_refusal_on_a_terminal_is_its_message_alone(server: Server) -> None:
    status, sent = run_on_terminal("nowhere.csv", "-t", "people", "--endpoint-url", server.endpoint)
    assert (status, sent) == (2, "ddbload: nowhere.csv: there is no such file.\r\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["--json"], []], ids=["json", "text"])
def test_a_summary_that_cannot_be_written_is_no_success(server: Server, words: list[str]) -> None:
    argv = command(people(30), "-t", "people", "--endpoint-url", server.endpoint, *words, *ONE_WORKER)
    done = call(["bash", "-c", '"$@" >/dev/full', "-", *argv])
    assert done.status == 4
    assert done.err.endswith("ddbload: Standard output did not take the outcome: No space left on device.\n")
    assert len(server.items("people")) == 30


def test_a_dumb_terminal_gets_plain_lines(server: Server) -> None:
    status, sent = run_on_terminal(
        people(30), "-t", "people", "--endpoint-url", server.endpoint, *ONE_WORKER, extra={"TERM": "dumb"}
    )
    assert status == 0
    assert "\x1b" not in sent


def test_a_reader_that_goes_away_does_not_fail_the_load(server: Server) -> None:
    words = [*command(people(30), "-t", "people", "--endpoint-url", server.endpoint, "--json", *ONE_WORKER)]
    quoted = " ".join(f"'{word}'" for word in words)
    done = call(["bash", "-c", f"{quoted} 2>&- | true; exit ${{PIPESTATUS[0]}}"])
    assert (done.status, done.err) == (0, "")
    assert len(server.items("people")) == 30


def test_without_standard_error_nothing_of_it_goes_elsewhere(server: Server) -> None:
    words = command(people(30), "-t", "people", "--endpoint-url", server.endpoint, "--json", *ONE_WORKER)
    quoted = " ".join(f"'{word}'" for word in words)
    done = call(["bash", "-c", f"{quoted} 2>&-"])
    assert done.status == 0
    assert len(done.out.splitlines()) == 1
    assert done.summary["written"] == 30


# --- exit statuses --------------------------------------------------------------------------------


def test_a_header_alone_is_a_load_of_nothing(server: Server) -> None:
    done = load(server, people(0), "--json")
    assert (done.status, done.summary["rows"]) == (0, 0)


def test_some_rows_rejected_is_status_1_and_they_can_be_mended(server: Server) -> None:
    path = write_csv(Path("people.csv"), [["id", "age"], ["a", "1"], ["b", "x"], ["", "3"]])
    done = load(server, path, "--types", "age=N", "--json")
    assert (done.status, done.summary["exit_reason"]) == (1, "rows_rejected")
    assert done.summary["reject_codes"] == {"bad_number": 1, "empty_key": 1}
    where = done.summary["rejects_file"]
    assert {row["_line"] for row in rejected(where)} == {"3", "4"}
    assert stat.S_IMODE(os.stat(where).st_mode) == 0o600

    Path(where).write_text(Path(where).read_text().replace("b,x,", "b,2,").replace("\n,3,", "\nc,3,"))
    again = load(server, where, "--types", "age=N")
    assert again.status == 0, again.err
    assert as_table(server.items("people"), ["id"]) == expected(
        "id,age\na,1\nb,2\nc,3\n", ["id"], {"age": "N"}
    )


def test_too_many_rejects_is_status_3(server: Server) -> None:
    path = write_csv(Path("people.csv"), [["id", "age"], *([f"k{n}", "x"] for n in range(50))])
    done = load(server, path, "--types", "age=N", "--max-rejects", "10", "--json")
    assert (done.status, done.summary["exit_reason"]) == (3, "too_many_rejects")
    assert "--max-rejects" in done.err
    assert "is not a number" in done.err
    assert done.summary["resume"] in done.err
    assert "raise --max-rejects" in done.summary["resume"] and "ontinue with" not in done.err


def test_everything_rejected_is_status_3(server: Server) -> None:
    path = write_csv(Path("people.csv"), [["id", "age"], *([f"k{n}", "x"] for n in range(1500))])
    done = load(server, path, "--types", "age=N", "--json")
    assert (done.status, done.summary["exit_reason"]) == (3, "everything_rejected")
    assert "--types" in done.summary["resume"] and done.summary["resume"] in done.err


def test_access_denied_is_status_4_with_the_summary(server: Server) -> None:
    server.set_faults(FaultPlan(access_denied_after_requests=2))
    done = load(server, people(500), "--json")
    assert (done.status, done.summary["exit_reason"]) == (4, "denied")
    assert 0 < done.summary["written"] < 500
    assert "Traceback" not in done.err
    assert "Once that is mended, continue with: " in done.err


def test_a_source_that_changed_gets_no_advice_to_repeat_the_command(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=100))
    path = people(3000)
    process = start(path, "-t", "people", "--endpoint-url", server.endpoint, "--json", *ONE_WORKER)
    await_requests(server, 3)
    path.write_text("id\n")
    done = finish(process)
    assert (done.status, done.summary["exit_reason"]) == (4, "source_changed")
    assert done.summary["resume"] is None
    assert "ontinue with" not in done.err and "same command" not in done.err


def test_a_stalled_load_says_once_how_to_go_on(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=60_000))
    done = load(server, people(30), "--stall-timeout", "0.5", "--json")
    assert (done.status, done.summary["exit_reason"]) == (4, "stalled")
    assert done.err.count("command") + done.err.count("ontinue with") == 1
    assert done.summary["resume"].startswith("Continue with: ")


def test_a_pattern_does_not_take_in_its_own_rejects(server: Server) -> None:
    for name in ("part-1.csv", "part-2.csv"):
        write_csv(Path(name), [["id", "age"], [f"{name}-a", "1"], [f"{name}-b", "x"]])
    first = load(server, "part*.csv", "--types", "age=N", "--json")
    assert first.status == 1
    assert Path(first.summary["rejects_file"]).name == "part.rejects.csv"
    again = load(server, "part*.csv", "--types", "age=N", "--json")
    assert (again.status, again.summary["rows"]) == (1, 4)
    assert Path(again.summary["rejects_file"]).name == "part.rejects-2.csv"
    words = ("verify", "part*.csv", "-t", "people", "--endpoint-url", server.endpoint, "--types", "age=N")
    assert run(*words).status == 0


def test_the_log_is_a_file_of_its_owner_alone(server: Server) -> None:
    done = load(server, people(30), "--log-file", "log", "--log-level", "debug")
    assert done.status == 0
    assert stat.S_IMODE(os.stat("log").st_mode) == 0o600
    assert "testSecretKey" not in Path("log").read_text()


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "hung_up"),
    ],
)
def test_the_first_signal_drains_and_the_same_command_continues(
    server: Server, number: signal.Signals, status: int, reason: str
) -> None:
    server.set_faults(FaultPlan(latency_ms=40))
    path = people(3000)
    words = (
        path,
        "-t",
        "people",
        "--endpoint-url",
        server.endpoint,
        "--json",
        "--workers",
        "1",
        "--threads",
        "1",
    )
    process = start(*words)
    await_requests(server, 25)
    process.send_signal(number)
    done = finish(process)
    assert done.status == status, done.err
    assert done.summary["exit_reason"] == reason
    assert done.summary["interrupted"] == number.name
    assert done.summary["resume"] == "Continue with: " + shlex.join(command(*words))
    assert done.summary["resume"] in done.err
    assert 0 < len(server.items("people")) < 3000

    server.set_faults(FaultPlan())
    again = run(*words)
    assert again.status == 0, again.err
    assert (again.summary["rows"], again.summary["written"]) == (3000, 3000)
    assert again.summary["resumed"] > 0
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])


def test_the_second_signal_ends_at_once(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=8000))
    words = (people(3000), "-t", "people", "--endpoint-url", server.endpoint, "--json", *ONE_WORKER)
    process = start("--restart", *words)
    await_requests(server, 1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.status == 130
    assert time.monotonic() - began < 3
    assert "Traceback" not in done.err
    again = "Continue with: " + shlex.join(command(*words))
    assert done.err.endswith(f"ddbload: Interrupted by SIGINT. {again}\n")
    assert set(done.summary) >= SUMMARY_KEYS
    found = done.summary
    assert (found["exit"], found["exit_reason"], found["interrupted"]) == (130, "interrupted", "SIGINT")
    assert (found["resume"], found["table"], found["workers"]) == (again, "people", 1)


def test_two_signals_in_the_same_moment_are_one(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=300))
    process = start(people(3000), "-t", "people", "--endpoint-url", server.endpoint, "--json", *ONE_WORKER)
    await_requests(server, 1)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    done = finish(process)
    assert (done.status, done.summary["exit_reason"]) == (129, "hung_up")


def test_nohup_keeps_a_load_going(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=100))
    words = command(people(500), "-t", "people", "--endpoint-url", server.endpoint, "--json", *ONE_WORKER)
    quoted = " ".join(f"'{word}'" for word in words)
    hang_up = "while ! grep -q x go; do sleep 0.05; done; kill -HUP $!; wait $!"
    Path("go").touch()
    # As nohup does it: the signal is ignored before the program begins.
    process = start_shell(f"trap '' HUP; {quoted} & {hang_up}")
    await_requests(server, 2)
    Path("go").write_text("x")
    done = finish(process)
    assert (done.status, done.summary["written"]) == (0, 500), done.err


def start_shell(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", "-c", script],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
