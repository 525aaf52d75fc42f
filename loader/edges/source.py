"""The inputs: any number of CSV files, end to end, as one virtual source that is read by position."""

import glob
import logging
import os
import re
import resource
import stat
import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import xxhash

from loader.config import RECORD_LIMIT
from loader.decisions.header import header_of, names_of, require_same
from loader.decisions.scan import RecordScanner
from loader.errors import BadSource, SourceChanged
from loader.model import Dialect, FileIdentity, FileSpan, Header

_log = logging.getLogger(__name__)

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"(\xb5/\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    **{b"BZh%d1AY&" % level: "bzip2" for level in range(1, 10)},
}
"""How a compressed file begins."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_HEADER_PIECE = 64 << 10
_DIGEST_PIECE = 8 << 20
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # a pipe must not make open() wait
_AGAIN = "Load it again with --restart once it no longer changes."


class Source:
    """
    All files end to end: byte b of file k stands at position `files[k].base + b`, headers included.

    Files are opened when they are first read, and only some stay open. Reading is thread-safe. Nothing here
    can cross to another process but `files` and `header`: a worker uses `reopen`.
    """

    def __init__(self, files: Sequence[FileSpan], header: Header, *, open_limit: int | None = None) -> None:
        self.files = tuple(files)
        self.header = header
        self._bases = [span.base for span in self.files]
        self._open: dict[int, _OpenFile] = {}
        self._open_limit = open_limit or _default_open_limit()
        self._opening = threading.Lock()

    @classmethod
    def open(cls, paths: Sequence[str], dialect: Dialect) -> "Source":
        """
        The files at `paths`, in that order, once each was found fit to be loaded.

        A path with glob characters that is not itself a file stands for what it matches, in byte order, but
        for reject files where there are others. Every file has its own header, and all headers are the same.
        Raises BadSource.
        """
        files: list[FileSpan] = []
        first: tuple[str, ...] = ()
        base = 0
        for found in chain.from_iterable(_found(path, dialect) for path in paths):
            if files:
                require_same(found.names, found.identity.shown, first, files[0].identity.shown)
            else:
                first = found.names
            files.append(FileSpan(found.identity, base, found.data_start, found.first_line))
            base += found.identity.size
        return cls(files, header_of(first))

    @classmethod
    def reopen(cls, files: Sequence[FileSpan], header: Header) -> "Source":
        """The same source in another process. Raises SourceChanged if a file is not what it was."""
        source = cls(files, header)
        source.check_unchanged()
        return source

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self.files[-1].end if self.files else 0

    def span_at(self, position: int) -> FileSpan:
        """The file that holds the byte at `position`."""
        return self.files[self._file_at(position)]

    def read(self, position: int, size: int) -> bytes:
        """Exactly `size` bytes, which lie in one file. Raises SourceChanged when it does not give them."""
        file = self._file_at(position)
        span = self.files[file]
        if position + size > span.end:
            raise ValueError(f"bytes {position} to {position + size} are not in one file")
        opened = self._open.get(file) or self._open_file(file)
        return _read(opened.descriptor, position - span.base, size, span.identity)

    def read_many(self, positions: list[int], sizes: list[int]) -> list[bytes]:
        """As `read`, of many records at once; quick where they lie in one file, as most do."""
        if not positions:
            return []
        file = self._file_at(min(positions))
        span = self.files[file]
        if max(positions) < span.end:
            opened = self._open.get(file) or self._open_file(file)
            offsets = [position - span.base for position in positions] if span.base else positions
            try:
                found = list(map(os.pread, repeat(opened.descriptor), sizes, offsets))
            except OSError:
                found = []
            if list(map(len, found)) == sizes:
                return found
        # One by one for the message that fits, and what a file gives in pieces.
        return list(map(self.read, positions, sizes))

    def header_record(self) -> bytes:
        """The header of the first file as it stands there, without byte order mark and line end."""
        span = self.files[0]
        # The header is the first record that is not blank: line ends before it are blank lines.
        return self.read(span.base, span.data_start).removeprefix(_UTF8_MARK).strip(b"\r\n")

    def digest(self, position: int, size: int) -> str:
        """xxh3_128 of `size` bytes, which may lie in several files, as hexadecimal digits."""
        digest = xxhash.xxh3_128()
        stop = position + size
        while position < stop:
            end = min(stop, self.span_at(position).end, position + _DIGEST_PIECE)
            digest.update(self.read(position, end - position))
            position = end
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """Raises SourceChanged unless every file is, by its path and where it is open, what it was."""
        for span in self.files:
            try:
                found = os.stat(span.identity.path)
            except OSError as error:
                raise _gone(span.identity, error) from error
            _require_identity(found, span.identity)
        for file, opened in list(self._open.items()):
            _require_identity(os.fstat(opened.descriptor), self.files[file].identity)

    def close(self) -> None:
        with self._opening:
            self._open.clear()

    def _file_at(self, position: int) -> int:
        file = bisect_right(self._bases, position) - 1
        if file < 0 or position >= self.files[file].end:
            raise ValueError(f"position {position} is outside the source")
        return file

    def _open_file(self, file: int) -> "_OpenFile":
        with self._opening:
            opened = self._open.get(file)
            if opened is None:
                opened = _open_same(self.files[file].identity)
                while len(self._open) >= self._open_limit:
                    del self._open[next(iter(self._open))]
                self._open[file] = opened
            return opened


class _OpenFile:
    """A descriptor that is closed when the last who reads from it lets go, so no reader needs a lock."""

    __slots__ = ("descriptor",)

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, _OPEN_FLAGS)

    def __del__(self) -> None:
        # Not set where the opening failed.
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _default_open_limit() -> int:
    """Most descriptors are left to the connections; each read of a file not open costs ten others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else max(8, min(1024, soft // 4))


def _open_same(identity: FileIdentity) -> _OpenFile:
    try:
        opened = _OpenFile(identity.path)
    except OSError as error:
        raise _gone(identity, error) from error
    _require_identity(os.fstat(opened.descriptor), identity)
    return opened


def _read(descriptor: int, offset: int, size: int, identity: FileIdentity) -> bytes:
    try:
        data = os.pread(descriptor, size, offset)
        while len(data) < size:
            # The kernel gives at most 2 GiB at a time, and may give less on a signal.
            more = os.pread(descriptor, size - len(data), offset + len(data))
            if not more:
                raise SourceChanged(f"{identity.shown} is shorter than when the load began. {_AGAIN}")
            data += more
    except OSError as error:
        raise SourceChanged(f"{identity.shown} cannot be read any more: {error.strerror}.") from error
    return data


def _gone(identity: FileIdentity, error: OSError) -> SourceChanged:
    return SourceChanged(f"{identity.shown} cannot be opened any more: {error.strerror}.")


def _require_identity(found: os.stat_result, identity: FileIdentity) -> None:
    if (found.st_dev, found.st_ino) != (identity.device, identity.inode):
        raise SourceChanged(f"{identity.shown} is another file than when the load began. {_AGAIN}")
    if found.st_size != identity.size:
        raise SourceChanged(
            f"{identity.shown} has {found.st_size:,} bytes; "
            f"it had {identity.size:,} when the load began. {_AGAIN}"
        )
    if found.st_mtime_ns != identity.modified_ns:
        raise SourceChanged(f"{identity.shown} was written to since the load began. {_AGAIN}")


# --- before the load: which files, and what their headers say -------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that is fit to be loaded: the names in its header, the offset and line where its data begin."""

    identity: FileIdentity
    names: tuple[str, ...]
    data_start: int
    first_line: int


def _found(path: str, dialect: Dialect) -> list[_Found]:
    """The file at `path`, or those that it stands for as a pattern."""
    if path == "-":
        raise BadSource(
            "Reading standard input (-) is not there yet. Save the data to a file first; "
            "a file of that name is ./-."
        )
    if os.path.lexists(path):
        return [_examine(path, dialect)]
    if scheme := _URL.match(path):
        raise BadSource(
            f"{_printable(path)}: reading from {scheme[0]} is not there yet. "
            "Copy the file to this machine first."
        )
    if not any(character in path for character in "*?["):
        return [_examine(path, dialect)]
    matches = glob.glob(path, recursive=True)
    if "**" in path:
        matches = [each for each in matches if not os.path.isdir(each)]
    if not matches:
        raise BadSource(f"{_printable(path)}: no file matches this pattern.")
    files = [_examine(each, dialect) for each in sorted(matches, key=os.fsencode)]
    # An earlier load may have left its rejects where the pattern takes them in.
    others = [file for file in files if not header_of(file.names).reject_columns]
    if others and len(others) < len(files):
        left_out = [file.identity.shown for file in files if file not in others]
        _log.info("%s stands for no reject file: %s left out.", _printable(path), ", ".join(left_out))
    return others or files


def _printable(path: str) -> str:
    """A path whose name is not UTF-8 must not break the message or the summary it stands in."""
    return path.encode("utf-8", "backslashreplace").decode()


def _examine(path: str, dialect: Dialect) -> _Found:
    shown = _printable(path)
    try:
        _require_regular(os.stat(path).st_mode, shown)
        opened = _OpenFile(path)
        found = os.fstat(opened.descriptor)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise BadSource(f"{shown} is a link to a file that does not exist.") from None
        raise BadSource(f"{shown}: there is no such file.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadSource(f"{shown} cannot be read: {reason}.") from error
    _require_regular(found.st_mode, shown)
    identity = FileIdentity(
        os.path.abspath(path), shown, found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns
    )
    try:
        record, data_start, first_line = _find_header(opened.descriptor, identity, dialect)
    except SourceChanged as error:
        # Such are the files of /proc and /sys, and a file that is being replaced right now.
        raise BadSource(f"{shown} says it has {found.st_size:,} bytes, but cannot be read so far.") from error
    return _Found(identity, names_of(record, shown, dialect), data_start, first_line)


def _require_regular(mode: int, shown: str) -> None:
    if stat.S_ISDIR(mode):
        raise BadSource(
            f"{shown} is a directory. Name the CSV files in it, such as {shown.rstrip('/')}/*.csv."
        )
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise BadSource(f"{shown} is a pipe, which cannot be read twice yet. Save the data to a file first.")
    if not stat.S_ISREG(mode):
        raise BadSource(f"{shown} is not a regular file.")


def _find_header(descriptor: int, identity: FileIdentity, dialect: Dialect) -> tuple[bytes, int, int]:
    """The bytes of the first record that is not blank, the offset behind its line end, the line there."""
    shown = identity.shown
    first = _read(descriptor, 0, min(8, identity.size), identity)
    for mark, what in _COMPRESSED.items():
        if first.startswith(mark):
            raise BadSource(
                f"{shown} is compressed ({what}); reading compressed files is not there yet. Unpack it first."
            )
    if first and not first.strip(b"\0"):
        # What a full disk or a crash leaves of a file, or one whose size was set ahead of its data.
        raise BadSource(f"{shown} begins with zero bytes: it is no CSV file. Make it anew, or name another.")
    # Without a mark, text in UTF-16 or UTF-32 has a zero byte in its first character.
    if first[:2] in _UTF16_MARKS or b"\0" in first[:2]:
        raise BadSource(f"{shown} is UTF-16 or UTF-32 text. Save it as UTF-8.")
    offset = len(_UTF8_MARK) if first.startswith(_UTF8_MARK) else 0
    scanner = RecordScanner(dialect, offset)
    kept = bytearray()  # from `kept_from` to `offset`
    kept_from = offset
    while offset < identity.size:
        piece = _read(descriptor, offset, min(_HEADER_PIECE, identity.size - offset), identity)
        kept += piece
        offset += len(piece)
        final = offset == identity.size
        borders = scanner.feed(piece, final=final)
        if len(borders.starts):
            start, end, lines = (int(array[0]) for array in borders)
            if final and scanner.quoted and len(borders.starts) == 1:
                raise _endless_header(shown, lines, "the file ends", quoted=True)
            record = bytes(kept[start - kept_from : end - kept_from])
            line_end = _line_end(kept, end - kept_from)
            lines += _line_ends(record) + (line_end > 0)
            if len(record) > RECORD_LIMIT:
                break
            return record, end + line_end, lines + 1
        if offset - scanner.open_start > RECORD_LIMIT:
            break
        del kept[: scanner.open_start - kept_from]
        kept_from = scanner.open_start
    else:
        raise BadSource(f"{shown} is empty: it has no header. Its first line must name the columns.")
    raise _endless_header(shown, scanner.open_line, f"{RECORD_LIMIT >> 20} MiB", quoted=scanner.quoted)


def _endless_header(shown: str, lines_before: int, before: str, *, quoted: bool) -> BadSource:
    why = "Most often a quote in it is never closed." if quoted else "It has no line end: is this a CSV file?"
    return BadSource(f"{shown}: the header, on line {lines_before + 1}, does not end before {before}. {why}")


def _line_end(data: bytearray, at: int) -> int:
    """Bytes of the line end at `at`: none at the end of the file."""
    return 2 if data[at : at + 2] == b"\r\n" else len(data[at : at + 1])


def _line_ends(record: bytes) -> int:
    return record.count(b"\n") + record.count(b"\r") - record.count(b"\r\n")
