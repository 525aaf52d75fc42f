"""What the lines of a checkpoint add up to, and when it does not fit a run."""

from array import array
from dataclasses import replace
from typing import Any

import pytest

from loader.decisions.checkpoint import (
    BadLine,
    Head,
    OpenWindow,
    RecordedRejects,
    Resume,
    ShardLine,
    SourceFile,
    WindowDone,
    WindowLine,
)
from loader.decisions.replay import Replay
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


def window(number: int, records: int = 10) -> WindowLine:
    start = number * 1000
    line = 1 + number * 10
    return WindowLine(number, start, start + 1000, records, f"digest {number}", 0, line, 0, line + 10)


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


def replayed(*lines: WindowLine | ShardLine | WindowDone, head: Head = HEAD) -> Resume:
    replay = Replay(head)
    for line in lines:
        replay.take(line)
    return replay.resume(77, 88)


def whole(number: int) -> tuple[WindowLine, ShardLine, WindowDone]:
    """A window of one shard that is done."""
    return window(number), ShardLine(number, 0, Counts(written=10)), WindowDone(number)


def test_a_load_that_has_only_begun_has_no_windows() -> None:
    resume = replayed()
    recorded = RecordedRejects(array("Q"), array("Q"), None)
    assert resume == Resume(HEAD, (), Counts(), None, recorded, False, 77, 88)
    assert resume.last is None
    assert resume.counts == Counts()


def test_shards_add_up_within_their_window() -> None:
    first = Counts(written=5, rejected=2, write_units=7.5, requests=1)
    second = Counts(written=1, duplicates=3)
    third = Counts(written=8, rejected=1, retries=2)
    resume = replayed(
        window(0, 11),
        ShardLine(0, 3, first, [(40, 12), (20, 13)], unanswered=True, rejects_sum=9),
        ShardLine(0, 0, second),
        WindowDone(0),
        window(1),
        ShardLine(1, 3, third, [(1500, 14)], rejects_sum=8),
    )
    assert resume.finished == (window(0, 11),)
    assert resume.finished_counts == first + second
    assert resume.open == OpenWindow(window(1), frozenset({3}), third, False)
    assert resume.counts == first + second + third
    assert resume.rejects == RecordedRejects(array("Q", [40, 20, 1500]), array("Q", [12, 13, 14]), 8)
    assert resume.unanswered
    assert resume.last == window(1)


def test_the_checksum_of_the_rejects_is_that_of_the_last_shard_that_has_any() -> None:
    shards = (
        ShardLine(0, 1, Counts(rejected=1), [(5, 6)], rejects_sum=7),
        ShardLine(0, 2, Counts(written=1)),
    )
    assert replayed(window(0), *shards).rejects.sum == 7
    assert replayed(window(0), *shards[1:]).rejects.sum is None


def test_a_window_that_is_done_leaves_none_open() -> None:
    resume = replayed(*whole(0), *whole(1))
    assert resume.open is None
    assert resume.finished == (window(0), window(1))
    assert resume.last == window(1)
    assert not resume.unanswered


def test_a_window_entered_ahead_waits_for_the_one_before() -> None:
    begins, shard, done = whole(0)
    ahead = (begins, shard, window(1))
    assert replayed(*ahead).last == window(0)
    assert replayed(*ahead, done).open == OpenWindow(window(1), frozenset(), Counts(), False)
    # A run that continues enters it again.
    assert replayed(*ahead, window(1), done).last == window(1)
    again = (*ahead, done, window(1), ShardLine(1, 0, Counts(written=1)))
    assert replayed(*again).finished == (window(0),)


def test_all_is_done_when_the_last_window_is_and_nothing_is_behind_it() -> None:
    last = replace(window(1), next_file=2, next_line=0)
    _, shard, done = whole(1)
    assert replayed(*whole(0), last, shard, done).all_done
    assert not replayed(*whole(0), last, shard).all_done
    assert not replayed(*whole(0)).all_done
    assert not replayed().all_done


@pytest.mark.parametrize(("limit", "all_done"), [(10, True), (11, False), (20, False)])
def test_all_is_done_when_the_limit_is_reached(limit: int, all_done: bool) -> None:
    assert replayed(*whole(0), head=replace(HEAD, limit=limit)).all_done == all_done


