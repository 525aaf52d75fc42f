"""When credentials are asked for anew: once for all workers, and not for ever."""

import pytest

from loader.edges.credentials import Credentials
from loader.engines.renewal import PATIENCE_SECONDS, SETTLING_SECONDS, Renewal
from loader.errors import Denied

ONE, TWO = Credentials("one", "s"), Credentials("two", "s")


class Source:
    def __init__(self, *ahead: Credentials | None) -> None:
        self.due = list(ahead)
        self.renewals = 0
        self.gone = False
        self.asked = 0

    def refreshed(self) -> Credentials | None:
        self.asked += 1
        if self.gone:
            raise Denied("The credentials have expired.")
        return self.due.pop(0) if self.due else None

    def renewed(self) -> Credentials | None:
        self.renewals += 1
        return TWO


def test_what_every_worker_tells_of_is_one_renewal() -> None:
    source = Source()
    renewal = Renewal(source, 0.0)
    told = [renewal.refused(100.0 + n / 10, written=n) for n in range(20)]
    assert told == [TWO] + [None] * 19
    assert source.renewals == 1


def test_a_later_refusal_is_another_expiry_if_rows_were_written_since() -> None:
    source = Source()
    renewal = Renewal(source, 0.0)
    assert renewal.refused(100.0, written=10) is TWO
    assert renewal.refused(100.0 + 2 * SETTLING_SECONDS, written=10) is None
    assert renewal.refused(100.0 + 2 * SETTLING_SECONDS, written=11) is TWO
    assert source.renewals == 2


def test_a_refusal_right_behind_a_renewal_ahead_of_the_expiry_is_of_the_old_ones() -> None:
    source = Source(None, ONE)
    renewal = Renewal(source, 0.0)
    assert (renewal.ahead(1.0, in_outage=False), renewal.ahead(2.0, in_outage=False)) == (None, ONE)
    assert renewal.refused(2.0 + SETTLING_SECONDS / 2, written=5) is None
    assert source.renewals == 0
    assert renewal.refused(2.0 + SETTLING_SECONDS, written=5) is TWO


def test_what_expires_in_an_outage_is_renewed_when_it_can_be() -> None:
    source = Source(ONE)
    source.gone = True
    renewal = Renewal(source, 0.0)
    assert [renewal.ahead(now / 10, in_outage=True) for now in range(100)] == [None] * 100
    assert source.asked == 1
    assert renewal.ahead(PATIENCE_SECONDS, in_outage=True) is None
    assert source.asked == 2
    source.gone = False
    # Back in reach nobody waits.
    assert renewal.ahead(PATIENCE_SECONDS + 0.1, in_outage=False) is ONE


def test_what_expires_while_the_service_is_there_ends_the_load() -> None:
    source = Source()
    source.gone = True
    with pytest.raises(Denied):
        Renewal(source, 0.0).ahead(1.0, in_outage=False)
