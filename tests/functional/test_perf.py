"""The measurements: what they check, what they count, and that each command still runs."""

import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf import compare, curves, growth, harness, inputs, passes
from perf.harness import Contender, Measured, Sink
from perf.inputs import BYTES, KINDS, Input, make
from perf.passes import Results
from perf.processes import Run, environment, run
from perf.sink import items_of
from perf.stages import STAGES, Street

FAST = harness.loader("fast", "fast", "--workers", "1")
BOTO3 = harness.loader("boto3", "boto3", "--workers", "1", "--transport", "boto3")
SHARDED = harness.program("sharded", "shards of 100", more=("1", "100"))
STOCK = harness.program("batch_writer", "batch_writer")
ROWS = 2_000


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is taken from the machine's own, and nothing left there."""
    folder = tmp_path_factory.mktemp("perf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDBLOAD_PERF_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def sink(cache: Path) -> Iterator[Sink]:
    with harness.sink(0) as running:
        yield running


@pytest.fixture
def one_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "START_UPS", 1)


# --- what the sink got ------------------------------------------------------------------------------


@pytest.mark.parametrize("contender", [FAST, BOTO3, SHARDED, STOCK], ids=lambda contender: contender.name)
def test_a_contender_writes_what_the_file_holds(contender: Contender, sink: Sink) -> None:
    data = make(ROWS, "small", "mixed")
    measured = harness.load(contender, data, sink)
    stats = sink.stats()
    assert (stats["items"], stats["checksum"]) == (ROWS, inputs.expected(Path(data.path)))
    assert stats["requests"] >= ROWS / 25
    assert measured.cpu > measured.sink_cpu > 0
    assert 0 < measured.to_first_write < measured.run.seconds


def test_another_content_than_expected_ends_the_run_with_both_sums(sink: Sink) -> None:
    data, other = make(50, "small"), make(50, "small", "mixed")
    with pytest.raises(SystemExit) as ended:
        harness.load(FAST, replace(data, checksum=other.checksum), sink)
    told = str(ended.value)
    assert told.startswith("fast did not write the file")
    assert str(data.checksum) in told and str(other.checksum) in told


def test_a_row_too_few_ends_the_run_with_both_numbers() -> None:
    data = Input("nowhere.csv", 50, 7)
    harness.check("it", {"items": 50, "checksum": 7}, data)
    with pytest.raises(SystemExit, match="it did not write the file: 49 items for 50 rows"):
        harness.check("it", {"items": 49, "checksum": 7}, data)


def test_a_load_over_tls_is_checked_too() -> None:
    data = make(ROWS, "small", "mixed")
    with harness.sink(0, tls=True) as secured:
        harness.load(FAST, data, secured)
        assert secured.endpoint.startswith("https:")
        assert secured.stats()["items"] == ROWS
        with pytest.raises(urllib.error.URLError) as refused:
            urllib.request.urlopen(f"{secured.endpoint}/stats", timeout=10)
    assert isinstance(refused.value.reason, ssl.SSLCertVerificationError)


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(codec="utf-8"), min_size=1),
            st.fixed_dictionaries({"S": st.text(st.characters(codec="utf-8"))}),
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from([{}, {"ReturnConsumedCapacity": "TOTAL"}, {"ReturnConsumedCapacity": "INDEXES"}]),
)
def test_items_are_the_same_in_any_spelling(items: list[dict[str, object]], more: dict[str, str]) -> None:
    request = {"RequestItems": {"t": [{"PutRequest": {"Item": item}} for item in items]}, **more}
    compact = json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()
    escaped = json.dumps(request, separators=(",", ":")).encode()
    spaced = json.dumps(request).encode()
    wanted = [orjson.dumps(item) for item in items]
    assert items_of(compact) == items_of(escaped) == items_of(spaced) == wanted


@pytest.mark.parametrize("cell", ['}},{"PutRequest":{"Item":', "}}]}", "}}]}}"])
def test_what_stands_around_items_may_stand_within_a_cell(cell: str) -> None:
    item = {"id": {"S": cell}}
    body = orjson.dumps({"RequestItems": {"t": [{"PutRequest": {"Item": item}}] * 2}})
    assert items_of(body) == [orjson.dumps(item)] * 2


