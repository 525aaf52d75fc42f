import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from loader.edges.generate import MIN_ROW_BYTES, GenerateSpec, rows_text

specs = st.builds(
    GenerateSpec,
    count=st.integers(1, 300),
    seed=st.integers(0, 2**128),
    row_bytes=st.none() | st.integers(MIN_ROW_BYTES, 3_000),
    duplicates=st.floats(0, 1, exclude_max=True),
    sorted_keys=st.none() | st.integers(1, 400),
)


@settings(max_examples=60, deadline=None)
@given(specs)
def test_any_spec_is_kept_to_the_letter(spec: GenerateSpec) -> None:
    header, *pieces = rows_text(spec)
    body = "".join(pieces)
    columns = header.rstrip("\n").split(",")
    rows = list(csv.reader(io.StringIO(body, newline=""), strict=True))
    assert len(rows) == spec.count
    assert {len(row) for row in rows} == {len(columns)}
    keys = [(row[0], int(row[1]) if spec.sorted_keys else 0) for row in rows]
    assert len(set(keys)) == spec.count - min(round(spec.count * spec.duplicates), spec.count - 1)
    if spec.sorted_keys:
        assert keys == sorted(keys)
        assert len({key[0] for key in keys}) == min(spec.sorted_keys, len(set(keys)))
    if spec.row_bytes:
        assert abs(len(body.encode()) / spec.count - spec.row_bytes) <= 0.02 * spec.row_bytes
