"""What holds for a pace whatever a table does."""

from hypothesis import given
from hypothesis import strategies as st

from loader.capacity import WriteCapacity
from loader.decisions.pacing import FLOOR, Pace, Sample, first_pace

UNITS = st.one_of(st.just(0.0), st.floats(0.01, 1e5))
SAMPLES = st.lists(
    st.builds(
        Sample, seconds=st.floats(0.0, 2.0), items=UNITS, used=UNITS, refused=UNITS, held=st.booleans()
    ),
    max_size=60,
)
KNOWN = st.one_of(st.none(), st.integers(1, 100_000))
CAPACITIES = st.builds(WriteCapacity, provisioned=KNOWN, maximum=KNOWN, warm=KNOWN)
CAPS = st.one_of(st.none(), st.floats(1.0, 1e5))


def played(pace: Pace, samples: list[Sample]) -> list[Pace]:
    paces = [pace]
    for sample in samples:
        paces.append(paces[-1].after(sample))
    return paces


@given(CAPACITIES, st.floats(1.0, 1e5), SAMPLES)
def test_a_cap_is_never_exceeded(capacity: WriteCapacity, cap: float, samples: list[Sample]) -> None:
    assert all(
        pace.rate is not None and pace.rate <= cap for pace in played(first_pace([capacity], cap), samples)
    )


@given(CAPACITIES, CAPS, SAMPLES)
def test_a_rate_is_never_under_the_floor_and_never_forgotten(
    capacity: WriteCapacity, cap: float | None, samples: list[Sample]
) -> None:
    known = False
    for pace in played(first_pace([capacity], cap), samples):
        assert pace.rate is not None or not known
        known = pace.rate is not None
        if pace.rate is not None:
            assert pace.rate >= FLOOR


@given(CAPACITIES, CAPS, SAMPLES)
def test_the_same_samples_make_the_same_pace(
    capacity: WriteCapacity, cap: float | None, samples: list[Sample]
) -> None:
    first = played(first_pace([capacity], cap), samples)
    assert first == played(first_pace([capacity], cap), samples)


@given(CAPACITIES, st.floats(1.0, 1e4), st.integers(1, 200))
def test_a_load_that_is_not_held_is_never_given_more(
    capacity: WriteCapacity, used: float, samples: int
) -> None:
    pace = first_pace([capacity], None)
    for _ in range(samples):
        after = pace.after(Sample(0.1, used * 0.1, used * 0.1, 0.0, False))
        assert after.rate == pace.rate
        pace = after
