import csv
import hashlib
import io
import os
import resource
import threading
import time
from collections import Counter
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from loader.edges.generate import (
    DEFAULT_ROW_BYTES,
    MAX_ROW_BYTES,
    MIN_ROW_BYTES,
    GenerateSpec,
    generate,
    rows_text,
)

COLUMNS = ["id", "first_name", "last_name", "email", "age", "balance", "active", "joined", "city", "note"]


def text_of(spec: GenerateSpec) -> str:
    return "".join(rows_text(spec))


def rows_of(spec: GenerateSpec) -> list[dict[str, str]]:
    header, *rows = csv.reader(io.StringIO(text_of(spec), newline=""), strict=True)
    assert all(len(row) == len(header) for row in rows)
    return [dict(zip(header, row, strict=True)) for row in rows]


def average(spec: GenerateSpec) -> float:
    _, _, body = text_of(spec).encode().partition(b"\n")
    return len(body) / spec.count


def sort_keys(rows: list[dict[str, str]]) -> list[tuple[str, int]]:
    return [(row["id"], int(row["seq"])) for row in rows]


@pytest.fixture(scope="module")
def ten_thousand() -> list[dict[str, str]]:
    return rows_of(GenerateSpec(10_000))


def test_every_row_is_there_with_a_key_of_its_own(ten_thousand: list[dict[str, str]]) -> None:
    assert len({row["id"] for row in ten_thousand}) == len(ten_thousand) == 10_000
    assert list(ten_thousand[0]) == COLUMNS


def test_the_cells_have_the_form_their_column_promises(ten_thousand: list[dict[str, str]]) -> None:
    for row in ten_thousand:
        assert row["id"] and row["first_name"] and "@example." in row["email"]
        assert row["email"].isascii()
        assert row["age"] == "" or 18 <= int(row["age"]) <= 95
        assert row["balance"] == "" or Decimal(row["balance"]).as_tuple().exponent == -2
        assert row["active"] in ("true", "false")
        assert date.fromisoformat(row["joined"]).isoformat() == row["joined"]
    assert any(row["balance"].startswith("-") for row in ten_thousand)
    assert len({row["active"] for row in ten_thousand}) == 2


def test_the_awkward_cells_are_among_them(ten_thousand: list[dict[str, str]]) -> None:
    notes = [row["note"] for row in ten_thousand]
    for awkward in (",", '"', "\n", "\n\n", "é", "注", "📦"):
        assert sum(awkward in note for note in notes) > 100, awkward
    assert any(note.startswith('"') for note in notes)
    assert any("," in row["city"] for row in ten_thousand)
    for column in ("first_name", "last_name", "city", "note"):
        assert any(not row[column].isascii() for row in ten_thousand), column
    for column in ("last_name", "age", "balance", "city", "note"):
        assert 50 < sum(row[column] == "" for row in ten_thousand) < 1_000, column


def test_lines_end_with_a_newline_alone() -> None:
    text = text_of(GenerateSpec(2_000))
    assert "\r" not in text
    assert text.endswith("\n")


def test_no_rows_is_a_header_alone() -> None:
    assert list(rows_text(GenerateSpec(0, duplicates=0.5))) == [",".join(COLUMNS) + "\n"]
    with_seq = ",".join(["id", "seq", *COLUMNS[1:]]) + "\n"
    assert list(rows_text(GenerateSpec(0, sorted_keys=3))) == [with_seq]


def test_one_row_is_one_row() -> None:
    assert len(rows_of(GenerateSpec(1))) == 1
    assert len(rows_of(GenerateSpec(1, duplicates=0.9))) == 1
    assert sort_keys(rows_of(GenerateSpec(1, sorted_keys=5))) == [("user-00000001", 1)]


def test_text_comes_in_pieces_the_header_first() -> None:
    header, *pieces = rows_text(GenerateSpec(20_000))
    assert header == ",".join(COLUMNS) + "\n"
    assert len(pieces) == 5


