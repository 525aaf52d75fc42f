"""Whole loads, with real worker processes, against the strict server of our own."""

import asyncio
import csv
import http.client
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from loader.api import AsyncDynamoDBLoader, DynamoDBLoader
from loader.config import RejectLimit
from loader.errors import (
    BadOption,
    BadSource,
    BadTable,
    Denied,
    EverythingRejected,
    TableGone,
    TooManyRejects,
)
from tests.functional.raw_server import Answer, Request, error_reply, http_reply, raw_server
from tests.loads import as_table, csv_text, expected, load, rejected, write_csv
from tests.server.client import Server, start
from tests.server.faults import FaultPlan

WINDOWS = pytest.mark.parametrize("window_size", [1 << 30, 400], ids=["one window", "many windows"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reject files by default go to the working directory."""
    server.reset()
    server.set_faults(FaultPlan())
    monkeypatch.chdir(tmp_path)


def rows(count: int) -> list[list[str]]:
    return [["id", "name", "age"], *([f"k{n}", f"name {n}", str(n)] for n in range(count))]


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 50])
def test_every_row_arrives_in_batches_of_1_to_25(server: Server, tmp_path: Path, count: int) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", rows(count))

    summary = load(server.endpoint, "people", path)

    assert (summary.counts.written, summary.counts.rows, summary.complete) == (count, count, True)
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])
    stats = server.stats()
    assert stats["violations"] == []
    assert stats["requests"].get("BatchWriteItem", 0) == -(-count // 25)
    assert summary.counts.write_units == count
    assert not list(tmp_path.glob("*.rejects*"))


def test_an_empty_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    (tmp_path / "empty.csv").touch()

    with pytest.raises(BadSource, match="has no header"):
        load(server.endpoint, "people", tmp_path / "empty.csv")


def test_a_refused_start_leaves_nothing(server: Server, tmp_path: Path, own_environment: Path) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", [["name"], ["x"]])

    with pytest.raises(BadSource, match="no column id"):
        load(server.endpoint, "people", path)
    with pytest.raises(BadTable, match="nowhere"):
        load(server.endpoint, "nowhere", path)

    assert server.stats()["requests"].get("BatchWriteItem", 0) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["people.csv"]
    assert not list((own_environment / "state").rglob("*"))


def test_a_finished_load_leaves_no_state(server: Server, tmp_path: Path, own_environment: Path) -> None:
    server.create_table("people", "id:S")

    load(server.endpoint, "people", write_csv(tmp_path / "people.csv", rows(100)))

    assert [p for p in (own_environment / "state").rglob("*") if not p.is_dir()] == []
    assert list((own_environment / "state" / "ddbload").iterdir()) == []


# --- duplicates -----------------------------------------------------------------------------------


@WINDOWS
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_last_row_of_a_key_wins(server: Server, tmp_path: Path, window_size: int, workers: int) -> None:
    server.create_table("events", "k:S,r:N")
    spelled = ["5", "5.0", "05", "5e0", "+5", "50e-1"]
    body = [[f"k{n % 7}", spelled[n % 6] if n % 3 else str(n % 11), f"v{n}"] for n in range(300)]
    path = write_csv(tmp_path / "events.csv", [["k", "r", "v"], *body])

    summary = load(
        server.endpoint, "events", path, window_size=window_size, workers=workers, shard_records=20
    )

    right = expected(path.read_text(), ["k", "r"], {"r": "N"})
    assert as_table(server.items("events"), ["k", "r"]) == right
    counts = summary.counts
    assert counts.rows == 300 == counts.written + counts.duplicates
    assert (counts.written == len(right)) == (window_size > 1000)
    assert server.stats()["violations"] == []


@WINDOWS
def test_where_the_last_row_is_bad_the_one_before_wins(
    server: Server, tmp_path: Path, window_size: int
) -> None:
    server.create_table("people", "id:S")
    body = [[f"k{n % 10}", str(n) if n < 60 else "many"] for n in range(80)]
    path = write_csv(tmp_path / "people.csv", [["id", "age"], *body])

    summary = load(server.endpoint, "people", path, types={"age": "N"}, window_size=window_size)

    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"], {"age": "N"})
    assert summary.counts.rejected == 20
    assert summary.counts.rows == 80
    found = rejected(summary.rejects_file)
    assert [int(row["_line"]) for row in found] == list(range(62, 82))
    assert {row["_superseded"] for row in found} == {""}


def test_where_the_service_refuses_the_last_row_the_one_before_wins(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S", gsis={"by-city": "city:S"})
    # The server counts a key of an index that is too long as invalid; the loader knows that, so the refusal
    # that it cannot foresee is made with a fault.
    server.set_faults(FaultPlan(refuse_keys=("k3",)))
    body = [[f"k{n % 5}", f"c{n}"] for n in range(40)]
    path = write_csv(tmp_path / "people.csv", [["id", "city"], *body])

    summary = load(server.endpoint, "people", path)

    assert {item["id"]["S"] for item in server.items("people")} == {"k0", "k1", "k2", "k4"}
    # Every row of k3 was tried, newest first, and every one is a reject.
    assert (summary.counts.written, summary.counts.duplicates, summary.counts.rejected) == (4, 28, 8)
    assert {row["_code"] for row in rejected(summary.rejects_file)} == {"refused"}


def test_newer_rows_that_are_refused_one_by_one_are_nothing_systemic(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    keys = [f"k{n}" for n in range(60)]
    body = [*([key, "old"] for key in keys), *([key, "new"] for key in keys)]
    path = write_csv(tmp_path / "people.csv", [["id", "v"], *body])

    with raw_server(refusing(server, b'"new"')) as picky:
        summary = load(picky.url, "people", path, batch_size=1, threads=2)

    assert summary.complete
    assert (summary.counts.written, summary.counts.duplicates, summary.counts.rejected) == (60, 0, 60)
    assert as_table(server.items("people"), ["id"]) == expected(csv_text([["id", "v"], *body[:60]]), ["id"])


def refusing(server: Server, text: bytes) -> Answer:
    """Answers as the server does, but refuses every batch in which this text occurs."""

    def answer(request: Request) -> bytes:
        if request.headers["x-amz-target"].endswith(".BatchWriteItem") and text in request.body:
            return error_reply("ValidationException")
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
            connection.request("POST", "/", request.body, request.headers)
            reply = connection.getresponse()
            return http_reply(reply.status, reply.read())

    return answer


# --- rejects --------------------------------------------------------------------------------------

BAD_ROWS = {
    "too large": (b"bad,%s,1" % (b"x" * 409_600), "item_too_large", ""),
    "empty key": (b",name,1", "empty_key", "id"),
    "key too long": (b"%s,name,1" % (b"k" * 2049), "key_too_long", "id"),
    "text in an N column": (b"bad,name,old", "bad_number", "age"),
    "39 digits": (b"bad,name,%s" % (b"1" * 39), "bad_number", "age"),
    "out of range": (b"bad,name,1E126", "bad_number", "age"),
    "spaces around a number": (b"bad,name, 5 ", "bad_number", "age"),
    "not UTF-8": (b"bad,caf\xe9,1", "not_utf8", "name"),
    "too few cells": (b"bad,name", "cell_count", ""),
    "too many cells": (b"bad,name,1,2", "cell_count", ""),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_one_bad_row_among_25_is_rejected_alone(server: Server, tmp_path: Path, kind: str) -> None:
    record, code, column = BAD_ROWS[kind]
    server.create_table("people", "id:S")
    lines = [b"id,name,age", *(b"k%d,name,%d" % (n, n) for n in range(24))]
    lines.insert(10, record)
    path = tmp_path / "people.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")

    summary = load(server.endpoint, "people", path, types={"age": "N"})

    assert {item["id"]["S"] for item in server.items("people")} == {f"k{n}" for n in range(24)}
    assert (summary.counts.written, summary.counts.rejected) == (24, 1)
    assert summary.rejects_file == str(tmp_path / "people.rejects.csv")
    content = (tmp_path / "people.rejects.csv").read_bytes()
    assert content.startswith(
        b"id,name,age,_file,_line,_column,_code,_reason,_superseded\r\n" + record + b","
    )
    if code != "cell_count":
        (row,) = rejected(summary.rejects_file)
        assert (row["_line"], row["_column"], row["_code"]) == ("11", column, code)
        assert row["_file"] == str(path)
    assert os.stat(tmp_path / "people.rejects.csv").st_mode & 0o777 == 0o600
    assert code in "".join(summary.reject_codes)


def test_a_cell_of_150_000_characters_is_loaded(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", [["id", "name"], ["k", "x" * 150_000], ["l", "é" * 150_000]])

    assert load(server.endpoint, "people", path).counts.written == 2
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])


def test_a_record_still_open_at_the_end_is_a_reject_with_its_line(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = tmp_path / "people.csv"
    path.write_bytes(b'id,name\nk1,"a\nb"\nk2,b\nk3,"never closed\nk4,d\n')

    summary = load(server.endpoint, "people", path)

    assert {item["id"]["S"] for item in server.items("people")} == {"k1", "k2"}
    (row,) = rejected(summary.rejects_file)
    assert (row["_line"], row["_code"]) != ("", "")
    text = (tmp_path / "people.rejects.csv").read_text()
    assert "unclosed_quote" in text
    assert ",5," in text


def test_a_mended_reject_file_completes_the_table(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    body = [[f"k{n}", "old" if n in (3, 17) else str(n)] for n in range(30)]
    path = write_csv(tmp_path / "people.csv", [["id", "age"], *body])
    first = load(server.endpoint, "people", path, types={"age": "N"})
    assert first.rejects_file is not None
    mended = Path(first.rejects_file)
    mended.write_bytes(mended.read_bytes().replace(b"k3,old", b"k3,3").replace(b"k17,old", b"k17,17"))

    second = load(server.endpoint, "people", mended, types={"age": "N"})

    assert (second.counts.written, second.counts.rejected) == (2, 0)
    whole = csv_text([["id", "age"], *([f"k{n}", str(n)] for n in range(30))])
    assert as_table(server.items("people"), ["id"]) == expected(whole, ["id"], {"age": "N"})


def test_a_broken_row_that_is_mended_does_not_undo_a_newer_one(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = tmp_path / "people.csv"
    path.write_text(
        "id,name,age\nk1,Smith, John,1\nk2,Jones,2\nk1,Smith,3\nk2,Jones, Jim,4\nk3,Doe, Jane,5\n"
    )
    first = load(server.endpoint, "people", path)
    assert (first.counts.written, first.counts.rejected) == (2, 3)

    mended = Path(first.rejects_file or "")
    with mended.open(newline="") as file:
        found = [(row[:4], row[-1]) for row in list(csv.reader(file))[1:]]
    assert found == [
        (["k1", "Smith", " John", "1"], "true"),
        # The last rows of their keys.
        (["k2", "Jones", " Jim", "4"], ""),
        (["k3", "Doe", " Jane", "5"], ""),
    ]
    text = mended.read_text()
    for name in ("Smith, John", "Jones, Jim", "Doe, Jane"):
        text = text.replace(name, f'"{name}"')
    mended.write_text(text)
    second = load(server.endpoint, "people", mended)

    assert (second.counts.written, second.counts.duplicates, second.counts.rejected) == (2, 1, 0)
    right = 'id,name,age\nk1,Smith,3\nk2,"Jones, Jim",4\nk3,"Doe, Jane",5\n'
    assert as_table(server.items("people"), ["id"]) == expected(right, ["id"])


def test_superseded_rejects_are_not_loaded_unless_asked_for(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    names = ["id", "age", "_file", "_line", "_column", "_code", "_reason", "_superseded"]
    path = write_csv(
        tmp_path / "rejects.csv",
        [
            names,
            ["k1", "1", "f", "2", "", "refused", "r", "true"],
            ["k2", "2", "f", "3", "", "refused", "r", "false"],
        ],
    )

    summary = load(server.endpoint, "people", path)
    assert (summary.counts.written, summary.counts.duplicates) == (1, 1)
    assert server.items("people") == [{"id": {"S": "k2"}, "age": {"S": "2"}}]

    assert load(server.endpoint, "people", path, include_superseded=True).counts.written == 2


def test_empty_cells_follow_the_type_and_the_index(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S", gsis={"by-city": "city:S"})
    path = write_csv(tmp_path / "people.csv", [["id", "city", "note", "age", "ok"], ["k1", "", "", "", ""]])

    load(server.endpoint, "people", path, types={"age": "N", "ok": "BOOL"})

    assert server.items("people") == [{"id": {"S": "k1"}, "note": {"S": ""}}]
    assert server.stats()["refusals"] == {}


def test_an_index_asks_for_its_write_units(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S", gsis={"by-age": "age:N"})
    path = write_csv(tmp_path / "people.csv", rows(30))

    assert load(server.endpoint, "people", path).counts.write_units == 60


# --- faults ---------------------------------------------------------------------------------------

FAULTS = {
    "unprocessed": FaultPlan(unprocessed_share=0.5),
    "throttled": FaultPlan(throttle_share=0.4),
    "throttled by request limit": FaultPlan(throttle_share=0.3, throttle_code="RequestLimitExceeded"),
    "500": FaultPlan(error500_share=0.3),
    "503 with HTML": FaultPlan(error503_html_share=0.3),
    "reset before": FaultPlan(reset_before_share=0.3),
    "reset after": FaultPlan(reset_after_share=0.3),
    "cut reply": FaultPlan(cut_reply_share=0.3),
    "empty 200": FaultPlan(empty200_share=0.3),
    "HTML 200": FaultPlan(html200_share=0.3),
    "wrong CRC": FaultPlan(wrong_crc_share=0.3),
    "all of it": FaultPlan(
        unprocessed_share=0.1,
        throttle_share=0.1,
        error500_share=0.05,
        error503_html_share=0.05,
        reset_before_share=0.05,
        reset_after_share=0.05,
        cut_reply_share=0.05,
        empty200_share=0.05,
        html200_share=0.05,
        wrong_crc_share=0.05,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost(server: Server, tmp_path: Path, fault: str) -> None:
    server.create_table("people", "id:S")
    server.set_faults(FAULTS[fault])
    path = write_csv(tmp_path / "people.csv", rows(1000))

    summary = load(server.endpoint, "people", path, shard_records=100)

    assert summary.counts.written == 1000
    assert as_table(server.items("people"), ["id"]) == expected(path.read_text(), ["id"])
    stats = server.stats()
    assert sum(stats["faults"].values()) > 0
    assert stats["violations"] == []
    assert summary.counts.throttled == stats["faults"].get("throttle", 0)
    assert summary.counts.unprocessed == stats["items_unprocessed"]


def test_items_the_service_refuses_are_found_by_splitting(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    bad = ("k3", "k50", "k51", "k99")
    server.set_faults(FaultPlan(refuse_keys=bad[:3], collection_too_large_keys=bad[3:]))
    path = write_csv(tmp_path / "people.csv", rows(200))

    summary = load(server.endpoint, "people", path)

    assert (summary.counts.written, summary.counts.rejected) == (196, 4)
    assert {item["id"]["S"] for item in server.items("people")} == {f"k{n}" for n in range(200)} - set(bad)
    found = {row["id"]: row["_code"] for row in rejected(summary.rejects_file)}
    assert found == {"k3": "refused", "k50": "refused", "k51": "refused", "k99": "item_collection_too_large"}


def test_a_service_that_refuses_everything_stops_the_load(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(refuse_all=True))
    path = write_csv(tmp_path / "people.csv", rows(5000))

    with pytest.raises(EverythingRejected, match="ValidationException") as caught:
        load(server.endpoint, "people", path, workers=1)

    assert caught.value.summary is not None
    assert caught.value.summary.counts.written == 0
    assert 0 < caught.value.summary.counts.rejected < 1000


def test_a_file_of_bad_rows_stops_the_load(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:N")
    path = write_csv(tmp_path / "people.csv", rows(3000))

    with pytest.raises(EverythingRejected, match="is not a number"):
        load(server.endpoint, "people", path)


def test_many_bad_rows_in_a_slow_load_do_not_stop_it(server: Server, tmp_path: Path) -> None:
    """Bad rows are known at once, by the thousand, and the first good ones only a round trip later."""
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(latency_ms=300))
    body = [[f"k{n}", "x" if n % 5 == 0 else str(n)] for n in range(6000)]
    path = write_csv(tmp_path / "people.csv", [["id", "age"], *body])

    summary = load(server.endpoint, "people", path, types={"age": "N"}, threads=64, shard_records=10_000)

    assert summary.complete
    assert (summary.counts.written, summary.counts.rejected) == (4800, 1200)


@pytest.mark.parametrize("limit", [RejectLimit(count=10), RejectLimit(percent=1.0)])
def test_too_many_rejects_stop_the_load(server: Server, tmp_path: Path, limit: RejectLimit) -> None:
    server.create_table("people", "id:S")
    body = [[f"k{n}", "x" if n % 20 == 0 else str(n)] for n in range(20_000)]
    path = write_csv(tmp_path / "people.csv", [["id", "age"], *body])

    with pytest.raises(TooManyRejects, match="is not a number") as caught:
        load(server.endpoint, "people", path, types={"age": "N"}, max_rejects=limit, shard_records=500)

    assert caught.value.summary is not None
    assert caught.value.summary.counts.rows < 20_000
    assert caught.value.summary.rejects_file == str(tmp_path / "people.rejects.csv.part")


def test_rejects_within_the_limit_do_not_stop_it(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    body = [[f"k{n}", "x" if n < 10 else str(n)] for n in range(2000)]
    path = write_csv(tmp_path / "people.csv", [["id", "age"], *body])

    summary = load(server.endpoint, "people", path, types={"age": "N"}, max_rejects=RejectLimit(percent=5))

    assert (summary.complete, summary.counts.rejected) == (True, 10)


def test_access_denied_in_mid_load_stops_it(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(access_denied_after_requests=20))

    with pytest.raises(Denied, match="BatchWriteItem") as caught:
        load(server.endpoint, "people", write_csv(tmp_path / "people.csv", rows(5000)))

    assert caught.value.summary is not None
    assert caught.value.summary.counts.written == 20 * 25


def test_a_table_that_vanishes_stops_the_load(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(table_gone_after_requests=20))

    with pytest.raises(TableGone):
        load(server.endpoint, "people", write_csv(tmp_path / "people.csv", rows(5000)))


def test_tries_without_an_answer_are_bounded_when_asked(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(error500_share=1.0))
    path = write_csv(tmp_path / "people.csv", [["id", "v"], ["k1", "old"], ["k1", "new"], ["k2", "x"]])

    summary = load(server.endpoint, "people", path, max_retries=2)

    # The older row of k1 does not take the place of one that may have been written.
    assert (summary.counts.rejected, summary.counts.duplicates, summary.counts.written) == (2, 1, 0)
    assert {row["_code"] for row in rejected(summary.rejects_file)} == {"unknown_outcome"}
    assert server.stats()["requests"]["BatchWriteItem"] == 3
    # A 500 may come with the batch applied: what may not be there is the older row.
    assert {"S": "old"} not in [item["v"] for item in server.items("people")]


def test_many_files_are_one_source(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    for part in range(4):
        body = [[f"k{n}", f"part {part}"] for n in range(part * 10, part * 10 + 20)]
        write_csv(tmp_path / f"part-{part}.csv", [["id", "from"], *body])

    summary = load(server.endpoint, "people", tmp_path / "part-*.csv")

    assert (summary.counts.written, summary.counts.duplicates) == (50, 30)
    found = {item["id"]["S"]: item["from"]["S"] for item in server.items("people")}
    assert found == {f"k{n}": f"part {min(n // 10, 3)}" for n in range(50)}


def test_a_limit_loads_the_first_rows_only(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")

    summary = load(server.endpoint, "people", write_csv(tmp_path / "people.csv", rows(100)), limit=30)

    assert summary.counts.rows == 30
    assert {item["id"]["S"] for item in server.items("people")} == {f"k{n}" for n in range(30)}


# --- from Python ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 26},
        {"max_workers": 0},
        {"max_retries": -1},
        {"threads": 0},
        {"limit": -1},
        {"window_size": 0},
        {"shard_records": 0},
        {"stall_timeout": 0.0},
        {"stall_timeout": float("nan")},
        {"late_write_grace": -1.0},
        {"late_write_grace": float("nan")},
        {"max_rejects": 100},
        {"max_rejects": "2%"},
        {"types": ["age=N"]},
        {"types": {"age": "INT"}},
    ],
    ids=str,
)
def test_a_bad_option_is_refused_where_it_is_given(options: dict[str, Any]) -> None:
    (name,) = options
    words = rf"--{name.removeprefix('max_w').replace('_', '-')}|{name}|--workers"
    with pytest.raises(BadOption, match=words):
        DynamoDBLoader("people", **options)
    if name != "max_workers":
        with pytest.raises(BadOption, match=words):
            AsyncDynamoDBLoader("people", **options)


@pytest.mark.parametrize(
    "values", [{"count": -1}, {"percent": -0.5}, {"percent": 100.5}, {"percent": float("nan")}], ids=str
)
def test_a_bad_reject_limit_is_refused_where_it_is_made(values: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="--max-rejects"):
        RejectLimit(**values)


def test_paths_in_a_list_are_refused_with_a_sentence(server: Server) -> None:
    loader = DynamoDBLoader("people", endpoint_url=server.endpoint)
    paths: Any = ["a.csv", "b.csv"]
    with pytest.raises(BadSource, match="Give each path as an argument of its own"):
        loader.load_csv(paths)


def test_a_cancelled_load_ends_even_if_it_had_not_begun(server: Server, tmp_path: Path) -> None:
    """The thread that is to drive the load is busy with something else until it was cancelled."""
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(latency_ms=100))
    path = write_csv(tmp_path / "people.csv", rows(3000))
    loader = AsyncDynamoDBLoader("people", endpoint_url=server.endpoint, max_workers=1, threads=1)

    async def cancelled() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = asyncio.ensure_future(asyncio.to_thread(time.sleep, 0.2))
        task = asyncio.ensure_future(loader.load_csv(path))
        await asyncio.sleep(0.05)
        task.cancel()
        await busy
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert len(server.items("people")) < 1500
