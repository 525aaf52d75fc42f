"""
Files that are broken, odd or malicious: a reject or one plain sentence, in bounded time and memory, never a
traceback. DDBLOAD_HOSTILE_MB is the size of the unclosed quote's file (300 for the slow variant).
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from string import ascii_lowercase, digits

import pytest

from loader.decisions.item_size import ITEM_LIMIT
from tests.program import Done, command, environment, finish, run, start
from tests.server.client import Server
from tests.server.faults import FaultPlan

MIB = 1 << 20
HUGE = int(os.environ.get("DDBLOAD_HOSTILE_MB", "40")) * MIB
PEAK = 250
"""MiB that no process of a load may have taken."""

COLUMNS = 100_000
NO_COLUMN_CAN_BE_QUADRATIC = 15.0
"""Seconds for some rows of so many columns; they take two."""


pytestmark = pytest.mark.usefixtures("empty_table")


def words_of(server: Server, verb: str, *words: str | Path) -> list[str]:
    own = ("--json", "--workers", "1", "--threads", "2") if verb == "load" else ()
    return [verb, *map(str, words), "-t", "people", "--endpoint-url", server.endpoint, *own]


def load(server: Server, *words: str | Path) -> Done:
    return without_traceback(run(*words_of(server, "load", *words)))


def verify(server: Server, *words: str | Path) -> Done:
    return without_traceback(run(*words_of(server, "verify", *words)))


def without_traceback(done: Done) -> Done:
    assert "Traceback" not in done.out + done.err
    assert "bug" not in done.err
    return done


def file(data: bytes, name: str = "people.csv") -> Path:
    path = Path(name)
    path.write_bytes(data)
    return path


def counts(done: Done) -> tuple[int, int, int, int]:
    found = done.summary
    return found["rows"], found["written"], found["duplicates"], found["rejected"]


def values(server: Server) -> dict[str, str]:
    return {item["id"]["S"]: item["v"]["S"] for item in server.items("people")}


# --- memory ---------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(each for child in below for each in family(int(child)))]


def peak_of(pid: int) -> int:
    """MiB that the process had resident at most, so far; 0 where it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024 if "VmHWM:" in status else 0


