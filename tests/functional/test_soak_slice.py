"""A slice of each case of tests.soak, and that what they look with sees what is wrong."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.server.client import ROOT, Server, start
from tests.soak import expiry, faults, kills, memory, outage, promise, table
from tests.soak.__main__ import build_parser, main
from tests.soak.checks import TABLE, Checks
from tests.soak.files import BAD, COLUMNS, KEY, ORDER, File, Right, Row, make
from tests.soak.result import Figure, Fold, Result

# --- the slice ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "transport"), [(1, "fast"), (2, "boto3")])
def test_nothing_is_lost_under_all_faults(seed: int, transport: str, tmp_path: Path) -> None:
    result = faults.run(seed, 2, transport, 20_000, tmp_path, grace=0.9, late_seconds=0.6)
    assert result.failures == ()
    assert result.figure("items applied late") > 0


def test_nothing_is_lost_by_kills(tmp_path: Path) -> None:
    result = kills.run(1, 4, tmp_path)
    assert result.failures == ()
    assert result.figure("coordinators killed") + result.figure("workers killed") == 4


@pytest.mark.parametrize(("transport", "max_retries"), [("fast", 3), ("boto3", None)])
def test_an_outage_is_waited_out(transport: str, max_retries: int | None, tmp_path: Path) -> None:
    result = outage.run(transport, max_retries, 3.0, tmp_path, writing=7.0)
    assert result.failures == ()
    assert result.figure("dead for") >= 3.0


def test_a_load_passes_through_the_expiries_of_its_keys(tmp_path: Path) -> None:
    assert expiry.run("fast", 4, tmp_path).failures == ()


def test_memory_stays_flat_under_faults(tmp_path: Path) -> None:
    assert memory.run(8.0, tmp_path, interval=0.2, transport="boto3").failures == ()


# --- what it looks with ---------------------------------------------------------------------------


def rows(*cells: tuple[str, str]) -> tuple[Row, ...]:
    """Of these keys and ages."""
    return tuple(Row(key, n, age, "x") for n, (key, age) in enumerate(cells, 1))


def file_of(*cells: tuple[str, str]) -> File:
    """A file that is nowhere, each of its rows ten bytes."""
    starts = tuple(range(20, 20 + 10 * len(cells), 10))
    return File(Path("nowhere.csv"), rows(*cells), starts, 20 + 10 * len(cells))


def test_a_file_is_what_its_rows_say(tmp_path: Path) -> None:
    made = make(tmp_path / "a.csv", 2_000, 1, bad=0.05)
    content = made.path.read_bytes()
    with made.path.open(encoding="utf-8", newline="") as file:
        header, *found = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert found == [[row.id, str(row.n), row.age, row.text] for row in made.rows]
    assert made.size == len(content)
    for row, (begin, end) in zip(made.rows, pairwise((*made.starts, made.size)), strict=True):
        assert content[begin:end].startswith(f"{row.id},{row.n},{row.age},".encode())
        assert content[begin:end].count(b"\n") == 1
    assert 1_800 < made.keys < 2_000
    assert 0 < sum(row.age == BAD for row in made.rows) < 200


def test_the_last_good_row_of_a_key_in_a_window_is_written() -> None:
    file = file_of(("a", "1"), ("a", "2"), ("a", BAD), ("b", BAD), ("a", "3"), ("b", "4"))
    assert file.table() == {"a": ("5", "3", "x"), "b": ("6", "4", "x")}
    assert file.right(1_000) == Right(1, written=2, duplicates=4, rejects=())
    # Windows of four rows and of two: in the first one row is bad behind its winner, and one has none.
    assert file.right(40) == Right(2, written=3, duplicates=1, rejects=(4, 5))
    assert file.right(10).windows == 6


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start(order_by=ORDER) as running:
        yield running


def put(server: Server, row: Row) -> None:
    item = {"id": {"S": row.id}, "n": {"N": str(row.n)}, "age": {"N": row.age}, "text": {"S": row.text}}
    server.call("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": item}}]}})


@pytest.mark.parametrize(
    ("order", "failures"),
    [
        ([0, 1, 2], []),
        ([0, 1], ["the table misses 1 items, has 0 too many and 0 of another row: b"]),
        (
            [1, 0, 2],
            [
                "the table misses 0 items, has 0 too many and 1 of another row: a",
                "1 times an older row replaced a newer one: [['a', 2, 1]]",
            ],
        ),
        ([0, 1, 2, 3], ["the table misses 0 items, has 1 too many and 0 of another row: c"]),
    ],
    ids=["right", "missing", "overtaken", "too many"],
)
def test_a_table_that_is_not_the_file_is_told(server: Server, order: list[int], failures: list[str]) -> None:
    server.reset()
    server.create_table(TABLE, KEY)
    file = file_of(("a", "1"), ("a", "2"), ("b", "3"))
    of_another = Row("c", 4, "5", "x")
    for place in order:
        put(server, (*file.rows, of_another)[place])
    checks = Checks()
    checks.table_is(server, file)
    checks.nothing_overtaken(server)
    assert checks.failures == failures


@pytest.mark.parametrize(
    ("lines", "failures"),
    [
        ("2 5", []),
        ("2", ["the reject file has 1 rows (1 different), not 2"]),
        ("5 2", ["the reject file has 2 rows (2 different), not 2, and not in file order"]),
        ("2 5 5", ["the reject file has 3 rows (2 different), not 2"]),
    ],
)
def test_a_reject_file_that_is_not_whole_is_told(lines: str, failures: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_text("\n".join(["_line", *lines.split()]))
    checks = Checks()
    checks.rejects_are(str(path), Right(1, 0, 0, (2, 5)))
    assert checks.failures == failures


def test_what_a_load_leaves_is_told(tmp_path: Path) -> None:
    checks = Checks()
    (tmp_path / "state" / "load").mkdir(parents=True)
    checks.nothing_left(tmp_path)
    assert checks.failures == []
    (tmp_path / "state" / "load" / "journal.jsonl").touch()
    (tmp_path / "rejects.csv.part").touch()
    checks.nothing_left(tmp_path)
    assert checks.failures == ["files are left: rejects.csv.part, journal.jsonl"]


def test_rows_sent_again_belong_to_the_kill_before_them() -> None:
    assert kills.sent_again([1, 2, 3, 2, 3, 4, 1, 5], [3, 6]) == [2, 1]
    assert kills.sent_again([1, 2, 3], [1]) == [0]
    assert kills.sent_again([], []) == []


def test_the_rate_is_back_when_half_a_second_has_it() -> None:
    # 100 items a tenth, nothing for two seconds, then 50 for half a second.
    timeline = [(tenth, 100) for tenth in range(100, 150)]
    timeline += [(tenth, 50 if tenth < 175 else 100) for tenth in range(170, 200)]
    assert outage.rate_before(timeline, 15.0) == 100
    assert outage.recovered(timeline, 17.0, 90) == pytest.approx(0.9)
    assert outage.recovered(timeline, 17.0, 101) is None
    assert outage.recovered([], 17.0, 1) is None


def test_requests_of_another_agent_are_not_the_fast_paths() -> None:
    before, back = {"": 9, "fast": 5, "boto3": 1}, {"": 9, "fast": 6, "boto3": 1}
    assert outage.share_of_main_agent(before, back, {"": 20, "fast": 15, "boto3": 2}) == 0.9


def test_a_run_of_the_helper_long_before_an_expiry_is_needless() -> None:
    runs = [expiry.HelperRun(at, at + 20) for at in (100.0, 118.0, 138.5, 140.0)]
    assert expiry.needless_runs(runs, 20) == 1
    assert expiry.expired_before(runs, 138.0) == 2


def test_memory_that_grows_is_not_flat() -> None:
    megabyte = 1 << 20
    assert memory.growth_of([50 * megabyte] * 20 + [59 * megabyte] * 20).flat is False
    assert memory.growth_of([10 * megabyte] * 5 + [50 * megabyte] * 15).flat is True


def test_what_pytest_passed_is_read() -> None:
    assert promise.passed("...\n===== 1 failed, 20 passed in 3.10s =====") == 20
    assert promise.passed("no tests ran in 0.01s") == promise.passed("") == 0


def result(cell: str, *, late: float, failures: tuple[str, ...] = ()) -> Result:
    figures = (Figure("items applied late", late, Fold.SUM), Figure("took", late, Fold.MOST, " s", 1))
    return Result("faults", cell, 1, "all | well", figures, failures, 1.0)


def test_the_table_has_a_row_for_each_cell() -> None:
    failed = result("a", late=1_000, failures=("one row is lost",))
    results = [result("a", late=2), failed, result("b", late=3)]
    seen = "items applied late 1,002; took at most 1,000.0 s"
    assert table.markdown(results).splitlines()[2:] == [
        rf"| faults, a | 2 | all \| well | {seen} | **FAILED** 1 of 2 |",
        r"| faults, b | 1 | all \| well | items applied late 3; took 3.0 s | ok |",
    ]
    assert table.line(failed).splitlines()[1].strip() == "one row is lost"


def test_a_matrix_without_a_late_write_has_failed() -> None:
    together = faults.of_all([result("a", late=0), result("b", late=0)])
    assert together is not None and not together.ok
    together = faults.of_all([result("a", late=0), result("b", late=1)])
    assert together is not None and together.ok
    assert faults.of_all([Result("kills", "", 1, "")]) is None


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "there is no case 'nonsense'; the cases are faults, kills,"),
        (["--grace", "1"], "--grace 1: writes are applied up to 1.5 s late"),
        (["--rows", "0"], "'0' is not a number of at least 1"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_the_numbers_are_those_of_the_issue() -> None:
    options = build_parser().parse_args([])
    assert (faults.ROWS, faults.SEEDS, kills.KILLS, outage.SECONDS) == (200_000, 20, 20, 20.0)
    assert (expiry.LIFETIME, expiry.EXPIRIES, memory.SECONDS) == (20, 3, 300.0)
    assert (options.case, options.jobs, options.quick) == ([], 1, False)


def all_children(pid: int) -> list[int]:
    """Those that its threads have started too."""
    found: list[str] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += path.read_text().split()
    return [int(child) for child in found]


def test_an_interrupt_ends_what_was_started(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.soak", "outage", "--jobs", "2"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as soak:
        try:
            deadline = time.monotonic() + 20
            # Two servers and two loads.
            while len(started := all_children(soak.pid)) < 4:
                assert soak.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            soak.send_signal(signal.SIGINT)
            out, err = soak.communicate(timeout=10)
        finally:
            soak.kill()
    assert (soak.returncode, out) == (130, "")
    assert "Interrupted" in err
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []
