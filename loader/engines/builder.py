"""Shards to items: reads the records, parses them, settles which row of a key wins, and encodes it."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from loader.decisions.batch import Batch, Item, batches
from loader.decisions.items import ItemEncoder
from loader.decisions.plan import ENTRY_SAME, ENTRY_UNCLOSED
from loader.decisions.rows import cells_of, is_superseded, parse_records, plain_cells, whole_rows
from loader.decisions.schema import ItemSchema
from loader.edges.source import Source
from loader.engines.outcomes import Outcomes
from loader.errors import LoaderError
from loader.model import Dialect, Problem, Reject, RejectCode

_CSV_RECORDS = 50
"""Records given to the csv module at a time; more only takes memory."""
_CSV_BYTES = 1 << 20
"""The same in bytes, but for a record that has more by itself: rows of one key have no limit in all."""

_UNCLOSED = Problem(
    RejectCode.UNCLOSED_QUOTE, "a quote that opens in this record is never closed before the file ends"
)

_Record = tuple[int, bytes]
"""The entry of a record in its shard, and its bytes."""


@dataclass(frozen=True, slots=True)
class BuildRules:
    """What shapes items and decides between rows of one key. `winner` is "last" or "first"."""

    schema: ItemSchema
    dialect: Dialect = field(default_factory=Dialect)
    winner: str = "last"
    include_superseded: bool = False


class Draining(Exception):
    """The worker is to end: no more items are taken."""


class Builder:
    """
    Makes the batches of shards, and enters duplicates and rejects in `outcomes`. Where `draining` says so it
    raises Draining, for rows of one key that make no item can take it a long time.

    Keeps the index entries of a shard until `forget`, since a row that the service refuses is replaced by
    an older one of its key (`next_in_line`), as it would have been had the rows been written one by one.
    """

    def __init__(
        self,
        source: Source,
        rules: BuildRules,
        outcomes: Outcomes,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._rules = rules
        self._encoder = ItemEncoder(rules.schema)
        self._quote = rules.dialect.quote.encode()
        # Rows that an earlier load has marked as superseded are found one by one.
        self._skips = rules.schema.header.reject_columns > 0
        self._outcomes = outcomes
        self._draining = draining
        self._entries: dict[int, NDArray[np.void]] = {}

    def batches(self, shard: int, entries: NDArray[np.void], size: int) -> Iterator[Batch]:
        """
        The items of a shard in batches of at most `size`: for each key one row, in no particular order. Rows
        whose key nobody shares come first, since they need no comparing. Raises SourceChanged.
        """
        self._entries[shard] = entries
        with self._changes_named():
            yield from self._batches(shard, entries, size)

    def forget(self, shard: int) -> None:
        self._entries.pop(shard, None)

    def next_in_line(self, item: Item) -> Item | None:
        """
        The row that takes the place of a refused one: the next older with this key that makes an item. Rows
        on the way that make none are entered as rejects. None when no row of the key is left. Raises
        SourceChanged.
        """
        with self._changes_named():
            return self._first_valid(item.shard, item.older)

    def reject(self, shard: int, entry: int, problem: Problem, *, superseded: bool = False) -> None:
        record = self._entries[shard][entry]
        reject = Reject(int(record["start"]), int(record["size"]), problem, superseded)
        self._outcomes.reject(shard, reject)

    @contextmanager
    def _changes_named(self) -> Iterator[None]:
        """Bytes of a file that is changed while it is read make for odd errors: the file is what to name."""
        try:
            yield
        except (LoaderError, Draining):
            raise
        except Exception:
            self._source.check_unchanged()
            raise

    def _batches(self, shard: int, entries: NDArray[np.void], size: int) -> Iterator[Batch]:
        same = (entries["flags"] & ENTRY_SAME) != 0
        begins = np.flatnonzero(~same)
        lengths = np.diff(begins, append=len(entries))
        alone = begins[lengths == 1]
        groups = list(zip(begins[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True))
        # Entries of rows that are to be looked at one by one.
        apart: list[int] = []
        if self._skips or size > self._encoder.most_together:
            apart = alone.tolist()
        else:
            rest: list[_Record] = []
            yield from self._together(shard, alone, size, apart, rest)
            if apart or groups:
                # So that there is one batch that is not full, not two.
                apart += (entry for entry, _ in rest)
            else:
                for at in range(0, len(rest), size):
                    yield from self._parsed(shard, rest[at : at + size], apart)
        one_by_one = chain(
            self._singles(shard, apart),
            chain.from_iterable(self._group(shard, begin, begin + length) for begin, length in groups),
        )
        yield from batches(one_by_one, size)

    def _together(
        self, shard: int, which: NDArray[np.intp], size: int, apart: list[int], rest: list[_Record]
    ) -> Iterator[Batch]:
        """
        Full batches of rows with which nothing is wrong. Entries of the others go to `apart`, what is less
        than a batch to `rest`.

        Rows with quotes are gathered in batches of their own: only they need the csv module.
        """
        entries = self._entries[shard][which]
        unclosed = (entries["flags"] & ENTRY_UNCLOSED) != 0
        if unclosed.any():
            apart += which[unclosed].tolist()
            which, entries = which[~unclosed], entries[~unclosed]
        numbers, starts, sizes = which.tolist(), entries["start"].tolist(), entries["size"].tolist()
        plain: list[_Record] = []
        quoted: list[_Record] = []
        for at in range(0, len(numbers), size):
            chunk = numbers[at : at + size]
            records = self._source.read_many(starts[at : at + size], sizes[at : at + size])
            full = len(chunk) == size
            cells = plain_cells(records, self._rules.schema.header, self._rules.dialect) if full else None
            if cells is not None:
                yield from self._ready(shard, chunk, self._encoder.encode_cells(cells), apart)
                continue
            for record in zip(chunk, records, strict=True):
                (quoted if self._quote in record[1] else plain).append(record)
            for gathered in (plain, quoted):
                if len(gathered) >= size:
                    yield from self._parsed(shard, gathered[:size], apart)
                    del gathered[:size]
        rest += plain + quoted

    def _parsed(self, shard: int, gathered: list[_Record], apart: list[int]) -> Iterator[Batch]:
        entries, records = zip(*gathered, strict=True)
        header, dialect = self._rules.schema.header, self._rules.dialect
        json = None
        if (cells := plain_cells(records, header, dialect)) is not None:
            json = self._encoder.encode_cells(cells)
        elif (rows := whole_rows(records, header, dialect)) is not None:
            json = self._encoder.encode_rows(rows)
        yield from self._ready(shard, entries, json, apart)

    def _ready(
        self, shard: int, entries: Sequence[int], json: bytes | None, apart: list[int]
    ) -> Iterator[Batch]:
        if json is None:
            apart += entries
        else:
            yield Batch.ready(shard, entries, json)

    def _singles(self, shard: int, which: Sequence[int]) -> Iterator[Item]:
        for entry, row in self._rows(shard, which):
            item = self._encoder.encode(row)
            if isinstance(item, bytes):
                yield Item(item, shard, entry)
            else:
                self.reject(shard, entry, item)

    def _rows(self, shard: int, which: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        """The rows of these entries; those that are none, or not to be loaded, are entered and left out."""
        for entry, row in self._rows_and_problems(shard, which):
            if isinstance(row, Problem):
                self.reject(shard, entry, row)
            else:
                yield entry, row

    def _rows_and_problems(
        self, shard: int, which: Sequence[int]
    ) -> Iterator[tuple[int, list[str] | Problem]]:
        header = self._rules.schema.header
        at = 0
        while at < len(which):
            if self._draining():
                raise Draining
            taken, numbers, records = self._read(shard, which[at : at + _CSV_RECORDS])
            at += taken
            rows = parse_records(records, header, self._rules.dialect)
            for entry, row in zip(numbers, rows, strict=True):
                skipped = self._skips and not self._rules.include_superseded
                if skipped and not isinstance(row, Problem) and is_superseded(row, header):
                    # Mending an old row must not undo a newer one: it stays superseded.
                    self._outcomes.duplicates(shard, 1)
                else:
                    yield entry, row

    def _read(self, shard: int, which: Sequence[int]) -> tuple[int, list[int], list[bytes]]:
        """
        How many of these records were taken, the first ones and at least one; the entries and bytes of those
        that can be parsed.
        """
        entries = self._entries[shard][list(which)]
        starts, sizes, flags = (entries[name].tolist() for name in ("start", "size", "flags"))
        if sum(sizes) > _CSV_BYTES:
            fitting = max(1, bisect_right(list(accumulate(sizes)), _CSV_BYTES))
            starts, sizes, flags = starts[:fitting], sizes[:fitting], flags[:fitting]
        taken = len(sizes)
        which = which[:taken]
        read = self._source.read
        if not any(flag & ENTRY_UNCLOSED for flag in flags):
            return taken, list(which), list(map(read, starts, sizes))
        numbers, records = [], []
        for entry, start, size, flag in zip(which, starts, sizes, flags, strict=True):
            if flag & ENTRY_UNCLOSED:
                self.reject(shard, entry, _UNCLOSED)
            else:
                numbers.append(entry)
                records.append(read(start, size))
        return taken, numbers, records

    def _group(self, shard: int, begin: int, end: int) -> Iterator[Item]:
        """
        Rows whose hashes are equal, in file order: mostly one key's. However many there are, no more than
        a number for each is held.
        """
        by_key: dict[bytes, array[int]] = {}
        bad: list[tuple[int, Problem]] = []
        key_of = self._rules.schema.key.key_of
        for entry, row in self._rows_and_problems(shard, range(begin, end)):
            if isinstance(row, Problem):
                bad.append((entry, row))
                continue
            key = key_of(row)
            if key is None:
                # Without a key nothing can be superseded; the encoder says what is wrong with it.
                yield from self._alone(shard, entry, row)
            else:
                by_key.setdefault(key, array("Q")).append(entry)
        winners: dict[bytes, int] = {}
        for key, same_key in by_key.items():
            item = self._first_valid(shard, same_key)
            if item is not None:
                winners[key] = item.entry
                yield item
        for entry, problem in bad:
            key = key_of(self._cells(shard, entry)) if winners else None
            later = key is not None and winners.get(key, -1) > entry
            self.reject(shard, entry, problem, superseded=later)

    def _cells(self, shard: int, entry: int) -> list[str]:
        record = self._entries[shard][entry]
        data = self._source.read(int(record["start"]), int(record["size"]))
        return cells_of(data, self._rules.dialect)

    def _alone(self, shard: int, entry: int, row: list[str]) -> Iterable[Item]:
        item = self._encoder.encode(row)
        if isinstance(item, Problem):
            self.reject(shard, entry, item)
            return ()
        return (Item(item, shard, entry),)

    def _first_valid(self, shard: int, candidates: Sequence[int]) -> Item | None:
        """
        The first of the candidates (oldest first) that makes an item, from the end that wins.

        Where the first row wins, a reject before it is superseded by it; where the last wins, a reject is
        newer than what takes its place, so it is not.
        """
        last_wins = self._rules.winner == "last"
        passed: list[tuple[int, Problem]] = []
        found: Item | None = None
        for at in range(len(candidates) - 1, -1, -1) if last_wins else range(len(candidates)):
            entry = candidates[at]
            (row,) = (row for _, row in self._rows(shard, (entry,)))
            item = self._encoder.encode(row)
            if isinstance(item, bytes):
                others = candidates[:at] if last_wins else candidates[at + 1 :]
                found = Item(item, shard, entry, others)
                break
            if last_wins:
                # At once: there may be millions of them, which --max-rejects and --stall-timeout are to see.
                self.reject(shard, entry, item)
            else:
                passed.append((entry, item))
        for entry, problem in passed:
            self.reject(shard, entry, problem, superseded=found is not None)
        return found
