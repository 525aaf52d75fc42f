"""Windows and chunks: whole records, borders that the file alone decides, lines that are right."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.decisions.index import index_chunk
from loader.decisions.keys import KeySpec
from loader.decisions.plan import Chunk
from loader.decisions.scan import RecordScanner
from loader.edges.source import Source
from loader.engines import windows
from loader.engines.windows import CHUNK, Cutter, Place, WindowIndex
from loader.errors import RecordTooLarge
from loader.model import Dialect

DIALECT = Dialect()
HEADER = b"id\n"
"""Of the first file; each further one has one more blank line before it."""
SPEC = KeySpec((0,), ("S",))
TEXTS = st.text(st.sampled_from(list('",\r\n ab')), max_size=60).map(str.encode)
SIZES = st.integers(1, 80)

Open = Callable[..., Source]


def header_of(file: int) -> bytes:
    return b"\n" * file + HEADER


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens a source with a file for each of these texts, behind a header each."""
    folder = tmp_path_factory.mktemp("windows")

    def open_source(*texts: bytes) -> Source:
        paths = [folder / f"{number}.csv" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(header_of(paths.index(path)) + text)
        return Source.open([str(path) for path in paths], DIALECT)

    return open_source


def first_place(source: Source) -> Place:
    span = source.files[0]
    return Place(0, span.base + span.data_start, span.first_line)


@dataclass
class Window:
    begin: Place
    end: Place
    start: int | None
    chunks: list[Chunk] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)


def cut(
    source: Source,
    window_size: int,
    *,
    chunk_size: int = CHUNK,
    limit: int | None = None,
    start: Place | None = None,
) -> list[Window]:
    """All windows with the records of their chunks, and the source let go."""
    place = start or first_place(source)
    cutter = Cutter(source, DIALECT, window_size, limit, place, chunk_size=chunk_size)
    found: list[Window] = []
    while not cutter.exhausted:
        begun = WindowIndex(len(found), cutter.place)
        records: list[bytes] = []
        while (chunk := cutter.next_chunk(begun)) is not None:
            records += records_of(source, chunk)
        assert begun.records == len(records)
        found.append(Window(begun.begin, cutter.place, begun.start, begun.chunks, records))
    source.close()
    return found


def records_of(source: Source, chunk: Chunk) -> list[bytes]:
    """What a worker finds in a chunk; it has to be as many records as the cutter saw."""
    data = source.read(chunk.start, chunk.stop - chunk.start)
    index = index_chunk(data, chunk.start, SPEC, DIALECT, 1, 1)
    assert len(index.starts) == chunk.records > 0
    sizes = index.sizes & np.uint32((1 << 31) - 1)
    return [
        source.read(start, size) for start, size in zip(index.starts.tolist(), sizes.tolist(), strict=True)
    ]


def contents(found: Sequence[Window]) -> list[list[bytes]]:
    """The records of each window; blank lines at its end may make a window without any."""
    return [window.records for window in found if window.records]


def expected(texts: Sequence[bytes], window_size: int, limit: int | None = None) -> list[list[bytes]]:
    """The rule of the docstring, applied to all records in one go."""
    records: list[tuple[int, bytes]] = []
    base = 0
    for file, text in enumerate(texts):
        borders = RecordScanner(DIALECT).feed(text, final=True)
        base += len(header_of(file))
        records += [
            (base + start, text[start:end])
            for start, end in zip(borders.starts.tolist(), borders.ends.tolist(), strict=True)
        ]
        base += len(text)
    found: list[list[bytes]] = []
    begin = -window_size
    for start, record in records[:limit]:
        if start >= begin + window_size:
            found.append([])
            begin = start
        found[-1].append(record)
    return found


# --- where windows end ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window_size", "counts"),
    [
        (1, [1, 1, 1, 1, 1, 1]),
        (3, [1, 1, 1, 1, 1, 1]),
        (4, [2, 2, 2]),
        (6, [2, 2, 2]),
        (7, [3, 3]),
        (15, [5, 1]),
        (16, [6]),
        (1 << 30, [6]),
    ],
)
def test_a_window_ends_before_the_first_record_that_begins_its_size_behind(
    opened: Open, window_size: int, counts: list[int]
) -> None:
    found = cut(opened(b"aa\n" * 6), window_size)
    assert [len(window.records) for window in found] == counts


def test_a_record_that_began_in_the_window_is_of_it_however_long(opened: Open) -> None:
    long = b'"' + b"x\n" * 500 + b'"'
    assert contents(cut(opened(b"a\n" + long + b"\nb\n"), 4)) == [[b"a", long], [b"b"]]


def test_blank_lines_before_the_first_record_count_for_nothing(opened: Open) -> None:
    found = cut(opened(b"\n" * 50 + b"aa\nbb\ncc\n"), 6)
    assert contents(found) == [[b"aa", b"bb"], [b"cc"]]
    assert found[0].start == len(HEADER) + 50


