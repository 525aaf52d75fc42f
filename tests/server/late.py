"""Writes that the service applies after their connection has gone."""

from tests.server.state import State
from tests.server.writes import Write, apply_writes


def apply_later(state: State, writes: list[Write], seconds: float) -> None:
    """
    Apply writes after that many seconds, whatever happens until then.

    Only a table that is gone by then, or was made anew, does not get them, and one whose write units
    are spent gets those that fit.
    """
    state.late_pending += len(writes)
    state.later(seconds, lambda: _apply(state, writes))


def _apply(state: State, writes: list[Write]) -> None:
    state.late_pending -= len(writes)
    applied = apply_writes(state, [write for write in writes if state.is_current(write.table)])
    state.stats.applied_late += len(applied.done)
