"""The reject file: what is in it, in which order, and that no crash and no other run spoils it."""

import csv
import errno
import io
import itertools
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from loader.decisions.checkpoint import RecordedRejects
from loader.decisions.reject_form import RejectForm
from loader.edges import rejects
from loader.edges.reject_names import default_path, part_path
from loader.edges.rejects import RejectFile, discard_part
from loader.errors import BadOption, BadState, DiskFailed
from loader.model import Dialect, Header, Problem, Reject, RejectCode

HEADER = Header(("id", "age"))
FIRST = b"id,age,_file,_line,_column,_code,_reason,_superseded\r\n"
DIALECT = Dialect()
BAD_AGE = Problem(RejectCode.BAD_NUMBER, "is not a number", "age")


def reject(position: int, problem: Problem = BAD_AGE) -> Reject:
    return Reject(position, 5, problem)


@pytest.fixture
def final(tmp_path: Path) -> str:
    return str(tmp_path / "a.rejects.csv")


Recorded = tuple[list[int], list[int]]
"""Positions and lengths of `line`s, each at a hundred times its number."""


def begin(final: str, resume: Recorded | None = None, *, all_done: bool = False) -> RejectFile:
    recorded = None
    if resume is not None:
        positions, lengths = resume
        content = FIRST + b"".join(line(position // 100) for position in positions)
        recorded = RecordedRejects(positions, lengths, xxh3_64_intdigest(content) if positions else None)
    return RejectFile.open(final, b"id,age", HEADER, DIALECT, recorded, all_done=all_done)


def line(number: int) -> bytes:
    return b"%d,x,a.csv,%d,age,bad_number,is not a number,\r\n" % (number, number)


def add(file: RejectFile, *numbers: int) -> list[int]:
    return [file.append(b"%d,x" % number, "a.csv", number, reject(number * 100)) for number in numbers]


def left(final: str) -> list[str]:
    return sorted(os.listdir(os.path.dirname(final)))


# --- one line -------------------------------------------------------------------------------------


def form(columns: int, *, reject_file: bool = False, dialect: Dialect = DIALECT) -> RejectForm:
    names = tuple("abcdefghijklmnopqrst"[:columns])
    return RejectForm(Header(names, 6 if reject_file else 0), dialect)


def test_the_header_is_the_sources_own_and_six_names() -> None:
    assert form(2).first_line(b'"a",b') == b'"a",b,_file,_line,_column,_code,_reason,_superseded\r\n'
    names = b"a,_file,_line,_column,_code,_reason,_superseded"
    assert form(1, reject_file=True).first_line(names) == names + b"\r\n"
    semicolons = RejectForm(Header(("a",)), Dialect(";"))
    assert semicolons.first_line(b"a") == b"a;_file;_line;_column;_code;_reason;_superseded\r\n"


@pytest.mark.parametrize(
    "record",
    [b"1,x", b'"1","x ""y"""', b'1,5" pipe', b'"1"z"z,x', b'1,"a\r\nb"', b"1,\xff\xfe", b"1,a\0b", b"1"],
)
def test_the_records_own_bytes_are_kept(record: bytes) -> None:
    assert (
        form(2).line(record, "a.csv", 7, reject(0))
        == record + b",a.csv,7,age,bad_number,is not a number,\r\n"
    )


def test_a_superseded_reject_is_marked() -> None:
    superseded = Reject(0, 5, BAD_AGE, superseded=True)
    assert form(2).line(b"1,x", "a.csv", 7, superseded).endswith(b",is not a number,true\r\n")


def test_the_six_cells_are_quoted_where_they_must_be() -> None:
    problem = Problem(RejectCode.BAD_NUMBER, 'is "a,b", no number', "the\nage")
    data = form(2).line(b"1,x", 'my, "file".csv', 7, reject(0, problem))
    (row,) = csv.reader(io.StringIO(data.decode(), newline=""))
    assert row == ["1", "x", 'my, "file".csv', "7", "the\nage", "bad_number", 'is "a,b", no number', ""]


def test_a_reason_is_one_line_that_prints() -> None:
    problem = Problem(RejectCode.REFUSED, "no\r\n\x1b[31mway\x00\x7f\x9b\u2028out é名")
    data = form(2).line(b"1,x", "a.csv", 7, reject(0, problem))
    assert data.decode() == "1,x,a.csv,7,,refused,no [31mway out é名,\r\n"


def test_names_that_are_not_utf8_do_not_spoil_the_row() -> None:
    data = form(2).line(b"1,x", "\udcff.csv", 7, reject(0, Problem(RejectCode.REFUSED, "has \ud800")))
    assert data == rb"1,x,\udcff.csv,7,,refused,has \ud800," + b"\r\n"


UNCLOSED = Problem(RejectCode.UNCLOSED_QUOTE, "a quote is never closed")


@pytest.mark.parametrize(("columns", "extra"), [(1, b","), (2, b""), (3, b"")])
@pytest.mark.parametrize("reject_file", [False, True])
def test_an_unclosed_record_is_one_quoted_cell(columns: int, extra: bytes, reject_file: bool) -> None:
    record = b'1,"x\r\n2,y\n3,"'
    data = form(columns, reject_file=reject_file).line(record, "a.csv", 7, reject(0, UNCLOSED))
    cells = b",a.csv,7,,unclosed_quote,a quote is never closed,\r\n"
    assert data == b'"1,""x\r\n2,y\n3,"""' + extra + cells
    rows = list(csv.reader(io.StringIO(data.decode() + "4,z\r\n", newline="")))
    assert rows[0][0] == record.decode()
    assert len(rows[0]) != columns + 6
    assert rows[1:] == [["4", "z"]]


OLD = b",old.csv,9,age,bad_number,is not a number,"
NEW = b",a.csv,7,age,bad_number,is not a number,\r\n"


@pytest.mark.parametrize("own", [b"1,x", b'"1","x,""y"",\r\n"', b'1,5" p', b'"1"z",z', b"\xff,", b","])
@pytest.mark.parametrize("old", [OLD, OLD + b"true", b',"old,"".csv","9","age",x,"a\nb",true', b",,,,,,"])
def test_the_six_cells_of_an_earlier_load_are_replaced(own: bytes, old: bytes) -> None:
    assert form(2, reject_file=True).line(own + old, "a.csv", 7, reject(0)) == own + NEW


def test_another_dialect_is_told_apart_by_its_own_characters() -> None:
    semicolons = form(2, reject_file=True, dialect=Dialect(";", "'"))
    record = b"'1;''2';\"x;o;9;;refused;'a;b';"
    assert semicolons.line(record, "a.csv", 7, reject(0)) == (
        b"'1;''2';\"x;a.csv;7;age;bad_number;is not a number;\r\n"
    )


RAGGED = Problem(RejectCode.CELL_COUNT, "has another number of cells")
NEW_RAGGED = b",a.csv,7,,cell_count,has another number of cells,\r\n"
OLD_RAGGED = b",old.csv,9,,cell_count,has 3 cells,"


@pytest.mark.parametrize("own", [b"1", b"1,2,3", b"1,2,3,4,5,6,7,8,9", b'"a,b"'])
def test_a_ragged_row_keeps_its_cells_and_stays_ragged(own: bytes) -> None:
    ragged = reject(0, RAGGED)
    assert form(2).line(own, "a.csv", 7, ragged) == own + NEW_RAGGED
    again = form(2, reject_file=True)
    assert again.line(own + OLD_RAGGED, "a.csv", 7, ragged) == own + NEW_RAGGED


def test_data_of_the_users_is_never_taken_for_the_six_cells() -> None:
    # The six were removed by hand, from a file with many columns: what is last now is data.
    own = b",".join(b"%d" % number for number in range(10))
    assert form(10, reject_file=True).line(own, "a.csv", 7, reject(0, RAGGED)) == own + NEW_RAGGED


def test_a_row_of_nothing_but_the_six_cells_does_not_become_a_row_of_data() -> None:
    data = form(6, reject_file=True).line(OLD_RAGGED[1:], "a.csv", 7, reject(0, RAGGED))
    assert data == b'""' + NEW_RAGGED


# --- the file -------------------------------------------------------------------------------------


def test_rejects_come_out_in_file_order(final: str) -> None:
    file = begin(final)
    lengths = add(file, 30, 4, 7, 5, 6, 100, 1)
    assert lengths == [len(line(number)) for number in (30, 4, 7, 5, 6, 100, 1)]
    file.sync()
    assert left(final) == ["a.rejects.csv.part"]
    assert Path(part_path(final)).read_bytes() == FIRST + b"".join(map(line, (30, 4, 7, 5, 6, 100, 1)))
    assert file.finish() == final
    assert left(final) == ["a.rejects.csv"]
    assert Path(final).read_bytes() == FIRST + b"".join(map(line, (1, 4, 5, 6, 7, 30, 100)))
    assert stat.S_IMODE(os.stat(final).st_mode) == 0o600


def test_more_than_fits_a_buffer_comes_out_whole(final: str) -> None:
    file = begin(final)
    records = {number: b"%d,%s" % (number, b"y" * (number * 7919 % 100_000)) for number in range(40)}
    for number in sorted(records, key=lambda number: number * 17 % 40):
        file.append(records[number], "a.csv", number, reject(number))
    file.finish()
    with open(final, newline="") as found:
        rows = list(csv.reader(found))[1:]
    assert [",".join(row[:2]).encode() for row in rows] == list(records.values())
    assert [int(row[3]) for row in rows] == list(range(40))


def test_without_rejects_there_is_no_file(final: str) -> None:
    file = begin(final)
    file.sync()
    assert file.part == part_path(final)
    assert left(final) == ["a.rejects.csv.part"]
    assert file.finish() is None
    assert left(final) == []


def test_a_load_stopped_without_rejects_leaves_no_file_and_goes_on(final: str) -> None:
    begin(final).close()
    assert left(final) == []
    file = begin(final, ([], []))
    add(file, 1)
    assert file.finish() == final


def test_a_relative_path_stays_where_it_was(
    final: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = begin("a.rejects.csv")
    add(file, 1)
    monkeypatch.chdir("/")
    assert file.finish() == final


def test_a_stopped_load_goes_on_behind_what_was_recorded(final: str) -> None:
    file = begin(final)
    lengths = add(file, 9, 3)
    file.sync()
    add(file, 5)  # of a shard that the checkpoint does not know
    file.sync()
    file.close()
    assert Path(part_path(final)).read_bytes() == FIRST + line(9) + line(3) + line(5)
    file = begin(final, ([900, 300], lengths))
    assert Path(part_path(final)).read_bytes() == FIRST + line(9) + line(3)
    add(file, 1)
    assert file.finish() == final
    assert Path(final).read_bytes() == FIRST + line(1) + line(3) + line(9)


def test_rejects_of_unfinished_shards_are_shown_and_forgotten(final: str) -> None:
    file = begin(final)
    lengths = add(file, 9)
    file.append_unrecorded(b"8,x", "a.csv", 8, reject(800))
    lengths += add(file, 3)
    file.sync()
    file.close()
    assert Path(part_path(final)).read_bytes() == FIRST + line(9) + line(3) + line(8)
    file = begin(final, ([900, 300], lengths))
    assert file.finish() == final
    assert Path(final).read_bytes() == FIRST + line(3) + line(9)


def test_unfinished_rejects_alone_are_shown_and_forgotten(final: str) -> None:
    file = begin(final)
    file.append_unrecorded(b"8,x", "a.csv", 8, reject(800))
    file.close()
    assert Path(part_path(final)).read_bytes() == FIRST + line(8)
    assert begin(final, ([], [])).finish() is None
    assert left(final) == []


def test_a_part_cut_at_any_byte_goes_on_or_is_refused(final: str) -> None:
    file = begin(final)
    lengths = add(file, 9, 3)
    file.sync()
    add(file, 5)
    file.sync()
    file.close()
    part = Path(part_path(final))
    data = part.read_bytes()
    recorded = len(FIRST) + sum(lengths)
    for cut in range(len(data) + 1):
        part.write_bytes(data[:cut])
        if cut < recorded:
            with pytest.raises(BadState) as caught:
                begin(final, ([900, 300], lengths))
            assert f"knows of {recorded:,} bytes, there are {cut:,}. Give --restart" in str(caught.value)
            assert part.read_bytes() == data[:cut]
        else:
            begin(final, ([900, 300], lengths)).close()
            assert part.read_bytes() == data[:recorded]
        # Where the checkpoint knows of none, the file may be anything that this load may have left.
        part.write_bytes(data[:cut])
        file = begin(final, ([], []))
        assert part.read_bytes() == FIRST
        file.close()
    assert left(final) == []


def test_a_part_that_is_gone_is_refused(final: str) -> None:
    with pytest.raises(BadState, match=r"a\.rejects\.csv\.part is gone or was changed"):
        begin(final, ([900], [50]))


@pytest.mark.parametrize("resume", [None, ([], []), ([900], [50])])
def test_a_part_of_another_load_is_refused_and_left_alone(final: str, resume: Recorded | None) -> None:
    data = b"name,x" + FIRST + b"1,2,3\r\n" * 20
    Path(part_path(final)).write_bytes(data)
    with pytest.raises(BadState, match=r"\.part is of another load\. Move it away"):
        begin(final, resume)
    assert Path(part_path(final)).read_bytes() == data


def test_a_part_with_rejects_is_not_begun_anew(final: str) -> None:
    data = FIRST + line(1)
    Path(part_path(final)).write_bytes(data)
    with pytest.raises(BadState, match="is of another load"):
        begin(final)
    assert Path(part_path(final)).read_bytes() == data


@pytest.mark.parametrize("length", [0, 10, len(FIRST)])
def test_a_part_without_rejects_is_taken_over(final: str, length: int) -> None:
    Path(part_path(final)).write_bytes(FIRST[:length])
    file = begin(final)
    add(file, 1)
    file.finish()
    assert Path(final).read_bytes() == FIRST + line(1)


def test_an_existing_file_is_not_overwritten(final: str) -> None:
    resumes: tuple[Recorded | None, ...] = (None, ([], []))
    for content, resume in itertools.product([b"precious", FIRST], resumes):
        Path(final).write_bytes(content)
        with pytest.raises(BadOption, match="exists, and is not overwritten"):
            begin(final, resume)
        assert Path(final).read_bytes() == content
    assert left(final) == ["a.rejects.csv"]
    os.unlink(final)
    os.symlink("nowhere", final)
    with pytest.raises(BadOption):
        begin(final)


def test_a_file_that_appears_meanwhile_is_not_overwritten(final: str) -> None:
    file = begin(final)
    lengths = add(file, 2, 1)
    file.sync()
    Path(final).write_bytes(b"precious")
    with pytest.raises(DiskFailed, match=r"a\.rejects\.csv has appeared; move it away"):
        file.finish()
    file.close()
    assert Path(final).read_bytes() == b"precious"
    assert left(final) == ["a.rejects.csv", "a.rejects.csv.part"]
    os.unlink(final)
    assert begin(final, ([200, 100], lengths)).finish() == final
    assert Path(final).read_bytes() == FIRST + line(1) + line(2)


@pytest.mark.parametrize("part_left", [True, False])
def test_a_foreign_file_of_the_same_size_does_not_pass_for_ours(final: str, part_left: bool) -> None:
    file = begin(final)
    lengths = add(file, 2, 1)
    file.sync()
    file.close()
    Path(final).write_bytes(FIRST + line(2) + line(3))
    if not part_left:
        os.unlink(part_path(final))
    with pytest.raises(BadOption, match="exists, and is not overwritten"):
        begin(final, ([200, 100], lengths), all_done=True)
    assert Path(final).read_bytes() == FIRST + line(2) + line(3)
    assert left(final) == ["a.rejects.csv", *(["a.rejects.csv.part"] if part_left else [])]


@pytest.mark.parametrize("all_done", [False, True])
def test_a_part_that_was_given_its_final_name_is_to_be_moved_back(final: str, all_done: bool) -> None:
    file = begin(final)
    lengths = add(file, 2, 1)
    add(file, 3)  # of a shard that the checkpoint does not know
    file.sync()
    file.close()
    content = Path(part_path(final)).read_bytes()
    os.rename(part_path(final), final)
    with pytest.raises(BadState) as caught:
        begin(final, ([200, 100], lengths), all_done=all_done)
    assert f"back to {part_path(final)}, or give --restart" in str(caught.value)
    assert left(final) == ["a.rejects.csv"]
    assert Path(final).read_bytes() == content
    os.rename(final, part_path(final))
    assert begin(final, ([200, 100], lengths), all_done=all_done).finish() == final
    assert Path(final).read_bytes() == FIRST + line(1) + line(2)


def test_a_part_that_is_in_order_and_was_moved_is_not_complete_before_all_is_done(final: str) -> None:
    file = begin(final)
    lengths = add(file, 1, 2)
    file.sync()
    file.close()
    os.rename(part_path(final), final)
    with pytest.raises(BadState, match="Move that file back to"):
        begin(final, ([100, 200], lengths))
    assert begin(final, ([100, 200], lengths), all_done=True).finish() == final


# --- what somebody has edited ---------------------------------------------------------------------


def edited(data: bytes, at: int) -> list[bytes]:
    """A byte changed, added and taken away there."""
    return [
        data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
        data[:at] + b"x" + data[at:],
        data[:at] + data[at + 1 :] + b"x",
    ]


def test_an_edited_part_is_refused_and_left_as_it_is(final: str) -> None:
    file = begin(final)
    lengths = add(file, 9, 3)
    file.sync()
    file.append_unrecorded(b"5,x", "a.csv", 5, reject(500))
    file.close()
    part = Path(part_path(final))
    data = part.read_bytes()
    for at in range(len(FIRST), len(FIRST) + sum(lengths)):
        for content in edited(data, at):
            if content == data:
                continue
            part.write_bytes(content)
            with pytest.raises(BadState) as caught:
                begin(final, ([900, 300], lengths))
            assert f"{part} was changed" in str(caught.value)
            assert "--restart" in str(caught.value)
            assert part.read_bytes() == content
    # What is behind them is cut off anyway.
    part.write_bytes(data[:-9] + b"edited")
    assert begin(final, ([900, 300], lengths)).finish() == final
    assert Path(final).read_bytes() == FIRST + line(3) + line(9)


def test_a_large_part_is_read_in_pieces(final: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "_PIECE", 16)
    file = begin(final)
    lengths = add(file, 9, 3, 1)
    file.sync()
    file.close()
    sizes = []
    whole = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return whole(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    file = begin(final, ([900, 300, 100], lengths))
    assert sum(sizes) >= len(FIRST) + sum(lengths)
    assert max(sizes) == len(FIRST)
    monkeypatch.undo()
    assert file.finish() == final


def test_the_checksum_is_over_all_that_was_appended_in_this_run_and_before(final: str) -> None:
    file = begin(final)
    assert file.sum == xxh3_64_intdigest(FIRST)
    lengths = add(file, 9)
    assert file.sum == xxh3_64_intdigest(FIRST + line(9))
    file.append_unrecorded(b"8,x", "a.csv", 8, reject(800))
    assert file.sum == xxh3_64_intdigest(FIRST + line(9))
    file.sync()
    with pytest.raises(ZeroDivisionError), file.all_or_none():
        add(file, 7)
        raise ZeroDivisionError
    assert file.sum == xxh3_64_intdigest(FIRST + line(9))
    file.close()
    file = begin(final, ([900], lengths))
    assert file.sum == xxh3_64_intdigest(FIRST + line(9))
    add(file, 3)
    assert file.sum == xxh3_64_intdigest(FIRST + line(9) + line(3))
    file.close()


@pytest.mark.parametrize("part_left", [True, False])
def test_a_completion_that_was_cut_short_is_done_again(final: str, part_left: bool) -> None:
    file = begin(final)
    lengths = add(file, 2, 1)
    file.sync()
    part = Path(part_path(final)).read_bytes()
    file.finish()
    if part_left:
        Path(part_path(final)).write_bytes(part)
        Path(part_path(final) + ".sorted").write_bytes(b"half")
    file = begin(final, ([200, 100], lengths), all_done=True)
    file.sync()
    assert file.finish() == final
    assert left(final) == ["a.rejects.csv"]
    assert Path(final).read_bytes() == FIRST + line(1) + line(2)


def test_a_file_system_without_links_will_do(final: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    file = begin(final)
    lengths = add(file, 2, 1)
    file.sync()
    Path(final).write_bytes(b"precious")
    with pytest.raises(DiskFailed, match="has appeared"):
        file.finish()
    file.close()
    os.unlink(final)
    assert begin(final, ([200, 100], lengths)).finish() == final
    assert left(final) == ["a.rejects.csv"]
    assert Path(final).read_bytes() == FIRST + line(1) + line(2)
    assert stat.S_IMODE(os.stat(final).st_mode) == 0o600


# --- others, and the disk -------------------------------------------------------------------------

HOLD = """
import sys
from loader.model import Dialect, Header
from loader.edges.rejects import RejectFile
held = RejectFile.open(sys.argv[1], b"id,age", Header(("id", "age")), Dialect())
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_run_is_refused_and_told_who_holds_it(final: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, final],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for attempt in (lambda: begin(final), lambda: begin(final, ([], [])), lambda: discard_part(final)):
            with pytest.raises(BadState, match=rf"\.part is in use by another run \(process {holder.pid}\)"):
                attempt()
        holder.kill()
    file = begin(final)
    file.close()


def test_what_a_given_up_load_left_is_discarded(final: str) -> None:
    file = begin(final)
    add(file, 1)
    file.sync()
    file.close()
    discard_part(final)
    assert left(final) == []
    discard_part(final)
    assert left(final) == []
    discard_part(os.path.join(final, "no", "where"))


def test_a_link_is_not_followed(final: str, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    os.symlink("target", part_path(final))
    with pytest.raises(BadState, match=r"a\.rejects\.csv\.part is a symbolic link, which is not followed"):
        begin(final)
    assert (tmp_path / "target").read_text() == "precious"


def test_what_a_failed_sync_may_have_lost_is_written_anew(
    final: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells of lost pages once: the next sync of the same file succeeds without them."""
    file = begin(final)
    add(file, 1)
    file.sync()
    add(file, 2)
    before = os.path.getsize(part_path(final))

    def failing(descriptor: int) -> None:
        os.ftruncate(descriptor, before)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(DiskFailed, match=r"part cannot be written: Input/output error"):
            file.sync()
    file.sync()
    assert Path(part_path(final)).read_bytes() == FIRST + line(1) + line(2)
    assert file.finish() == final


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadOption, match=r"cannot be made: No such file or directory\. Name another with --rejects"
    ):
        begin(str(tmp_path / "no" / "x.csv"))


def test_a_full_disk_is_told_of_and_another_try_leaves_out_nothing(final: str, full_disk: None) -> None:
    file = begin(final)
    add(file, *range(200, 0, -1))
    kept = []  # as the error of a load is, while its last rejects are still entered
    for number in (202, 201):
        with pytest.raises(DiskFailed, match="cannot be written: File too large") as caught:
            file.sync()
        kept.append(caught.value)
        add(file, number)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    file.sync()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    with pytest.raises(DiskFailed, match="File too large"):
        file.finish()
    assert left(final) == ["a.rejects.csv.part"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    assert file.finish() == final
    assert Path(final).read_bytes() == FIRST + b"".join(line(number) for number in range(1, 203))


# --- the default place ----------------------------------------------------------------------------


def test_the_default_name_is_the_first_that_is_free(tmp_path: Path) -> None:
    directory = str(tmp_path)
    assert default_path("/data/people.csv", directory) == f"{directory}/people.rejects.csv"
    (tmp_path / "people.rejects.csv").touch()
    assert default_path("people.csv", directory) == f"{directory}/people.rejects-2.csv"
    (tmp_path / "people.rejects-2.csv.part").touch()
    assert default_path("../people.csv", directory) == f"{directory}/people.rejects-3.csv"
    (tmp_path / "people.rejects-3.csv").symlink_to("nowhere")
    assert default_path("people.csv", directory) == f"{directory}/people.rejects-4.csv"
    assert default_path("no-suffix", directory) == f"{directory}/no-suffix.rejects.csv"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/part-*.csv", "part.rejects.csv"),
        ("part-[0-9]?.csv", "part.rejects.csv"),
        ("2025-*-eu.csv", "2025-eu.rejects.csv"),
        ("*-eu.csv", "eu.rejects.csv"),
        ("people*", "people.rejects.csv"),
        ("x.*", "x.rejects.csv"),
        ("data/*.csv", "rejects.csv"),
        ("data/**", "rejects.csv"),
        ("a[1].csv", "a.rejects.csv"),
        ("a].csv", "a.rejects.csv"),
        ("day*/people--1_.csv", "people--1_.rejects.csv"),
    ],
)
def test_the_default_name_of_a_pattern_is_none(tmp_path: Path, source: str, name: str) -> None:
    assert default_path(source, str(tmp_path)) == f"{tmp_path}/{name}"


def test_the_default_name_of_a_pattern_with_nothing_left_is_numbered_too(tmp_path: Path) -> None:
    (tmp_path / "rejects.csv").touch()
    assert default_path("*.csv", str(tmp_path)) == f"{tmp_path}/rejects-2.csv"


def test_the_default_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_path("a.csv", ".") == f"{tmp_path}/a.rejects.csv"


@pytest.mark.parametrize("stem", ["é" * 120, "x" * 251])
def test_a_long_name_leaves_room_for_the_endings(tmp_path: Path, stem: str) -> None:
    final = default_path(f"/data/{stem}.csv", str(tmp_path))
    file = begin(final)
    add(file, 1)
    assert file.finish() == final


@pytest.mark.parametrize("limit", [1, 40, 1 << 20])
def test_rejects_that_belong_together_are_all_there_or_none(
    final: str, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Whether or not some of them had to go to the disk before the others came."""
    monkeypatch.setattr(rejects, "_WAITING", limit)
    file = begin(final)
    add(file, 9)
    with pytest.raises(ZeroDivisionError), file.all_or_none():
        add(file, 8, 7, 6)
        raise ZeroDivisionError
    with file.all_or_none():
        lengths = add(file, 5, 2)
    file.sync()
    assert Path(part_path(final)).read_bytes()[: file._length] == FIRST + line(9) + line(5) + line(2)
    file.close()
    assert Path(part_path(final)).read_bytes() == FIRST + line(9) + line(5) + line(2)
    file = begin(final, ([900, 500, 200], [len(line(9)), *lengths]))
    assert file.finish() == final
    assert Path(final).read_bytes() == FIRST + line(2) + line(5) + line(9)