@given(text=TEXTS, window_size=SIZES, chunk_size=SIZES)
def test_windows_do_not_depend_on_how_the_file_is_read(
    opened: Open, text: bytes, window_size: int, chunk_size: int
) -> None:
    rule = expected([text], window_size)
    assert contents(cut(opened(text), window_size, chunk_size=chunk_size)) == rule
    assert contents(cut(opened(text), window_size)) == rule


@given(texts=st.lists(TEXTS, min_size=2, max_size=4), window_size=SIZES, chunk_size=SIZES)
def test_nor_do_those_of_several_files(
    opened: Open, texts: list[bytes], window_size: int, chunk_size: int
) -> None:
    rule = expected(texts, window_size)
    assert contents(cut(opened(*texts), window_size, chunk_size=chunk_size)) == rule


def test_a_window_holds_no_more_records_than_its_index_may(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_RECORDS", 3)
    for chunk_size in (1, 2, 5, CHUNK):
        found = cut(opened(b"a\nb\nc\nd\n", b"e\nf\ng\n"), 1 << 30, chunk_size=chunk_size)
        assert contents(found) == [[b"a", b"b", b"c"], [b"d", b"e", b"f"], [b"g"]]


# --- chunks ---------------------------------------------------------------------------------------


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), window_size=SIZES, chunk_size=SIZES)
def test_chunks_lie_one_behind_the_other_in_one_file_each(
    opened: Open, texts: list[bytes], window_size: int, chunk_size: int
) -> None:
    source = opened(*texts)
    found = cut(source, window_size, chunk_size=chunk_size)
    chunks = [chunk for window in found for chunk in window.chunks]
    for before, after in pairwise(chunks):
        assert before.stop <= after.start
    for window in found:
        assert [chunk.number for chunk in window.chunks] == list(range(len(window.chunks)))
        for chunk in window.chunks:
            assert window.begin.position <= chunk.start < chunk.stop <= window.end.position
            assert source.span_at(chunk.start) == source.span_at(chunk.stop - 1)


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), window_size=SIZES, chunk_size=SIZES)
def test_each_place_and_chunk_knows_its_line(
    opened: Open, texts: list[bytes], window_size: int, chunk_size: int
) -> None:
    source = opened(*texts)
    found = cut(source, window_size, chunk_size=chunk_size)
    places = [place for window in found for place in (window.begin, window.end)]
    for place in places:
        if place.file < len(texts):
            assert place.line == line_at(source, texts, place.position)
            assert source.files[place.file].base <= place.position <= source.files[place.file].end
    for window in found:
        for chunk in window.chunks:
            assert chunk.first_line == line_at(source, texts, chunk.start)


def line_at(source: Source, texts: Sequence[bytes], position: int) -> int:
    file = max(number for number, span in enumerate(source.files) if span.base + span.data_start <= position)
    before = (header_of(file) + texts[file])[: position - source.files[file].base]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")


def test_at_the_end_the_place_is_behind_the_last_file(opened: Open) -> None:
    source = opened(b"a\n", b"b")
    assert cut(source, 100)[-1].end == Place(2, source.total, 0)


@pytest.mark.parametrize("texts", [(b"",), (b"\n\r\n\r",), (b"", b"\n", b"")])
@pytest.mark.parametrize("chunk_size", [1, CHUNK])
def test_files_without_records_make_one_window_without_chunks(
    opened: Open, texts: tuple[bytes, ...], chunk_size: int
) -> None:
    (window,) = cut(opened(*texts), 1, chunk_size=chunk_size)
    assert (window.start, window.chunks) == (None, [])


def test_an_unclosed_quote_ends_with_its_file(opened: Open) -> None:
    assert contents(cut(opened(b'a\n"b\nc\n', b"d\n"), 100, chunk_size=2)) == [[b"a", b'"b\nc\n', b"d"]]


# --- a limit --------------------------------------------------------------------------------------


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), limit=st.integers(0, 12), window_size=SIZES)
def test_a_limit_takes_the_first_records(
    opened: Open, texts: list[bytes], limit: int, window_size: int
) -> None:
    rule = expected(texts, window_size, limit)
    for chunk_size in (3, CHUNK):
        assert contents(cut(opened(*texts), window_size, chunk_size=chunk_size, limit=limit)) == rule


def test_with_a_limit_of_nothing_there_is_no_window(opened: Open) -> None:
    source = opened(b"a\n")
    assert Cutter(source, DIALECT, 10, 0, first_place(source)).exhausted


def test_nothing_is_read_past_the_limit(opened: Open) -> None:
    # What is behind it may be as broken as it likes.
    source = opened(b'a\nb\n"never closed\n' * 3)
    assert contents(cut(source, 100, chunk_size=4, limit=2)) == [[b"a", b"b"]]


