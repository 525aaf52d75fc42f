"""The virtual source: what is refused, where data begin, and that what is read is what was there."""

import csv as csv_module
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash

from loader.config import RECORD_LIMIT
from loader.edges.source import Source
from loader.errors import BadSource, SourceChanged
from loader.model import REJECT_COLUMNS, Dialect, Header

DIALECT = Dialect()
REJECTS_HEADER = ",".join(REJECT_COLUMNS).encode()


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def refusal(*paths: str) -> str:
    with pytest.raises(BadSource) as caught:
        Source.open(paths, DIALECT)
    return str(caught.value)


@pytest.fixture
def csv(tmp_path: Path) -> str:
    return write(tmp_path / "a.csv", b"id,name\n1,one\n2,two\n")


# --- the header and where data begin --------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "columns", "record", "rest", "line"),
    [
        (b"id,name\n1,one\n", ("id", "name"), b"id,name", b"1,one\n", 2),
        (b"id,name\r\n1,one\r\n", ("id", "name"), b"id,name", b"1,one\r\n", 2),
        (b"id,name\r1,one\r", ("id", "name"), b"id,name", b"1,one\r", 2),
        (b"id,name", ("id", "name"), b"id,name", b"", 1),
        (b"id,name\n", ("id", "name"), b"id,name", b"", 2),
        (b"id,name\r", ("id", "name"), b"id,name", b"", 2),
        (b"\xef\xbb\xbfid,name\n1,one", ("id", "name"), b"id,name", b"1,one", 2),
        (b'\xef\xbb\xbf"id","na""me"\n1', ("id", 'na"me'), b'"id","na""me"', b"1", 2),
        (b"\xef\xbb\xbf\r\n\n\rid\n1", ("id",), b"id", b"1", 5),
        (b"\n\r\n\rid\r\n\n1", ("id",), b"id", b"\n1", 5),
        (b'"i\nd","a\r\nb","c\rd"\r\n1', ("i\nd", "a\r\nb", "c\rd"), b'"i\nd","a\r\nb","c\rd"', b"1", 5),
        (b'5" pipe,"x" y\n1,"', ('5" pipe', "x y"), b'5" pipe,"x" y', b'1,"', 2),
        ("größe,名前\n".encode(), ("größe", "名前"), "größe,名前".encode(), b"", 2),
        (b"id, ,\xc2\xa0\n", ("id", " ", "\xa0"), b"id, ,\xc2\xa0", b"", 2),
        (b"id\n\xff\xfe\xfa", ("id",), b"id", b"\xff\xfe\xfa", 2),
        (b"abc\0d,e\n", ("abc\0d", "e"), b"abc\0d,e", b"", 2),
    ],
)
def test_the_header_is_the_first_record_that_is_not_blank(
    tmp_path: Path, data: bytes, columns: tuple[str, ...], record: bytes, rest: bytes, line: int
) -> None:
    path = write(tmp_path / "a.csv", data)
    source = Source.open([path], DIALECT)
    (span,) = source.files
    assert source.header == Header(columns)
    assert source.header_record() == record
    assert data[span.data_start :] == rest
    assert span.first_line == line
    assert (span.base, span.end, source.total) == (0, len(data), len(data))


def test_a_header_after_many_blank_lines_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"\r\n" * 100_000 + b"id,name\r\n1,one\r\n")
    (span,) = Source.open([path], DIALECT).files
    assert span.first_line == 100_002
    assert span.data_start == 200_009


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("shift", range(-3, 4))
def test_a_header_may_end_where_a_piece_does(tmp_path: Path, end: bytes, shift: int) -> None:
    # Headers are read in pieces of 64 KiB.
    name = b"x" * ((64 << 10) - 4 + shift)
    path = write(tmp_path / "a.csv", b"id," + name + end + b"1,2" + end)
    source = Source.open([path], DIALECT)
    assert source.header.columns == ("id", name.decode())
    assert source.files[0].data_start == len(name) + 3 + len(end)
    assert source.files[0].first_line == 2


