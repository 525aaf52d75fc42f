"""For any record: what csv reads back from the reject file is the record's own cells and the six."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from loader.decisions.reject_form import RejectForm
from loader.decisions.scan import RecordScanner
from loader.model import Dialect, Header, Problem, Reject, RejectCode

SPECIAL = st.sampled_from(',"\r\n aé;\0')
TEXT = st.text(SPECIAL | st.characters(codec="utf-8"), max_size=12)


def records(data: bytes, dialect: Dialect) -> list[tuple[bytes, bool]]:
    """Each record, and whether its quotes are closed."""
    scanner = RecordScanner(dialect)
    borders = scanner.feed(data, final=True)
    found = [(data[start:end], True) for start, end in zip(borders.starts, borders.ends, strict=True)]
    if found and scanner.quoted:
        found[-1] = (found[-1][0], False)
    return found


def cells(data: bytes) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row]


@given(st.text(SPECIAL, max_size=30), TEXT, TEXT, st.integers(1, 4), st.integers(1, 1 << 40), st.booleans())
def test_a_reject_reads_back_as_the_record_and_six_cells(
    text: str, file: str, reason: str, columns: int, line: int, superseded: bool
) -> None:
    form = RejectForm(Header(tuple("abcd"[:columns])), Dialect())
    again = RejectForm(Header(tuple("abcd"[:columns]), 6), Dialect())
    for record, closed in records(text.encode(), Dialect()):
        code = RejectCode.CELL_COUNT if closed else RejectCode.UNCLOSED_QUOTE
        reject = Reject(0, len(record), Problem(code, reason, file), superseded)
        data = form.line(record, file, line, reject)
        (row,) = cells(data)
        told = [file, str(line), file, code.value, row[-2], "true" if superseded else ""]
        assert row[-6:] == told
        assert [(data[:-2], True)] == records(data, Dialect())
        if closed:
            own = cells(record)[0]
            assert row[:-6] == own
            assert data.startswith(record + b",")
            # Loaded and rejected again, it comes out the same.
            assert again.line(data[:-2], file, line, reject) == data
        else:
            assert row[0] == record.decode()
            assert len(row) != columns + 6


@given(
    st.lists(TEXT, min_size=1, max_size=3), st.lists(TEXT, min_size=6, max_size=6), st.sampled_from(",;|\t")
)
def test_six_cells_are_replaced_whatever_they_hold(own: list[str], old: list[str], delimiter: str) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerow(own + old)
    record = out.getvalue().removesuffix("\r\n").encode()
    form = RejectForm(Header(tuple("abc"[: len(own)]), 6), Dialect(delimiter))
    reject = Reject(0, 1, Problem(RejectCode.REFUSED, "no"))
    data = form.line(record, "a.csv", 3, reject).decode()
    (row,) = csv.reader(io.StringIO(data, newline=""), delimiter=delimiter)
    assert row == [*own, "a.csv", "3", "", "refused", "no", ""]
