"""How a run ends: status, reason, and the two forms of the summary."""

import json
from typing import Any

import orjson
import pytest

from cli import exits, summary
from loader import errors
from loader.capacity import Limit, LimitKind
from loader.model import Counts, Phase, ProgressEvent, Summary
from tests.program import SUMMARY_KEYS


def done(**changes: Any) -> Summary:
    values: dict[str, Any] = {
        "table": "t",
        "source": ("a.csv", "b.csv"),
        "mode": "processes",
        "counts": Counts(
            written=80,
            duplicates=15,
            rejected=5,
            write_units=81.5,
            requests=4,
            throttled=1,
            unprocessed=2,
            retries=3,
        ),
        "resumed": 0,
        "seconds": 2.0,
        "workers": 2,
        "threads": 16,
        "rejects_file": "/w/a.rejects.csv",
        "complete": True,
        "errors": ("a.csv, line 7: bad", *(f"a.csv, line {n}: bad" for n in range(8, 12))),
        "reject_codes": {"bad_number": 5},
    }
    return Summary(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({}, 1, "rows_rejected"),
        ({"counts": Counts(written=1, duplicates=1)}, 0, "complete"),
        ({"counts": Counts()}, 0, "complete"),
        ({"complete": False, "interrupted": "SIGINT"}, 130, "interrupted"),
        ({"complete": False, "interrupted": "SIGTERM"}, 143, "terminated"),
        ({"complete": False, "interrupted": "SIGHUP"}, 129, "hung_up"),
        # The signal came when all was done.
        ({"interrupted": "SIGINT", "counts": Counts(written=1)}, 0, "complete"),
    ],
)
def test_a_load_that_came_back_ends_by_its_summary(changes: dict[str, Any], status: int, reason: str) -> None:
    ending = exits.of_summary(done(**changes))
    assert (ending.status, ending.reason) == (status, reason)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (errors.BadOption("x"), 2, "bad_option"),
        (errors.BadSource("x"), 2, "bad_source"),
        (errors.BadTable("x"), 2, "bad_table"),
        (errors.BadConnection("x"), 2, "bad_connection"),
        (errors.BadState("x"), 2, "bad_state"),
        (errors.TooManyRejects("x"), 3, "too_many_rejects"),
        (errors.EverythingRejected("x"), 3, "everything_rejected"),
        (errors.SourceChanged("x"), 4, "source_changed"),
        (errors.RecordTooLarge("x"), 4, "record_too_large"),
        (errors.Denied("x"), 4, "denied"),
        (errors.TableGone("x"), 4, "table_gone"),
        (errors.Stalled("x"), 4, "stalled"),
        (errors.WorkerFailed("x"), 4, "worker_failed"),
        (errors.DiskFailed("x"), 4, "disk_failed"),
        (errors.Fatal("x"), 4, "fatal"),
        (MemoryError(), 4, "out_of_memory"),
        (ValueError("x"), 4, "bug"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (exits.Interrupted("SIGTERM"), 143, "terminated"),
    ],
)
def test_an_error_has_its_status_its_reason_and_a_sentence(
    error: BaseException, status: int, reason: str
) -> None:
    ending = exits.of_error(error)
    assert (ending.status, ending.reason) == (status, reason)
    assert ending.message


def test_every_error_of_the_loader_has_a_status_of_its_family() -> None:
    families: list[tuple[type[errors.LoaderError], int]]
    families = [(errors.Refused, 2), (errors.Stopped, 3), (errors.Fatal, 4)]
    for family, status in families:
        for kind in [family, *family.__subclasses__()]:
            assert exits.of_error(kind("x")).status == status


def test_the_json_summary_has_the_keys_of_the_design_and_fits_on_a_line() -> None:
    text = summary.as_json(done(), exits.of_summary(done()), None)
    found = json.loads(text)
    assert set(found) >= SUMMARY_KEYS
    assert "\n" not in text
    assert (found["rows"], found["items_per_second"], found["exit"], found["throttled_requests"]) == (
        100,
        40,
        1,
        1,
    )
    assert found["source"] == ["a.csv", "b.csv"]


def test_a_refused_load_has_all_keys_too() -> None:
    ending = exits.of_error(errors.BadTable("No such table."))
    found = json.loads(summary.as_json(summary.blank(("a.csv",), "t", "processes"), ending, None))
    assert set(found) >= SUMMARY_KEYS
    assert (found["rows"], found["exit"], found["message"]) == (0, 2, "No such table.")


def test_a_file_name_that_is_not_utf_8_breaks_no_summary() -> None:
    odd = done(
        table="t\udcff",
        source=("a\udcff.csv",),
        rejects_file="a\udcff.rejects.csv",
        reject_codes={"odd\udcff": 1},
    )
    ending = exits.Ending(1, "rows_rejected", "a\udcff.csv has rejects.")
    # orjson takes no lone surrogate, as most readers of JSON do not.
    found = orjson.loads(summary.as_json(odd, ending, "ddbload a\udcff.csv"))
    assert found["source"] == [r"a\udcff.csv"]
    assert found["table"] == r"t\udcff"
    assert found["rejects_file"] == r"a\udcff.rejects.csv"
    assert found["message"] == r"a\udcff.csv has rejects."
    assert found["resume"] == r"ddbload a\udcff.csv"
    assert all(line.isprintable() for line in summary.as_text(odd))


def test_the_rate_is_of_this_run() -> None:
    counts = Counts(written=80, duplicates=20)
    assert summary.items_per_second(done(counts=counts)) == 40
    assert summary.items_per_second(done(counts=counts, resumed=50)) == 20
    assert summary.items_per_second(done(counts=Counts(), seconds=0.0)) == 0


