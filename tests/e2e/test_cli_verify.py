"""The verb verify as a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loads import write_csv
from tests.program import run
from tests.server import client
from tests.server.client import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with client.start() as running:
        yield running


@pytest.fixture(autouse=True)
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of three items, and a file that says the same."""
    monkeypatch.chdir(tmp_path)
    server.reset()
    server.create_table("people", "id:S")
    for key in "abc":
        item = {"id": {"S": key}, "age": {"N": "5"}}
        server.call("PutItem", {"TableName": "people", "Item": item})
    write_csv(Path("people.csv"), [["id", "age"], ["a", "5"], ["b", "05"], ["c", "5.0"]])


def words(server: Server, *more: str) -> tuple[str, ...]:
    return (
        "verify",
        "people.csv",
        "-t",
        "people",
        "--endpoint-url",
        server.endpoint,
        "--types",
        "age=N",
        *more,
    )


def test_an_equal_table_is_status_0(server: Server) -> None:
    done = run(*words(server))
    assert (done.status, done.out) == (0, "3 of 3 items equal\n"), done.err


def test_findings_are_named_and_the_status_is_1(server: Server) -> None:
    Path("people.csv").write_text("id,age\na,6\nb,5\nd,5\nx,y\n")
    done = run(*words(server))
    assert done.status == 1
    assert done.out.splitlines() == [
        "1 of 3 items equal",
        "  missing 1, different 1, extra 1 in table people",
        "  4 rows: 0 superseded by a later row with their key, 1 rejected",
        "  missing    id=d  (people.csv line 4)",
        "  different  id=a  (people.csv line 2)  age: the file says N 6, the table N 5",
        "  extra      id=c",
    ]


def test_json_is_the_last_line(server: Server) -> None:
    Path("people.csv").write_text("id,age\na,6\nb,5\nc,5\n")
    done = run(*words(server, "--json"))
    assert done.status == 1
    assert len(done.out.splitlines()) == 1
    found = done.summary
    assert found["findings"] == [
        {
            "kind": "different",
            "key": "id=a",
            "file": "people.csv",
            "line": 2,
            "attribute": "age",
            "detail": "the file says N 6, the table N 5",
        }
    ]
    assert [found[name] for name in ("rows", "expected", "equal", "missing", "different", "extra")] == [
        3,
        3,
        2,
        0,
        1,
        0,
    ]
    assert (found["exit"], found["exit_reason"]) == (1, "not_equal")
    assert "different  id=a" in done.err


def test_no_more_than_twenty_are_named(server: Server) -> None:
    write_csv(Path("people.csv"), [["id", "age"], *([f"k{n}", "5"] for n in range(50))])
    done = run(*words(server))
    assert done.status == 1
    assert len([line for line in done.out.splitlines() if line.startswith("  missing  ")]) == 17
    assert done.out.splitlines()[-1] == "  ... and 33 more"


def test_a_limit_is_on_rows(server: Server) -> None:
    with open("people.csv", "a") as file:
        file.write("d,5\n")
    assert run(*words(server, "--limit", "3")).status == 0


@pytest.mark.parametrize(
    "wrong", [("-t", "nobody"), ("--types", "town=N"), ("--mode", "processes"), ("--restart",)]
)
def test_what_cannot_be_is_refused(server: Server, wrong: tuple[str, ...]) -> None:
    done = run(*words(server, *wrong, "--json"))
    assert done.status == 2
    assert done.err.startswith("ddbload: ") and len(done.err.splitlines()) == 1
    assert done.summary["exit"] == 2


def test_without_a_file_there_is_nothing_to_compare(server: Server) -> None:
    done = run("verify", "-t", "people", "--endpoint-url", server.endpoint, "--json")
    assert (done.status, done.summary["exit_reason"]) == (2, "bad_option")
    assert done.err == "ddbload: No file to compare. Name at least one CSV file.\n"


def test_one_item_is_no_plural(server: Server) -> None:
    server.reset()
    server.create_table("people", "id:S")
    server.call("PutItem", {"TableName": "people", "Item": {"id": {"S": "a"}}})
    Path("people.csv").write_text("id\na\na\n")
    done = run("verify", "people.csv", "-t", "people", "--endpoint-url", server.endpoint)
    assert done.out.splitlines()[0] == "1 of 1 item equal"
