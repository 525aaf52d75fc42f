"""The journal on disk: whatever a crash leaves of its last lines, the whole ones before them hold."""

import json
import os
import resource
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from loader.decisions.checkpoint import FORMAT, BadLine, Line, Resume, ShardLine, SourceFile, WindowDone
from loader.decisions.journal_form import (
    checked,
    decode_head,
    decode_line,
    encode_head,
    encode_line,
    sealed,
)
from loader.decisions.replay import Replay
from loader.edges.journal import JOURNAL, LOCK, Journal, default_state_dir, make_state_directory, state_name
from loader.edges.lock import FileLock
from loader.errors import BadState, DiskFailed
from loader.model import Counts, Header, KeyPart, KeySchema
from tests.unit.test_checkpoint import HEAD, window

COUNTS = Counts(2000, 30, 2, 1234.5, 81, 3, 4, 5)
LINES: list[Line] = [
    window(0, COUNTS.rows + 1),
    ShardLine(0, 2, COUNTS, [(17, 300), (5, 41)], rejects_sum=(1 << 64) - 1),
    ShardLine(0, 0, Counts(written=1), unanswered=True),
    WindowDone(0),
    window(1),
    ShardLine(1, 0, Counts(rejected=1), [(1700, 99)], rejects_sum=5),
]


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return make_state_directory(str(tmp_path / "state"), "load")


def written(directory: str, lines: list[Line]) -> bytes:
    """The bytes of a journal with these lines."""
    journal = Journal.create(directory, HEAD)
    for line in lines:
        journal.append(line)
    journal.sync()
    journal.close()
    return Path(directory, JOURNAL).read_bytes()


def expected(lines: list[Line], length: int) -> Resume:
    replay = Replay(HEAD)
    checksum = checked(encode_head(HEAD), 0)
    for line in lines:
        replay.take(line)
        checksum = checked(encode_line(line, checksum), checksum)
    return replay.resume(length, checksum)


# --- bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        replace(HEAD, key=KeySchema(KeyPart("id", "B")), limit=0, include_superseded=True, winner="first"),
        replace(HEAD, header=Header(("名前", "a\nb"), 6), types={}),
        replace(HEAD, sources=(SourceFile("/\udcff/a\n.csv", 1 << 50, 1 << 62, 1 << 63),), rejects="/\udcff"),
    ],
)
def test_a_head_is_read_back_as_it_was(head: object) -> None:
    assert isinstance(head, type(HEAD))
    line = encode_head(head)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_head(line) == head


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read_back_as_it_was(line: Line) -> None:
    data = encode_line(line, 7)
    assert data.count(b"\n") == 1
    checked(data, 7)
    read = decode_line(data)
    if isinstance(line, ShardLine):
        line = replace(line, rejects=list(line.rejects))
    assert read == line


def test_a_line_says_only_what_there_is() -> None:
    body, _, checksum = encode_line(ShardLine(3, 4, Counts(written=5)), 1).partition(b',"sum":"')
    assert body == b'{"shard":4,"window":3,"counts":{"written":5}'
    assert len(checksum) == len(b'0123456789abcdef"}\n')


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\n", b"{}\n", b"[]\n", b"1\n", b'"shard"\n', b"null\n", b"\0\0\0\0\n", b"\xff\xfe\n"),
        *(b'{"done":1}', b'{"done":1}\n', encode_line(WindowDone(1), 0)[:-1]),
        *(b"[" * 200_000 + b"\n", b'{"format":1,"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"),
        *(b"1" * 10_000 + b"\n", b'{"format":' + b"1" * 10_000 + b"}\n"),
    ],
)
def test_what_is_no_line_is_refused(data: bytes) -> None:
    for read in (decode_line, decode_head, lambda data: checked(data, 0)):
        with pytest.raises(BadLine):
            read(data)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"shard":1',
        b'{"shard":1,"window":0,"counts":{"x":1}',
        b'{"shard":1,"window":0,"counts":[]',
        b'{"shard":1,"window":0,"counts":{},"rejects":[[1]]',
        b'{"shard":1,"window":0,"counts":{},"rejects":7',
        b'{"window":1',
        b'{"x":' + b"[" * 200_000 + b"]" * 200_000,
    ],
)
def test_what_says_nothing_that_a_checkpoint_says_is_refused(body: bytes) -> None:
    data = sealed(body, 0)
    checked(data, 0)
    with pytest.raises(BadLine):
        decode_line(data)
    with pytest.raises(BadLine):
        decode_head(data)


def test_a_checksum_is_over_the_lines_before_too() -> None:
    data = encode_line(WindowDone(1), 5)
    assert checked(data, 5) != checked(encode_line(WindowDone(1), 6), 6)
    with pytest.raises(BadLine):
        checked(data, 6)