BEFORE = (*whole(0), window(1), ShardLine(1, 7, Counts(written=2, rejected=1), [(1005, 6)], rejects_sum=3))
"""Seven rows of the second window are still without an outcome."""


def shard(
    number: Any = 8, rejects: Any = (), unanswered: Any = False, rejects_sum: Any = 0, **counts: Any
) -> ShardLine:
    """As JSON may tell of one: any value in any place."""
    return ShardLine(1, number, Counts(**counts), rejects, unanswered, rejects_sum)


@pytest.mark.parametrize(
    "line",
    [
        *(window(0), window(1), window(3)),
        *(WindowDone(0), WindowDone(2), WindowDone(True)),
        # Seven rows of it have no outcome.
        WindowDone(1),
        *(ShardLine(0, 9, Counts(written=1)), ShardLine(2, 9, Counts(written=1))),
        *map(shard, (7, -1, 0.5, "8", None, True, [0], 1 << 64)),
        # More rows than the window has.
        *(
            shard(written=8),
            shard(duplicates=8),
            shard(written=6, rejected=2, rejects=[(1001, 1), (1002, 1)]),
        ),
        *(shard(written=value) for value in (-1, 1.5, "1", None, True)),
        *(shard(written=2, duplicates=-1), shard(requests=-1), shard(throttled=1.0)),
        *(shard(unprocessed=-1), shard(retries=-1), shard(unanswered=1)),
        *(shard(write_units=value) for value in (-0.5, float("inf"), float("nan"), "1", None)),
        # A reject's position is in the window, and there are as many as are counted.
        *(shard(rejected=1), shard(rejects=[(1001, 1)]), shard(rejected=1, rejects=[(1001, 1), (1002, 1)])),
        *(
            shard(rejected=1, rejects=[(position, 1)])
            for position in (-1, 999, 2000, 1 << 64, 10**30, 1001.0, "1001", True)
        ),
        *(shard(rejected=1, rejects=[(1001, size)]) for size in (-1, 0, 1 << 64, 1.5, "1")),
        *(
            shard(rejected=1, rejects=[(1001, 1)], rejects_sum=value)
            for value in (-1, 1 << 64, 1.5, "1", None)
        ),
    ],
)
def test_a_line_that_cannot_follow_changes_nothing(line: WindowLine | ShardLine | WindowDone) -> None:
    replay = Replay(HEAD)
    for good in BEFORE:
        replay.take(good)
    before = replay.resume(0, 0)
    rejects = list(before.rejects.positions), list(before.rejects.lengths)
    with pytest.raises(BadLine):
        replay.take(line)
    after = replay.resume(0, 0)
    assert after == before
    assert (list(after.rejects.positions), list(after.rejects.lengths)) == rejects


@pytest.mark.parametrize(
    "changes",
    [
        *({name: -1} for name in ("start", "stop", "records", "file", "line", "next_file", "next_line")),
        *({name: "1"} for name in ("window", "start", "stop", "records", "file", "line", "next_file")),
        *({name: 1.0} for name in ("window", "start", "stop", "records", "file", "line", "next_line")),
        # There are two files.
        *({"file": 2, "next_file": 2}, {"next_file": 3}),
        *({"digest": 5}, {"records": 0}, {"stop": 1000}, {"stop": 999}),
        # It begins where the one before ends.
        *({"start": 999}, {"start": 1001}, {"file": 1}, {"line": 10}),
    ],
)
def test_a_window_that_does_not_adjoin_cannot_follow(changes: dict[str, Any]) -> None:
    bad = replace(window(1), **changes)
    for before in (whole(0), whole(0)[:2], (*whole(0), window(1))):
        replayed(*before, window(1))
        with pytest.raises(BadLine):
            replayed(*before, bad)


@pytest.mark.parametrize("changes", [{"file": 2, "next_file": 2}, {"file": 1}, {"next_file": 3}])
def test_a_window_is_in_the_files_of_the_load(changes: dict[str, Any]) -> None:
    with pytest.raises(BadLine):
        replayed(replace(window(0), **changes))


@pytest.mark.parametrize("line", [window(1), WindowDone(0), ShardLine(0, 0, Counts())])
def test_the_first_line_is_that_of_the_first_window(line: WindowLine | ShardLine | WindowDone) -> None:
    with pytest.raises(BadLine):
        replayed(line)
