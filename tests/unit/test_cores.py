"""A worker stays on its core unless somebody else is busy there, and another core is not."""

import pytest

from loader.decisions.cores import better_core


@pytest.mark.parametrize(
    ("busy", "own", "random", "better"),
    [
        ({0: 1.0, 1: 0.0}, 1.0, 0.9, None),  # all of it is the worker's own
        ({0: 1.0, 1: 0.0}, 0.5, 0.9, 1),
        ({0: 1.0, 1: 0.0}, 0.5, 0.4, None),  # it is the other's turn to go
        ({0: 1.0, 1: 0.9}, 0.5, 0.9, None),  # nowhere better
        ({0: 1.0, 1: 0.3, 2: 0.2, 3: 0.8}, 0.5, 0.9, 2),
        ({0: 0.2, 1: 0.0}, 0.0, 0.9, None),  # no crowd
        ({1: 0.0}, 0.5, 0.9, None),  # nothing is known of its core
        ({}, 0.5, 0.9, None),
    ],
)
def test_better_core(busy: dict[int, float], own: float, random: float, better: int | None) -> None:
    assert better_core(0, busy, own, random) == better