# --- what a crash leaves --------------------------------------------------------------------------


def test_without_a_journal_nothing_was_begun(directory: str) -> None:
    assert Journal.load(directory) is None


def test_the_head_is_on_disk_once_the_journal_is_made(directory: str) -> None:
    journal = Journal.create(directory, HEAD)
    assert Journal.load(directory) == expected([], os.path.getsize(Path(directory, JOURNAL)))
    journal.close()


def test_nothing_is_told_before_it_is_synced(directory: str) -> None:
    journal = Journal.create(directory, HEAD)
    journal.append(window(0))
    resume = Journal.load(directory)
    assert resume is not None and resume.last is None
    journal.sync()
    assert Journal.load(directory) == expected([window(0)], os.path.getsize(Path(directory, JOURNAL)))
    journal.close()


def test_a_journal_cut_at_any_byte_tells_of_its_whole_lines_and_goes_on(directory: str) -> None:
    data = written(directory, LINES)
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    path = Path(directory, JOURNAL)
    # Every byte of the first line's end and of the last three lines: each cut costs two trips to the disk.
    for cut in [0, 1, *range(ends[0] - 2, ends[0] + 3), *range(ends[-4] - 1, len(data) + 1)]:
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        resume = Journal.load(directory)
        if whole == 0:
            assert resume is None
            again = Journal.create(directory, HEAD)
            again.close()
            assert path.read_bytes() == data[: ends[0]]
            continue
        lines = LINES[: whole - 1]
        assert resume == expected(lines, ends[whole - 1])
        journal = Journal.resume(directory, resume)
        assert path.read_bytes() == data[: ends[whole - 1]]
        for line in LINES[whole - 1 :]:
            journal.append(line)
        journal.sync()
        journal.close()
        assert path.read_bytes() == data


@pytest.mark.parametrize(
    "garbage",
    [b"\0", b"\0" * 5000, b"{}\n", b"\xff\n", b"\n", b'{"done":9}\n', b'{"done":1}'],
)
@pytest.mark.parametrize("kept", [1, 4, 7])
def test_a_garbled_last_line_is_left_out_and_cut_off(directory: str, garbage: bytes, kept: int) -> None:
    data = written(directory, LINES)
    whole = b"".join(data.splitlines(keepends=True)[:kept])
    path = Path(directory, JOURNAL)
    path.write_bytes(whole + garbage)
    resume = Journal.load(directory)
    assert resume == expected(LINES[: kept - 1], len(whole))
    Journal.resume(directory, resume).close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("bad", range(1, 6))
@pytest.mark.parametrize("garbage", [b"\n", b"\0\n", b'{"done":7}\n', b'{"window":0}\n'])
def test_a_bad_line_further_up_is_refused(directory: str, bad: int, garbage: bytes) -> None:
    lines = written(directory, LINES).splitlines(keepends=True)
    path = Path(directory, JOURNAL)
    path.write_bytes(b"".join([*lines[:bad], garbage, *lines[bad + 1 :]]))
    with pytest.raises(BadState) as caught:
        Journal.load(directory)
    assert f"{path}, line {bad + 1}" in str(caught.value)
    assert "--restart" in str(caught.value)


@pytest.mark.parametrize("garbage", [b"{}\n", b"\n", b"[1]\n", b'{"format":%d}\n' % FORMAT, b"7\n"])
def test_a_bad_head_is_refused(directory: str, garbage: bytes) -> None:
    path = Path(directory, JOURNAL)
    path.write_bytes(garbage)
    with pytest.raises(BadState, match="line 1: "):
        Journal.load(directory)


# --- what is damaged and still reads well ----------------------------------------------------------


def test_no_byte_of_a_journal_can_be_changed_unseen(directory: str) -> None:
    data = written(directory, LINES)
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    path = Path(directory, JOURNAL)
    # All of the small lines, and of the long head each member.
    for at in (*range(0, ends[0] - 60, 5), *range(ends[0] - 60, len(data))):
        # A digit becomes another digit, a letter another letter.
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        if at < ends[-2] - 1:
            with pytest.raises(BadState, match="--restart"):
                Journal.load(directory)
        else:
            # Without its line end the last line but one is one with the last, which is left out.
            kept = len(LINES) - (2 if at == ends[-2] - 1 else 1)
            assert Journal.load(directory) == expected(LINES[:kept], ends[kept])


def test_no_line_of_a_journal_can_be_left_out_doubled_or_moved_unseen(directory: str) -> None:
    # So that it would read well in another order, or with one less, too.
    shards: list[Line] = [ShardLine(0, n, Counts(written=1)) for n in range(5)]
    lines = written(directory, [window(0), *shards]).splitlines(keepends=True)
    path = Path(directory, JOURNAL)
    for at in range(2, len(lines) - 1):
        for changed in (
            lines[:at] + lines[at + 1 :],
            lines[: at + 1] + lines[at:],
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        ):
            path.write_bytes(b"".join([*changed, lines[-1]]))
            with pytest.raises(BadState, match="--restart"):
                Journal.load(directory)