def test_the_dialect_tells_the_names_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"id;'a;b';\"c\"\n")
    source = Source.open([path], Dialect(";", "'"))
    assert source.header.columns == ("id", "a;b", '"c"')


def test_a_file_with_the_six_columns_at_its_end_is_a_reject_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"id,name," + REJECTS_HEADER + b"\r\n")
    header = Source.open([path], DIALECT).header
    assert header == Header(("id", "name"), 6)
    assert header.width == 8


@pytest.mark.parametrize(
    "names",
    [REJECTS_HEADER, REJECTS_HEADER + b",id", b"id," + REJECTS_HEADER.upper(), b"id," + REJECTS_HEADER[:-1]],
)
def test_other_files_are_no_reject_files(tmp_path: Path, names: bytes) -> None:
    header = Source.open([write(tmp_path / "a.csv", names + b"\n")], DIALECT).header
    assert header == Header(tuple(names.decode().split(",")))


def test_a_source_column_may_be_named_like_one_of_the_six(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"id,_line," + REJECTS_HEADER + b"\n")
    assert Source.open([path], DIALECT).header == Header(("id", "_line"), 6)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\r\n", b"\r", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"])
def test_a_file_without_a_header_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "a.csv is empty: it has no header" in refusal(write(tmp_path / "a.csv", data))


def test_a_missing_file_is_refused(tmp_path: Path, csv: str) -> None:
    assert refusal(csv, str(tmp_path / "no.csv")) == f"{tmp_path}/no.csv: there is no such file."
    assert "there is no such file" in refusal(csv + "/x.csv")
    assert "there is no such file" in refusal("")
    assert "cannot be read" in refusal("a\0b")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert (
        refusal(f"{tmp_path}/")
        == f"{tmp_path}/ is a directory. Name the CSV files in it, such as {tmp_path}/*.csv."
    )


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe, which cannot be read twice yet" in refusal(str(tmp_path / "pipe"))


def test_devices_and_sockets_are_refused(tmp_path: Path) -> None:
    assert "is not a regular file" in refusal("/dev/null")
    os.mknod(tmp_path / "s", stat.S_IFSOCK | 0o600)
    assert "is a pipe" in refusal(str(tmp_path / "s"))


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to(tmp_path / "a.csv")
    assert "a.csv cannot be read: Too many levels of symbolic links." in refusal(str(tmp_path / "a.csv"))


def test_a_link_to_a_file_is_followed(tmp_path: Path, csv: str) -> None:
    (tmp_path / "link.csv").symlink_to(csv)
    assert Source.open([str(tmp_path / "link.csv")], DIALECT).header.columns == ("id", "name")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_is_refused(unprivileged: None) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = write(Path(directory) / "a.csv", b"id\n1\n")
        os.chmod(path, 0)
        assert refusal(path) == f"{path} cannot be read: Permission denied."


def test_a_file_whose_size_is_a_lie_is_refused() -> None:
    # Such are many in /sys; those in /proc have no size at all.
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    if not os.path.exists(path):
        path = "/sys/devices/system/cpu/online"
    assert "says it has 4,096 bytes" in refusal(path)
    assert "is empty" in refusal("/proc/self/status")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_utf16_is_refused(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.csv", "id,name\n1,one\n".encode(encoding))
    assert "a.csv is UTF-16 or UTF-32 text. Save it as UTF-8." in refusal(path)
    big_endian = write(tmp_path / "b.csv", b"\xfe\xff" + "id\n".encode("utf-16-be"))
    assert "UTF-16" in refusal(big_endian)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,gr\xf6\xdfe\n1,2\n", "the header is not UTF-8 (byte 5 of it, 0xf6). Save the file as UTF-8."),
        (b"id,,name,\n", "the header gives no name to columns 2 and 4. Every column needs one."),
        (b'""\n', "the header gives no name to column 1."),
        (b"id" + b"," * 9, "gives no name to columns 2, 3, 4, 5, 6 and 4 more."),
        (b"id,b,id,c,id\n", "the header gives the name 'id' to columns 1, 3 and 5."),
        (b'id,"na\nme","na\nme"\n', r"the header gives the name 'na\nme' to columns 2 and 3."),
        (b'\n\nid,"name\n1,one\n', "the header, on line 3, does not end before the file ends."),
        (b'id,"name\n1,one\n', "Most often a quote in it is never closed."),
        (b"id,,_file,_line,_column,_code,_reason,_superseded", "the header gives no name to column 2."),
    ],
)
def test_a_bad_header_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path / "a.csv", data)
    assert refusal(path).startswith(f"{path}: ")
    assert message in refusal(path)