def measured(words: list[str]) -> tuple[Done, dict[int, int]]:
    """What became of a run, and the peak in MiB of each of its processes."""
    process = start(*words)
    peaks: dict[int, int] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for pid in family(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), peak_of(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        done = finish(process)
    finally:
        over.set()
        watcher.join()
    return without_traceback(done), peaks


TOO_LARGE = (
    "the record that begins on line 4 is larger than 16 MiB. Most often a quote is opened there and never "
    "closed: mend the line, then give the same command with --restart."
)


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("load", "unclosed quote"),
        ("verify", "unclosed quote"),
        ("load", "10 GB without a line end"),
        ("load", "closed record of 100 MB"),
    ],
)
def test_a_record_over_the_limit_ends_it_soon_and_in_little_memory(
    server: Server, verb: str, kind: str
) -> None:
    path = file(b'id,v\nk1,"a\nb"\n')
    with path.open("ab") as out:
        if kind == "unclosed quote":
            out.write(b'k2,"')
            line = b"k3,and so on\n" * 10_000
            for _ in range(HUGE // len(line)):
                out.write(line)
        elif kind == "10 GB without a line end":
            out.write(b"k2,")
            out.truncate(10 << 30)
        else:
            out.write(b'k2,"')
            out.truncate(100 * MIB)
            out.write(b'"\nk4,d\n')
    began = time.monotonic()
    done, peaks = measured(words_of(server, verb, path))
    assert done.status == 4
    assert f"people.csv: {TOO_LARGE}" in done.err
    assert time.monotonic() - began < 10
    assert max(peaks.values()) < PEAK, peaks
    if verb == "load":
        assert done.summary["exit_reason"] == "record_too_large"


def test_a_record_just_under_the_limit_is_a_reject_and_those_around_it_load(server: Server) -> None:
    begin, end = b'k2,"', b'"'
    record = begin + b"x" * (16 * MIB - len(begin) - len(end)) + end
    path = file(b"id,v\nk1,a\n" + record + b"\nk3,c\n")
    done, peaks = measured(words_of(server, "load", path))
    assert (done.status, counts(done)) == (1, (3, 2, 0, 1))
    assert done.summary["reject_codes"] == {"item_too_large": 1}
    assert "people.csv, line 3: " in done.err
    assert values(server) == {"k1": "a", "k3": "c"}
    assert Path(done.summary["rejects_file"]).read_bytes().splitlines()[1].startswith(record)
    # Some copies of 16 MiB: bytes, text, JSON.
    assert max(peaks.values()) < PEAK, peaks
    assert verify(server, path).status == 0


def test_very_large_rows_of_one_key_are_not_all_read_together(server: Server) -> None:
    row = b"k1," + b"ab," * (4 * MIB // 3) + b"\n"
    done, peaks = measured(words_of(server, "load", file(b"id,v\n" + row * 8 + b"k1,b\n")))
    assert (done.status, counts(done)) == (1, (9, 1, 0, 8))
    assert done.summary["reject_codes"] == {"cell_count": 8}
    assert values(server) == {"k1": "b"}
    # All of them parsed together take over 500.
    assert max(peaks.values()) < PEAK, peaks


# --- headers, columns, lines ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "head", "size", "message"),
    [
        ("load", b"", 10 << 30, "people.csv begins with zero bytes: it is no CSV file."),
        ("verify", b"", 10 << 30, "people.csv begins with zero bytes: it is no CSV file."),
        ("load", b"id,v", 10 << 30, "the header, on line 1, does not end before 16 MiB. It has no line end"),
        ("load", b'id,"', 100 * MIB, "the header, on line 1, does not end before 16 MiB. Most often a quote"),
        ("load", b"id" + b"," * 5_000_000 + b"\n", 0, "no name to columns 2, 3, 4, 5, 6 and 4,999,995 more."),
    ],
    ids=["zeros", "zeros compared", "no line end", "100 MB", "nameless"],
)
def test_a_header_that_is_none_is_refused_in_a_sentence(
    server: Server, verb: str, head: bytes, size: int, message: str
) -> None:
    path = file(head)
    if size:
        os.truncate(path, size)
    done, peaks = measured(words_of(server, verb, path))
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert message in line
    assert max(peaks.values()) < PEAK, peaks


def names(count: int) -> list[str]:
    """So short that an item of that many attributes with nothing in them fits."""
    letters = ascii_lowercase + digits
    found = ("".join(each) for size in (1, 2, 3, 4) for each in product(letters, repeat=size))
    return [name for name, _ in zip((n for n in found if n != "id"), range(count - 1), strict=False)]


def test_rows_of_100_000_columns_are_items_or_rejects_and_none_takes_long(server: Server) -> None:
    # The key comes last, and quotes keep the index from its shortest way.
    head = ",".join([*names(COLUMNS), "id"]).encode()
    empty, filled = b"," * (COLUMNS - 1), b"xx," * (COLUMNS - 1)
    path = file(
        b"\n".join([head, b'""' + empty + b"k1", filled + b"k2", empty + b",k3", b"k4", empty + b'"k5"', b""])
    )
    began = time.monotonic()
    done = load(server, path)
    assert (done.status, counts(done)) == (1, (5, 2, 0, 3))
    assert done.summary["reject_codes"] == {"item_too_large": 1, "cell_count": 2}
    assert "line 4: has 100,001 cells, the header has 100,000" in done.err
    assert {item["id"]["S"]: len(item) for item in server.items("people")} == {"k1": COLUMNS, "k5": COLUMNS}
    assert verify(server, path).status == 0
    assert time.monotonic() - began < NO_COLUMN_CAN_BE_QUADRATIC


def test_blank_lines_and_mixed_line_ends_are_counted_and_nothing_else(server: Server) -> None:
    blank = b"\n" * 500_000 + b"\r\n" * 250_000 + b"\r" * 250_000
    path = file(b"\n\nid,v\r\n" + blank + b"a,1\rb,2\n" + blank + b'c,"x\r\ny"\r\nd\r')
    done = load(server, path)
    assert (done.status, counts(done)) == (1, (4, 3, 0, 1))
    assert "people.csv, line 2,000,008: has 1 cell, the header has 2" in done.err
    assert values(server) == {"a": "1", "b": "2", "c": "x\r\ny"}
    assert verify(server, path).status == 0


# --- bytes ----------------------------------------------------------------------------------------

GOOD_BYTES = {
    b"a\0b,nul in the key\n": ("a\0b", "nul in the key"),
    b"nul,x\0y\n": ("nul", "x\0y"),
    b"\0,\0\n": ("\0", "\0"),
    b"\xef\xbb\xbfmark,inside\n": ("\ufeffmark", "inside"),
    b"esc,\x1b[31m[red]\n": ("esc", "\x1b[31m[red]"),
    "ends,\x0b\x0c\x85\u2028\u2029\n".encode(): ("ends", "\x0b\x0c\x85\u2028\u2029"),
}
BAD_BYTES = {
    b"b1,\xff\xfe": "v",
    b"b\xff2,x": "id",
    b"b3,\xed\xa0\x80\xed\xb0\x80": "v",
    b"\xed\xb0\x80,x": "id",
    b"b4,\xc0\x80": "v",
    b"b5,\xf4\x90\x80\x80": "v",
    b"b6,\xe2\x82": "v",
    b'"b7\xff",1,2': "",
    b'b8,"two\xff\nlines"': "v",
    b'"\0\xff",x': "id",
}


def test_bad_bytes_are_rejects_with_line_and_column_and_are_kept_verbatim(server: Server) -> None:
    data, places, line = b"id,v\n", {}, 2
    for good, bad in zip([*GOOD_BYTES, *[b""] * 4], BAD_BYTES, strict=True):
        data += good + bad + b"\n"
        places[bad] = line + good.count(b"\n")
        line = places[bad] + bad.count(b"\n") + 1
    path = file(data)
    done = load(server, path)
    assert done.status == 1
    assert counts(done) == (16, 6, 0, 10)
    assert done.summary["reject_codes"] == {"not_utf8": 10}
    assert values(server) == dict(GOOD_BYTES.values())
    expected = b"id,v,_file,_line,_column,_code,_reason,_superseded\r\n"
    kept = Path(done.summary["rejects_file"]).read_bytes()
    assert kept.startswith(expected)
    at = len(expected)
    for bad, column in BAD_BYTES.items():
        told = bad + b",people.csv,%d,%s,not_utf8," % (places[bad], column.encode())
        assert kept[at:].startswith(told)
        at = kept.index(b"\r\n", at + len(told)) + 2
    assert at == len(kept)
    assert "\x1b" not in done.err + done.out
    assert verify(server, path).status == 0


@pytest.mark.parametrize("name", [b"\xed\xa0\x80", b"\xc0\x80", b"n\0\xff"])
def test_a_header_of_bad_bytes_is_refused(server: Server, name: bytes) -> None:
    done = load(server, file(b"id," + name + b"\na,b\n"))
    assert done.status == 2
    assert "people.csv: the header is not UTF-8 (byte " in done.err


def test_cells_up_to_the_limit_of_an_item_load_in_every_process(server: Server) -> None:
    room = ITEM_LIMIT - len("id" + "v" + "a")
    cells = {
        "a": "x" * room,
        "b": "x" * (room - 1) + "\n",
        "c": '""' * (room // 2) + "x" * (room % 2),
        "d": "é" * (room // 2) + "x" * (room % 2),
        "e": "\x01" * room,
        "f": "\\" * room,
    }
    text = "".join('{},"{}"\n'.format(key, cell.replace('"', '""')) for key, cell in cells.items())
    over = f'g,{"x" * (room + 1)}\nh,"{"x" * room}\n"\n'
    path = file(b"id,v\n" + text.encode() + over.encode() + b"i,small\n")
    done = load(server, path, "--workers", "2")
    assert (done.status, counts(done)) == (1, (9, 7, 0, 2)), done.err
    assert done.summary["reject_codes"] == {"item_too_large": 2}
    # The cell of b spans two lines.
    for line in (9, 10):
        assert f"line {line}: the item has 409,601 bytes; DynamoDB takes 409,600" in done.err
    assert values(server) == {**cells, "i": "small"}
    assert verify(server, path).status == 0


# --- files that change ----------------------------------------------------------------------------


def shrink(path: Path) -> None:
    os.truncate(path, 1000)


def replace(path: Path) -> None:
    shutil.copy(path, "other")
    os.rename("other", path)


def overwrite(path: Path) -> None:
    with path.open("r+b") as out:
        # As long as before, and with other records.
        out.write(path.read_bytes().replace(b",v", b',"').replace(b",w", b"\nw"))


def delete(path: Path) -> None:
    path.unlink()


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def changing(rows: int) -> Path:
    return file(b"id,v\n" + b"".join(b"k%d,%c%d\n" % (n, b"vw"[n % 2], n) for n in range(rows)))


def await_worker(process: "subprocess.Popen[str]") -> None:
    """Until the first worker is there: chunks have been handed out, and none of them is indexed."""
    deadline = time.monotonic() + 20
    while not any(b"spawn_main" in words_of_process(pid) for pid in family(process.pid)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


def words_of_process(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def await_requests(server: Server, operation: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while server.stats()["requests"].get(operation, 0) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("moment", "change"),
    [
        *(("indexing", change) for change in (shrink, replace, become_a_pipe)),
        *(("writing", change) for change in (replace, overwrite, delete)),
    ],
)
def test_a_file_that_changes_while_it_is_loaded_ends_the_load(
    server: Server, own_environment: Path, moment: str, change: Callable[[Path], None]
) -> None:
    """tests/functional/test_workers.py has files that shrink and grow while they are written."""
    path = changing(1000)
    server.set_faults(FaultPlan(latency_ms=15))
    process = start(*words_of(server, "load", path, "--threads", "1"))
    if moment == "indexing":
        await_worker(process)
    else:
        await_requests(server, "BatchWriteItem", 3)
    change(path)
    done = without_traceback(finish(process))
    assert (done.status, done.summary["exit_reason"]) == (4, "source_changed"), done.err
    assert any(line.startswith("ddbload: people.csv ") for line in done.err.splitlines()), done.err
    if moment == "indexing":
        assert (done.summary["rows"], server.items("people")) == (0, [])
    # The state is kept: what was written is known to the run that continues.
    assert list((own_environment / "state" / "ddbload").rglob("*"))


def test_a_file_that_becomes_unreadable_ends_the_load(server: Server) -> None:
    """What is open stays readable; a worker that comes later cannot open it."""
    path = changing(3000)
    script = (
        "import ctypes, os, sys\n"
        "for capability in (1, 2):\n"
        "    # PR_CAPBSET_DROP: root would read it all the same.\n"
        "    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command(*words_of(server, "load", path))],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    await_worker(process)
    path.chmod(0)
    done = without_traceback(finish(process))
    assert (done.status, done.summary["exit_reason"]) == (4, "source_changed"), done.err
    assert "people.csv cannot be opened any more: Permission denied." in done.err


@pytest.mark.parametrize("change", [shrink, overwrite])
def test_a_file_that_changes_while_it_is_compared_ends_the_comparison(
    server: Server, change: Callable[[Path], None]
) -> None:
    path = changing(200_000)
    process = start(*words_of(server, "verify", path))
    await_requests(server, "DescribeTable", 1)
    change(path)
    done = without_traceback(finish(process))
    assert done.status == 4, done.err
    assert "people.csv " in done.err


# --- what is no file, and odd names ---------------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[None]:
    os.mkfifo("fifo")
    os.mkdir("folder")
    os.symlink("loop", "loop")
    os.symlink("gone", "nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        yield


NO_FILES = {
    "fifo": "fifo is a pipe",
    "loop": "loop cannot be read: Too many levels of symbolic links",
    "nowhere": "nowhere is a link to a file that does not exist",
    "/proc/self/mem": "/proc/self/mem is empty",
    "missing\n\x1b[31m[red]": r"missing\n\x1b[31m[red]: no file matches this pattern",
}


@pytest.mark.parametrize(("verb", "names"), [("load", list(NO_FILES)), ("verify", ["fifo"])])
def test_what_is_no_file_is_refused_in_one_sentence(
    server: Server, odd: None, verb: str, names: list[str]
) -> None:
    """Each by itself; tests/unit/test_source.py has more of them."""
    for name in names:
        done = without_traceback(run(*words_of(server, verb, name), timeout=10))
        assert done.status == 2
        (line,) = done.err.splitlines()
        assert line.startswith("ddbload: ") and NO_FILES[name] in line


def test_good_files_of_odd_names_are_loaded_and_their_names_order_nothing(server: Server) -> None:
    names = [b"new\nline\x1b[31m[red].csv", b"not\xff\xfeutf-8.csv", b"\xe2\x80\xaeturned.csv"]
    paths = [os.fsdecode(name) for name in names]
    for number, path in enumerate(paths):
        Path(path).write_bytes(b"id,v\na%d,b\n,bad\n" % number)
    done = load(server, *paths)
    assert (done.status, counts(done)) == (1, (6, 3, 0, 3)), done.err
    assert not {"\x1b", "\u202e", "\ufffd"} & set(done.err + done.out)
    assert done.err.count("line 3: column id: the key is empty") == 3
    kept = done.summary["rejects_file"]
    assert Path(kept).read_bytes().count(b",3,id,empty_key,") == 3
    # The names in the reject file have not made it one that cannot be loaded.
    assert counts(load(server, kept)) == (3, 0, 0, 3)
    assert verify(server, *paths).status == 0


def test_generate_takes_odd_names_and_refuses_what_it_cannot_write(odd: None) -> None:
    name = os.fsdecode(b"new\n\x1b[red]\xff.csv")
    done = without_traceback(run("generate", "--output", name, "--count", "3"))
    assert done.status == 0 and len(Path(name).read_bytes().splitlines()) >= 4
    assert "\x1b" not in done.out + done.err
    for place in ("folder", "loop", "socket"):
        done = without_traceback(run("generate", "--output", place, "--count", "3"))
        assert done.status == 2
        assert done.err.startswith(f"ddbload: --output {place} cannot be written: ")