def test_lines_of_another_load_are_not_taken(directory: str) -> None:
    mine = written(directory, LINES).splitlines(keepends=True)
    Path(directory, JOURNAL).write_bytes(b"".join([encode_head(replace(HEAD, seed=6)), *mine[1:]]))
    with pytest.raises(BadState, match="line 2: "):
        Journal.load(directory)


@pytest.mark.parametrize(
    "body", [b'{"done":1', b'{"done":0', b'{"window":0', b'{"shard":0,"window":1,"counts":{}']
)
def test_a_whole_last_line_that_cannot_follow_is_refused(directory: str, body: bytes) -> None:
    """No crash can have made it, so it is not left out."""
    data = written(directory, LINES)
    resume = Journal.load(directory)
    assert resume is not None
    Path(directory, JOURNAL).write_bytes(data + sealed(body, resume.sum))
    with pytest.raises(BadState, match=r"line 8: .*--restart"):
        Journal.load(directory)


@pytest.mark.parametrize(
    "deep", [b"[" * 200_000 + b"\n", b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"]
)
def test_deep_json_is_a_bad_line_like_any_other(directory: str, deep: bytes) -> None:
    data = written(directory, LINES)
    path = Path(directory, JOURNAL)
    path.write_bytes(data + deep)
    assert Journal.load(directory) == expected(LINES, len(data))
    path.write_bytes(deep + data)
    with pytest.raises(BadState, match="line 1: "):
        Journal.load(directory)


def test_a_journal_of_another_format_is_refused(directory: str) -> None:
    head = json.loads(encode_head(HEAD)) | {"format": FORMAT + 1, "more": 1}
    Path(directory, JOURNAL).write_text(json.dumps(head) + "\nanything\n")
    with pytest.raises(BadState, match=r"was written by another version of this program\. Give --restart"):
        Journal.load(directory)


def test_beginning_anew_forgets_what_was(directory: str) -> None:
    written(directory, LINES)
    Journal.create(directory, replace(HEAD, seed=3)).close()
    resume = Journal.load(directory)
    assert resume is not None
    assert resume.head.seed == 3
    assert resume.last is None


def test_a_long_journal_is_read_quickly(directory: str) -> None:
    shards = [ShardLine(0, n, COUNTS, [(n * 100, 50), (n * 100 + 50, 60)], False, n) for n in range(100_000)]
    written(directory, [replace(window(0, COUNTS.rows * 100_000), stop=1 << 40), *shards])
    began = time.process_time()
    resume = Journal.load(directory)
    seconds = time.process_time() - began
    assert resume is not None and resume.open is not None
    assert len(resume.open.shards) == 100_000
    assert resume.counts.written == 200_000_000
    assert len(resume.rejects.positions) == 200_000
    # It takes a second; a quadratic one would take minutes.
    assert seconds < 10


# --- the disk -------------------------------------------------------------------------------------


def test_a_full_disk_leaves_whole_lines_and_another_try_leaves_out_none(
    directory: str, full_disk: None
) -> None:
    shards: list[Line] = [ShardLine(0, n, COUNTS, [(n, 50), (n, 50)]) for n in range(60)]
    begins = window(0, COUNTS.rows * 60)
    journal = Journal.create(directory, HEAD)
    journal.append(begins)
    journal.sync()
    before = os.path.getsize(Path(directory, JOURNAL))
    for shard in shards:
        journal.append(shard)
    for _ in range(2):
        with pytest.raises(DiskFailed, match=r"journal\.jsonl cannot be written: File too large"):
            journal.sync()
        assert Journal.load(directory) == expected([begins], before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    journal.sync()
    journal.close()
    assert Journal.load(directory) == expected([begins, *shards], os.path.getsize(Path(directory, JOURNAL)))


def test_a_journal_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match=r"The checkpoint .*journal\.jsonl cannot be opened: No such file"):
        Journal.create(str(tmp_path / "no"), HEAD)


def test_a_link_is_not_followed(directory: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(encode_head(HEAD))
    os.symlink(target, Path(directory, JOURNAL))
    for use in (Journal.load, lambda directory: Journal.create(directory, HEAD)):
        with pytest.raises(BadState, match=r"journal\.jsonl is a symbolic link, which is not followed"):
            use(directory)
    assert target.read_bytes() == encode_head(HEAD)


def test_a_journal_with_another_name_is_left_alone(directory: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(encode_head(HEAD))
    os.link(tmp_path / "precious", Path(directory, JOURNAL))
    for use in (Journal.load, lambda directory: Journal.create(directory, HEAD)):
        with pytest.raises(BadState, match=r"journal\.jsonl has other names too"):
            use(directory)
    assert (tmp_path / "precious").read_bytes() == encode_head(HEAD)


def test_a_pipe_in_place_of_the_journal_makes_nothing_wait(directory: str) -> None:
    os.mkfifo(Path(directory, JOURNAL))
    with pytest.raises(BadState, match=r"journal\.jsonl is not a regular file"):
        Journal.load(directory)


def test_a_journal_whose_head_finds_no_room_is_not_left(directory: str, full_disk: None) -> None:
    head = replace(HEAD, header=Header(("x" * 200_000,), 0))
    with pytest.raises(DiskFailed, match="File too large"):
        Journal.create(directory, head)
    assert os.listdir(directory) == []


def test_deleting_removes_all_of_the_load(directory: str) -> None:
    other = make_state_directory(os.path.dirname(directory), "other")
    with FileLock(os.path.join(directory, LOCK)):
        journal = Journal.create(directory, HEAD)
        Path(directory, "window-0.index").write_bytes(b"x")
        journal.delete()
    assert not os.path.exists(directory)
    assert os.path.isdir(other)


def test_deleting_leaves_what_is_not_of_the_load(directory: str) -> None:
    journal = Journal.create(directory, HEAD)
    for name in (LOCK, "window-1.index", "rejects.csv", "window-1.index.csv"):
        Path(directory, name).write_bytes(b"x")
    journal.delete()
    assert sorted(os.listdir(directory)) == ["rejects.csv", "window-1.index.csv"]


@pytest.mark.parametrize("whole", [False, True])
def test_what_somebody_else_has_removed_needs_no_deleting(directory: str, whole: bool) -> None:
    with FileLock(os.path.join(directory, LOCK)):
        journal = Journal.create(directory, HEAD)
        shutil.rmtree(directory) if whole else os.unlink(Path(directory, JOURNAL))
        journal.delete()
    assert not os.path.exists(directory)


def test_what_cannot_be_removed_is_told_of(directory: str) -> None:
    journal = Journal.create(directory, HEAD)
    Path(directory, "window-0.index").mkdir()
    with pytest.raises(DiskFailed, match="cannot be removed: Is a directory"):
        journal.delete()


# --- where it is ----------------------------------------------------------------------------------


def test_state_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        directory = make_state_directory(str(tmp_path / "a/b/state"), "load")
        Journal.create(directory, HEAD).close()
    finally:
        os.umask(old)
    for path in (directory, os.path.dirname(directory)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(Path(directory, JOURNAL)).st_mode) == 0o600


def test_a_state_directory_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "load").mkdir()
    (tmp_path / "load").chmod(0o777)
    directory = make_state_directory(str(tmp_path), "load")
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700


def test_a_state_directory_is_no_link_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(
            BadState, match=rf"{name} is not a directory of yours\. Choose another --state-dir"
        ):
            make_state_directory(str(tmp_path), name)
    with pytest.raises(BadState, match="cannot be made: Not a directory"):
        make_state_directory(str(tmp_path / "file"), "load")


def test_a_state_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "load").mkdir()
    os.chown(tmp_path / "load", 65534, 65534)
    with pytest.raises(BadState, match="is not a directory of yours"):
        make_state_directory(str(tmp_path), "load")


def test_the_default_place_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert default_state_dir({"XDG_STATE_HOME": "/x/y"}) == "/x/y/ddbload"
    for environ in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}):
        assert default_state_dir(environ) == "/home/me/.local/state/ddbload"


def test_a_load_has_a_name_of_its_own() -> None:
    arn = "arn:aws:dynamodb:us-east-1:1:table/people"
    name = state_name("http://x", arn, ["/data/a b.csv"])
    assert name.startswith("people-a-b-")
    others = [
        state_name("http://y", arn, ["/data/a b.csv"]),
        state_name("http://x", arn + "2", ["/data/a b.csv"]),
        state_name("http://x", arn, ["/data/a c.csv"]),
        state_name("http://x", arn, ["/data/a b.csv", "/data/a b.csv"]),
        state_name("http://x", arn, ["/data/a b.csv/data/a b.csv"]),
    ]
    assert len({name, *others}) == 6
    assert name == state_name("http://x", arn, ["/data/a b.csv"])


@pytest.mark.parametrize(
    "path", ["/data/" + "é" * 120 + ".csv", "/data/\udcff.csv", "/", "/data/../..", "/data/-x\n"]
)
def test_a_name_is_fit_for_a_directory(tmp_path: Path, path: str) -> None:
    name = state_name("http://x", "arn:table/" + "t" * 255, [path])
    assert os.path.basename(make_state_directory(str(tmp_path), name)) == name
    assert name.isascii()
    assert len(name) < 100
