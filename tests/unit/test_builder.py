"""From a shard's entries to its items: which row of a key wins, and what becomes of all the others."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import numpy as np
import pytest
from numpy.typing import NDArray

from loader.decisions.batch import Batch, Item, shares_of
from loader.decisions.index import index_chunk
from loader.decisions.items import ItemEncoder
from loader.decisions.plan import ENTRY_SAME, ENTRY_UNCLOSED, entries, sort_window
from loader.decisions.rows import parse_records
from loader.decisions.schema import build_schema
from loader.edges.source import Source
from loader.engines.builder import Builder, BuildRules, Draining
from loader.engines.outcomes import Outcomes
from loader.model import (
    REJECT_COLUMNS,
    Counts,
    Dialect,
    Header,
    KeyPart,
    KeySchema,
    Problem,
    RejectCode,
    ShardTask,
    TableDescription,
)

DIALECT = Dialect()
SHARD = 4
REFUSED = Problem(RejectCode.REFUSED, "the service did not like it")


class Bench:
    """A builder over a file with the header `id,n` (n a number), and accounts of a single shard."""

    def __init__(self, source: Source, key_type: str, winner: str, include_superseded: bool) -> None:
        self.source = source
        key = KeySchema(KeyPart("id", key_type))
        table = TableDescription("t", "arn", "1", "0", "http://127.0.0.1:1", "ACTIVE", key)
        schema = build_schema(table, Header(source.header.columns, source.header.reject_columns), {"n": "N"})
        rules = BuildRules(schema, DIALECT, winner, include_superseded)
        self.outcomes = Outcomes(lambda: None)
        self.draining = False
        self.builder = Builder(source, rules, self.outcomes, lambda: self.draining)
        (span,) = source.files
        start = span.base + span.data_start
        data = source.read(start, span.end - start)
        index = index_chunk(data, start, schema.key, DIALECT, schema.header.width, 1)
        self.entries: NDArray[np.void] = np.concatenate(list(entries(sort_window([index]))))
        self.outcomes.begin(ShardTask(0, SHARD, 0, len(self.entries), "nowhere"))

    def in_one_group(self) -> "Bench":
        """As if all hashes were equal: one group, in file order."""
        self.entries = np.sort(self.entries, order="start")
        self.entries["flags"] &= ENTRY_UNCLOSED
        self.entries["flags"][1:] |= ENTRY_SAME
        return self

    def batches(self, size: int = 25) -> list[Batch]:
        return list(self.builder.batches(SHARD, self.entries, size))

    def items(self) -> list[Item]:
        found = [item for batch in self.batches(2) for item in batch.items]
        self.outcomes.under_way(shares_of(found))
        return found

    def built(self) -> list[tuple[str, list[str]]]:
        """(record written, records of its key that are behind it) for each item, in file order."""
        found = self.items()
        # An item and its entry are of one row.
        assert [cells(item) for item in found] == [self.row(item.entry) for item in found]
        return sorted((self.record(item.entry), self.behind(item)) for item in found)

    def record(self, entry: int) -> str:
        return self.source.read(int(self.entries["start"][entry]), int(self.entries["size"][entry])).decode()

    def row(self, entry: int) -> list[str]:
        return self.record(entry).split(",")[:2]

    def behind(self, item: Item) -> list[str]:
        return [self.record(entry) for entry in item.older]

    def told(self) -> list[tuple[str, RejectCode, bool]]:
        """Record, code and `superseded` of each reject so far."""
        (state,) = self.outcomes.final_report().given_up
        assert state.counts.rejected == len(state.rejects)
        return [
            (
                self.source.read(reject.position, reject.size).decode(errors="replace"),
                reject.problem.code,
                reject.superseded,
            )
            for reject in state.rejects
        ]

    def counts(self, written: Sequence[Item]) -> Counts:
        """Once everything of the shard is settled."""
        self.outcomes.written(shares_of(written))
        self.outcomes.built(SHARD)
        (finished,) = self.outcomes.report().finished
        return finished.counts


def cells(item: Item) -> list[str]:
    return [next(iter(value.values())) for value in json.loads(item.json).values()]


Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    opened: list[Source] = []

    def make(
        *records: str | bytes,
        header: str = "id,n",
        key_type: str = "S",
        winner: str = "last",
        include_superseded: bool = False,
    ) -> Bench:
        path = tmp_path / f"{len(opened)}.csv"
        lines = [record.encode() if isinstance(record, str) else record for record in (header, *records)]
        path.write_bytes(b"\n".join(lines) + b"\n")
        opened.append(Source.open([str(path)], DIALECT))
        return Bench(opened[-1], key_type, winner, include_superseded)

    yield make
    for source in opened:
        source.close()


def settle_all(made: Bench) -> Counts:
    return made.counts(made.items())


# --- rows that share no key -----------------------------------------------------------------------


def test_each_row_is_an_item_with_its_place(bench: Make) -> None:
    made = bench("a,1", "b,2", "c,3")
    found = made.items()
    assert sorted(item.json for item in found) == [
        b'{"id":{"S":"%b"},"n":{"N":"%b"}}' % pair for pair in ((b"a", b"1"), (b"b", b"2"), (b"c", b"3"))
    ]
    assert {item.shard for item in found} == {SHARD}
    assert all(made.row(item.entry) == cells(item) for item in found)
    assert all((len(item.older), item.failures) == (0, 0) for item in found)


def test_nothing_is_lost_where_rows_are_read_many_at_a_time(bench: Make) -> None:
    made = bench(*(f"k{number},{number}" for number in range(151)))
    assert made.built() == sorted((f"k{number},{number}", []) for number in range(151))
    assert made.told() == []


def test_a_bad_row_is_rejected_alone(bench: Make) -> None:
    good = [f"k{number},1" for number in range(120)]
    made = bench(*good[:60], "x,one", b"y,\xff", "z", ",5", "w,1,2", *good[60:])
    assert made.built() == sorted((record, []) for record in good)
    assert sorted(made.told()) == [
        (",5", RejectCode.EMPTY_KEY, False),
        ("w,1,2", RejectCode.CELL_COUNT, False),
        ("x,one", RejectCode.BAD_NUMBER, False),
        ("y,\ufffd", RejectCode.NOT_UTF8, False),
        ("z", RejectCode.CELL_COUNT, False),
    ]


def test_an_unclosed_quote_is_a_reject_of_all_that_it_swallowed(bench: Make) -> None:
    made = bench("a,1", "b,2", 'c,"3', "d,4")
    assert made.built() == [("a,1", []), ("b,2", [])]
    assert made.told() == [('c,"3\nd,4\n', RejectCode.UNCLOSED_QUOTE, False)]


def test_every_row_of_a_shard_is_entered_once(bench: Make) -> None:
    records = ["a,1", "b,x", "a,2", "c,1", ",1", "a,z", "c,1,1", "d,1", "a,3", 'e,"']
    assert settle_all(bench(*records)) == Counts(written=3, duplicates=3, rejected=4)


def test_a_shard_without_rows_has_no_items(bench: Make) -> None:
    made = bench("a,1")
    made.entries = made.entries[:0]
    assert made.items() == []


# --- whole batches at once ------------------------------------------------------------------------


@contextmanager
def no_csv() -> Iterator[None]:
    """The csv module takes no cell with anything in it."""
    before = csv.field_size_limit(0)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class Calls:
    """Counts every call of functions while it is entered, as the interpreter tells of them."""

    def __init__(self, *functions: Callable[..., object]) -> None:
        self._names: dict[CodeType, str] = {each.__code__: each.__name__ for each in functions}
        self.counted: Counter[str] = Counter()

    def __enter__(self) -> "Calls":
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in self._names:
            self.counted[self._names[frame.f_code]] += 1


def counting() -> Calls:
    return Calls(parse_records, ItemEncoder.encode, ItemEncoder.encode_cells)


def ids(built: Iterable[Batch]) -> list[str]:
    return sorted(cells(item)[0] for batch in built for item in batch.items)


def keys(*numbers: Iterable[int]) -> list[str]:
    return sorted(f"k{number}" for each in numbers for number in each)


def test_plain_rows_are_built_without_the_csv_module(bench: Make) -> None:
    made = bench(*(f"k{number},{number}" for number in range(117)))
    with no_csv():
        built = made.batches()
    assert [len(batch) for batch in built] == [25, 25, 25, 25, 17]
    assert ids(built) == keys(range(117))
    # So would it have been told of.
    quoted = bench("a,1", 'b,"2"')
    with no_csv(), pytest.raises(csv.Error):
        quoted.batches()


def test_plain_rows_are_encoded_a_batch_at_a_time(bench: Make) -> None:
    made = bench(*(f"k{number},{number}" for number in range(117)))
    with counting() as calls:
        built = made.batches()
    assert calls.counted == {"encode_cells": len(built)} == {"encode_cells": 5}


def test_rows_with_quotes_are_gathered_and_alone_go_through_the_csv_module(bench: Make) -> None:
    quoted = [f'"k{number}",{number}' for number in range(60)]
    made = bench(*quoted, *(f"k{number},{number}" for number in range(100, 300)))
    with counting() as calls:
        built = made.batches()
    assert [len(batch) for batch in built] == [25] * 10 + [10]
    assert ids(built) == keys(range(60), range(100, 300))
    # Sixty rows are two batches and what is left; no row is looked at by itself.
    assert calls.counted["parse_records"] <= 3
    assert calls.counted["encode"] == 0


BAD = {
    "no number": "x,one",
    "too narrow": "x",
    "too wide": "x,1,2",
    "not UTF-8": b"x,\xff",
    "no key": ",1",
    "no number, quoted": '"x",one',
    "a key too long": "x" * 2049 + ",1",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_row_takes_no_more_than_its_batch_out_of_the_quick_way(bench: Make, bad: str | bytes) -> None:
    made = bench(*(f"k{number},{number}" for number in range(500)), bad)
    with counting() as calls:
        built = made.batches()
    assert ids(built) == keys(range(500))
    assert [len(batch) for batch in built] == [25] * 20
    assert len(made.told()) == 1
    # Its own batch, and what did not fill one.
    assert 0 < calls.counted["encode"] <= 25 + 2 * 24


def test_rows_that_share_a_key_leave_the_others_on_the_quick_way(bench: Make) -> None:
    made = bench(*(f"k{number},{number}" for number in range(500)), *(f"k{number},x" for number in range(3)))
    with counting() as calls:
        built = made.batches()
    assert ids(built) == keys(range(500))
    assert [len(batch) for batch in built] == [25] * 20
    # Each of the three with its newer row that makes no item, and less than a batch of the others.
    assert calls.counted["encode"] <= 2 * 3 + 24


def test_batches_of_both_ways_are_of_the_same_make(bench: Make) -> None:
    made = bench(*(f"k{number},{number}" for number in range(60)), "a,1", "a,2")
    built = made.batches()
    assert [len(batch) for batch in built] == [25, 25, 11]
    for batch in built:
        assert {(item.shard, item.failures) for item in batch.items} == {(SHARD, 0)}
        assert all(made.row(item.entry) == cells(item) for item in batch.items)
        assert batch.bytes == sum(len(item.json) for item in batch.items)
    assert [batch.shares[0][1:] for batch in built] == [(25, 0), (25, 0), (11, 1)]


def test_the_first_batches_are_given_before_all_rows_are_read(bench: Make) -> None:
    made = bench(*(f"k{number},{number}" for number in range(500)))
    with counting() as calls:
        first = next(made.builder.batches(SHARD, made.entries, 25))
    assert (len(first), calls.counted) == (25, {"encode_cells": 1})


def test_a_plain_row_may_hold_what_only_others_take_for_a_line_end(bench: Make) -> None:
    made = bench(*(f"k{number},{number},a\u2028b\x85c\x7f" for number in range(25)), header="id,n,t")
    with counting() as calls:
        (batch,) = made.batches()
    assert {cells(item)[2] for item in batch.items} == {"a\u2028b\x85c\x7f"}
    assert calls.counted == {"encode_cells": 1}


@pytest.mark.parametrize("cell", ["a\\b", "a\0b", '"a\nb"', '5" pipe', '"say ""hi"""', "\x1f", '"a,b"'])
def test_what_is_not_plain_comes_out_as_csv_reads_it(bench: Make, cell: str) -> None:
    ((expected,),) = csv.reader([cell])
    made = bench(*(f"k{number},{number},{cell}" for number in range(60)), header="id,n,t")
    built = made.batches()
    assert [len(batch) for batch in built] == [25, 25, 10]
    assert {cells(item)[2] for batch in built for item in batch.items} == {expected}