# --- the files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", BYTES)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_as_large_as_is_said_and_have_keys_of_their_own(size: str, kind: str) -> None:
    data = make(500, size, kind)
    header, *lines = Path(data.path).read_bytes().splitlines(keepends=True)
    assert header.decode() == ",".join(inputs.COLUMNS) + "\n"
    assert len({line.split(b",")[0] for line in lines}) == data.rows == len(lines)
    assert all(abs(len(line) - BYTES[size]) <= 2 for line in lines)
    assert sum(b'"' in line for line in lines) == {"plain": 0, "mixed": 100, "quoted": 500}[kind]


def test_a_file_is_made_once(cache: Path) -> None:
    data = make(30, "small")
    assert Path(data.path).parent == cache
    made = Path(data.path).stat().st_mtime_ns
    assert make(30, "small") == data
    assert Path(data.path).stat().st_mtime_ns == made


# --- what a program took ----------------------------------------------------------------------------

_BUSY = "import time\nwhile time.process_time() < 0.4: pass"


def python(code: str, timeout: float = 30.0) -> Run:
    return run([sys.executable, "-c", code], environment(), timeout, memory=False)


def test_the_cpu_of_a_program_is_told_apart_from_its_childrens() -> None:
    found = python(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BUSY!r}])")
    assert found.cpu > 0.4
    assert 0 < found.own < found.cpu - 0.35


def test_what_a_program_prints_does_not_stop_it() -> None:
    assert len(python("import sys\nsys.stderr.write('x' * 300_000)\nprint('y' * 300_000)").output) == 300_001


def test_a_program_that_fails_ends_the_run_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match=r"ended with 3:\nno luck"):
        python("import sys\nprint('no luck', file=sys.stderr)\nsys.exit(3)")


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(SystemExit, match=r"took more than 0\.2 seconds"):
        python("import time\ntime.sleep(60)", timeout=0.2)


def test_no_setting_of_the_machine_reaches_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "HTTPS_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "elsewhere")
    assert "elsewhere" not in environment().values()


def test_start_up_is_taken_off_each_row() -> None:
    def measured(cpu: float, own: float, rows: int) -> Measured:
        return Measured(rows, cpu, 1.0, Run(own=own), 0.0, 0.0)

    starts = [measured(cpu, cpu / 2, 1) for cpu in (1.0, 9.0, 0.5)]
    results = Results(starts, [measured(6.0, 1.5, 1_000_000), measured(3.0, 0.5, 500_000)])
    assert results.per_row == [5.0, 4.0]
    assert results.own_per_row == [1.0, 0.0]


def test_what_can_only_be_slow_gets_fewer_rows() -> None:
    assert curves.rows_for(400_000, 4, 50) == 40_000
    assert curves.rows_for(400_000, 128, 50) == 400_000
    assert curves.rows_for(20_000, 4, 50) == 20_000
    assert curves.rows_for(400_000, None, 50) == 400_000


# --- the commands -----------------------------------------------------------------------------------


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_compare_prints_its_table(one_start_up: None, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "--rows 500 --passes 1 --only ddbload --size small"
    compare.main(asked.split())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"    python -m perf.compare {asked}"
    head, line = cells(lines[-3]), cells(lines[-1])
    assert len(head) == len(line)
    found = dict(zip(head, line, strict=True))
    assert (found["what loads"], found["rows"]) == ("**ddbload**, 2 workers", "500")
    assert float(found["start-up CPU s"]) > 0 < float(found["main MB"])


def test_growth_prints_its_tables(
    one_start_up: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "FIRST_LOADS", 1)
    growth.main(["--only", "files", "first", "--rows", "500", "--passes", "1"])
    lines = capsys.readouterr().out.splitlines()
    tables = [cells(line) for line in lines if line.startswith("|")]
    assert [table[0] for table in tables] == ["rows", "---", "500", "rows", "---", "10,000"]
    assert tables[2][2] == "1.00 ×"
    assert 0 < float(tables[5][1]) < 60


def test_curves_prints_its_table(one_start_up: None, capsys: pytest.CaptureFixture[str]) -> None:
    curves.main(["--only", "workers", "--workers", "1", "--rows", "500", "--passes", "1"])
    tables = [cells(line) for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [table[0] for table in tables] == ["workers", "---", "1"]
    assert int(tables[2][1].replace(",", "")) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_takes_its_share(kind: str, sink: Sink, tmp_path: Path) -> None:
    street = Street(make(ROWS, "small", kind), sink, str(tmp_path))
    try:
        found = street.walk()
    finally:
        street.close()
    assert set(found) == set(STAGES)
    assert all(found[stage] > 0 for stage in STAGES if "less" not in STAGES[stage])
    assert sink.stats()["items"] == ROWS
