"""A dry run finds what a load would find, and leaves no trace; a real run says its plan before it writes."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

import loader
from loader.capacity import Plan
from loader.config import ConnectionConfig, LoadConfig, RejectLimit
from loader.edges.clients import ClientFactory, Credentials, TableClient
from loader.edges.journal import default_state_dir
from loader.edges.table import TTL_PATIENCE
from loader.engines.coordinator import run_load
from loader.engines.planning import Planner, sampled
from loader.engines.prepare import prepare
from loader.engines.stop import Stop
from loader.errors import BadOption, BadState, TooManyRejects
from loader.model import ProgressEvent, Summary
from tests.functional.raw_server import STALL, Request, http_reply, raw_server
from tests.loads import load, rejected, write_csv
from tests.server.client import Server, start
from tests.server.faults import FaultPlan

WINDOWS = pytest.mark.parametrize("window_size", [1 << 30, 400], ids=["one window", "many windows"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary directories are made in the one that is returned, and nowhere else."""
    server.reset()
    server.set_faults(FaultPlan())
    monkeypatch.chdir(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return scratch


def people(path: Path, count: int = 200) -> Path:
    """A key twice in every ten rows, and a bad row in every twenty."""
    rows = [
        [f"k{n - 1 if n % 10 == 9 else n}", "Paris" if n % 2 else "", "x" if n % 20 == 5 else str(n)]
        for n in range(count)
    ]
    return write_csv(path, [["id", "city", "age"], *rows])


def table_client(url: str) -> TableClient:
    return ClientFactory("us-east-1", url, Credentials("key", "secret"), 1).table_client()


def void(_: object) -> None:
    """For a lambda that is called for what it does."""


def files_below(path: Path) -> set[Path]:
    return {each.relative_to(path) for each in path.rglob("*")}


def watched(server: Server, table: str, *paths: Path, **options: Any) -> tuple[Summary, list[Plan]]:
    """A load, and the plans that it told of."""
    plans: list[Plan] = []

    def hear(event: ProgressEvent) -> None:
        if event.plan is not None:
            # What was sent until then.
            assert "BatchWriteItem" not in server.stats()["requests"]
            plans.append(event.plan)

    config = LoadConfig(
        sources=tuple(map(str, paths)),
        table=table,
        connection=ConnectionConfig(endpoint_url=server.endpoint),
        **{"workers": 1, "threads": 2, "late_write_grace": 0.0, **options},
    )
    return run_load(config, hear), plans


# --- a dry run ------------------------------------------------------------------------------------


@WINDOWS
@pytest.mark.parametrize("workers", [1, 2])
def test_its_counts_are_those_of_the_load_that_follows(
    server: Server, tmp_path: Path, window_size: int, workers: int
) -> None:
    server.create_table("people", "id:S", gsis={"by_city": "city:S / KEYS_ONLY"})
    path = people(tmp_path / "people.csv")
    options: dict[str, Any] = {"types": {"age": "N"}, "window_size": window_size, "workers": workers}
    dry = load(server.endpoint, "people", path, dry_run=True, **options)
    assert server.items("people") == []
    real = load(server.endpoint, "people", path, **options)
    assert dry.complete and dry.plan is not None and dry.plan.exact
    assert real.plan is None
    for name in ("rows", "written", "duplicates", "rejected"):
        assert getattr(dry.counts, name) == getattr(real.counts, name)
    assert dry.reject_codes == real.reject_codes
    assert sorted(dry.errors) == sorted(real.errors)
    assert dry.plan.items == real.counts.written
    if window_size > 400:
        # All items are new: then the plan is what was charged.
        assert dry.plan.write_units == real.counts.write_units
        with_city = [item for item in server.items("people") if "city" in item]
        assert dry.plan.index_units == {"by_city": len(with_city)}


def test_nothing_is_sent_and_nothing_is_left(
    server: Server, tmp_path: Path, fresh: Path, own_environment: Path
) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    home = files_below(own_environment)
    summary = load(server.endpoint, "people", path, dry_run=True, types={"age": "N"})
    assert (summary.counts.rejected, summary.rejects_file, summary.resume_hint) == (10, None, None)
    assert server.stats()["requests"] == {"CreateTable": 1, "DescribeTable": 1, "DescribeTimeToLive": 1}
    state = Path(default_state_dir(os.environ)).relative_to(own_environment)
    # As any load does it makes the place where they all keep their state.
    assert files_below(own_environment) - home <= {state, *state.parents}
    assert files_below(tmp_path) == {Path("people.csv"), Path("scratch")}


def test_a_state_directory_that_is_there_takes_the_scratch_files(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "scratch").rmdir()
    load(server.endpoint, "people", path, dry_run=True, state_dir=str(state))
    assert files_below(state) == set()


def test_a_state_directory_that_is_not_there_is_made(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    (tmp_path / "scratch").rmdir()
    assert load(server.endpoint, "people", path, dry_run=True, state_dir=str(tmp_path / "a" / "b")).complete
    assert files_below(tmp_path / "a") == {Path("b")}


def test_where_no_state_can_be_kept_the_temporary_directory_will_do(
    server: Server, tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    monkeypatch.setenv("XDG_STATE_HOME", str(path))
    assert load(server.endpoint, "people", path, dry_run=True).complete
    assert files_below(fresh) == set()


@pytest.mark.parametrize("unknown", [False, True])
def test_without_room_for_scratch_files_it_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: bool
) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    monkeypatch.setenv("XDG_STATE_HOME", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    if unknown:
        # As where not one of the places that Python knows can be written to.
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(path)])
    with pytest.raises(BadState, match=r"people\.csv.*--state-dir"):
        load(server.endpoint, "people", path, dry_run=True)


def test_what_a_killed_dry_run_left_goes_with_the_next_start(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv", 200_000)
    state = tmp_path / "state"
    words = [sys.executable, "-m", "loader", "load", str(path), "-t", "people", "--endpoint-url"]
    words += [server.endpoint, "--dry-run", "--state-dir", str(state), "--workers", "1", "--progress", "none"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=Path(loader.__file__).parents[1])
    try:
        deadline = time.monotonic() + 20
        while not any(each.suffix == ".index" for each in files_below(state)):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        # One that is at it is left alone.
        before = files_below(state)
        assert load(server.endpoint, "people", people(tmp_path / "few.csv"), state_dir=str(state)).complete
        assert before <= files_below(state)
    finally:
        process.kill()
        process.wait()
    assert files_below(state)
    assert load(server.endpoint, "people", tmp_path / "few.csv", state_dir=str(state)).complete
    assert files_below(state) == set()


@pytest.mark.parametrize("named", [False, True])
def test_a_dry_run_beside_an_interrupted_load_takes_nothing_from_it(
    server: Server, tmp_path: Path, named: bool
) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv", 2000)
    stop = Stop()
    config = LoadConfig(
        sources=(str(path),),
        table="people",
        connection=ConnectionConfig(endpoint_url=server.endpoint),
        workers=1,
        threads=1,
        shard_records=50,
        state_dir=str(tmp_path / "state"),
        types={"age": "N"},
        rejects=str(tmp_path / "bad.csv") if named else None,
        late_write_grace=0.0,
    )
    server.set_faults(FaultPlan(latency_ms=20))
    # Of ten shards at most a few are open: there is something to go on from.
    seen = run_load(config, lambda event: stop.request("t") if event.counts.rows >= 500 else None, stop)
    assert not seen.complete and seen.rejects_file is not None
    server.set_faults(FaultPlan())
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    assert Path(seen.rejects_file) in before
    dry = run_load(replace(config, dry_run=True))
    assert (dry.complete, dry.counts.rejected, dry.rejects_file) == (True, 100, None)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before
    done = run_load(config)
    assert done.complete and done.resumed > 0
    assert len(rejected(done.rejects_file)) == 100


def test_a_file_that_looks_like_rejects_in_the_making_survives(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    part = tmp_path / "bad.csv.part"
    part.write_text("mine")
    dry = load(
        server.endpoint, "people", path, dry_run=True, types={"age": "N"}, rejects=str(tmp_path / "bad.csv")
    )
    assert (dry.complete, dry.counts.rejected, dry.rejects_file) == (True, 10, None)
    assert part.read_text() == "mine" and not (tmp_path / "bad.csv").exists()
    assert caplog.text.count("Name another with --rejects") == 1


def test_what_appears_where_the_rejects_were_to_be_put_survives_and_costs_no_plan(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.create_table("people", "id:S")
    path, where = people(tmp_path / "people.csv"), tmp_path / "bad.csv"
    config = LoadConfig(
        sources=(str(path),),
        table="people",
        connection=ConnectionConfig(endpoint_url=server.endpoint),
        workers=1,
        types={"age": "N"},
        rejects=str(where),
        dry_run=True,
    )
    dry = run_load(config, lambda event: None if where.exists() else void(where.write_text("mine")))
    assert dry.plan is not None and (dry.counts.rejected, dry.rejects_file) == (10, None)
    assert where.read_text() == "mine" and not (tmp_path / "bad.csv.part").exists()
    assert "Name another with --rejects" in caplog.text


@pytest.mark.parametrize("place", ["nowhere/bad.csv", "people.csv/bad.csv"])
def test_rejects_that_can_be_put_nowhere_refuse_a_dry_run(server: Server, tmp_path: Path, place: str) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    with pytest.raises(BadOption, match="--rejects"):
        load(server.endpoint, "people", path, dry_run=True, rejects=str(tmp_path / place))


def test_rejects_reach_a_place_without_links(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    with tempfile.TemporaryDirectory(dir=elsewhere) as place:
        where = Path(place) / "bad.csv"
        done = load(server.endpoint, "people", path, dry_run=True, types={"age": "N"}, rejects=str(where))
        assert done.rejects_file == str(where) and len(rejected(str(where))) == 10


def test_a_checkpoint_is_neither_read_nor_changed(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv", 2000)
    state = tmp_path / "state"
    stop = Stop()

    def interrupt(event: ProgressEvent) -> None:
        if event.counts.written:
            stop.request("test")

    server.set_faults(FaultPlan(latency_ms=20))
    config = LoadConfig(
        sources=(str(path),),
        table="people",
        connection=ConnectionConfig(endpoint_url=server.endpoint),
        workers=1,
        threads=1,
        shard_records=50,
        state_dir=str(state),
        types={"age": "N"},
    )
    assert not run_load(config, interrupt, stop).complete
    server.set_faults(FaultPlan())
    before = {each: each.read_bytes() for each in state.rglob("*") if each.is_file()}
    files = files_below(tmp_path)
    assert any(each.name == "journal.jsonl" for each in before)
    items = len(server.items("people"))
    dry = load(server.endpoint, "people", path, dry_run=True, state_dir=str(state), types={"age": "N"})
    assert (dry.resumed, dry.counts.rows) == (0, 2000)
    assert {each: each.read_bytes() for each in state.rglob("*") if each.is_file()} == before
    assert files_below(tmp_path) == files
    assert len(server.items("people")) == items
    done = load(server.endpoint, "people", path, state_dir=str(state), shard_records=50, types={"age": "N"})
    assert done.complete and done.resumed > 0


def test_rejects_go_to_a_file_where_one_is_named(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    where = tmp_path / "bad.csv"
    summary = load(server.endpoint, "people", path, dry_run=True, types={"age": "N"}, rejects=str(where))
    assert summary.rejects_file == str(where)
    assert len(rejected(str(where))) == 10
    with pytest.raises(BadOption, match="exists"):
        load(server.endpoint, "people", path, dry_run=True, types={"age": "N"}, rejects=str(where))


def test_every_reject_that_does_not_need_the_service_is_found(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    (tmp_path / "bad.csv").write_bytes(
        b"id,age,ok,text\n"
        b"a,x,true,\n"
        b"b,1,maybe,\n"
        b",1,true,\n"
        b"c,1,true\n"
        b"d,1,true,\xff\n" + b"e" * 2049 + b",1,true,\n"
        b"f,1,true," + b"z" * 410_000 + b"\n"
        b"good,1,true,\n"
        b'g,1,true,"never closed\n'
    )
    types = {"age": "N", "ok": "BOOL"}
    summary = load(server.endpoint, "people", tmp_path / "bad.csv", dry_run=True, types=types)
    assert summary.counts.written == 1
    assert summary.reject_codes == {
        "bad_number": 1,
        "bad_boolean": 1,
        "empty_key": 1,
        "cell_count": 1,
        "not_utf8": 1,
        "key_too_long": 1,
        "item_too_large": 1,
        "unclosed_quote": 1,
    }


def test_too_many_rejects_end_it_and_leave_nothing(server: Server, tmp_path: Path, fresh: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv", 2000)
    with pytest.raises(TooManyRejects) as caught:
        load(
            server.endpoint,
            "people",
            path,
            dry_run=True,
            types={"age": "N"},
            max_rejects=RejectLimit(count=3),
            rejects=str(tmp_path / "bad.csv"),
        )
    summary = caught.value.summary
    assert summary is not None and (summary.plan, summary.rejects_file) == (None, None)
    assert files_below(tmp_path) == {Path("people.csv"), Path("scratch")}


def test_a_file_without_rows_has_a_plan_too(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", [["id"]])
    plan = load(server.endpoint, "people", path, dry_run=True).plan
    assert plan is not None and (plan.exact, plan.rows, plan.items, plan.write_units) == (True, 0, 0, 0)


def test_the_plan_knows_what_the_table_is(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S", write_units=50, stream="NEW_IMAGE")
    server.set_time_to_live("people", "age")
    server.set_description("people", {"ItemCount": 7, "TableSizeBytes": 700})
    path = people(tmp_path / "people.csv")
    plan = load(server.endpoint, "people", path, dry_run=True, price_per_million=1.0).plan
    assert plan is not None
    assert (plan.held_items, plan.held_bytes) == (7, 700)
    assert plan.capacity_source == "provisioned 50, from DescribeTable"
    assert plan.seconds == pytest.approx(180 / 50)
    assert plan.price == pytest.approx(180 / 1e6)
    said = " ".join(plan.notes)
    assert "NEW_IMAGE" in said and "--types age=N" in said and "700 bytes" in said
    plan = load(server.endpoint, "people", path, dry_run=True, types={"age": "N"}).plan
    assert plan is not None and any("last five years" in note for note in plan.notes)
    server.create_table("elsewhere", "id:S")
    server.set_time_to_live("elsewhere", "expires")
    plan = load(server.endpoint, "elsewhere", path, dry_run=True).plan
    assert plan is not None and "ime to live" not in " ".join(plan.notes)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_partition_key_that_holds_much_is_told(server: Server, tmp_path: Path, dry_run: bool) -> None:
    server.create_table("visits", "place:S,at:N", warm=40_000)
    rows = [["hot" if n % 2 else f"p{n}", str(n)] for n in range(6000)]
    path = write_csv(tmp_path / "visits.csv", [["place", "at"], *rows])
    summary, plans = watched(server, "visits", path, dry_run=dry_run, workers=2, max_wcu=None)
    plan = summary.plan if dry_run else plans[0]
    assert plan is not None and plan.seconds == pytest.approx(3, rel=0 if dry_run else 0.1)
    (note,) = [note for note in plan.notes if "artition key" in note]
    assert note.startswith("Partition key hot of the table has ")


def test_a_dry_run_has_workers_by_the_machine_and_plans_with_those_of_a_load(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.edges.machine.cpus", lambda: 3)
    monkeypatch.setattr("loader.engines.prepare.BYTES_A_WORKER", 1)
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")
    config = LoadConfig(
        sources=(str(path),),
        table="people",
        connection=ConnectionConfig(endpoint_url=server.endpoint),
        max_wcu=10,
    )
    with ExitStack() as stack:
        prepared = prepare(replace(config, dry_run=True), stack)
        assert prepared.workers == 3
        assert Planner(prepared).terms().workers == 1
    with ExitStack() as stack:
        assert prepare(config, stack).workers == 1


def test_who_may_not_ask_for_the_time_to_live_can_load(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    server.set_faults(FaultPlan(deny_operations=("DescribeTimeToLive",)))
    path = people(tmp_path / "people.csv")
    assert load(server.endpoint, "people", path, dry_run=True).complete
    assert load(server.endpoint, "people", path).complete


def test_a_time_to_live_that_nobody_tells_delays_no_load(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv")

    def answer(request: Request) -> bytes:
        operation = request.headers["x-amz-target"].rpartition(".")[2]
        if operation == "DescribeTimeToLive":
            return STALL
        with table_client(server.endpoint) as behind:
            reply = behind.call(operation, orjson.loads(request.body))
        return http_reply(reply.status, reply.body, crc="right")

    with raw_server(answer) as slow:
        began = time.monotonic()
        dry = load(slow.url, "people", path, dry_run=True)
        assert dry.complete
        assert time.monotonic() - began < TTL_PATIENCE * 2 + 3
    assert any("DescribeTimeToLive" in request.headers["x-amz-target"] for request in slow.requests)


# --- the first lines of a real run ----------------------------------------------------------------


def test_a_real_run_says_its_plan_once_before_it_writes(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S", gsis={"by_city": "city:S / KEYS_ONLY"})
    path = people(tmp_path / "people.csv")
    summary, (plan,) = watched(server, "people", path, types={"age": "N"})
    assert summary.complete
    # A file of fewer rows than a sample: nothing is a guess but that it is called one.
    assert not plan.exact
    counts = summary.counts
    assert (plan.rows, plan.items) == (200, counts.written)
    assert (plan.duplicates, plan.rejected) == (counts.duplicates, counts.rejected)
    assert plan.write_units == counts.write_units


def test_a_sample_tells_of_a_file_of_many_windows(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    rows = [[f"k{n:06}", "x" * 100, str(n % 10)] for n in range(6000)]
    path = write_csv(tmp_path / "people.csv", [["id", "text", "age"], *rows])
    summary, (plan,) = watched(server, "people", path, window_size=200_000)
    assert summary.complete
    assert plan.rows == pytest.approx(6000, rel=0.01)
    assert plan.items == pytest.approx(6000, rel=0.01)
    assert plan.write_units == pytest.approx(6000, rel=0.01)
    assert plan.median_size == pytest.approx(2 + 7 + 4 + 100 + 3 + 1, rel=0.01)


def test_a_limit_bounds_the_plan(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", [["id"], *([f"k{n}"] for n in range(3000))])
    _, (plan,) = watched(server, "people", path, limit=40)
    assert (plan.rows, plan.items) == (40, 40)


def test_a_file_of_one_key_is_told_as_duplicates(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", [["id", "n"], *(["same", str(n)] for n in range(5000))])
    _, (plan,) = watched(server, "people", path)
    assert (plan.rows, plan.items, plan.duplicates) == (5000, 1, 4999)


def test_a_file_of_rejects_alone_has_a_plan_of_nothing(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", [["id", "n"], *([f"k{n}", "x"] for n in range(50))])
    summary, (plan,) = watched(server, "people", path, types={"n": "N"})
    assert summary.counts.rejected == 50
    assert (plan.items, plan.rejected, plan.write_units) == (0, 50, 0)


def test_rows_that_a_reject_file_marks_as_superseded_count_as_duplicates(
    server: Server, tmp_path: Path
) -> None:
    server.create_table("people", "id:S")
    header = ["id", "n", "_file", "_line", "_column", "_code", "_reason", "_superseded"]
    rows = [[f"k{n}", "1", "f", "2", "n", "bad_number", "r", "yes" if n % 2 else ""] for n in range(100)]
    path = write_csv(tmp_path / "people.rejects.csv", [header, *rows])
    summary, (plan,) = watched(server, "people", path)
    assert (plan.items, plan.duplicates) == (summary.counts.written, summary.counts.duplicates)


def test_rows_of_megabytes_do_not_make_a_plan_long(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = write_csv(tmp_path / "people.csv", [["id", "t"], *([f"k{n}", "x" * 300_000] for n in range(20))])
    summary, (plan,) = watched(server, "people", path)
    assert plan.rows == 20 and plan.items == 20
    assert plan.write_units == summary.counts.write_units


def test_rows_of_many_columns_do_not_make_a_plan_long(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    names = ["id", *(f"c{n}" for n in range(499))]
    path = write_csv(tmp_path / "people.csv", [names, *([f"k{n}", *"1" * 499] for n in range(900))])
    config = LoadConfig(
        sources=(str(path),), table="people", connection=ConnectionConfig(endpoint_url=server.endpoint)
    )
    with ExitStack() as stack:
        assert sampled(prepare(replace(config, dry_run=True), stack)) == 20_000 // 500
    _, (plan,) = watched(server, "people", path)
    assert (plan.rows, plan.items) == (900, 900)


def test_a_load_that_is_continued_says_no_plan(server: Server, tmp_path: Path) -> None:
    server.create_table("people", "id:S")
    path = people(tmp_path / "people.csv", 1000)
    server.set_faults(FaultPlan(latency_ms=20))
    stop = Stop()
    config = LoadConfig(
        sources=(str(path),),
        table="people",
        connection=ConnectionConfig(endpoint_url=server.endpoint),
        workers=1,
        threads=1,
        shard_records=50,
        late_write_grace=0.0,
    )
    run_load(config, lambda event: stop.request("test") if event.counts.written else None, stop)
    server.set_faults(FaultPlan())
    plans: list[Plan] = []
    done = run_load(config, lambda event: plans.append(event.plan) if event.plan is not None else None)
    assert done.complete and done.resumed
    assert plans == []