# --- a restart ------------------------------------------------------------------------------------


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), window_size=SIZES, chunk_size=SIZES, chunk_then=SIZES)
def test_from_any_window_on_the_windows_are_the_same(
    opened: Open, texts: list[bytes], window_size: int, chunk_size: int, chunk_then: int
) -> None:
    whole = cut(opened(*texts), window_size, chunk_size=chunk_size)
    for done, window in enumerate(whole):
        # The window that was open is done again, or the next one is begun.
        again = cut(opened(*texts), window_size, chunk_size=chunk_then, start=window.begin)
        assert contents(again) == contents(whole[done:])
        after = cut(opened(*texts), window_size, chunk_size=chunk_then, start=window.end)
        assert contents(after) == contents(whole[done + 1 :])


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), window_size=SIZES, chunk_size=SIZES, chunk_then=SIZES)
@example(texts=[b"aa\n\n" * 6], window_size=1, chunk_size=5, chunk_then=CHUNK)
def test_a_window_done_again_ends_where_it_ended(
    opened: Open, texts: list[bytes], window_size: int, chunk_size: int, chunk_then: int
) -> None:
    """Blank lines behind its last record included: the line and the start of the next window hang on it."""
    for window in cut(opened(*texts), window_size, chunk_size=chunk_size):
        if window.begin.file < len(texts):
            again = cut(opened(*texts), window_size, chunk_size=chunk_then, start=window.begin)
            assert again[0].end == window.end


@given(text=TEXTS, window_size=SIZES, limit=st.integers(1, 10))
def test_so_they_are_under_a_limit(opened: Open, text: bytes, window_size: int, limit: int) -> None:
    whole = cut(opened(text), window_size, limit=limit)
    left: int = limit
    for done, window in enumerate(whole):
        again = cut(opened(text), window_size, chunk_size=5, limit=left, start=window.begin)
        assert contents(again) == contents(whole[done:])
        left -= len(window.records)


def test_behind_the_last_file_nothing_is_left(opened: Open) -> None:
    source = opened(b"a\n")
    assert Cutter(source, DIALECT, 10, None, Place(1, source.total, 0)).exhausted


# --- records that are too large -------------------------------------------------------------------


@pytest.fixture
def small_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "RECORD_LIMIT", 2 << 20)


def refusal(source: Source, chunk_size: int, start: Place | None = None) -> str:
    with pytest.raises(RecordTooLarge) as caught:
        cut(source, 1 << 30, chunk_size=chunk_size, start=start)
    source.close()
    return str(caught.value)


@pytest.mark.parametrize("chunk_size", [700_000, 2 << 20, CHUNK, 64 << 20])
@pytest.mark.parametrize("end", [b'"\nlast\n', b"\nlast\n"], ids=["closed", "unclosed"])
def test_a_record_past_the_limit_is_told_of_with_its_line(
    opened: Open, small_records: None, chunk_size: int, end: bytes
) -> None:
    lines = b"x" * 99 + b"\n"
    source = opened(b"first\n", b'a\n\n"b\nb"\n"' + lines * 22_000 + end)
    shown = source.files[1].identity.shown
    assert refusal(source, chunk_size) == (
        f"{shown}: the record that begins on line 7 is larger than 2 MiB. Most often a quote is opened "
        "there and never closed: mend the line, then give the same command with --restart."
    )


def test_a_record_of_exactly_the_limit_is_taken(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "RECORD_LIMIT", 20)
    for chunk_size in (1, 20, 21, 22, CHUNK):
        text = b"a\n" + b"x" * 20 + b"\nb\n" + b"y" * 20
        assert len(cut(opened(text), 100, chunk_size=chunk_size)[0].records) == 4
        assert "on line 3 " in refusal(opened(text.replace(b"xx", b"xxx", 1)), chunk_size)
        assert "on line 5 " in refusal(opened(text + b"y"), chunk_size)


def test_a_record_past_the_limit_is_not_read_to_its_end(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "RECORD_LIMIT", 20)
    source = opened(b'a\n"' + b"x\n" * 500)
    # It is open from here on, and whatever is read behind byte 60 is not there any more.
    source.header_record()
    os.truncate(source.files[0].identity.path, 60)
    assert "on line 3 " in refusal(source, 10)


def test_lines_are_counted_from_the_place_where_a_restart_begins(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "RECORD_LIMIT", 20)
    text = b"aa\nbb\ncc\n" + b"x" * 21 + b"\n"
    assert "on line 5 " in refusal(opened(text), 4, Place(0, len(HEADER) + 6, 4))


# --- a window while it is indexed -----------------------------------------------------------------


def test_a_window_is_whole_when_it_is_cut_and_each_chunk_came_back() -> None:
    window = WindowIndex(0, Place(0, 3, 2))
    index = index_chunk(b"a\nb\n", 3, SPEC, DIALECT, 1, 1)
    window.add_chunk(Chunk(0, 3, 7, 2, 2), 3)
    window.add_chunk(Chunk(1, 7, 11, 4, 2), 7)
    assert (window.start, window.records) == (3, 4)
    window.add_index(1, index)
    window.end = Place(0, 11, 6)
    assert not window.whole
    # A worker's last words may come behind its death.
    window.add_index(1, index)
    assert not window.whole
    window.add_index(0, index)
    assert window.whole


def test_a_window_that_is_still_cut_is_not_whole() -> None:
    window = WindowIndex(0, Place(0, 3, 2))
    assert not window.whole
    window.end = window.begin
    assert window.whole
