"""Is the table what the files say? Against moto, filled by boto3: nothing of the load is taken on trust."""

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from loader.config import ConnectionConfig
from loader.engines.verify import Finding, VerifyConfig, VerifyEvent, VerifyResult, verify
from loader.errors import BadConnection, BadOption, BadSource, BadTable, Fatal, RecordTooLarge, SourceChanged
from tests.loads import load, write_csv
from tests.server import client
from tests.server.client import Server

_names = itertools.count()


class Table:
    """A table in moto."""

    def __init__(self, boto: Any, endpoint: str, key: str) -> None:
        self.name = f"verify-{next(_names)}"
        self.endpoint = endpoint
        self._boto = boto
        parts = [part.split(":") for part in key.split(",")]
        boto.create_table(
            TableName=self.name,
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in parts],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind}
                for (name, _), kind in zip(parts, ("HASH", "RANGE"), strict=False)
            ],
            BillingMode="PAY_PER_REQUEST",
        )

    def put(self, **attributes: dict[str, Any]) -> None:
        self._boto.put_item(TableName=self.name, Item=attributes)

    def verify(self, *paths: Path, **options: Any) -> VerifyResult:
        return verify(config(self.endpoint, self.name, *paths, **options))


def config(endpoint: str, table: str, *paths: Path, **options: Any) -> VerifyConfig:
    connection = ConnectionConfig("us-east-1", None, endpoint)
    return VerifyConfig(tuple(map(str, paths)), table, connection, **options)


@pytest.fixture
def boto(moto: str) -> Iterator[Any]:
    made = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=moto)
    yield made
    made.close()


@pytest.fixture
def people(boto: Any, moto: str) -> Table:
    """The items of PEOPLE."""
    table = Table(boto, moto, "id:S")
    for key in "abc":
        table.put(id={"S": key}, age={"N": "5"}, name={"S": f"Zoë {key}"})
    return table


PEOPLE = [["id", "age", "name"], *([key, "5.0", f"Zoë {key}"] for key in "abc")]
AGE = {"types": {"age": "N"}}


def counts(result: VerifyResult) -> tuple[int, int, int, int]:
    return result.equal, result.missing, result.different, result.extra


def test_an_equal_table_is_equal_numbers_by_value(people: Table, tmp_path: Path) -> None:
    result = people.verify(write_csv(tmp_path / "people.csv", PEOPLE), **AGE)
    assert counts(result) == (3, 0, 0, 0)
    assert (result.same, result.rows, result.expected, result.findings) == (True, 3, 3, ())


def test_what_is_missing_different_and_extra_is_named(people: Table, tmp_path: Path) -> None:
    people.put(id={"S": "b"}, age={"N": "5"}, name={"S": "Zoe b"})
    people.put(id={"S": "x\n"}, age={"N": "5"})
    path = write_csv(tmp_path / "people.csv", [*PEOPLE, ["d", "5", "multi\nline"], ["e", "5", "e"]])

    result = people.verify(path, **AGE)

    assert counts(result) == (2, 2, 1, 1)
    assert not result.same
    assert result.findings == (
        Finding("missing", "id=d", str(path), 5),
        Finding("missing", "id=e", str(path), 7),
        Finding("different", "id=b", str(path), 3, "name", 'the file says S "Zoë b", the table S "Zoe b"'),
        Finding("extra", "id=x\\n"),
    )


@pytest.mark.parametrize(
    ("attributes", "attribute"),
    [
        ({"age": {"S": "5"}, "name": {"S": "Zoë a"}}, "age"),
        ({"age": {"N": "5.01"}, "name": {"S": "Zoë a"}}, "age"),
        ({"age": {"N": "5"}}, "name"),
        ({"age": {"N": "5"}, "name": {"S": "Zoë a"}, "more": {"BOOL": True}}, "more"),
        ({"age": {"N": "5"}, "name": {"S": "Zoë a "}}, "name"),
    ],
)
def test_the_attribute_that_differs_is_named(
    people: Table, tmp_path: Path, attributes: dict[str, Any], attribute: str
) -> None:
    people.put(id={"S": "a"}, **attributes)
    result = people.verify(write_csv(tmp_path / "people.csv", PEOPLE), **AGE)
    assert counts(result) == (2, 0, 1, 0)
    assert result.findings[0].attribute == attribute


def test_the_last_valid_row_of_a_key_counts(boto: Any, moto: str, tmp_path: Path) -> None:
    table = Table(boto, moto, "id:N,at:S")
    table.put(id={"N": "5"}, at={"S": "x"}, age={"N": "2"})
    rows = [
        ["id", "at", "age"],
        ["5", "x", "1"],
        ["5.0", "x", "2"],
        ["05", "x", "not a number"],
        ["5e0", "x"],
        ["", "x", "3"],
    ]
    result = table.verify(write_csv(tmp_path / "t.csv", rows), **AGE)
    assert counts(result) == (1, 0, 0, 0)
    assert (result.rows, result.duplicates, result.rejected) == (5, 1, 3)