@pytest.mark.parametrize("head", [b'\nid,"', b"\nid,"])
def test_a_header_over_the_limit_is_refused(tmp_path: Path, head: bytes) -> None:
    path = write(tmp_path / "a.csv", head + b"x" * (RECORD_LIMIT + 100_000) + b'"\n1,2\n')
    assert "the header, on line 2, does not end before 16 MiB." in refusal(path)


def test_a_name_that_csv_cannot_take_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"id," + b"x" * 200_000)
    before = csv_module.field_size_limit(131_072)
    try:
        assert "the header cannot be read: field larger than field limit (131072)." in refusal(path)
    finally:
        csv_module.field_size_limit(before)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b"id,nam\n", "column 2 is 'nam', where {first} has 'name'."),
        (b"name,id\n", "column 1 is 'name', where {first} has 'id'."),
        (b"id\n", "the header names 1 column, that of {first} 2 columns."),
        (b"id,name,x\n", "the header names 3 columns, that of {first} 2 columns."),
        (b"id,name," + REJECTS_HEADER, "the header names 8 columns, that of {first} 2 columns."),
    ],
)
def test_a_file_with_another_header_is_refused(tmp_path: Path, csv: str, second: bytes, message: str) -> None:
    path = write(tmp_path / "b.csv", second)
    assert refusal(csv, csv, path).startswith(f"{path}: {message.format(first=csv)}")


# --- patterns -------------------------------------------------------------------------------------


def names_of(source: Source) -> list[str]:
    return [os.path.basename(span.identity.path) for span in source.files]


def test_a_pattern_stands_for_its_files_in_byte_order(tmp_path: Path) -> None:
    for name in ["b.csv", "a10.csv", "a2.csv", "B.csv", "é.csv", "Z.csv", "z.txt"]:
        write(tmp_path / name, b"id\n")
    found = names_of(Source.open([f"{tmp_path}/*.csv", f"{tmp_path}/z.txt"], DIALECT))
    assert found == ["B.csv", "Z.csv", "a10.csv", "a2.csv", "b.csv", "é.csv", "z.txt"]


def test_a_file_named_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    write(tmp_path / "a1.csv", b"id\n")
    path = write(tmp_path / "a[1].csv", b"id\n")
    assert names_of(Source.open([path], DIALECT)) == ["a[1].csv"]


def test_a_pattern_goes_down_the_tree_with_two_stars(tmp_path: Path) -> None:
    (tmp_path / "x/y").mkdir(parents=True)
    write(tmp_path / "x/y/b.csv", b"id\n")
    write(tmp_path / "x/a.csv", b"id\n")
    assert names_of(Source.open([f"{tmp_path}/**"], DIALECT)) == ["a.csv", "b.csv"]


def test_a_pattern_without_files_is_refused(tmp_path: Path) -> None:
    assert refusal(f"{tmp_path}/*.csv") == f"{tmp_path}/*.csv: no file matches this pattern."


def test_a_pattern_that_takes_in_a_directory_is_refused(tmp_path: Path, csv: str) -> None:
    (tmp_path / "b.csv").mkdir()
    assert "b.csv is a directory" in refusal(f"{tmp_path}/*.csv")


