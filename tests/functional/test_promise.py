"""
The promise, as a property: after a load the table is what writing the rows one by one would have left.

Each example is a whole load with real processes, so there are few of them; `scripts/soak` runs many.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.loads import as_table, csv_text, expected, load, rejected
from tests.server.client import Server, start
from tests.server.faults import FaultPlan

EXAMPLES = int(os.environ.get("DDBLOAD_PROMISE_EXAMPLES", "15"))

NUMBERS = ["5", "5.0", "05", "5e0", "+5", "-0", "0", "0.0", "1e2", "100", "-7", "1E-130", "9" * 38]
BAD_NUMBERS = ["", "five", "1_000", " 5 ", "٣", "NaN", "1e126", "9" * 39]
KEYS = st.sampled_from(["a", "b", "é", "a b", 'q"q', "", "x,y", "line\nbreak"])
ROW = st.tuples(
    KEYS,
    st.sampled_from(NUMBERS * 3 + BAD_NUMBERS),
    st.sampled_from(["", "1", "2.50", "no number"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
)


@st.composite
def fault_plans(draw: st.DrawFn) -> FaultPlan:
    names = ["unprocessed", "throttle", "error500", "reset_before", "reset_after", "cut_reply", "html200"]
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
    refused = draw(st.lists(st.sampled_from(["b", "x,y"]), unique=True, max_size=1))
    members: dict[str, Any] = {f"{name}_share": 0.15 for name in chosen}
    return FaultPlan.from_json({"seed": draw(st.integers(0, 1000)), "refuse_keys": refused, **members})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@settings(
    max_examples=EXAMPLES,
    # An example takes a second: shrinking one would take minutes, and say little more.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rows=st.lists(ROW, max_size=60),
    window_size=st.sampled_from([1, 40, 200, 1 << 30]),
    shard_records=st.integers(1, 40),
    workers=st.integers(1, 2),
    batch_size=st.sampled_from([1, 2, 7, 25]),
    faults=fault_plans(),
    data=st.data(),
)
def test_the_table_is_what_writing_one_by_one_leaves(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[tuple[str, str, str, str]],
    window_size: int,
    shard_records: int,
    workers: int,
    batch_size: int,
    faults: FaultPlan,
    data: st.DataObject,
) -> None:
    monkeypatch.chdir(tmp_path)
    server.reset()
    server.create_table("things", "k:S,r:N")
    server.set_faults(faults)
    records: list[list[str]] = [["k", "r", "n", "text"], *map(list, rows)]
    for ragged in data.draw(st.lists(st.integers(1, max(1, len(rows))), max_size=2)):
        if ragged < len(records):
            records[ragged] = records[ragged][:2]
    text = csv_text(records)
    path = tmp_path / "things.csv"
    path.write_text(text, encoding="utf-8", newline="")

    summary = load(
        server.endpoint,
        "things",
        path,
        types={"n": "N"},
        window_size=window_size,
        shard_records=shard_records,
        workers=workers,
        batch_size=batch_size,
    )

    right = expected(text, ["k", "r"], {"r": "N", "n": "N"})
    refused = {key: item for key, item in right.items() if key[0] in faults.refuse_keys}
    assert as_table(server.items("things"), ["k", "r"]) == {
        key: item for key, item in right.items() if key not in refused
    }
    counts = summary.counts
    assert summary.complete
    assert counts.written + counts.duplicates + counts.rejected == len(rows)
    assert len(rejected(summary.rejects_file)) == counts.rejected
    assert server.stats()["violations"] == []
    if summary.rejects_file:
        os.unlink(summary.rejects_file)
