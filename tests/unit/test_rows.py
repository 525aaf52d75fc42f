import csv
from collections.abc import Iterator

import pytest

from loader.config import RECORD_LIMIT
from loader.decisions.rows import allow_large_cells, is_superseded, parse_records
from loader.model import Dialect, Header, Problem, RejectCode

HEADER = Header(("id", "name", "note"))
COMMAS = Dialect()
REJECTS = Header(("id",), 6)


@pytest.fixture
def default_limit() -> Iterator[None]:
    before = csv.field_size_limit(131_072)
    yield
    csv.field_size_limit(before)


def parse(*records: bytes, header: Header = HEADER, dialect: Dialect = COMMAS) -> list[list[str] | Problem]:
    return parse_records(records, header, dialect)


def test_each_record_gives_its_row_in_order() -> None:
    assert parse(b"1,Ann,x", b'2,"B, b",', b",,") == [["1", "Ann", "x"], ["2", "B, b", ""], ["", "", ""]]


def test_no_records_give_no_rows() -> None:
    assert parse() == []


def test_line_ends_and_nuls_inside_quotes_are_data() -> None:
    assert parse(b'1,"a\nb\r\nc\rd","\0"', b"2,x\0y,z") == [["1", "a\nb\r\nc\rd", "\0"], ["2", "x\0y", "z"]]


def test_quotes_are_read_as_the_csv_module_reads_them() -> None:
    assert parse(b'1,"say ""hi""","a"b"c"', b'2,5" pipe, "q"') == [
        ["1", 'say "hi"', 'ab"c"'],
        ["2", '5" pipe', ' "q"'],
    ]


def test_other_delimiters_and_quotes_are_taken() -> None:
    assert parse(b"1;'a;b';\"", dialect=Dialect(";", "'")) == [["1", "a;b", '"']]


def test_spaces_and_lookalike_line_ends_stay_in_the_cell() -> None:
    row = [" 1 ", "a\u2028b\x85c", "\x0b\x0c\ufeff"]
    assert parse(",".join(row).encode()) == [row]


def test_a_record_with_the_wrong_number_of_cells_is_rejected_alone() -> None:
    assert parse(b"1,a,b", b"2,a", b"3", b"4,a,b,c", b"5,a,b") == [
        ["1", "a", "b"],
        Problem(RejectCode.CELL_COUNT, "has 2 cells, the header has 3"),
        Problem(RejectCode.CELL_COUNT, "has 1 cell, the header has 3"),
        Problem(RejectCode.CELL_COUNT, "has 4 cells, the header has 3"),
        ["5", "a", "b"],
    ]


def test_a_record_that_is_not_utf8_is_rejected_alone_with_its_byte_and_column() -> None:
    before, bad, short, after = parse("1,é,x".encode(), b'2,"caf\xe9, ""x""",y', b"3", b"4,a,b")

    assert before == ["1", "é", "x"]
    assert bad == Problem(
        RejectCode.NOT_UTF8,
        "column name: byte 6 of the record (counted from 0), 0xe9, is not UTF-8",
        "name",
    )
    assert short == Problem(RejectCode.CELL_COUNT, "has 1 cell, the header has 3")
    assert after == ["4", "a", "b"]


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_bytes_that_strict_utf8_forbids_are_rejected(bad: bytes) -> None:
    (problem,) = parse(b"1,ok," + bad)
    assert isinstance(problem, Problem)
    assert (problem.code, problem.column) == (RejectCode.NOT_UTF8, "note")
    assert f"byte 5 of the record (counted from 0), 0x{bad[0]:02x}," in problem.reason


def test_no_column_is_named_where_the_cells_cannot_be_told_apart() -> None:
    assert parse(b"1,\xff") == [
        Problem(RejectCode.NOT_UTF8, "byte 2 of the record (counted from 0), 0xff, is not UTF-8")
    ]


def test_a_bad_byte_in_a_reject_files_own_columns_is_named_too() -> None:
    (problem,) = parse(b"1,f,2,,code,\xff,", header=REJECTS)
    assert isinstance(problem, Problem)
    assert problem.column == "_reason"


def test_a_reject_files_rows_have_all_its_cells() -> None:
    assert parse(b"1,f,2,,code,why,", header=REJECTS) == [["1", "f", "2", "", "code", "why", ""]]


@pytest.mark.parametrize(
    ("mark", "superseded"), [("yes", True), ("TRUE", True), ("1", True), ("", False), ("no", False)]
)
def test_a_superseded_row_is_known_by_its_last_cell(mark: str, superseded: bool) -> None:
    assert is_superseded(["1", "f", "2", "", "code", "why", mark], REJECTS) is superseded


def test_no_row_of_a_plain_file_is_superseded() -> None:
    assert not is_superseded(["1", "a", "yes"], HEADER)


@pytest.mark.usefixtures("default_limit")
def test_a_cell_as_large_as_a_record_can_be_is_read_once_allowed() -> None:
    cell = "x" * 131_073
    with pytest.raises(csv.Error):
        parse(f"1,{cell},".encode())

    allow_large_cells()

    assert parse(f"1,{cell},".encode()) == [["1", cell, ""]]
    assert csv.field_size_limit() == RECORD_LIMIT


@pytest.mark.usefixtures("default_limit")
def test_a_higher_limit_set_by_others_is_left_alone() -> None:
    csv.field_size_limit(RECORD_LIMIT * 2)
    allow_large_cells()
    assert csv.field_size_limit() == RECORD_LIMIT * 2