@pytest.mark.parametrize("order", ["part-0.rejects.csv", "part-9.rejects.csv"])
def test_a_pattern_leaves_out_reject_files(tmp_path: Path, order: str) -> None:
    for name in ("part-1.csv", "part-2.csv"):
        write(tmp_path / name, b"id\n1\n")
    write(tmp_path / order, b"id," + REJECTS_HEADER + b"\n")
    source = Source.open([f"{tmp_path}/part-*.csv"], DIALECT)
    assert names_of(source) == ["part-1.csv", "part-2.csv"]
    assert source.header == Header(("id",))
    assert (source.files[1].base, source.total) == (5, 10)


def test_a_pattern_that_matches_reject_files_alone_stands_for_them(tmp_path: Path) -> None:
    for name in ("a.rejects.csv", "b.rejects.csv"):
        write(tmp_path / name, b"id," + REJECTS_HEADER + b"\n")
    source = Source.open([f"{tmp_path}/*.rejects.csv"], DIALECT)
    assert names_of(source) == ["a.rejects.csv", "b.rejects.csv"]
    assert source.header == Header(("id",), 6)


def test_a_reject_file_that_is_named_is_not_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rejects.csv", b"id," + REJECTS_HEADER + b"\n")
    write(tmp_path / "b.csv", b"id\n")
    assert "the header names" in refusal(path, f"{tmp_path}/*.csv")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x1f\x8b\x08\x00\x00\x00", "gzip"),
        (b"(\xb5/\xfd\x04\x00", "zstd"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\x00\x00", "xz"),
        (b"PK\x03\x04\x14\x00", "zip"),
    ],
)
def test_a_compressed_file_is_refused_by_its_first_bytes(tmp_path: Path, data: bytes, what: str) -> None:
    path = write(tmp_path / "a.csv.gz", data)
    assert refusal(path) == (
        f"{path} is compressed ({what}); reading compressed files is not there yet. Unpack it first."
    )


@pytest.mark.parametrize("path", ["s3://bucket/a.csv", "s3://bucket/part-*.csv", "https://x.example/a.csv"])
def test_a_url_is_refused(path: str) -> None:
    scheme = path.partition("/")[0]
    assert refusal(path) == (
        f"{path}: reading from {scheme}// is not there yet. Copy the file to this machine first."
    )


def test_a_file_whose_path_looks_like_a_url_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s3:/bucket").mkdir(parents=True)
    write(Path("s3:/bucket/a.csv"), b"id\n")
    assert names_of(Source.open(["s3://bucket/a.csv"], DIALECT)) == ["a.csv"]


def test_standard_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "-", b"id\n")
    assert refusal("-") == (
        "Reading standard input (-) is not there yet. Save the data to a file first; "
        "a file of that name is ./-."
    )
    assert names_of(Source.open(["./-"], DIALECT)) == ["-"]


