"""The header: the record that names the columns, alike in all files of a load."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from loader.decisions.schema import clipped
from loader.errors import BadSource
from loader.model import REJECT_COLUMNS, Dialect, Header

_NAMED = 5  # columns named in one message


def names_of(record: bytes, shown: str, dialect: Dialect) -> tuple[str, ...]:
    """
    All names in the record of a header, of a file that messages call `shown`.

    Raises BadSource where it is not UTF-8, or a column has no name or that of another.
    """
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        byte = record[error.start]
        raise BadSource(
            f"{shown}: the header is not UTF-8 (byte {error.start:,} of it, 0x{byte:02x}). "
            "Save the file as UTF-8."
        ) from None
    try:
        (names,) = csv.reader((text,), delimiter=dialect.delimiter, quotechar=dialect.quote)
    except csv.Error as error:
        raise BadSource(f"{shown}: the header cannot be read: {error}.") from error
    header = header_of(names)
    times = Counter(header.columns)
    if times[""]:
        nameless = _columns(_numbers_of("", header.columns), times[""])
        raise BadSource(f"{shown}: the header gives no name to {nameless}. Every column needs one.")
    for name, count in times.items():
        if count > 1:
            raise BadSource(
                f"{shown}: the header gives the name '{clipped(name)}' to "
                f"{_columns(_numbers_of(name, header.columns), count)}. "
                "Every column needs a name of its own."
            )
    return tuple(names)


def _numbers_of(name: str, columns: Sequence[str]) -> Iterable[int]:
    return (number for number, other in enumerate(columns, 1) if other == name)


def _columns(numbers: Iterable[int], count: int) -> str:
    """The first few of `count` columns, by number: a broken header may have millions of them."""
    texts = [f"{number:,}" for number in islice(numbers, _NAMED)]
    if count > _NAMED:
        texts.append(f"{count - _NAMED:,} more")
    if len(texts) == 1:
        return f"column {texts[0]}"
    return f"columns {', '.join(texts[:-1])} and {texts[-1]}"


def header_of(names: Sequence[str]) -> Header:
    """The header with these names: that of a reject file where the last six are its own."""
    data = len(names) - len(REJECT_COLUMNS)
    # Six columns of these names and no other are data: a reject file has at least one column of its source.
    if data > 0 and tuple(names[data:]) == REJECT_COLUMNS:
        return Header(tuple(names[:data]), len(REJECT_COLUMNS))
    return Header(tuple(names))


def require_same(names: tuple[str, ...], shown: str, first: tuple[str, ...], first_shown: str) -> None:
    """Raises BadSource unless the names of a file are those of the first one."""
    if names == first:
        return
    for number, (name, wanted) in enumerate(zip(names, first, strict=False), 1):
        if name != wanted:
            difference = (
                f"column {number:,} is '{clipped(name)}', where {first_shown} has '{clipped(wanted)}'"
            )
            break
    else:
        difference = f"the header names {_count(names)}, that of {first_shown} {_count(first)}"
    raise BadSource(f"{shown}: {difference}. The files of one load have the same columns in the same order.")


def _count(names: Sequence[str]) -> str:
    return "1 column" if len(names) == 1 else f"{len(names):,} columns"