@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        (GenerateSpec(9_000), "6eff51892859f3a3"),
        (GenerateSpec(9_000, seed=2**70, row_bytes=300, duplicates=0.25), "dbdb2f41ad0bc847"),
        (GenerateSpec(9_000, seed=7, duplicates=0.1, sorted_keys=13), "adc5ecf87b0b285a"),
    ],
)
def test_a_spec_gives_these_bytes_on_every_machine(spec: GenerateSpec, digest: str) -> None:
    """Files of earlier versions are compared with: a change of these bytes is a change users see."""
    assert hashlib.sha256(text_of(spec).encode()).hexdigest()[:16] == digest


def test_another_seed_gives_other_bytes() -> None:
    assert len({text_of(GenerateSpec(100, seed=seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize("sorted_keys", [None, 7])
@pytest.mark.parametrize(("count", "share"), [(10_000, 0.3), (9_999, 0.123), (50_000, 0.0001), (10, 0.99)])
def test_exactly_the_share_asked_for_repeats_a_key(count: int, share: float, sorted_keys: int | None) -> None:
    rows = rows_of(GenerateSpec(count, duplicates=share, sorted_keys=sorted_keys))
    keys = {(row["id"], row.get("seq")) for row in rows}
    # Ten rows of which ten repeat an earlier one cannot be: the first repeats nothing.
    assert len(rows) - len(keys) == min(round(count * share), count - 1)


@pytest.mark.parametrize("sorted_keys", [None, 7])
def test_duplicates_are_spread_over_the_file_and_have_other_values(sorted_keys: int | None) -> None:
    seen: dict[tuple[str, str | None], dict[str, str]] = {}
    by_tenth: Counter[int] = Counter()
    for position, row in enumerate(rows_of(GenerateSpec(20_000, duplicates=0.2, sorted_keys=sorted_keys))):
        key = (row["id"], row.get("seq"))
        if key in seen:
            by_tenth[position // 2_000] += 1
            assert row != seen[key]
        seen[key] = row
    assert all(340 <= by_tenth[tenth] <= 460 for tenth in range(10))


def test_duplicates_repeat_near_and_far_rows() -> None:
    last: dict[str, int] = {}
    distances = []
    for position, row in enumerate(rows_of(GenerateSpec(20_000, duplicates=0.2))):
        if row["id"] in last:
            distances.append(position - last[row["id"]])
        last[row["id"]] = position
    assert min(distances) < 50
    assert max(distances) > 15_000


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_sorted_keys_are_in_order_and_evenly_divided(share: float) -> None:
    keys = sort_keys(rows_of(GenerateSpec(10_001, duplicates=share, sorted_keys=10)))
    assert keys == sorted(keys)
    assert len(set(keys)) == 10_001 - round(10_001 * share)
    sizes = Counter(partition for partition, _ in set(keys))
    assert len(sizes) == 10
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert all(b[1] - a[1] in (0, 1) for a, b in pairwise(keys) if a[0] == b[0])
    assert min(seq for _, seq in keys) == 1


def test_more_partitions_than_rows_gives_each_row_its_own() -> None:
    keys = sort_keys(rows_of(GenerateSpec(5, sorted_keys=100)))
    assert keys == [(f"user-0000000{number}", 1) for number in range(1, 6)]


def test_the_average_row_is_of_the_default_size() -> None:
    assert 200 <= average(GenerateSpec(10_000)) <= 225
    assert average(GenerateSpec(10_000)) == pytest.approx(DEFAULT_ROW_BYTES, rel=0.001)


@pytest.mark.parametrize("sorted_keys", [None, 3])
@pytest.mark.parametrize("row_bytes", [MIN_ROW_BYTES, 150, 1_000, 20_000])
@pytest.mark.parametrize("count", [1, 2, 3, 25, 5_000])
def test_the_average_row_is_of_the_size_asked_for(
    count: int, row_bytes: int, sorted_keys: int | None
) -> None:
    count = min(count, 4_000_000 // row_bytes)
    spec = GenerateSpec(count, row_bytes=row_bytes, sorted_keys=sorted_keys)
    assert average(spec) == pytest.approx(row_bytes, rel=0.02)


def test_small_rows_still_have_awkward_cells() -> None:
    notes = [row["note"] for row in rows_of(GenerateSpec(10_000, row_bytes=MIN_ROW_BYTES))]
    for awkward in (",", '"', "\n", "é"):
        assert sum(awkward in note for note in notes) > 100, awkward
    assert "" in notes


def test_rows_near_the_size_limit_of_an_item_do_not_pass_it() -> None:
    _, *pieces = rows_text(GenerateSpec(50, row_bytes=400_000))
    rows = [row for piece in pieces for row in piece.encode().split(b"\nuser-")]
    assert max(map(len, rows)) < 405_000


def test_a_row_may_be_larger_than_a_record_may() -> None:
    _, row = rows_text(GenerateSpec(1, row_bytes=MAX_ROW_BYTES))
    assert len(row.encode()) == MAX_ROW_BYTES


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"count": -1}, "--count -1: give a number of at least 0."),
        ({"seed": -1}, "--seed -1: give a number of at least 0."),
        ({"row_bytes": 119}, "--row-bytes 119: give a number from 120 to 33554432."),
        ({"row_bytes": 0}, "--row-bytes 0: give a number from 120 to 33554432."),
        ({"row_bytes": MAX_ROW_BYTES + 1}, "--row-bytes 33554433: give a number from 120 to 33554432."),
        ({"duplicates": 1.0}, "--duplicates 1: give a share of at least 0 and less than 1."),
        ({"duplicates": -0.1}, "--duplicates -0.1: give a share of at least 0 and less than 1."),
        ({"duplicates": float("nan")}, "--duplicates nan: give a share of at least 0 and less than 1."),
        ({"sorted_keys": 0}, "--sorted-keys 0: give a number of at least 1."),
    ],
)
def test_a_spec_out_of_range_is_refused_in_a_sentence(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        GenerateSpec(**{"count": 1, **options})
    assert str(refused.value) == sentence


def test_the_file_is_the_text_and_its_size_is_returned(tmp_path: Path) -> None:
    spec = GenerateSpec(10_000, seed=3)
    path = tmp_path / "rows.csv"
    seen: list[int] = []
    size = generate(path, spec, seen.append)
    assert path.read_bytes() == text_of(spec).encode()
    assert size == path.stat().st_size
    assert seen == [0, 4096, 8192, 10_000]
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("earlier")
    during: list[tuple[str, int]] = []

    def look(_rows: int) -> None:
        during.append((path.read_text(), len(os.listdir(tmp_path))))

    generate(path, GenerateSpec(5_000), look)
    assert during == [("earlier", 2)] * 3
    assert os.listdir(tmp_path) == ["rows.csv"]
    assert path.stat().st_size > 1_000_000


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    def stop(rows: int) -> None:
        if rows:
            raise error

    with pytest.raises(error):
        generate(tmp_path / "rows.csv", GenerateSpec(10_000), stop)
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_grow_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            generate(path, GenerateSpec(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_errors_of_the_file_system_come_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        generate(tmp_path / "none" / "rows.csv", GenerateSpec(1))
    with pytest.raises(IsADirectoryError):
        generate(tmp_path, GenerateSpec(1))
    with pytest.raises(IsADirectoryError):
        generate(f"{tmp_path}/new/", GenerateSpec(1))
    with pytest.raises(FileNotFoundError):
        generate("", GenerateSpec(1))
    with pytest.raises(OSError, match="No space left"):
        generate("/dev/full", GenerateSpec(1))
    assert os.listdir(tmp_path) == []
    assert Path("/dev/full").is_char_device()


def test_a_name_as_long_as_the_file_system_takes_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".csv")
    generate(path, GenerateSpec(1))
    assert os.listdir(tmp_path) == [path.name]


def test_a_link_stays_a_link_to_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "rows.csv")
    generate(tmp_path / "link.csv", GenerateSpec(3))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "rows.csv").read_bytes() == text_of(GenerateSpec(3)).encode()


def test_a_pipe_is_written_straight(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    size = generate(path, GenerateSpec(5_000))
    reader.join(10)
    assert read == [text_of(GenerateSpec(5_000)).encode()]
    assert len(read[0]) == size
    assert path.is_fifo()


def test_a_hundred_thousand_rows_take_less_than_a_second_of_one_core(tmp_path: Path) -> None:
    begin = time.process_time()
    generate(tmp_path / "rows.csv", GenerateSpec(100_000))
    assert time.process_time() - begin < 1
