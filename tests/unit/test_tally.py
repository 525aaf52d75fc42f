"""The sums of a load, and when its rejects are reason to end it."""

import pytest

from loader.config import RejectLimit
from loader.decisions.tally import ALL_REJECTED_ROWS, PERCENT_FROM, Tally
from loader.model import Counts, Problem, Reject, RejectCode


def reject(code: RejectCode = RejectCode.BAD_NUMBER) -> Reject:
    return Reject(0, 10, Problem(code, "no"))


def finished(*, written: int = 0, duplicates: int = 0, rejected: int = 0) -> Tally:
    """A load of which so much is finished, as one shard."""
    return Tally().finished(Counts(written=written, duplicates=duplicates, rejected=rejected), ())


# --- adding up ------------------------------------------------------------------------------------


def test_nothing_done_is_nothing_counted() -> None:
    assert Tally().counts == Tally().finished_counts == Counts()
    assert Tally().codes == {}


def test_every_field_of_the_counts_is_added() -> None:
    shard = Counts(1, 2, 3, 4.5, 5, 6, 7, 8)
    assert Tally().finished(shard, ()).finished(shard, ()).counts == Counts(2, 4, 6, 9.0, 10, 12, 14, 16)


def test_earlier_runs_finished_and_open_shards_are_one_sum() -> None:
    tally = Tally(resumed=Counts(written=1)).finished(Counts(written=20, rejected=2), ())
    tally = tally.underway(0, Counts(written=300)).underway(1, Counts(duplicates=4000))
    assert tally.finished_counts == Counts(written=21, rejected=2)
    assert tally.counts == Counts(written=321, duplicates=4000, rejected=2)


def test_what_a_worker_has_under_way_replaces_what_it_had() -> None:
    tally = Tally().underway(0, Counts(written=5)).underway(1, Counts(written=1))
    assert tally.underway(0, Counts(written=7)).counts.written == 8
    assert tally.underway(0, Counts()).counts.written == 1


def test_a_worker_that_dies_takes_its_open_counts_with_it() -> None:
    tally = Tally().finished(Counts(written=10), ()).underway(0, Counts(written=5))
    tally = tally.underway(1, Counts(written=3)).underway(0, None)
    assert tally.counts.written == 13
    assert tally.underway(2, None).counts.written == 13


def test_rejects_are_counted_by_code() -> None:
    tally = Tally().finished(Counts(rejected=2), (reject(), reject(RejectCode.EMPTY_KEY)))
    tally = tally.finished(Counts(rejected=1), (reject(),))
    assert tally.codes == {"bad_number": 2, "empty_key": 1}


def test_a_tally_is_never_changed() -> None:
    before = Tally().underway(0, Counts(written=1))
    before.underway(0, None)
    before.finished(Counts(written=5), (reject(),))
    assert before == Tally(open={0: Counts(written=1)})


# --- too many rejects -----------------------------------------------------------------------------


def test_without_a_limit_there_are_never_too_many() -> None:
    assert not finished(rejected=1_000_000).past(None)
    assert not finished(rejected=1_000_000).past(RejectLimit())


@pytest.mark.parametrize("limit", [0, 1, 100])
def test_a_number_is_passed_by_one_more(limit: int) -> None:
    assert not finished(rejected=limit).past(RejectLimit(count=limit))
    assert finished(rejected=limit + 1).past(RejectLimit(count=limit))


def test_rejects_of_earlier_runs_and_open_shards_count_towards_a_number() -> None:
    tally = Tally(resumed=Counts(rejected=1)).finished(Counts(rejected=1), ()).underway(7, Counts(rejected=1))
    assert tally.past(RejectLimit(count=2))
    assert not tally.underway(7, None).past(RejectLimit(count=2))


def test_duplicates_are_no_rejects() -> None:
    assert not finished(written=1, duplicates=1_000_000).past(RejectLimit(count=0))
    assert not finished(written=1, duplicates=1_000_000).past(RejectLimit(percent=0.0))


def test_a_share_says_nothing_of_a_few_rows() -> None:
    few = PERCENT_FROM - 1
    assert not finished(rejected=few).past(RejectLimit(percent=1.0))
    assert finished(rejected=few, written=1).past(RejectLimit(percent=1.0))


@pytest.mark.parametrize(("percent", "allowed"), [(0.0, 0), (0.1, 1), (2.5, 25), (50.0, 500), (99.9, 999)])
def test_a_share_is_passed_by_one_row_more(percent: float, allowed: int) -> None:
    limit = RejectLimit(percent=percent)
    assert not finished(written=1000 - allowed, rejected=allowed).past(limit)
    assert finished(duplicates=999 - allowed, rejected=allowed + 1).past(limit)


def test_a_share_of_everything_is_never_passed() -> None:
    assert not finished(rejected=5_000).past(RejectLimit(percent=100.0))


def test_a_share_is_taken_of_finished_shards_of_all_runs() -> None:
    limit = RejectLimit(percent=10.0)
    tally = Tally(resumed=Counts(written=900)).underway(0, Counts(rejected=900))
    # What is under way may begin with its rejects.
    assert not tally.past(limit)
    assert not tally.finished(Counts(rejected=100), ()).past(limit)
    assert tally.finished(Counts(rejected=101), ()).past(limit)


def test_everything_rejected_is_told_after_many_rows_and_only_where_none_was_written() -> None:
    many = ALL_REJECTED_ROWS
    assert finished(rejected=many).all_rejected
    assert finished(rejected=many, duplicates=3).all_rejected
    assert not finished(rejected=many - 1).all_rejected
    assert not finished(rejected=many * 1000, written=1).all_rejected


def test_everything_rejected_is_told_of_finished_shards_of_this_run_alone() -> None:
    many = Counts(rejected=ALL_REJECTED_ROWS)
    # Bad rows are known at once, good ones when the answer is there.
    assert not Tally().underway(0, many).all_rejected
    # What was wrong in an earlier run may be mended.
    assert not Tally(resumed=many).all_rejected
    assert Tally(resumed=Counts(written=5)).finished(many, ()).all_rejected