# --- rows of one key ------------------------------------------------------------------------------


def test_the_last_row_of_a_key_wins_and_the_older_stand_behind_it_in_file_order(bench: Make) -> None:
    made = bench("a,1", "b,1", "a,2", "c,1", "a,3", "b,2", "a,4")
    assert made.built() == [("a,4", ["a,1", "a,2", "a,3"]), ("b,2", ["b,1"]), ("c,1", [])]
    assert made.told() == []


def test_rows_whose_key_nobody_shares_come_first(bench: Make) -> None:
    found = bench(*(f"k{number},1" for number in range(30)), *("a,1", "b,1") * 2).items()
    assert {cells(item)[0] for item in found[-2:]} == {"a", "b"}


def test_the_first_row_wins_where_that_is_asked_for(bench: Make) -> None:
    made = bench("a,1", "b,1", "a,2", "a,3", winner="first")
    assert made.built() == [("a,1", ["a,2", "a,3"]), ("b,1", [])]


def test_keys_are_equal_as_numbers(bench: Make) -> None:
    made = bench("1,1", "1.0,2", "10,3", "1e0,4", key_type="N")
    assert made.built() == [("10,3", []), ("1e0,4", ["1,1", "1.0,2"])]


def test_a_newer_row_that_makes_no_item_leaves_the_older_one_in_place(bench: Make) -> None:
    made = bench("a,1", "a,2", "a,x", "a,y")
    assert made.built() == [("a,2", ["a,1"])]
    # The newer values are lost, so these are what the user has to mend.
    assert sorted(made.told()) == [
        ("a,x", RejectCode.BAD_NUMBER, False),
        ("a,y", RejectCode.BAD_NUMBER, False),
    ]


