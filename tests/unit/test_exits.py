"""How a run ends: status, reason, and the two forms of the summary."""

import json
from typing import Any

import pytest

from cli import exits, summary
from loader import errors
from loader.model import Counts, Summary
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
        "errors": ("a.csv line 7: bad", *(f"a.csv line {n}: bad" for n in range(8, 12))),
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
    text = summary.as_json(done(), exits.of_summary(done()))
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
    found = json.loads(summary.as_json(summary.blank(("a.csv",), "t", "processes"), ending))
    assert set(found) >= SUMMARY_KEYS
    assert (found["rows"], found["exit"], found["message"]) == (0, 2, "No such table.")


def test_a_file_name_that_is_not_utf_8_breaks_no_summary() -> None:
    odd = done(source=("a\udcff.csv",), rejects_file="a\udcff.rejects.csv")
    json.loads(summary.as_json(odd, exits.of_summary(odd)))
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
    assert "a.csv line 7: bad" in text


def test_a_reason_with_escapes_in_it_is_shown_not_obeyed() -> None:
    nasty = done(errors=("a.csv line 7: \x1b[2J\r",), source=("\x1b]0;x\x07",))
    assert all(line.isprintable() for line in summary.as_text(nasty))
