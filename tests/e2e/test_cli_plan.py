"""The plan as people and machines get it: from --dry-run, and in the first lines of a load."""

import re
import shlex
import signal
import time
from pathlib import Path

import pytest

from tests.loads import rejected, write_csv
from tests.program import SUMMARY_KEYS, Done, finish, run, run_on_terminal, start
from tests.server.client import Server
from tests.server.faults import FaultPlan

ONE_WORKER = ("--workers", "1", "--threads", "2")
PLAN_KEYS = {
    *("exact", "rows", "duplicates", "rejected", "items", "median_size", "largest_size", "notes", "advice"),
    *("write_units", "table_write_units", "index_write_units", "table_items", "table_bytes"),
    *("capacity", "capacity_source", "seconds", "price"),
}
HEADING = "The plan, as a sample of the rows tells:"

pytestmark = pytest.mark.usefixtures("empty_table")


def people(count: int) -> Path:
    return write_csv(
        Path("people.csv"), [["id", "name", "age"], *([f"k{n}", f"name {n}", str(n)] for n in range(count))]
    )


def load(server: Server, *words: str | Path) -> Done:
    return run(*words, "-t", "people", "--endpoint-url", server.endpoint, *ONE_WORKER)


def test_a_dry_run_prints_the_plan_and_writes_nothing(server: Server) -> None:
    done = load(server, people(300), "--dry-run")
    assert done.status == 0, done.err
    first, *lines = done.out.splitlines()
    assert first.startswith("people.csv -> people: a dry run of ") and first.endswith("nothing was written")
    assert lines[0] == "  rows        300: 300 items"
    assert re.fullmatch(r"  sizes       median item about \d+ bytes, largest \d+", lines[1])
    assert lines[2] == "  units       300 write units for new items"
    assert lines[3].endswith("4,000 write units a second: warm throughput 4,000, from DescribeTable")
    assert lines[4] == "  time        less than a second"
    assert len(lines) == 5
    assert HEADING not in done.err
    assert "BatchWriteItem" not in server.stats()["requests"]
    assert server.items("people") == []


def test_the_plan_in_json(server: Server) -> None:
    path = people(300)
    with path.open("a") as file:
        file.write("k7,again,1\nbad,row,x\n")
    words = ("--dry-run", "--json", "--types", "age=N", "--max-wcu", "10", "--price-per-million", "1.25")
    done = load(server, path, *words)
    assert (done.status, done.summary["exit_reason"]) == (1, "rows_rejected")
    assert len(done.out.splitlines()) == 1
    found = done.summary
    assert set(found) >= SUMMARY_KEYS | {"plan", "dry_run", "max_wcu"}
    assert (found["dry_run"], found["max_wcu"], found["written"]) == (True, 10, 300)
    assert (found["write_units"], found["requests"], found["rejects_file"]) == (0, 0, None)
    plan = found["plan"]
    assert set(plan) == PLAN_KEYS
    assert (plan["exact"], plan["rows"], plan["duplicates"], plan["rejected"]) == (True, 302, 1, 1)
    assert (plan["write_units"], plan["table_write_units"], plan["index_write_units"]) == (300, 300, {})
    assert (plan["capacity"], plan["capacity_source"], plan["seconds"]) == (10, "--max-wcu 10", 30)
    assert plan["price"] == pytest.approx(0.000375)
    assert (plan["notes"], plan["advice"]) == ([], None)


def test_rejects_of_a_dry_run_are_named_up_to_a_hundred(server: Server) -> None:
    rows = [["id", "age"], ["good", "1"], *([f"k{n}", "x"] for n in range(150))]
    path = write_csv(Path("people.csv"), rows)
    done = load(server, path, "--dry-run", "--types", "age=N")
    assert done.status == 1
    named = [line for line in done.out.splitlines() if line.startswith("    people.csv, line ")]
    assert len(named) == 100
    assert "  rejected    150: 150 bad_number" in done.out
    assert "    ... and 50 more" in done.out
    assert sorted(map(str, Path().iterdir())) == ["people.csv"]


def test_rejects_of_a_dry_run_are_in_the_file_that_was_named(server: Server) -> None:
    path = write_csv(Path("people.csv"), [["id", "age"], *([f"k{n}", "x1"[n % 2]] for n in range(20))])
    done = load(server, path, "--dry-run", "--types", "age=N", "--rejects", "bad.csv")
    assert done.status == 1
    assert "  rejected    10 in " in done.out and "    ... and 5 more" in done.out
    assert len(rejected("bad.csv")) == 10