def test_an_older_row_that_makes_no_item_is_superseded_like_any_other(bench: Make) -> None:
    made = bench("a,1", "a,x", "a,2")
    assert made.built() == [("a,2", ["a,1", "a,x"])]
    assert made.told() == []


def test_where_the_first_wins_a_reject_before_it_is_superseded(bench: Make) -> None:
    made = bench("a,x", "a,y", "a,1", "a,z", winner="first")
    assert made.built() == [("a,1", ["a,z"])]
    assert made.told() == [("a,x", RejectCode.BAD_NUMBER, True), ("a,y", RejectCode.BAD_NUMBER, True)]


@pytest.mark.parametrize("winner", ["last", "first"])
def test_a_key_without_a_good_row_has_no_item_and_nothing_supersedes_its_rejects(
    bench: Make, winner: str
) -> None:
    made = bench("a,x", "a,y", "b,1", winner=winner)
    assert made.built() == [("b,1", [])]
    assert sorted(made.told()) == [
        ("a,x", RejectCode.BAD_NUMBER, False),
        ("a,y", RejectCode.BAD_NUMBER, False),
    ]


def test_a_row_that_cannot_be_parsed_does_not_stand_behind_another(bench: Make) -> None:
    made = bench("a,1", "a,2,3", "a,4", b"a,\xff")
    assert made.built() == [("a,4", ["a,1"])]
    # Mending the first must not undo the row that was written; the second is newer than that.
    assert sorted(made.told()) == [
        ("a,2,3", RejectCode.CELL_COUNT, True),
        ("a,\ufffd", RejectCode.NOT_UTF8, False),
    ]


