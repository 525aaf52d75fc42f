"""Record borders against `csv.reader`, for any text and any way to cut it into chunks."""

import csv
import io
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader.decisions.scan import RecordScanner
from loader.model import Dialect

EXCEL = Dialect()
START = 1000

# Mostly what decides; \x0b, \x0c, \x85 and U+2028 end a line for str.splitlines, and for no CSV reader.
SIGNIFICANT = '""""",,,\r\r\n\n a5'
ALPHABET = SIGNIFICANT + "\0\x0b\x0c\x85\u2028é😀"
texts = st.text(st.sampled_from(ALPHABET), max_size=40)

Record = tuple[list[str], int]


@pytest.fixture(autouse=True, scope="module")
def any_cell_size() -> Iterator[None]:
    before = csv.field_size_limit(1 << 30)
    yield
    csv.field_size_limit(before)


def read(text: str, dialect: Dialect = EXCEL) -> list[Record]:
    """What `csv.reader` finds: each row that is not a blank line, and the line ends before it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, quotechar=dialect.quote)
    found, before = [], 0
    for row in reader:
        if row:
            found.append((row, before))
        before = reader.line_num
    return found


def never_closed(text: str) -> bool:
    """Whether the text ends inside quotes: then what follows belongs to the last cell."""
    return [row for row, _ in read(text + "\nz")][-1] != ["z"]


def scan(
    data: bytes, cuts: Iterable[int] = (), dialect: Dialect = EXCEL
) -> tuple[list[Record], RecordScanner]:
    """The records found when the data is fed cut at `cuts`, parsed, and the line ends before each."""
    scanner = RecordScanner(dialect, START)
    found = []
    edges = [0, *sorted(cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        found.append(scanner.feed(data[start:stop]))
    found.append(scanner.feed(b"", final=True))
    records = []
    for borders in found:
        for start, end, line in zip(*(column.tolist() for column in borders), strict=True):
            content = data[start - START : end - START].decode()
            rows = list(csv.reader([content], delimiter=dialect.delimiter, quotechar=dialect.quote))
            assert len(rows) == 1
            records.append((rows[0], line))
    return records, scanner


def cut_at_random(size: int, dice: random.Random) -> Sequence[int]:
    return [dice.randint(0, size) for _ in range(dice.randint(0, 6))]


@given(texts, st.data())
@settings(max_examples=1500)
def test_records_and_lines_are_those_of_csv_however_the_text_is_cut(text: str, data: st.DataObject) -> None:
    size = len(text.encode())
    cuts = data.draw(st.lists(st.integers(0, size), max_size=6) | st.just(list(range(size))), label="cuts")
    records, scanner = scan(text.encode(), cuts)
    assert records == read(text)
    assert scanner.quoted == never_closed(text)


@pytest.mark.parametrize("dialect", [Dialect(";", "'"), Dialect("\t"), Dialect("|", "^"), Dialect("]", "\\")])
@given(texts, st.integers(0, 40))
@settings(max_examples=150)
def test_other_delimiters_and_quotes_take_the_place_of_theirs(dialect: Dialect, text: str, cut: int) -> None:
    text = text.translate({ord(","): dialect.delimiter, ord('"'): dialect.quote})
    data = text.encode()
    assert scan(data, [min(cut, len(data))], dialect)[0] == read(text, dialect)


def test_every_short_text_is_read_as_csv_reads_it() -> None:
    dice = random.Random(1)
    for length in range(7):
        for characters in itertools.product('",\r\na', repeat=length):
            text = "".join(characters)
            data = text.encode()
            expected = read(text)
            assert scan(data)[0] == expected, text
            cut = dice.randint(0, length)
            assert scan(data, [cut])[0] == expected, (text, cut)


def test_many_random_texts_are_read_as_csv_reads_them() -> None:
    dice = random.Random(2)
    for _ in range(4000):
        text = "".join(dice.choices(ALPHABET, k=dice.randint(0, 80)))
        data = text.encode()
        cuts = cut_at_random(len(data), dice)
        assert scan(data, cuts)[0] == read(text), (text, cuts)


@pytest.mark.parametrize(
    "alphabet", [ALPHABET, "ab,\r", "ab,\r\n", 'abcdefgh"",\n', "abcdefgh\r\n\r\n,", '"a', "a"]
)
def test_a_text_of_many_pieces_is_read_as_csv_reads_it(alphabet: str) -> None:
    dice = random.Random(3)
    words = ["".join(dice.choices(alphabet, k=dice.randint(1, 9))) for _ in range(1000)]
    text = "".join(dice.choices(words, k=110_000))
    data = text.encode()
    expected = read(text)
    assert scan(data)[0] == expected
    assert scan(data, cut_at_random(len(data), dice))[0] == expected


@pytest.mark.parametrize("before", ["", "a"])
def test_a_crlf_is_one_line_end_wherever_it_lies(before: str) -> None:
    text = before + "\r\n" * 400_000 + "b"
    assert scan(text.encode())[0] == read(text)


@given(texts, st.integers(0, 40))
@example("a\r\nb", 2)
@settings(max_examples=500)
def test_a_scan_can_begin_anew_where_a_record_is_open(text: str, cut: int) -> None:
    data = text.encode()
    cut = min(cut, len(data))
    scanner = RecordScanner(EXCEL, START)
    done = len(scanner.feed(memoryview(data)[:cut]).starts)
    rest = data[scanner.open_start - START :]
    again, second = scan(rest)
    assert [(row, line + scanner.open_line) for row, line in again] == read(text)[done:]
    whole = scan(data)[1]
    assert second.lines + scanner.open_line == whole.lines
    assert second.quoted == whole.quoted


@given(texts)
@settings(max_examples=500)
def test_after_the_end_everything_is_accounted_for(text: str) -> None:
    scanner = scan(text.encode())[1]
    assert scanner.open_start == START + len(text.encode())
    # Python's universal newlines are the same three.
    assert scanner.lines == io.StringIO(text, newline=None).read().count("\n")


def test_positions_leave_out_the_line_end() -> None:
    borders = RecordScanner(EXCEL, 100).feed(b'a,b\r\n\r\n"x\r\n",y\rlast\n', final=True)
    assert borders.starts.tolist() == [100, 107, 115]
    assert borders.ends.tolist() == [103, 114, 119]
    assert borders.lines.tolist() == [0, 2, 4]


def test_a_cr_at_the_end_waits_for_what_follows() -> None:
    scanner = RecordScanner(EXCEL)
    assert scanner.feed(b"a\r").starts.tolist() == []
    assert (scanner.open_start, scanner.lines) == (0, 0)
    assert scanner.feed(b"\nb").ends.tolist() == [1]
    assert (scanner.open_start, scanner.open_line, scanner.lines) == (3, 1, 1)


def test_a_cr_at_the_very_end_waits_for_nothing() -> None:
    scanner = RecordScanner(EXCEL)
    assert scanner.feed(b"a\r", final=True).ends.tolist() == [1]
    assert (scanner.open_start, scanner.lines) == (2, 1)


def test_a_quote_that_never_closes_is_told_and_its_record_returned() -> None:
    scanner = RecordScanner(EXCEL)
    assert scanner.feed(b'a\nb,"c\nd\n').starts.tolist() == [0]
    assert scanner.quoted
    assert (scanner.open_start, scanner.open_line, scanner.lines) == (2, 1, 3)
    borders = scanner.feed(b"", final=True)
    assert (borders.starts.tolist(), borders.ends.tolist(), borders.lines.tolist()) == ([2], [9], [1])
    assert scanner.quoted
