"""What the lines of a checkpoint add up to, and when it does not fit a run."""

from array import array
from dataclasses import replace

import pytest

from loader.decisions.checkpoint import (
    BadLine,
    Head,
    OpenWindow,
    Replay,
    Resume,
    ShardLine,
    SourceFile,
    WindowDone,
    WindowLine,
)
from loader.model import REJECT_COLUMNS, Counts, Dialect, Header, KeyPart, KeySchema

HEAD = Head(
    table="people",
    arn="arn:aws:dynamodb:us-east-1:123456789012:table/people",
    table_id="11111111-2222",
    created="1764000000.5",
    endpoint="http://127.0.0.1:8000",
    key=KeySchema(KeyPart("id", "S"), KeyPart("at", "N")),
    sources=(SourceFile("/data/a.csv", 456, 1, 10), SourceFile("/data/b.csv", 1_000_000, 2, 11)),
    header=Header(("id", "at", "name")),
    dialect=Dialect(),
    types={"age": "N", "on": "BOOL"},
    seed=(1 << 63) + 5,
    window_size=1 << 30,
    shard_records=2000,
    rejects="/data/a.rejects.csv",
)


def window(number: int) -> WindowLine:
    start = number * 1000
    return WindowLine(
        number, start, start + 1000, 10, f"digest {number}", 0, 1 + number * 10, 0, 11 + number * 10
    )


# --- whether it fits ------------------------------------------------------------------------------


def test_the_same_run_fits() -> None:
    assert HEAD.mismatch(HEAD) is None
    assert not HEAD.touched(HEAD)


def test_what_belongs_to_the_load_is_not_compared() -> None:
    now = replace(HEAD, seed=1, shard_records=500, rejects="", types={"on": "BOOL", "age": "N"})
    assert HEAD.mismatch(now) is None


def test_times_and_inodes_alone_do_not_stand_against_it() -> None:
    now = replace(HEAD, sources=(SourceFile("/data/a.csv", 456, 99, 98), HEAD.sources[1]))
    assert HEAD.mismatch(now) is None
    assert HEAD.touched(now)


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (
            replace(HEAD, created="1764086400", table_id="33333333"),
            "The table people was made anew on 2025-11-25 16:00:00 UTC; "
            "the load went into the one made on 2025-11-24 16:00:00 UTC.",
        ),
        (
            replace(HEAD, table_id="33333333", created="odd"),
            "The table people was made anew on odd; "
            "the load went into the one made on 2025-11-24 16:00:00 UTC.",
        ),
        (
            replace(HEAD, endpoint="http://127.0.0.1:9000"),
            "The checkpoint is of a load into table people at http://127.0.0.1:8000, "
            "not people at http://127.0.0.1:9000.",
        ),
        (
            replace(HEAD, key=KeySchema(KeyPart("id", "N"))),
            "The key of table people is now id (N), it was id (S) + at (N).",
        ),
        (
            replace(HEAD, sources=(SourceFile("/data/a.csv", 123, 1, 10), HEAD.sources[1])),
            "The file /data/a.csv has now 123 bytes, it had 456.",
        ),
        (
            replace(HEAD, sources=(HEAD.sources[0], SourceFile("/data/b.csv", 2_000_000, 2, 11))),
            "The file /data/b.csv has now 2,000,000 bytes, it had 1,000,000.",
        ),
        (
            replace(HEAD, sources=HEAD.sources[::-1]),
            "The load was of other files, or of the same in another order (2 then, 2 now).",
        ),
        (
            replace(HEAD, sources=HEAD.sources[:1]),
            "The load was of other files, or of the same in another order (2 then, 1 now).",
        ),
        (
            replace(HEAD, header=Header(("id", "at", "last\nname"))),
            r"The header is not what it was: it differs in last\nname, name.",
        ),
        (
            replace(HEAD, header=Header(("at", "id", "name"))),
            "The header is not what it was: it differs in at, id, name.",
        ),
        (replace(HEAD, window_size=1000), "--window-size is now 1,000, it was 1,073,741,824."),
        (replace(HEAD, limit=10), "--limit is now 10, it was not given."),
        (replace(HEAD, include_superseded=True), "--include-superseded is now on, it was off."),
        (replace(HEAD, dialect=Dialect(";")), "The delimiter is now ';', it was ','."),
        (replace(HEAD, dialect=Dialect(quote="'")), """The quote character is now "'", it was '"'."""),
        (replace(HEAD, winner="first"), "The row that wins a key is now 'first', it was 'last'."),
        (
            replace(HEAD, types={"on": "BOOL", "age": "S"}),
            "--types changed: it is now age=S,on=BOOL, it was age=N,on=BOOL.",
        ),
        (replace(HEAD, types={}), "--types changed: it is now not given, it was age=N,on=BOOL."),
        (
            replace(HEAD, rejects="/data/other.csv"),
            "--rejects changed: this load writes its rejects to /data/a.rejects.csv.",
        ),
        (replace(HEAD, hash_version=9), "The checkpoint was made by another version of this program."),
    ],
)
def test_what_changed_is_said_in_a_sentence(now: Head, sentence: str) -> None:
    assert HEAD.mismatch(now) == sentence