@pytest.mark.parametrize("old", ["a", "a,1,extra", b"a,\xff"])
def test_a_reject_is_superseded_by_a_later_row_of_its_key_that_makes_an_item(
    bench: Make, old: str | bytes
) -> None:
    made = bench(old, "b,1", "a,2")
    assert made.built() == [("a,2", []), ("b,1", [])]
    assert [superseded for _, _, superseded in made.told()] == [True]


@pytest.mark.parametrize("records", [("a,1", "a,2,3"), ("a,2,3", "a,x"), ("a,2,3", "a,3,4")])
def test_a_reject_that_no_later_row_replaced_is_not_superseded(bench: Make, records: tuple[str, ...]) -> None:
    made = bench(*records)
    made.items()
    assert {superseded for _, _, superseded in made.told()} == {False}


def test_a_reject_is_not_superseded_by_a_row_of_another_key(bench: Make) -> None:
    made = bench("a,2,3", b"\xff,1", "b,2").in_one_group()
    assert made.built() == [("b,2", [])]
    assert {superseded for _, _, superseded in made.told()} == {False}


def test_a_key_of_many_rows_is_one_item(bench: Make) -> None:
    made = bench(*(f"a,{number}" for number in range(333)))
    assert made.built() == [("a,332", [f"a,{number}" for number in range(332)])]