def test_the_call_that_warms_the_table_up_can_be_given_to_a_shell(server: Server) -> None:
    server.reset()
    server.create_table("people", "id:S", warm=1)
    options = ("-t", "people", *ONE_WORKER, "--dry-run", "-r", "eu-west-1")
    # Given as an option it would be told to nobody who is asked to raise anything.
    done = run(people(300), *options, extra={"AWS_ENDPOINT_URL_DYNAMODB": server.endpoint})
    assert done.status == 0, done.err
    label, call = done.out.splitlines()[-2:]
    assert label.startswith("  advice      ") and "cannot be lowered" in label
    words = shlex.split(call)
    assert words[:5] == ["aws", "dynamodb", "update-table", "--table-name", "people"]
    assert words[-2:] == ["--region", "eu-west-1"]
    assert words[5] == "--warm-throughput" and words[6].startswith("WriteUnitsPerSecond=")


def test_no_call_is_advised_with_an_endpoint_of_its_own(server: Server) -> None:
    server.reset()
    server.create_table("people", "id:S", warm=1)
    done = load(server, people(300), "--dry-run")
    assert done.status == 0 and "  time        about 5 min 0 s" in done.out
    assert "advice" not in done.out and "update-table" not in done.out


def test_the_call_is_one_line_on_a_terminal(server: Server) -> None:
    server.reset()
    server.create_table("people", "id:S", warm=2)
    name = f"people-{'x' * 80}"
    server.create_table(name, "id:S", warm=2)
    server.set_faults(FaultPlan(latency_ms=50))
    extra = {"AWS_ENDPOINT_URL_DYNAMODB": server.endpoint}
    _, sent = run_on_terminal(people(300), "-t", name, "-r", "eu-west-1", *ONE_WORKER, extra=extra)
    (line,) = [line for line in sent.split("\r\n") if "update-table" in line]
    words = shlex.split(line)
    assert words[:5] == ["aws", "dynamodb", "update-table", "--table-name", name]
    assert words[-2:] == ["--region", "eu-west-1"]


def test_a_name_from_the_table_orders_nothing_on_the_terminal(server: Server) -> None:
    server.set_description(
        "people", {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "\x1b[2J"}}
    )
    done = load(server, people(3), "--dry-run")
    assert done.status == 0
    assert "\\x1b[2J" in done.out and "\x1b" not in done.out + done.err


def test_a_load_says_its_plan_before_it_begins(server: Server) -> None:
    done = load(server, people(300), "--json")
    assert done.status == 0, done.err
    lines = done.err.splitlines()
    assert lines[:2] == [HEADING, "  rows        about 300: 300 items"]
    assert (done.summary["dry_run"], done.summary["max_wcu"]) == (False, None)
    assert "plan" not in done.summary


def test_without_progress_there_is_no_plan(server: Server) -> None:
    assert HEADING not in load(server, people(300), "--progress", "none").err


def test_on_a_terminal_the_plan_stays_above_the_bars(server: Server) -> None:
    server.set_faults(FaultPlan(latency_ms=50))
    status, sent = run_on_terminal(
        people(300), "-t", "people", "--endpoint-url", server.endpoint, *ONE_WORKER
    )
    assert status == 0
    assert sent.count(HEADING) == 1
    assert "  rows        about 300: 300 items\r\n" in sent


def test_an_interrupted_dry_run_is_not_to_be_continued(server: Server) -> None:
    path = people(400_000)
    process = start(
        path, "-t", "people", "--endpoint-url", server.endpoint, *ONE_WORKER, "--dry-run", "--json"
    )
    deadline = time.monotonic() + 20
    while "DescribeTable" not in server.stats()["requests"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.status, done.summary["exit_reason"], done.summary["resume"]) == (130, "interrupted", None)
    assert "a dry run that ended early" in done.err and "ontinue" not in done.err
    assert "plan" not in done.summary


def test_a_price_that_is_none_is_refused(server: Server) -> None:
    done = load(server, people(3), "--dry-run", "--price-per-million", "cheap")
    assert (done.status, done.out) == (2, "")
    assert "--price-per-million 'cheap': give a price, such as 0.625." in done.err