def test_a_bad_row_that_a_later_good_one_follows_is_superseded_as_in_a_load(
    server: Server, tmp_path: Path
) -> None:
    server.create_table("counted", "id:S")
    rows = [
        ["id", "age"],
        ["a", "bad"],
        ["b", "bad"],
        ["a", "worse"],
        ["a", "1"],
        ["a", "bad"],
        ["b", "bad"],
        ["c"],
        ["c", "2"],
        ["", "3"],
        ["a", "4"],
        ["a", "bad"],
    ]
    path = write_csv(tmp_path / "t.csv", rows)
    loaded = load(
        server.endpoint,
        "counted",
        path,
        rejects=str(tmp_path / "r.csv"),
        state_dir=str(tmp_path),
        types={"age": "N"},
    )
    result = verify(config(server.endpoint, "counted", path, **AGE))
    assert result.same
    # Of a: all but the last good row and the bad one behind it; of c the row with too few cells is a reject.
    assert (result.rows, result.duplicates, result.rejected) == (11, 4, 5)
    assert (loaded.counts.rows, loaded.counts.duplicates, loaded.counts.rejected) == (11, 4, 5)


def test_an_empty_cell_is_a_string_or_no_attribute(boto: Any, moto: str, tmp_path: Path) -> None:
    table = Table(boto, moto, "id:S")
    table.put(id={"S": "a"}, name={"S": ""})
    path = write_csv(tmp_path / "t.csv", [["id", "name", "age", "on"], ["a", "", "", ""]])
    assert table.verify(path, types={"age": "N", "on": "BOOL"}).same


def test_a_record_that_is_never_closed_is_a_reject(people: Table, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "people.csv", PEOPLE)
    path.write_text(path.read_text() + 'd,5,"never closed\n')
    result = people.verify(path, **AGE)
    assert counts(result) == (3, 0, 0, 0)
    assert (result.rows, result.rejected) == (4, 1)


def test_rows_superseded_in_a_reject_file_are_left_out_unless_asked_for(
    people: Table, tmp_path: Path
) -> None:
    header = [*PEOPLE[0], "_file", "_line", "_column", "_code", "_reason", "_superseded"]
    rows = [header, *([*row, "f", "2", "", "", "", ""] for row in PEOPLE[1:])]
    rows.append(["a", "6", "old", "f", "2", "", "", "", "true"])
    path = write_csv(tmp_path / "people.rejects.csv", rows)
    assert people.verify(path, **AGE).same
    assert counts(people.verify(path, include_superseded=True, **AGE)) == (2, 0, 1, 0)


def test_several_files_are_one_and_a_finding_names_its_own(people: Table, tmp_path: Path) -> None:
    one = write_csv(tmp_path / "1.csv", [PEOPLE[0], ["a", "9", "old"], PEOPLE[2]])
    two = write_csv(tmp_path / "2.csv", [PEOPLE[0], PEOPLE[1], ["z", "1", "z"], PEOPLE[3]])
    result = people.verify(one, two, **AGE)
    assert counts(result) == (3, 1, 0, 0)
    assert result.findings == (Finding("missing", "id=z", str(two), 3),)


def test_a_limit_is_on_rows_as_in_a_load(people: Table, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "people.csv", [*PEOPLE, ["d", "5", "d"]])
    assert people.verify(path, limit=3, **AGE).same
    assert counts(people.verify(path, limit=0, **AGE)) == (0, 0, 0, 3)


def test_an_empty_table_and_a_header_alone_are_equal(boto: Any, moto: str, tmp_path: Path) -> None:
    result = Table(boto, moto, "id:S").verify(write_csv(tmp_path / "t.csv", [["id"]]))
    assert (result.same, result.rows, result.expected) == (True, 0, 0)


# --- against the server of our own, which is fast -------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with client.start() as running:
        yield running


def fill(server: Server, table: str, numbers: range) -> None:
    for number in numbers:
        server.call(
            "PutItem", {"TableName": table, "Item": {"id": {"S": f"k{number}"}, "n": {"S": "x" * 500}}}
        )


def rows(numbers: range) -> list[list[str]]:
    return [["id", "n"], *([f"k{number}", "x" * 500] for number in numbers)]