# --- hashes that are equal, keys that are not -----------------------------------------------------


def test_keys_with_one_hash_are_kept_apart(bench: Make) -> None:
    made = bench("a,1", "b,1", "a,2", "c,1", "b,2").in_one_group()
    assert made.built() == [("a,2", ["a,1"]), ("b,2", ["b,1"]), ("c,1", [])]


def test_rows_without_a_key_are_rejected_out_of_a_group(bench: Make) -> None:
    made = bench("1,1", ",2", "1,3", "five,4", ",5", key_type="N").in_one_group()
    assert made.built() == [("1,3", ["1,1"])]
    assert made.told() == [
        (",2", RejectCode.EMPTY_KEY, False),
        ("five,4", RejectCode.BAD_NUMBER, False),
        (",5", RejectCode.EMPTY_KEY, False),
    ]


def test_an_unclosed_quote_in_a_group_takes_no_part(bench: Make) -> None:
    made = bench("a,1", "b,1", 'a,"2').in_one_group()
    assert made.built() == [("a,1", []), ("b,1", [])]
    assert made.told() == [('a,"2\n', RejectCode.UNCLOSED_QUOTE, False)]


def test_a_group_of_rejects_alone_has_no_items(bench: Make) -> None:
    made = bench(",1", "a,x", "b", ",2").in_one_group()
    assert settle_all(made) == Counts(rejected=4)


# --- reject files ---------------------------------------------------------------------------------

REJECTS = ",".join(("id", "n", *REJECT_COLUMNS))


def mended(record: str, superseded: str = "") -> str:
    return f"{record},a.csv,7,n,bad_number,no number,{superseded}"


def test_the_six_columns_of_a_reject_file_are_not_loaded(bench: Make) -> None:
    made = bench(mended("a,1"), mended("b,2", "false"), header=REJECTS)
    assert sorted(cells(item) for item in made.items()) == [["a", "1"], ["b", "2"]]


def test_a_superseded_row_of_a_reject_file_stays_superseded(bench: Make) -> None:
    records = [mended("a,1", "true"), mended("b,2"), mended("b,3", "TRUE"), mended("c,x", "true")]
    made = bench(*records, header=REJECTS)
    assert made.built() == [(mended("b,2"), [])]
    assert made.told() == []


def test_superseded_rows_count_as_duplicates(bench: Make) -> None:
    records = [mended("a,1", "true"), mended("b,2"), mended("b,3", "true"), mended("b,4")]
    assert settle_all(bench(*records, header=REJECTS)) == Counts(written=1, duplicates=3)


def test_superseded_rows_are_loaded_where_that_is_asked_for(bench: Make) -> None:
    records = [mended("a,1", "true"), mended("b,2"), mended("b,3", "true")]
    made = bench(*records, header=REJECTS, include_superseded=True)
    assert made.built() == [(records[0], []), (records[2], [records[1]])]


# --- after a refusal ------------------------------------------------------------------------------


def refuse(made: Bench, item: Item) -> Item | None:
    """As a sender does it."""
    made.builder.reject(SHARD, item.entry, REFUSED)
    successor = made.builder.next_in_line(item)
    if successor is not None:
        made.outcomes.under_way(shares_of([successor]))
    made.outcomes.settled(item)
    return successor


