"""Which core a worker stays on: its own, unless somebody else is busy there."""

from collections.abc import Mapping

_CROWDED = 0.25
_WORTH = 0.15


def better_core(current: int, busy: Mapping[int, float], own: float, random: float) -> int | None:
    """
    The core to move to, or None to stay.

    `busy` is the share, 0 to 1, of each core's time that anybody used, `own` this process's of one core's.
    Two that meet on a core find out at once: by `random`, from [0, 1), not both of them go.
    """
    others = busy.get(current, 0.0) - own
    if others < _CROWDED or random < 0.5:
        return None
    idlest = min(busy, key=lambda core: busy[core])
    return idlest if busy[idlest] <= others - _WORTH else None
