"""When credentials are asked for anew: once for all workers, and not for ever."""

from loader.edges.credentials import Credentials
from loader.engines.renewal import SETTLING_SECONDS, Renewal

ONE, TWO = Credentials("one", "s"), Credentials("two", "s")


class Source:
    def __init__(self, *ahead: Credentials | None) -> None:
        self.due = list(ahead)
        self.renewals = 0

    def refreshed(self) -> Credentials | None:
        return self.due.pop(0) if self.due else None

    def renewed(self) -> Credentials | None:
        self.renewals += 1
        return TWO


def test_what_every_worker_tells_of_is_one_renewal() -> None:
    source = Source()
    renewal = Renewal(source)
    told = [renewal.refused(100.0 + n / 10, written=n) for n in range(20)]
    assert told == [TWO] + [None] * 19
    assert source.renewals == 1


def test_a_later_refusal_is_another_expiry_if_rows_were_written_since() -> None:
    source = Source()
    renewal = Renewal(source)
    assert renewal.refused(100.0, written=10) is TWO
    assert renewal.refused(100.0 + 2 * SETTLING_SECONDS, written=10) is None
    assert renewal.refused(100.0 + 2 * SETTLING_SECONDS, written=11) is TWO
    assert source.renewals == 2


def test_a_refusal_right_behind_a_renewal_ahead_of_the_expiry_is_of_the_old_ones() -> None:
    source = Source(None, ONE)
    renewal = Renewal(source)
    assert (renewal.ahead(1.0), renewal.ahead(2.0)) == (None, ONE)
    assert renewal.refused(2.0 + SETTLING_SECONDS / 2, written=5) is None
    assert source.renewals == 0
    assert renewal.refused(2.0 + SETTLING_SECONDS, written=5) is TWO
