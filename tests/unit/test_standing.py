"""When the fast path is given up for good."""

from loader.decisions.standing import STRIKES, Standing


def test_three_faults_in_a_row_that_boto3_did_not_have_are_enough() -> None:
    standing = Standing()
    for _ in range(STRIKES):
        assert not standing.lost
        standing = standing.overtaken(standing.round)
    assert standing.lost


def test_an_answer_of_the_fast_path_begins_the_count_anew() -> None:
    standing = Standing()
    for _ in range(10):
        standing = standing.overtaken(standing.round).answered()
        standing = standing.overtaken(standing.round)
        assert not standing.lost
        standing = standing.answered()


def test_a_fault_that_boto3_has_too_begins_the_count_anew() -> None:
    standing = Standing()
    for _ in range(STRIKES - 1):
        standing = standing.overtaken(standing.round)
    standing = standing.failed()
    for _ in range(STRIKES - 1):
        standing = standing.overtaken(standing.round)
    assert not standing.lost


def test_faults_of_many_threads_at_once_count_as_one() -> None:
    began = Standing()
    standing = began
    for _ in range(30):
        standing = standing.overtaken(began.round)
    assert standing.strikes == 1


def test_a_fault_from_before_an_answer_does_not_count_behind_it() -> None:
    began = Standing()
    standing = began.overtaken(began.round).answered()
    assert standing.overtaken(began.round) == standing


def test_what_is_lost_stays_lost_whatever_was_still_under_way() -> None:
    standing = Standing()
    for _ in range(STRIKES):
        standing = standing.overtaken(standing.round)
    assert standing.answered().lost
    assert standing.failed().lost
    assert standing.overtaken(standing.round).lost
