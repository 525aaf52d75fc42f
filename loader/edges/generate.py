"""Makes CSV files to try a load with: realistic mixed columns, the same bytes for the same spec everywhere.

The randomness is PCG64's raw 64-bit stream and integer arithmetic on it, nothing else: numpy promises that
stream for good, while the distributions of `numpy.random.Generator` and the helpers of `random.Random`
may change between versions.
"""

import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain, product
from pathlib import Path

import numpy as np
import numpy.random  # here, not when it is first used: a signal that comes in the middle of it gets lost
import numpy.typing as npt

DEFAULT_ROW_BYTES = 212
# The longest row without a note still fits, so that even a single row has the size asked for.
MIN_ROW_BYTES = 120
MAX_ROW_BYTES = 32 * 1024 * 1024

_HEADER = "first_name,last_name,email,age,balance,active,joined,city,note\n"
_CHUNK_ROWS = 4096
_CHUNK_BYTES = 4 * 1024 * 1024
_PROSE_BYTES = 64 * 1024
_BALANCES = 20_000
# Rows larger than this are nearly equal in size: an average near the size limit of an item must not push
# half of them past it.
_VARIED_ROW_BYTES = 1024

Ints = npt.NDArray[np.int64]

# "Zoë=zoe": the name as written, and as it stands in an e-mail address where that is not just lower case.
_FIRST_NAMES = """
    Zoë=zoe José=jose Łukasz=lukasz Søren=soren Ольга=olga 健太=kenta Ana Amir Aisha Ben Carla
    Chen Diego Elena Emma Farid Grace Hugo Ines Ivan Jack Kofi Lena Liam Maria Mateo Mia Nadia
    Noah Omar Priya Rosa Sam Tariq Uma Viktor Wei Yara
"""
# "=solo": a person of one name, whose last name is an empty cell.
_LAST_NAMES = """
    Müller=mueller Nuñez=nunez Šimić=simic Øberg=oberg 山田=yamada =solo Smith Adeyemi Brown Costa
    Dubois Evans Fischer Garcia Haddad Ito Jansen Kumar Lopez Moreau Nguyen Okafor Patel Quinn
    Rossi Silva Tanaka Umarov Varga Wang Xu Young Ziegler O'Hara=ohara
"""
_CITIES = """
    | São Paulo| Zürich| Kraków| München| Bogotá| Malmö| Århus| Łódź| 東京| 北京| Київ| Αθήνα|
    "Paris, TX"| Lagos| Nairobi| Mumbai| Jakarta| Toronto| Lima| Oslo| Madrid| Lyon| Boston|
    Chicago| Seattle| Cairo| Accra| Perth| Leeds| Porto| Turin| Ghent
"""
# How a note begins, before plain prose; what opens a quote is closed after the prose.
_NOTE_HEADS = [
    *[""] * 9,
    "naïve: ",
    "déjà vu… ",
    "注文 ",
    "№ 7 ",
    '"Yes, but ',
    '"Calls, then mails: ',
    '"Said ""later"", ',
    '"5"" pipe, 3 m: ',
    '"""Urgent"" ',
    '"Line one\nline two, ',
    '"Größe ""L"", grün\n\n',
    '"Parcel 📦, fragile: ',
    '"Café, thé: ',
]
_WORDS = """
    account about after again agreed answer arrived asked before behind billing box branch
    called change check client contract courier date delivery desk document door email evening
    first follow form found from garden goods has in invoice is item kept key last letter
    meeting message morning moved needs new next no not of offer office on open order parcel
    payment phone plan price question ready refund renewal reply report request returned same
    sent signed since size soon stock street the their this to today until update visit waiting
    was week when will with without
"""


@dataclass(frozen=True, slots=True)
class GenerateSpec:
    """What to generate: `count` rows, `row_bytes` UTF-8 bytes a row on average, line end included.

    `duplicates` is the share of the rows, in [0, 1), that repeat the key of an earlier row: exactly
    `round(count * duplicates)` of them, though never the first row. With `sorted_keys` the key is `id` and
    `seq`: that many values of `id` (or one a row, where there are fewer rows), each with consecutive values
    of `seq`, in order; a duplicate then follows the row it repeats. ValueError for anything out of range.
    """

    count: int
    seed: int = 0
    row_bytes: int | None = None
    duplicates: float = 0.0
    sorted_keys: int | None = None

    def __post_init__(self) -> None:
        _at_least("--count", self.count, 0)
        _at_least("--seed", self.seed, 0)
        if self.row_bytes is not None and not MIN_ROW_BYTES <= self.row_bytes <= MAX_ROW_BYTES:
            raise ValueError(
                f"--row-bytes {self.row_bytes}: give a number from {MIN_ROW_BYTES} to {MAX_ROW_BYTES}."
            )
        if not 0 <= self.duplicates < 1:
            raise ValueError(f"--duplicates {self.duplicates:g}: give a share of at least 0 and less than 1.")
        if self.sorted_keys is not None:
            _at_least("--sorted-keys", self.sorted_keys, 1)

    @property
    def repeated(self) -> int:
        """How many rows repeat an earlier key."""
        return min(round(self.count * self.duplicates), max(self.count - 1, 0))


