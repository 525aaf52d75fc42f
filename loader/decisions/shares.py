"""How the rate of a load is split over its workers: what one cannot use goes to those that can."""

from collections.abc import Mapping
from dataclasses import dataclass

_HEADROOM = 1.1
# Of an even share, so that a worker that gets work can begin; it then says that it is held, and has its part
# with the next report. What stands idle here is lost under a cap: 2 % of what one worker has.
_FLOOR = 0.02


@dataclass(frozen=True, slots=True)
class Demand:
    """
    Of one worker: write units a second that it asked for lately, and whether batches of it waited for its
    share. One that is just starting is `held`: it will use what it can get.
    """

    used: float
    held: bool


def allot(rate: float, demands: Mapping[int, Demand]) -> dict[int, float]:
    """
    The shares, write units a second by worker; together exactly `rate`.

    One that is not held keeps what it uses and some room; those that are held divide the rest evenly. No one
    has more than one that is held, unless nobody is: then what is left over is divided among all.
    """
    if not demands:
        return {}
    floor = _FLOOR * rate / len(demands)
    wanted = {
        number: max(floor, _HEADROOM * demand.used) for number, demand in demands.items() if not demand.held
    }
    left, open_ = rate, len(demands)
    shares: dict[int, float] = {}
    for number in sorted(wanted, key=wanted.__getitem__):
        # The smallest wants first: whoever wants more than an even part of what is left is cut to that.
        shares[number] = min(wanted[number], left / open_)
        left -= shares[number]
        open_ -= 1
    if open_:
        even = left / open_
        return {number: shares.get(number, even) for number in demands}
    return {number: shares[number] + left / len(demands) for number in demands}
