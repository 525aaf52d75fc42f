"""Whether the service is out of reach: a matter of the whole process, of which no batch is to blame."""

from loader.decisions.wire import CHECKSUM, UNREADABLE, Answer, Transient
from loader.errors import ConnectionFault

PROBE = b'{"RequestItems":{}}'
"""A batch of nothing: the service refuses it, free of charge, and by that shows that it is there."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 0.5
"""Seconds between two probes: what the return of a service is noticed late by."""


def unreached(answer: Answer | ConnectionFault) -> bool:
    """
    Whether this is no word of the service's: nothing came, or what came is of something on the way.

    An error of the service's own is one. So is a throttle that cannot be told from a foreign one.
    """
    match answer:
        case ConnectionFault():
            return True
        case Transient(code=code):
            # A foreign answer has the status for its code.
            return code in (UNREADABLE, CHECKSUM) or code.isdecimal()
    return False


def pause(probes: int, random: float) -> float:
    """
    Seconds until the next probe, after so many in a row without an answer; `random` is from [0, 1).

    Never near 0, and never long: a probe is one small request, and whatever waits for it is a whole process.
    """
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(probes, 10))
    return longest * (0.5 + random / 2)