def refused_one_by_one(made: Bench) -> Iterable[list[str]]:
    (item,) = made.items()
    left: Item | None = item
    while left is not None:
        yield cells(left)
        left = refuse(made, left)


def test_the_next_older_row_takes_the_place_of_a_refused_one(bench: Make) -> None:
    made = bench("a,1", "a,2", "a,3")
    (item,) = made.items()
    successor = refuse(made, item)
    assert successor is not None
    assert (cells(successor), made.behind(successor)) == (["a", "2"], ["a,1"])
    assert (made.row(successor.entry), successor.shard) == (["a", "2"], SHARD)
    assert made.counts([successor]) == Counts(written=1, duplicates=1, rejected=1)


def test_a_row_that_no_other_shares_its_key_with_has_no_successor(bench: Make) -> None:
    made = bench("a,1", "b,1")
    for item in made.items():
        assert refuse(made, item) is None
    assert made.counts([]) == Counts(rejected=2)


def test_rows_on_the_way_that_make_no_item_are_rejects(bench: Make) -> None:
    made = bench("a,1", "a,x", "a,y", "a,2")
    assert list(refused_one_by_one(made)) == [["a", "2"], ["a", "1"]]
    assert made.told() == [
        ("a,2", RejectCode.REFUSED, False),
        ("a,y", RejectCode.BAD_NUMBER, False),
        ("a,x", RejectCode.BAD_NUMBER, False),
        ("a,1", RejectCode.REFUSED, False),
    ]


def test_when_all_are_refused_each_row_is_a_reject(bench: Make) -> None:
    made = bench("a,1", "a,x", "a,3", "a,4")
    assert list(refused_one_by_one(made)) == [["a", "4"], ["a", "3"], ["a", "1"]]
    assert made.counts([]) == Counts(rejected=4)


def test_where_the_first_wins_the_next_newer_row_takes_its_place(bench: Make) -> None:
    made = bench("a,x", "a,1", "a,y", "a,2", winner="first")
    assert list(refused_one_by_one(made)) == [["a", "1"], ["a", "2"]]
    assert [(record, code) for record, code, _ in made.told()] == [
        ("a,x", RejectCode.BAD_NUMBER),
        ("a,1", RejectCode.REFUSED),
        ("a,y", RejectCode.BAD_NUMBER),
        ("a,2", RejectCode.REFUSED),
    ]


def test_rows_of_another_key_never_take_a_place(bench: Make) -> None:
    made = bench("a,1", "b,1", "a,2").in_one_group()
    by_key = {cells(item)[0]: item for item in made.items()}
    assert refuse(made, by_key["b"]) is None
    successor = refuse(made, by_key["a"])
    assert successor is not None
    assert cells(successor) == ["a", "1"]


def test_shards_are_known_apart_until_they_are_forgotten(bench: Make) -> None:
    made = bench("a,1", "a,2")
    (item,) = made.items()
    made.outcomes.begin(ShardTask(0, SHARD + 1, 0, 0, "nowhere"))
    assert list(made.builder.batches(SHARD + 1, made.entries[:0], 25)) == []
    made.builder.forget(SHARD + 1)
    made.builder.forget(SHARD + 1)
    successor = made.builder.next_in_line(item)
    assert successor is not None
    assert cells(successor) == ["a", "1"]
    made.builder.forget(SHARD)
    with pytest.raises(KeyError):
        made.builder.next_in_line(item)


@pytest.mark.parametrize("good", [True, False])
def test_rows_of_one_key_do_not_hold_up_a_drain(bench: Make, good: bool) -> None:
    """A million bad ones would take a minute."""
    made = bench(*[f"a,{1 if good else 'x'}"] * 500)
    made.draining = True
    with pytest.raises(Draining):
        made.batches()
    # One by one behind a refusal as well.
    made.draining = False
    made = bench("a,1", *["a,x"] * 500, "a,2")
    (item,) = made.items()
    made.draining = True
    with pytest.raises(Draining):
        made.builder.next_in_line(item)
