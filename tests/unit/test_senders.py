"""More senders while that helps; what the table sets the rate of says nothing of them."""

import itertools

from loader.decisions.senders import FIRST, MOST, Sample, Senders

BEGUN = Senders(rest=0)


def sample(rate: float, *, throttled: float = 0.0, held: float = 0.0, waiting: bool = True) -> Sample:
    """
    A quarter of a second in which `rate` items a second were tried; a share of them was `throttled`, and for
    a share of the time batches were `held`.
    """
    items = int(rate / 4)
    refused = int(items * throttled)
    return Sample(0.25, items - refused, refused, held / 4, waiting)


def counts(senders: Senders, samples: list[Sample]) -> list[int]:
    found = []
    for each in samples:
        senders = senders.after(each)
        found.append(senders.count)
    return found


def test_senders_rise_while_each_rise_brings_more() -> None:
    rising = [sample(10_000 * 2**n) for n in range(6)]
    assert counts(BEGUN, rising) == [32, 64, 128, 128, 128, 128]
    assert FIRST == 16 and MOST == 128


def test_a_rise_that_brings_nothing_is_taken_back() -> None:
    assert counts(BEGUN, [sample(10_000), sample(20_000), sample(22_000)]) == [32, 64, 32]


def test_a_rise_taken_back_is_tried_again_only_after_a_rest() -> None:
    found = counts(BEGUN, [sample(10_000)] * 200)
    assert found[:3] == [32, 16, 16]
    tries = [at for at, count in enumerate(found) if count == 32]
    assert len(tries) > 2
    assert min(after - before for before, after in itertools.pairwise(tries)) > 30


def test_senders_do_not_rise_where_nothing_waits_for_them() -> None:
    assert counts(BEGUN, [sample(10_000, waiting=False)] * 50) == [FIRST] * 50


def test_a_kept_rise_stays_when_nothing_waits_any_more() -> None:
    samples = [sample(10_000), sample(19_000, waiting=False), *[sample(19_000, waiting=False)] * 20]
    assert counts(BEGUN, samples) == [32] * 22


def test_a_table_that_throttles_says_nothing_of_the_senders() -> None:
    assert counts(BEGUN, [sample(10_000, throttled=0.5)] * 10) == [FIRST] * 10


def test_a_few_throttled_requests_are_a_hot_key_and_nothing_to_heed() -> None:
    assert counts(BEGUN, [sample(10_000, throttled=0.04)]) == [32]


def test_a_worker_that_waits_for_its_share_needs_no_more_senders() -> None:
    assert counts(BEGUN, [sample(10_000, held=0.3)] * 10) == [FIRST] * 10
    assert counts(BEGUN, [sample(10_000, held=0.03)]) == [32]


def test_a_rise_is_not_judged_by_what_a_table_takes() -> None:
    """For 20,000 would be too little, and be taken back."""
    assert counts(BEGUN, [sample(10_000), sample(30_000, throttled=0.6)]) == [32, 32]
    assert counts(BEGUN, [sample(10_000), sample(11_000, held=0.5)]) == [32, 32]


def test_an_interval_without_an_answer_says_nothing() -> None:
    senders = BEGUN.after(sample(10_000))
    assert senders.after(Sample(0.25, 0, 0, 0.0, True)) == senders


def test_slow_answers_rise_too() -> None:
    assert counts(BEGUN, [Sample(0.25, 25, 0, 0.0, True), Sample(0.25, 50, 0, 0.0, True)]) == [32, 64]


def test_the_first_sample_is_not_one_to_judge_by() -> None:
    assert counts(Senders(), [sample(3_000), sample(10_000), sample(11_000)]) == [FIRST, 32, FIRST]


def test_at_the_most_nothing_is_left_to_judge() -> None:
    most = Senders(count=MOST, before=64, rate=100.0, rest=0)
    assert counts(most, [sample(400), sample(110), sample(400)]) == [MOST] * 3
