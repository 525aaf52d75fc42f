"""The index against `csv.reader` and `key_of`: every readable key has the hash of its normal form."""

import csv
import io
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from loader.decisions.index import UNCLOSED, index_chunk, lines_before, place_hash
from loader.decisions.keys import KeySpec
from loader.model import Dialect

EXCEL = Dialect()
SEED = 3
POSITION = 1 << 33
SEMICOLONS = Dialect(";", "'")

NUMBERS = ["5", "5.0", "05", "+5", "5e0", "-5", "-0", "0", "1e999999999", "1" * 38, "1" * 39, "x", " 5", "٣"]
TEXTS = [
    "",
    "a",
    "é",
    "5",
    " ",
    "a b",
    "\0",
    "x" * 7,
    "y" * 8,
    "z" * 15,
    "w" * 39,
    "v" * 40,
    "u" * 41,
    "t" * 200,
]
HARD = ['"', '""', "a,b", "a\nb", "\r", "\r\n", 'say "a"', '"a"', ',"', 'x"y,z"']
STRAY = ['5" pipe', ' "a"', 'a"b"c', 'x""', '"a"b"c"', '"a" ', '"a""b', "'", '"', "a'b"]
ALPHABET = '""""",,,,\r\n\n a5\0é'
LINE_ENDS = ["\n", "\n", "\r\n", "\r"]


@pytest.fixture(autouse=True, scope="module")
def any_cell_size() -> Iterator[None]:
    before = csv.field_size_limit(1 << 30)
    yield
    csv.field_size_limit(before)


def check(text: str, spec: KeySpec, width: int, dialect: Dialect = EXCEL) -> None:
    """Compare all that the index says with one `csv.reader` over the text."""
    data = text.encode()
    index = index_chunk(data, POSITION, spec, dialect, width, SEED)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, quotechar=dialect.quote)
    rows, lines, before = [], [], 0
    for row in reader:
        if row:
            rows.append(row)
            lines.append(before)
        before = reader.line_num
    assert len(index.hashes) == len(index.starts) == len(index.sizes) == len(rows)
    assert [lines_before(index.line_records, index.line_extra, i) for i in range(len(rows))] == lines
    assert index.line_count == io.StringIO(text, newline=None).read().count("\n")
    hashes, starts, sizes = index.hashes.tolist(), index.starts.tolist(), index.sizes.tolist()
    unclosed = never_closed(text, dialect)
    for number, (row, start, size) in enumerate(zip(rows, starts, sizes, strict=True)):
        is_open = unclosed and number == len(rows) - 1
        assert bool(size & UNCLOSED) == is_open
        offset = start - POSITION
        content = data[offset : offset + (size & ~UNCLOSED)].decode()
        assert list(csv.reader([content], delimiter=dialect.delimiter, quotechar=dialect.quote)) == [row]
        key = None if is_open else spec.key_of(row)
        expected = place_hash(start, SEED) if key is None else xxh3_64_intdigest(key, SEED)
        assert hashes[number] == expected, row


def never_closed(text: str, dialect: Dialect) -> bool:
    followed = io.StringIO(text + "\nz", newline="")
    return list(csv.reader(followed, delimiter=dialect.delimiter, quotechar=dialect.quote))[-1] != ["z"]


def written(cell: str, style: str, dialect: Dialect) -> str:
    """The cell as files have it: quoted, quoted where it must be, or as it is."""
    quote = dialect.quote
    needed = any(c in cell for c in (dialect.delimiter, quote, "\r", "\n"))
    if style == "all" or (style == "needed" and needed):
        return quote + cell.replace(quote, quote * 2) + quote
    return cell


specs = st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True).flatmap(
    lambda columns: st.builds(
        KeySpec, st.just(tuple(columns)), st.tuples(*[st.sampled_from("SN") for _ in columns])
    )
)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, int, Dialect]:
    """A file of mostly regular rows in one style or another, and the width that its rows mostly have."""
    dialect = draw(st.sampled_from([EXCEL, EXCEL, SEMICOLONS]))
    width = draw(st.integers(1, 6))
    style = draw(st.sampled_from(["all", "needed", "needed", "never"]))
    cells = draw(st.sampled_from([TEXTS + NUMBERS, NUMBERS, TEXTS + NUMBERS + HARD, TEXTS + STRAY]))
    ragged = draw(st.booleans())
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        count = draw(st.integers(1, 7)) if ragged else width
        row = [written(draw(st.sampled_from(cells)), style, dialect) for _ in range(count)]
        lines.append(dialect.delimiter.join(row) + draw(st.sampled_from(LINE_ENDS)))
    # The last bytes of the data are searched in another way than the rest.
    lines.append(
        draw(st.sampled_from(["", "", "p" * 50, "p" * 50 + "\n", dialect.delimiter.join("qrstuv") * 9]))
    )
    return "".join(lines), width, dialect


@given(files(), specs)
@settings(max_examples=400)
def test_every_readable_key_has_the_hash_of_its_normal_form(
    file: tuple[str, int, Dialect], spec: KeySpec
) -> None:
    text, width, dialect = file
    check(text, spec, width, dialect)


@given(st.text(st.sampled_from(ALPHABET), max_size=40), specs, st.integers(1, 7), st.booleans())
@settings(max_examples=250)
def test_so_it_has_in_any_text(text: str, spec: KeySpec, width: int, padded: bool) -> None:
    check(text + ("\n" + "p" * 30) * padded, spec, width)


def test_so_it_has_in_many_random_texts() -> None:
    dice = random.Random(5)
    for _ in range(3000):
        text = "".join(dice.choices(ALPHABET, k=dice.randint(0, 60))) + dice.choice(["", "\n" + "p" * 30])
        columns = tuple(dice.sample(range(4), dice.randint(1, 2)))
        check(text, KeySpec(columns, tuple(dice.choices("SSN", k=len(columns)))), dice.randint(1, 5))


def random_rows(dice: random.Random, count: int, cells: Sequence[str], style: str) -> Iterator[str]:
    for _ in range(count):
        row = [written(dice.choice(cells), style, EXCEL) for _ in range(6)]
        yield ",".join(row) + "\n"


@pytest.mark.parametrize("spec", [KeySpec((0,), ("S",)), KeySpec((4, 1), ("N", "S"))])
@pytest.mark.parametrize(
    ("cells", "style"),
    [(TEXTS, "never"), (TEXTS + NUMBERS, "all"), (TEXTS * 5 + HARD, "needed"), (TEXTS * 20 + STRAY, "never")],
)
def test_a_chunk_of_many_pieces_is_no_different(cells: list[str], style: str, spec: KeySpec) -> None:
    dice = random.Random(4)
    rows = list(random_rows(dice, 14_000, cells, style))
    for _ in range(5):
        rows.insert(dice.randrange(len(rows)), dice.choice(["\n", "a,b\n", "1,2,3,4,5,6,7\n"]))
    text = "".join(rows)
    assert len(text) > 1.5 * (1 << 20)
    check(text, spec, 6)