def test_the_summary_for_people_accounts_for_every_row() -> None:
    text = "\n".join(summary.as_text(done(resumed=10)))
    for part in (
        "100 rows",
        "written     80",
        "duplicates  15",
        "rejected    5 in /w/a.rejects.csv: 5 bad_number",
    ):
        assert part in text
    assert "10 of the rows" in text
    assert "a.csv, line 7: bad" in text


def test_a_reason_with_escapes_in_it_is_shown_not_obeyed() -> None:
    nasty = done(errors=("a.csv line 7: \x1b[2J\r",), source=("\x1b]0;x\x07",))
    assert all(line.isprintable() for line in summary.as_text(nasty))


def test_codes_of_this_run_alone_are_said_to_be() -> None:
    counts = Counts(written=1, rejected=7)
    text = "\n".join(summary.as_text(done(counts=counts, resumed=3)))
    assert "rejected    7 in /w/a.rejects.csv; in this run: 5 bad_number" in text
    early = "\n".join(summary.as_text(done(counts=counts, complete=False)))
    assert "rejected    7 in /w/a.rejects.csv\n" in early and "bad_number" not in early


def test_example_rejects_are_in_the_order_of_the_files() -> None:
    errors = ("b.csv, line 2: x", "a.csv, line 1,000: x, line 5: y", "a.csv, line 9: x", "odd")
    shown = [line.strip() for line in summary.as_text(done(errors=errors)) if line.startswith("    ")]
    assert shown == ["a.csv, line 9: x", "a.csv, line 1,000: x, line 5: y", "b.csv, line 2: x", "odd"]
    assert [
        line for line in summary.as_text(done(errors=errors, source=("b.csv", "a.csv"))) if "b.csv, l" in line
    ]
    first = summary.as_text(done(errors=errors, source=("b.csv", "a.csv")))
    assert next(line for line in first if line.startswith("    ")) == "    b.csv, line 2: x"


def test_one_is_no_plural() -> None:
    counts = Counts(written=1, write_units=1.0, requests=1, unprocessed=1, retries=1)
    text = "\n".join(summary.as_text(done(counts=counts, workers=1, threads=1)))
    assert "1 row in" in text and "1 worker x 1 thread" in text
    assert "1 write unit, 1 request, 0 throttled, 1 unprocessed item, 1 retry" in text
    text = "\n".join(summary.as_text(done(resumed=1)))
    assert "1 of the rows had been done" in text


def test_what_a_load_had_done_when_it_was_cut_off_is_in_the_summary() -> None:
    blank = summary.blank(("a.csv",), "t", "processes")
    event = ProgressEvent(Phase.LOADING, 2.5, Counts(written=40, requests=2), 10, 5, 9, 3)
    found = json.loads(
        summary.as_json(summary.cut_off(blank, event, "SIGINT"), exits.of_signal("SIGINT"), "x")
    )
    assert set(found) >= SUMMARY_KEYS
    assert [found[name] for name in ("rows", "resumed", "seconds", "workers", "interrupted", "resume")] == [
        *(40, 10, 2.5, 3, "SIGINT", "x")
    ]
    early = summary.cut_off(blank, None, "SIGTERM")
    assert (early.counts, early.interrupted) == (Counts(), "SIGTERM")


LIMITS = (
    Limit(LimitKind.KEY_RANGE, 9, "by_city", (("Paris", 4213), ("\x1b[31mRome\n", 7))),
    Limit(LimitKind.TABLE, 3),
    Limit(LimitKind.ACCOUNT, 2),
    Limit(LimitKind.UNEXPLAINED, 1),
)


def test_the_first_limits_are_told_and_no_key_can_order_the_terminal_about() -> None:
    lines = summary.as_text(done(limits=LIMITS))
    assert [line for line in lines if "limited by" in line] == [
        "  limited by  a key range of index by_city (1,000 write units a second a partition); "
        r"refused most: Paris (4,213 times), \x1b[31mRome\n (7 times)",
        "  limited by  the write capacity of the table",
        "  limited by  the account's quota of write units a second",
    ]
    assert not any("limited by" in line for line in summary.as_text(done()))


def test_machines_are_told_all_limits() -> None:
    found = json.loads(summary.as_json(done(limits=LIMITS), exits.of_summary(done()), None))["limited_by"]
    assert found[0] == {
        "what": "key_range",
        "index": "by_city",
        "answers": 9,
        "keys": [["Paris", 4213], ["\x1b[31mRome\n", 7]],
    }
    assert found[1] == {"what": "table", "index": None, "answers": 3, "keys": []}
    assert [limit["what"] for limit in found] == ["key_range", "table", "account", "unexplained"]
    assert json.loads(summary.as_json(done(), exits.of_summary(done()), None))["limited_by"] == []


def test_the_share_of_each_index_is_told_and_that_it_is_this_run_s() -> None:
    changes = {"index_units": {"by_age": 4.25, "by_city": 30.0}}
    text = "\n".join(summary.as_text(done(**changes)))
    assert "82 write units (of which 30 in index by_city, 4 in index by_age), 4 requests, " in text
    text = "\n".join(summary.as_text(done(**changes, resumed=3)))
    assert "82 write units (in this run: 30 in index by_city, 4 in index by_age), 4 requests, " in text
    found = json.loads(summary.as_json(done(**changes), exits.of_summary(done()), None))
    assert found["index_write_units"] == {"by_age": 4.2, "by_city": 30.0}
    assert "(" not in next(line for line in summary.as_text(done()) if "capacity" in line)