def test_a_name_that_is_not_utf8_can_be_shown(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")
    Path(path).write_bytes(b"id\n1\n")
    source = Source.open([path], DIALECT)
    assert source.files[0].identity.shown == f"{tmp_path}/\\udcff.csv"
    assert source.read(0, 5) == b"id\n1\n"


# --- reading --------------------------------------------------------------------------------------


def test_files_stand_end_to_end(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", b"id\n1\n")
    second = write(tmp_path / "b.csv", b"\xef\xbb\xbfid\r\n22\r\n")
    source = Source.open([first, second, first], DIALECT)
    assert [(span.base, span.data_start, span.end) for span in source.files] == [
        (0, 3, 5),
        (5, 7, 16),
        (16, 3, 21),
    ]
    assert source.total == 21
    assert source.read(3, 2) == b"1\n"
    assert source.read(12, 2) == b"22"
    assert source.read(19, 2) == b"1\n"
    assert source.read(16, 0) == b""
    assert source.span_at(4).identity.shown == first
    assert source.span_at(5).identity.shown == second
    assert source.span_at(20) is source.files[2]


@pytest.mark.parametrize(("position", "size"), [(-1, 1), (21, 1), (4, 2), (15, 2), (20, 2)])
def test_a_read_beyond_one_file_is_a_bug(tmp_path: Path, position: int, size: int) -> None:
    path = write(tmp_path / "a.csv", b"id\n1\n")
    other = write(tmp_path / "b.csv", b"id\n1234567\n")
    source = Source.open([path, other, path], DIALECT)
    with pytest.raises(ValueError):
        source.read(position, size)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[Source, bytes]]:
    """Three files, the second of them twice the first, and all their bytes."""
    contents = [b"id\n" + b"abcdefgh" * times for times in (4, 8, 1)]
    paths = [write(tmp_path / f"{number}.csv", content) for number, content in enumerate(contents)]
    source = Source.open(paths, DIALECT)
    yield source, b"".join(contents)
    source.close()


@pytest.mark.parametrize(
    "positions",
    [[], [3], [9, 3, 30], [35, 50, 100], [102, 104], [3, 40], [110, 36, 34, 3, 60, 102, 0, 35], [60, 60, 60]],
    ids=["none", "one", "first file", "second file", "last file", "two files", "all", "one again and again"],
)
def test_many_reads_are_the_same_as_one_by_one(three: tuple[Source, bytes], positions: list[int]) -> None:
    source, whole = three
    sizes = [min(1 + at % 3, source.span_at(at).end - at) for at in positions]
    expected = [whole[position : position + size] for position, size in zip(positions, sizes, strict=True)]
    assert source.read_many(positions, sizes) == expected
    assert list(map(source.read, positions, sizes)) == expected


def test_many_reads_up_to_the_end_of_a_file_and_from_the_beginning_of_the_next(
    three: tuple[Source, bytes],
) -> None:
    source, whole = three
    first, second, third = (span.end for span in source.files)
    assert source.read_many([first - 8, first, second - 4], [8, 2, 4]) == [b"abcdefgh", b"id", b"efgh"]
    # All of them in one file, and the last to its last byte.
    assert source.read_many([first, second - 1], [3, 1]) == [b"id\n", b"h"]
    assert source.read_many([0, second, third - 1], [first, third - second, 1]) == [
        whole[:first],
        whole[second:],
        b"h",
    ]
    assert source.read_many([first - 1], [0]) == [b""]


@pytest.mark.parametrize(
    ("positions", "sizes"),
    [([3, 34], [2, 2]), ([34], [2]), ([3, 101], [1, 2]), ([50, -1], [1, 1]), ([3, 113], [1, 1])],
    ids=["over the border", "alone over the border", "the next border", "before all", "behind all"],
)
def test_many_reads_beyond_one_file_are_a_bug(
    three: tuple[Source, bytes], positions: list[int], sizes: list[int]
) -> None:
    source, whole = three
    assert (len(whole), [span.end for span in source.files]) == (113, [35, 102, 113])
    with pytest.raises(ValueError):
        source.read_many(positions, sizes)


def test_many_reads_leave_their_arguments_alone(three: tuple[Source, bytes]) -> None:
    source, _ = three
    positions, sizes = [40, 60], [2, 3]
    source.read_many(positions, sizes)
    assert (positions, sizes) == ([40, 60], [2, 3])


def test_many_reads_keep_to_the_limit_of_open_files(three: tuple[Source, bytes], tmp_path: Path) -> None:
    opened, whole = three
    source = Source(opened.files, opened.header, open_limit=1)
    positions = [103, 3, 36, 104, 4, 37]
    assert source.read_many(positions, [1] * 6) == [whole[at : at + 1] for at in positions]
    assert source.read_many([3, 4], [1, 1]) == [b"a", b"b"]
    assert open_files_of(tmp_path) == 1
    source.close()


def test_the_path_is_absolute_and_shown_as_given(
    tmp_path: Path, csv: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source.open(["./a.csv"], DIALECT)
    monkeypatch.chdir("/")
    assert source.files[0].identity.path == csv
    assert source.files[0].identity.shown == "./a.csv"
    assert source.read(0, 2) == b"id"


def test_a_digest_goes_over_file_ends(tmp_path: Path) -> None:
    contents = [b"id\n" + bytes([65 + number]) * (1000 * number + 1) for number in range(5)]
    paths = [write(tmp_path / f"{number}.csv", content) for number, content in enumerate(contents)]
    source = Source.open(paths, DIALECT)
    whole = b"".join(contents)
    for start, stop in [(0, len(whole)), (0, 0), (3, 4), (2, 2500), (1007, 1008), (4000, len(whole))]:
        assert source.digest(start, stop - start) == xxhash.xxh3_128(whole[start:stop]).hexdigest()
    with pytest.raises(ValueError):
        source.digest(0, len(whole) + 1)


def test_a_digest_is_read_in_pieces(tmp_path: Path) -> None:
    data = b"id\n" + os.urandom(20 << 20)
    source = Source.open([write(tmp_path / "a.csv", data)], DIALECT)
    assert source.digest(1, len(data) - 1) == xxhash.xxh3_128(data[1:]).hexdigest()


def open_files_of(directory: Path) -> int:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(link) and os.readlink(link).startswith(str(directory)) for link in links)


def test_thousands_of_files_take_few_descriptors(tmp_path: Path) -> None:
    count = 2000
    for number in range(count):
        write(tmp_path / f"{number:04}.csv", b"id\n%04d\n" % number)
    opened = Source.open([f"{tmp_path}/*.csv"], DIALECT)
    assert open_files_of(tmp_path) == 0
    source = Source(opened.files, opened.header, open_limit=10)
    errors: list[object] = []

    def read(order: list[int]) -> None:
        for number in order:
            data = source.read(number * 8 + 3, 4)
            if data != b"%04d" % number:
                errors.append((number, data))

    threads = [threading.Thread(target=read, args=(list(range(count))[::step],)) for step in (1, -1, 3, -3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert open_files_of(tmp_path) == 10
    source.close()
    assert open_files_of(tmp_path) == 0


def test_descriptors_are_not_inherited(csv: str) -> None:
    source = Source.open([csv], DIALECT)
    source.read(0, 2)
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}") and os.readlink(f"/proc/self/fd/{name}") == csv:
            assert not os.get_inheritable(int(name))
            break
    else:
        pytest.fail("the file is not open")


# --- a source that changes ------------------------------------------------------------------------


@pytest.fixture(params=["read before", "not read before", "in a worker"])
def source(request: pytest.FixtureRequest, csv: str) -> Iterator[Source]:
    """One that knows its files as they are now; changes come after."""
    source = Source.open([csv], DIALECT)
    if request.param == "in a worker":
        source = Source.reopen(source.files, source.header)
    if request.param == "read before":
        source.read(0, 5)
    yield source
    source.close()


def test_an_unchanged_source_passes(source: Source) -> None:
    source.check_unchanged()
    assert source.read(8, 5) == b"1,one"


def changed(source: Source) -> str:
    with pytest.raises(SourceChanged) as caught:
        source.check_unchanged()
    with pytest.raises(SourceChanged):
        Source.reopen(source.files, source.header)
    return str(caught.value)


def test_a_file_that_grew_is_noticed(source: Source, csv: str) -> None:
    with open(csv, "ab") as file:
        file.write(b"3,three\n")
    assert f"{csv} has 28 bytes; it had 20 when the load began." in changed(source)


def test_a_file_that_shrank_is_noticed_by_reading(source: Source, csv: str) -> None:
    os.truncate(csv, 15)
    assert "has 15 bytes" in changed(source)
    with pytest.raises(SourceChanged, match=r"shorter|15 bytes"):
        source.read(8, 12)


def test_a_file_that_shrank_while_open_is_called_shorter(csv: str) -> None:
    source = Source.open([csv], DIALECT)
    source.read(0, 1)
    os.truncate(csv, 15)
    with pytest.raises(SourceChanged, match=r"a\.csv is shorter than when the load began\."):
        source.read(8, 12)
    with pytest.raises(SourceChanged, match="shorter"):
        source.read(16, 1)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_many_reads_of_a_file_that_shrank_name_that_file(three: tuple[Source, bytes], which: int) -> None:
    source, _ = three
    span = source.files[which]
    everywhere = [each.base for each in source.files]
    source.read_many(everywhere, [2, 2, 2])
    os.truncate(span.identity.path, span.identity.size - 2)
    # In one file, with records before it that are still there; and in all of them.
    for positions in ([span.base, span.end - 3], [*everywhere, span.end - 3]):
        with pytest.raises(SourceChanged) as caught:
            source.read_many(positions, [3] * len(positions))
        assert str(caught.value).startswith(f"{span.identity.shown} is shorter than when the load began.")
    # What is not cut off can be read.
    assert source.read_many([span.base, span.end - 5], [2, 3]) == [b"id", b"def"]


def test_a_file_that_grew_does_not_stand_in_for_the_next(three: tuple[Source, bytes]) -> None:
    source, whole = three
    source.read_many([3, 40], [1, 1])
    with open(source.files[0].identity.path, "ab") as file:
        file.write(b"?" * 100)
    assert source.read_many([3, 40, 105], [4, 4, 4]) == [whole[at : at + 4] for at in (3, 40, 105)]


def test_many_reads_of_a_file_that_is_gone_name_it(three: tuple[Source, bytes]) -> None:
    source, _ = three
    gone = source.files[1]
    os.unlink(gone.identity.path)
    with pytest.raises(SourceChanged) as caught:
        source.read_many([gone.base, gone.base + 3], [2, 2])
    assert str(caught.value).startswith(f"{gone.identity.shown} cannot be opened any more:")


def test_many_reads_that_fail_are_told_of_as_one_is(tmp_path: Path) -> None:
    """A directory stands where the file was: it opens, and every read of it is an error."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"id\n1\n")
    opened = Source.open([str(path)], DIALECT)
    path.unlink()
    path.mkdir()
    found = os.stat(path)
    (span,) = opened.files
    same = replace(
        span.identity,
        device=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        modified_ns=found.st_mtime_ns,
    )
    source = Source([replace(span, identity=same)], opened.header)
    with pytest.raises(SourceChanged, match=r"a\.csv cannot be read any more: Is a directory\."):
        source.read_many([0, 2], [1, 1])
    source.close()


def test_a_file_written_over_in_place_is_noticed(source: Source, csv: str) -> None:
    with open(csv, "r+b") as file:
        file.write(b"ID")
    found = os.stat(csv)
    os.utime(csv, ns=(found.st_atime_ns, source.files[0].identity.modified_ns + 1))
    assert "was written to since the load began" in changed(source)


def test_a_file_that_was_replaced_is_noticed(source: Source, csv: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other", Path(csv).read_bytes())
    times = os.stat(csv)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.rename(other, csv)
    assert "is another file than when the load began" in changed(source)


def test_a_file_that_is_gone_is_noticed(source: Source, csv: str) -> None:
    os.unlink(csv)
    assert f"{csv} cannot be opened any more: No such file or directory." in changed(source)


def test_a_file_that_changed_is_not_opened_again(csv: str) -> None:
    source = Source.open([csv], DIALECT)
    with open(csv, "ab") as file:
        file.write(b"3")
    with pytest.raises(SourceChanged, match="has 21 bytes"):
        source.read(0, 2)
    os.unlink(csv)
    with pytest.raises(SourceChanged, match="cannot be opened any more"):
        source.read(0, 2)


def test_reading_leaves_the_file_alone(csv: str) -> None:
    os.chmod(csv, 0o444)
    source = Source.open([csv], DIALECT)
    source.read(0, 20)
    assert stat.S_IMODE(os.stat(csv).st_mode) == 0o444