def _at_least(option: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{option} {value}: give a number of at least {low}.")


class _Dice:
    """A stream of random integers that is the same on every machine and with every version of numpy."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, bound: int | Ints, size: int) -> Ints:
        raw: npt.NDArray[np.uint64] = self._bits.random_raw(size)
        return (raw % np.asarray(bound, dtype=np.uint64)).astype(np.int64)

    def sample(self, size: int, population: int) -> Ints:
        """`size` different integers of `range(population)`."""
        return np.argsort(self._bits.random_raw(population), kind="stable")[:size].astype(np.int64)


class _Pool:
    """Ready pieces of a row, each with its size in UTF-8 bytes."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = np.array(list(texts), dtype=object)
        self.sizes: Ints = np.array([len(text.encode()) for text in self.texts], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, where: Ints) -> list[str]:
        texts: list[str] = self.texts[where].tolist()
        return texts


class _Keys:
    """The key cells of every stretch of rows, without any memory of the rows before it."""

    def __init__(self, spec: GenerateSpec) -> None:
        self._spec = spec
        self._distinct = spec.count - spec.repeated
        self._width = max(8, len(str(spec.count)))

    def cells(self, start: int, stop: int, dice: _Dice) -> list[str]:
        numbers = self._numbers(start, stop, dice)
        width = self._width
        if self._spec.sorted_keys is None:
            return [f"user-{number:0{width}d}," for number in (numbers + 1).tolist()]
        # The first `larger` partitions hold one key more than the others, which hold `each`.
        each, larger = divmod(self._distinct, min(self._spec.sorted_keys, self._distinct))
        edge = larger * (each + 1)
        in_larger = numbers < edge
        rest = numbers - np.where(in_larger, 0, edge)
        held = np.where(in_larger, each + 1, each)
        partitions = rest // held + np.where(in_larger, 0, larger)
        return [
            f"user-{partition:0{width}d},{seq},"
            for partition, seq in zip((partitions + 1).tolist(), (rest % held + 1).tolist(), strict=True)
        ]

    def _repeated_before(self, row: int) -> int:
        # Evenly over all rows but the first, which has nothing to repeat.
        return (row - 1) * self._spec.repeated // (self._spec.count - 1) if row > 1 else 0

    def _numbers(self, start: int, stop: int, dice: _Dice) -> Ints:
        """The number of each row's key, counted from 0 in order of first appearance."""
        before = self._repeated_before(start)
        repeats = np.zeros(stop - start, dtype=bool)
        skip = 1 if start == 0 else 0
        among = self._repeated_before(stop) - before
        if among:
            repeats[skip + dice.sample(among, stop - start - skip)] = True
        numbers: Ints = start - before + np.cumsum(~repeats) - 1
        # At a repeating row that is the latest key, which keeps a sorted file sorted.
        if among and self._spec.sorted_keys is None:
            numbers[repeats] = dice.below(numbers[repeats] + 1, among)
        return numbers


class _Notes:
    """The note of every row, sized so that the bytes of all rows so far are what the spec asks for."""

    def __init__(self, row_bytes: int, dice: _Dice) -> None:
        self._row_bytes = row_bytes
        self._owed = 0
        self._heads = _Pool(_NOTE_HEADS)
        self._ends = _Pool('"\n' if head.startswith('"') else "\n" for head in _NOTE_HEADS)
        words = _Pool(_WORDS.split())
        prose = " ".join(words.at(dice.below(len(words), _PROSE_BYTES // 4)))[:_PROSE_BYTES]
        self._word_starts = np.flatnonzero(np.frombuffer(prose.encode(), dtype=np.uint8) == ord(" ")) + 1
        # A note begins anywhere in the first stretch and takes at most three rows' bytes, by the weights.
        self._prose = prose * (2 + 4 * row_bytes // _PROSE_BYTES)
        self._spread = 512 * _VARIED_ROW_BYTES // max(row_bytes, _VARIED_ROW_BYTES)

    def pieces(self, sizes: Ints, dice: _Dice) -> tuple[list[str], list[str], list[str]]:
        """Head, prose and end of the notes of rows whose other cells have these sizes in bytes."""
        rows = len(sizes)
        empty = (dice.below(25, rows) == 0) & (self._row_bytes <= _VARIED_ROW_BYTES)
        empty[0] = False  # a file of one row must still be able to reach its size
        heads = np.where(empty, 0, dice.below(len(self._heads), rows))
        self._owed += self._row_bytes * rows - int(sizes.sum())
        cost = self._heads.sizes[heads] + self._ends.sizes[heads] - 1
        # A head is given as long as there are bytes for it; every row needs one for its line end.
        heads[np.cumsum(cost) > self._owed - rows] = 0
        self._owed -= int((self._heads.sizes[heads] + self._ends.sizes[heads]).sum())
        weights = 1024 - self._spread + dice.below(2 * self._spread + 1, rows)
        lengths = self._shares(np.where(empty, 0, weights), max(self._owed, 0))
        self._owed -= int(lengths.sum())
        starts = self._word_starts[dice.below(len(self._word_starts), rows)]
        prose = self._prose
        texts = [
            prose[start:stop]
            for start, stop in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
        ]
        return self._heads.at(heads), texts, self._ends.at(heads)

    @staticmethod
    def _shares(weights: Ints, total: int) -> Ints:
        """`total` in whole numbers, divided as the weights are."""
        heaped: Ints = np.cumsum(weights)
        shares: Ints = np.diff(heaped * total // heaped[-1], prepend=0)
        return shares


def _person_pool() -> _Pool:
    def spellings(names: str) -> list[tuple[str, str]]:
        parts = (name.partition("=") for name in names.split())
        return [(shown, mail or shown.lower()) for shown, _, mail in parts]

    people = product(spellings(_FIRST_NAMES), spellings(_LAST_NAMES))
    return _Pool(f"{first},{last},{mail}.{box}" for (first, mail), (last, box) in people)


def _balance_pool(dice: _Dice) -> _Pool:
    cents = dice.below(1_250_000, _BALANCES) - 250_000
    texts = [f"{'-' if c < 0 else ''}{abs(c) // 100}.{abs(c) % 100:02d}," for c in cents.tolist()]
    texts[::40] = [","] * len(texts[::40])
    return _Pool(texts)


def _since_pool() -> _Pool:
    days = [date(2015, 1, 1) + timedelta(days=day) for day in range(4000)]
    return _Pool(f"{active},{day.isoformat()}," for active, day in product(("true", "false"), days))


def _chunks(spec: GenerateSpec) -> Iterator[tuple[int, str]]:
    """Stretches of the file's text, each with the number of rows there are up to its end."""
    yield 0, f"id,{'' if spec.sorted_keys is None else 'seq,'}{_HEADER}"
    row_bytes = spec.row_bytes or DEFAULT_ROW_BYTES
    step = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // row_bytes))
    dice = _Dice(spec.seed)
    keys = _Keys(spec)
    notes = _Notes(row_bytes, dice)
    pools = (
        _person_pool(),
        _Pool(
            f"{number}@example.{domain}," for number, domain in product(range(1000), ("com", "org", "net"))
        ),
        _Pool([*(f"{age}," for age in range(18, 96)), ",", ","]),
        _balance_pool(dice),
        _since_pool(),
        _Pool(f"{city.strip()}," for city in _CITIES.split("|")),
    )
    for start in range(0, spec.count, step):
        stop = min(start + step, spec.count)
        key_cells = keys.cells(start, stop, dice)
        sizes: Ints = np.array([len(cell) for cell in key_cells], dtype=np.int64)
        columns = [key_cells]
        for pool in pools:
            where = dice.below(len(pool), stop - start)
            sizes += pool.sizes[where]
            columns.append(pool.at(where))
        columns.extend(notes.pieces(sizes, dice))
        yield stop, "".join(chain.from_iterable(zip(*columns, strict=True)))


def rows_text(spec: GenerateSpec) -> Iterator[str]:
    """The file as text, the header first, then at most a few thousand rows at a time."""
    return (text for _, text in _chunks(spec))


def generate(
    path: str | os.PathLike[str], spec: GenerateSpec, on_progress: Callable[[int], None] | None = None
) -> int:
    """Write the file and return its size in bytes.

    The file appears under its name when it is whole and on disk, in place of any earlier one; until then it
    is a hidden `.part` file beside it, which an error or an interrupt removes. What is not a regular file (a
    pipe, a device) is written straight. `on_progress` is called with the number of rows written so far: with
    0 after the header, then every few thousand rows. OSError as the system raises it.
    """
    if not _names_a_file(path):
        with open(path, "wb") as file:
            return _write(file.write, spec, on_progress)
    target = Path(os.path.realpath(path))  # a link stays a link
    part = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.part")
    try:
        with open(part, "xb") as file:
            size = _write(file.write, spec, on_progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    return size


def _names_a_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file has this name or may get it; if not, opening it writes to a device or raises."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return os.path.basename(path) != ""


def _write(
    write: Callable[[bytes], int], spec: GenerateSpec, on_progress: Callable[[int], None] | None
) -> int:
    size = 0
    for rows, text in _chunks(spec):
        data = text.encode()
        write(data)
        size += len(data)
        if on_progress is not None:
            on_progress(rows)
    return size
