"""From an indexed window to shards: one sort shuffles the rows and brings those with one key together."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loader.decisions.index import UNCLOSED, ChunkIndex, lines_before

SHARD_BYTES = 16 << 20
WINDOW_RECORDS = 1 << 24
"""A window ends here even when its bytes would allow more: its index takes some 20 bytes a record."""

ENTRY = np.dtype([("start", "<u8"), ("size", "<u4"), ("flags", "<u4")])
"""An entry of the sorted index, as it lies in the spool file: position and size of a record, and flags."""
ENTRY_UNCLOSED = 1
"""The record's last quote was never closed."""
ENTRY_SAME = 2
"""The hash equals that of the entry before: most likely, not surely, the same key."""

_PIECE = 1 << 16


def shard_records(source_bytes: int, workers: int) -> int:
    """
    How many records a shard holds: 2,000 to 10,000, as few as 500 in a small source.

    Forty shards a worker keep the last one from being waited for; 200 bytes a row is the guess.
    """
    return max(500, min(10_000, source_bytes // 200 // (40 * workers)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of one file, whole records only; `first_line` is the line its first byte is on."""

    number: int
    start: int
    stop: int
    first_line: int
    records: int


class LineTable:
    """Which line of its file a record of a window begins on."""

    def __init__(self, chunks: list[Chunk], indexes: list[ChunkIndex]) -> None:
        self._starts = [chunk.start for chunk in chunks]
        self._chunks = chunks
        # The positions and the few places where a record does not take exactly one line; hashes are not kept.
        self._records = [(index.starts, index.line_records, index.line_extra) for index in indexes]

    def line_of(self, position: int) -> int:
        """The line (from 1, in its file) of the record that begins at `position`."""
        which = bisect_right(self._starts, position) - 1
        starts, line_records, line_extra = self._records[which]
        record = int(np.searchsorted(starts, position))
        return self._chunks[which].first_line + lines_before(line_records, line_extra, record)


@dataclass(frozen=True, slots=True)
class SortedWindow:
    """The index of a window by (hash, position). The low `bits` of a key are the record's number."""

    keys: NDArray[np.uint64]
    bits: int
    starts: NDArray[np.int64]
    sizes: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.keys)


def sort_window(indexes: list[ChunkIndex]) -> SortedWindow:
    """
    Sort by (hash, position): one 64-bit integer a record, in place.

    Sorting by a keyed hash puts neighbours of the file far apart, rows of one key side by side in file order,
    and comes out the same on every run, so a restart knows what "shard 7" was.
    """
    keys = np.concatenate([index.hashes for index in indexes]) if indexes else np.empty(0, np.uint64)
    bits = max(1, (len(keys) - 1).bit_length()) if len(keys) else 1
    low = np.uint64((1 << bits) - 1)
    keys &= ~low
    for start in range(0, len(keys), _PIECE):
        stop = min(start + _PIECE, len(keys))
        keys[start:stop] |= np.arange(start, stop, dtype=np.uint64)
    keys.sort()
    starts = np.concatenate([index.starts for index in indexes]) if indexes else np.empty(0, np.int64)
    sizes = np.concatenate([index.sizes for index in indexes]) if indexes else np.empty(0, np.uint32)
    return SortedWindow(keys, bits, starts, sizes)


def repeats(window: SortedWindow) -> int:
    """How many entries follow one with the same hash, so most likely with the same key."""
    bits = np.uint64(window.bits)
    count = 0
    for start in range(0, len(window), _PIECE):
        hashes = window.keys[start : start + _PIECE + 1] >> bits
        count += int(np.count_nonzero(hashes[1:] == hashes[:-1]))
    return count


def entries(window: SortedWindow) -> Iterator[NDArray[np.void]]:
    """The sorted index as arrays of ENTRY, a piece at a time: there is no second copy of it in memory."""
    low = np.uint64((1 << window.bits) - 1)
    before = np.uint64(0)
    for start in range(0, len(window), _PIECE):
        keys = window.keys[start : start + _PIECE]
        order = (keys & low).astype(np.intp)
        piece = np.empty(len(keys), ENTRY)
        piece["start"] = window.starts[order]
        sizes = window.sizes[order]
        piece["size"] = sizes & np.uint32(UNCLOSED - 1)
        hashes = keys >> np.uint64(window.bits)
        same = np.empty(len(keys), bool)
        same[1:] = hashes[1:] == hashes[:-1]
        same[0] = start > 0 and hashes[0] == before
        before = hashes[-1]
        piece["flags"] = (sizes >= UNCLOSED) * ENTRY_UNCLOSED + same * ENTRY_SAME
        yield piece


def cut_shards(window: SortedWindow, records: int) -> list[tuple[int, int]]:
    """
    Cut the sorted index into shards (start, stop): about `records`, at most SHARD_BYTES of rows to write.

    Cuts lie only where the hash changes, so rows of one key stay together, however many there are.
    """
    shards = []
    start, total = 0, len(window)
    while start < total:
        stop = _next_border(window, min(start + records, total))
        stop = start + _fitting(window, start, stop)
        shards.append((start, stop))
        start = stop
    return shards


def _next_border(window: SortedWindow, at: int) -> int:
    """The first place from `at` on where the hash changes; `at` is not 0."""
    bits = np.uint64(window.bits)
    while at < len(window):
        hashes = window.keys[at - 1 : at + _PIECE] >> bits
        changes = np.flatnonzero(hashes[1:] != hashes[:-1])
        if len(changes):
            return at + int(changes[0])
        at += _PIECE
    return len(window)


def _fitting(window: SortedWindow, start: int, stop: int) -> int:
    """How many entries of [start, stop), whole groups of one hash and at least one, a shard takes."""
    keys = window.keys[start:stop]
    hashes = keys >> np.uint64(window.bits)
    lasts = np.append(np.flatnonzero(hashes[1:] != hashes[:-1]), len(keys) - 1)
    # A group counts with its last row, the one that is written; the others are only read.
    low = np.uint64((1 << window.bits) - 1)
    sizes = window.sizes[(keys[lasts] & low).astype(np.intp)] & np.uint32(UNCLOSED - 1)
    volume = np.cumsum(sizes, dtype=np.int64)
    groups = max(1, int(np.searchsorted(volume, SHARD_BYTES, side="right")))
    return int(lasts[min(groups, len(lasts)) - 1]) + 1