def test_every_segment_is_compared(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.engines.verify._SEGMENT_ITEMS", 100)
    server.create_table("many", "id:S")
    fill(server, "many", range(500))
    before = server.stats()["requests"].get("Scan", 0)
    result = verify(
        config(server.endpoint, "many", write_csv(tmp_path / "t.csv", rows(range(500))), segments=4)
    )
    assert counts(result) == (500, 0, 0, 0)
    assert server.stats()["requests"]["Scan"] - before >= 4


def test_no_more_than_the_examples_asked_for_are_named_of_each_kind_some(
    server: Server, tmp_path: Path
) -> None:
    server.create_table("mixed", "id:S")
    fill(server, "mixed", range(100, 160))
    path = write_csv(tmp_path / "t.csv", [["id", "n"], *([f"k{n}", "y"] for n in range(155))])
    result = verify(config(server.endpoint, "mixed", path, examples=20))
    assert counts(result) == (0, 100, 55, 5)
    kinds = [finding.kind for finding in result.findings]
    assert len(kinds) == 20
    assert kinds.count("extra") == 5
    assert kinds.count("missing") in (7, 8) and kinds.count("different") in (7, 8)
    assert [f.line for f in result.findings if f.kind == "missing"] == list(
        range(2, 2 + kinds.count("missing"))
    )
    assert next(f.line for f in result.findings if f.kind == "different") == 102


def test_few_of_one_kind_leave_the_room_to_the_others(server: Server, tmp_path: Path) -> None:
    server.create_table("few", "id:S")
    fill(server, "few", range(1))
    result = verify(config(server.endpoint, "few", write_csv(tmp_path / "t.csv", rows(range(1, 60)))))
    assert [finding.kind for finding in result.findings] == ["missing"] * 19 + ["extra"]


def test_progress_is_of_bytes_then_of_items(server: Server, tmp_path: Path) -> None:
    server.create_table("shown", "id:S")
    fill(server, "shown", range(30))
    events: list[VerifyEvent] = []
    verify(config(server.endpoint, "shown", write_csv(tmp_path / "t.csv", rows(range(30)))), events.append)
    assert events[0].reading
    assert all(event.done <= event.total for event in events)


def test_who_watches_can_end_it_and_no_thread_stays(server: Server, tmp_path: Path) -> None:
    server.create_table("ended", "id:S")
    fill(server, "ended", range(30))
    path = write_csv(tmp_path / "t.csv", rows(range(30)))

    def end(event: VerifyEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(config(server.endpoint, "ended", path), end)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scan-")]


def test_what_cannot_be_compared_is_refused(server: Server, tmp_path: Path) -> None:
    server.create_table("good", "id:S")
    path = write_csv(tmp_path / "t.csv", rows(range(1)))
    with pytest.raises(BadTable, match="nobody"):
        verify(config(server.endpoint, "nobody", path))
    with pytest.raises(BadSource, match="nowhere"):
        verify(config(server.endpoint, "good", tmp_path / "nowhere.csv"))
    with pytest.raises(BadSource, match=r"t\.csv: the header has no column key"):
        server.create_table("other", "key:S")
        verify(config(server.endpoint, "other", path))
    with pytest.raises(BadOption, match="--types"):
        verify(config(server.endpoint, "good", path, types={"town": "N"}))
    with pytest.raises(BadOption, match="No file to compare"):
        verify(config(server.endpoint, "good"))
    with pytest.raises(BadOption, match="--limit -1: give a number of at least 0"):
        verify(config(server.endpoint, "good", path, limit=-1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(BadConnection):
            verify(config(f"http://127.0.0.1:{free.getsockname()[1]}", "good", path))


def test_a_table_that_vanishes_on_the_way_is_no_refusal(server: Server, tmp_path: Path) -> None:
    server.create_table("gone", "id:S")
    fill(server, "gone", range(5))
    path = write_csv(tmp_path / "t.csv", rows(range(5)))

    def drop(event: VerifyEvent) -> None:
        if event.reading:
            server.call("DeleteTable", {"TableName": "gone"})

    with pytest.raises(Fatal, match="gone"):
        verify(config(server.endpoint, "gone", path), drop)


def test_a_file_that_changes_on_the_way_ends_it(server: Server, tmp_path: Path) -> None:
    server.create_table("changing", "id:S")
    fill(server, "changing", range(5))
    path = write_csv(tmp_path / "t.csv", rows(range(5)))

    def change(event: VerifyEvent) -> None:
        path.write_text(path.read_text() + "k5,x\n")

    with pytest.raises(SourceChanged, match=r"t\.csv"):
        verify(config(server.endpoint, "changing", path), change)


def test_a_record_over_the_limit_ends_it(server: Server, tmp_path: Path) -> None:
    server.create_table("large", "id:S")
    path = tmp_path / "t.csv"
    path.write_text('id,n\nk0,x\nk1,"' + "y" * (17 << 20))
    with pytest.raises(RecordTooLarge, match="line 3"):
        verify(config(server.endpoint, "large", path))
