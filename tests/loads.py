"""Loads for tests: files, one call to run them, and an oracle that knows nothing of the loader's code."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context
from pathlib import Path
from typing import Any

from loader.config import ConnectionConfig, LoadConfig
from loader.engines.coordinator import Stop, run_load
from loader.model import Summary

Item = dict[str, dict[str, Any]]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_EXACT = Context(prec=200, Emax=10**6, Emin=-(10**6))
_TRUE, _FALSE = {"true", "yes", "y", "t", "1", "on"}, {"false", "no", "n", "f", "0", "off"}


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    path.write_text(csv_text(rows), encoding="utf-8", newline="")
    return path


def load(endpoint: str, table: str, *paths: Path, stop: Stop | None = None, **options: Any) -> Summary:
    """Load as the command line would, with no wait for late writes between windows: the servers make none."""
    options = {"late_write_grace": 0.0, "workers": 1, "threads": 4, **options}
    config = LoadConfig(
        sources=tuple(map(str, paths)),
        table=table,
        connection=ConnectionConfig(endpoint_url=endpoint),
        **options,
    )
    return run_load(config, None, stop)


def replay(text: str, key: Sequence[str], types: Mapping[str, str] | None = None) -> dict[Any, Item]:
    """
    The table after writing the rows one by one: {key values: item}.

    Knows S, N and BOOL; a row with another number of cells than the header, an empty or bad key, or a cell
    that does not fit its type is not written.
    """
    types = types or {}
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows)
    table: dict[Any, Item] = {}
    for row in rows:
        if row and len(row) == len(header):
            item = _item(dict(zip(header, row, strict=True)), key, types)
            if item is not None:
                table[key_values(item, key)] = item
    return table


def _item(row: Mapping[str, str], key: Sequence[str], types: Mapping[str, str]) -> Item | None:
    item: Item = {}
    for name, text in row.items():
        type_ = types.get(name, "S")
        if text == "" and (name in key or type_ != "S"):
            if name in key:
                return None
            continue
        if type_ == "N" and not _is_number(text):
            return None
        if type_ == "BOOL" and text.lower() not in _TRUE | _FALSE:
            return None
        item[name] = {type_: text.lower() in _TRUE if type_ == "BOOL" else text}
    return item


def _is_number(text: str) -> bool:
    if _NUMBER.fullmatch(text) is None:
        return False
    number = _EXACT.create_decimal(text)
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return not number or (len(digits) <= 38 and -130 <= number.adjusted() <= 125)


def key_values(item: Item, key: Sequence[str]) -> Any:
    """The key's values, numbers by value."""
    return tuple(value(item[name]) for name in key)


def value(attribute: Mapping[str, Any]) -> Any:
    if "N" in attribute:
        return _EXACT.create_decimal(attribute["N"])
    ((_, plain),) = attribute.items()
    return plain


def plain(item: Item) -> dict[str, Any]:
    """An item for comparing: numbers by value."""
    return {name: (next(iter(attribute)), value(attribute)) for name, attribute in item.items()}


def as_table(items: Iterable[Item], key: Sequence[str]) -> dict[Any, dict[str, Any]]:
    return {key_values(item, key): plain(item) for item in items}


def expected(text: str, key: Sequence[str], types: Mapping[str, str] | None = None) -> dict[Any, Any]:
    """What `as_table` gives for the right table."""
    return {values: plain(item) for values, item in replay(text, key, types).items()}


def rejected(path: str | None) -> list[dict[str, str]]:
    """The rows of a reject file."""
    if path is None:
        return []
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))