def test_a_header_that_became_that_of_a_reject_file_does_not_fit() -> None:
    plain = replace(HEAD, header=Header(("id", *REJECT_COLUMNS)))
    assert plain.mismatch(replace(HEAD, header=Header(("id",), 6))) is not None


# --- what the lines add up to ---------------------------------------------------------------------


def replayed(*lines: WindowLine | ShardLine | WindowDone) -> Resume:
    replay = Replay(HEAD)
    for line in lines:
        replay.take(line)
    return replay.resume(77)


def test_a_load_that_has_only_begun_has_no_windows() -> None:
    resume = replayed()
    assert resume == Resume(HEAD, (), Counts(), None, array("Q"), array("Q"), False, 77)
    assert resume.last is None
    assert resume.counts == Counts()


def test_shards_add_up_within_their_window() -> None:
    first = Counts(written=5, rejected=2, write_units=7.5, requests=1)
    second = Counts(written=1, duplicates=3)
    third = Counts(written=9, retries=2)
    resume = replayed(
        window(0),
        ShardLine(0, 3, first, [(40, 12), (20, 13)], unanswered=True),
        ShardLine(0, 0, second),
        WindowDone(0),
        window(1),
        ShardLine(1, 3, third, [(1500, 14)]),
    )
    assert resume.finished == (window(0),)
    assert resume.finished_counts == first + second
    assert resume.open == OpenWindow(window(1), frozenset({3}), third, False)
    assert resume.counts == first + second + third
    assert resume.rejects == (array("Q", [40, 20, 1500]), array("Q", [12, 13, 14]))
    assert resume.unanswered
    assert resume.last == window(1)


def test_a_window_that_is_done_leaves_none_open() -> None:
    resume = replayed(window(0), WindowDone(0), window(1), ShardLine(1, 0, Counts(written=1)), WindowDone(1))
    assert resume.open is None
    assert resume.finished == (window(0), window(1))
    assert resume.last == window(1)
    assert not resume.unanswered


def test_a_window_entered_ahead_waits_for_the_one_before() -> None:
    ahead = (window(0), ShardLine(0, 0, Counts(written=1)), window(1))
    assert replayed(*ahead).last == window(0)
    assert replayed(*ahead, WindowDone(0)).open == OpenWindow(window(1), frozenset(), Counts(), False)
    # A run that continues enters it again.
    assert replayed(*ahead, window(1), ShardLine(0, 1, Counts()), WindowDone(0)).last == window(1)
    assert replayed(*ahead, WindowDone(0), window(1), ShardLine(1, 0, Counts())).finished == (window(0),)


@pytest.mark.parametrize(
    "line",
    [
        window(0),
        window(2),
        window(3),
        WindowDone(0),
        WindowDone(2),
        ShardLine(0, 9, Counts(written=1)),
        ShardLine(2, 9, Counts(written=1)),
        ShardLine(1, 7, Counts(written=1), [(1, 1)]),
        ShardLine(1, 8, Counts(written=1), [(1, 1), (-1, 1)]),
        ShardLine(1, 8, Counts(written=1), [(1, 1), (1, -1)]),
        ShardLine(1, 8, Counts(written="1")),  # type: ignore[arg-type]
    ],
)
def test_a_line_that_cannot_follow_changes_nothing(line: WindowLine | ShardLine | WindowDone) -> None:
    replay = Replay(HEAD)
    for good in (window(0), WindowDone(0), window(1), ShardLine(1, 7, Counts(written=2), [(5, 6)])):
        replay.take(good)
    before = replay.resume(0)
    if line == window(2):
        replay.take(line)  # the next one may be entered ahead
    else:
        with pytest.raises(BadLine):
            replay.take(line)
    assert replay.resume(0) == before


@pytest.mark.parametrize("line", [window(1), WindowDone(0), ShardLine(0, 0, Counts())])
def test_the_first_line_is_that_of_the_first_window(line: WindowLine | ShardLine | WindowDone) -> None:
    with pytest.raises(BadLine):
        replayed(line)
