"""What a load can be told, and in which words it is refused what it cannot be told."""

from collections.abc import Callable
from typing import Any

import pytest

from loader.config import (
    TYPES,
    TYPES_SO_FAR,
    LoadConfig,
    RejectLimit,
    check_types,
    parse_reject_limit,
    parse_size,
    parse_types,
)
from loader.errors import BadOption


def config(**changes: Any) -> LoadConfig:
    return LoadConfig(**{"sources": ("a.csv",), "table": "t", **changes})


def refusal(call: Callable[..., object], *arguments: Any, **changes: Any) -> str:
    with pytest.raises(BadOption) as caught:
        call(*arguments, **changes)
    return str(caught.value)


# --- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ()}, "No source given. Name at least one CSV file."),
        ({"table": ""}, "No table given. Name it with --table."),
        ({"batch_size": 0}, "--batch-size 0: give a number from 1 to 25."),
        ({"batch_size": 26}, "--batch-size 26: give a number from 1 to 25."),
        ({"workers": 0}, "--workers 0: give a number of at least 1."),
        ({"threads": -3}, "--threads -3: give a number of at least 1."),
        ({"max_retries": -1}, "--max-retries -1: give a number of at least 0."),
        ({"transport": "curl"}, "--transport 'curl': there is only fast, boto3."),
        ({"transport": None}, "--transport None: there is only fast, boto3."),
        ({"limit": -1}, "--limit -1: give a number of at least 0."),
        ({"window_size": 0}, "--window-size 0: give a number of at least 1."),
        ({"shard_records": 0}, "shard_records 0: give a number of at least 1."),
        ({"max_wcu": 0}, "--max-wcu 0: give a number of at least 1."),
        ({"max_wcu": 2.5}, "--max-wcu 2.5: give a number of at least 1."),
        ({"price_per_million": -1.0}, "--price-per-million -1.0: give a price, 0 or more."),
        ({"price_per_million": float("nan")}, "--price-per-million nan: give a price, 0 or more."),
        ({"workers": 2.5}, "--workers 2.5: give a number of at least 1."),
        ({"max_retries": True}, "--max-retries True: give a number of at least 0."),
        ({"batch_size": "25"}, "--batch-size 25: give a number from 1 to 25."),
        ({"late_write_grace": float("inf")}, "late_write_grace inf: give a number of seconds, 0 or more."),
        ({"stall_timeout": None}, "--stall-timeout None: give a number of seconds above 0."),
        ({"stall_timeout": 0.0}, "--stall-timeout 0.0: give a number of seconds above 0."),
        ({"stall_timeout": -1.5}, "--stall-timeout -1.5: give a number of seconds above 0."),
        ({"stall_timeout": float("nan")}, "--stall-timeout nan: give a number of seconds above 0."),
        (
            {"types": {"age": "INT"}},
            "--types age=INT: no such type. The types are S, N, B, BOOL, NULL, SS, NS, BS, L, M, JSON.",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused(changes: dict[str, Any], message: str) -> None:
    assert refusal(config, **changes) == message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": 1},
        {"batch_size": 25},
        {"workers": 1, "threads": 1},
        {"max_retries": 0, "limit": 0},
        {"window_size": 1, "shard_records": 1},
        {"transport": "fast"},
        {"transport": "boto3"},
        {"stall_timeout": 0.001},
        {"types": dict.fromkeys(TYPES_SO_FAR, "S")},
    ],
    ids=str,
)
def test_the_least_and_the_most_are_taken(changes: dict[str, Any]) -> None:
    found = config(**changes)
    assert {name: getattr(found, name) for name in changes} == changes


def test_what_is_left_open_is_none() -> None:
    found = config()
    assert (found.workers, found.threads, found.max_retries, found.limit, found.shard_records) == (None,) * 5
    assert found.max_rejects is None


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES_SO_FAR)
def test_a_type_that_can_be_written_passes(type_: str) -> None:
    check_types({"c": type_})


@pytest.mark.parametrize("type_", sorted(set(TYPES) - set(TYPES_SO_FAR)))
def test_a_type_to_come_is_refused_apart_from_one_that_does_not_exist(type_: str) -> None:
    assert refusal(check_types, {"c": type_}) == (
        f"--types c={type_}: this type is not there yet. Use one of S, N, BOOL."
    )


@pytest.mark.parametrize("type_", ["", "n", " N", "STRING"])
def test_a_type_is_spelled_as_dynamodb_spells_it(type_: str) -> None:
    assert refusal(check_types, {"c": type_}).startswith(f"--types c={type_}: no such type.")


@pytest.mark.parametrize(
    ("texts", "types"),
    [
        ([], {}),
        (["age=N"], {"age": "N"}),
        (["age=N,active=BOOL", "x=S"], {"age": "N", "active": "BOOL", "x": "S"}),
        (["a=b=N"], {"a=b": "N"}),
        (["==N"], {"=": "N"}),
        ([" a =N"], {" a ": "N"}),
        (["a=N", "a=N"], {"a": "N"}),
    ],
)
def test_types_are_read_from_their_texts(texts: list[str], types: dict[str, str]) -> None:
    assert parse_types(texts) == types


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["age"], "--types 'age': write COLUMN=TYPE, such as age=N."),
        (["=N"], "--types '=N': write COLUMN=TYPE, such as age=N."),
        ([""], "--types '': write COLUMN=TYPE, such as age=N."),
        (["a=N,"], "--types '': write COLUMN=TYPE, such as age=N."),
        (["a=N,a=S"], "--types gives column 'a' two types, N and S."),
        (["a=BOOL", "b=N", "a=N"], "--types gives column 'a' two types, BOOL and N."),
        (["a=B"], "--types a=B: this type is not there yet. Use one of S, N, BOOL."),
        (
            ["a=N, b=n"],
            "--types  b=n: no such type. The types are S, N, B, BOOL, NULL, SS, NS, BS, L, M, JSON.",
        ),
    ],
)
def test_types_that_cannot_be_read_are_refused(texts: list[str], message: str) -> None:
    assert refusal(parse_types, texts) == message


# --- sizes and limits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("007", 7),
        ("5b", 5),
        ("64k", 64 << 10),
        ("64K", 64 << 10),
        ("64kb", 64 << 10),
        ("64KiB", 64 << 10),
        (" 64 MiB ", 64 << 20),
        ("1g", 1 << 30),
        ("2TB", 2 << 40),
    ],
)
def test_a_size_is_a_number_of_bytes_with_or_without_a_unit(text: str, size: int) -> None:
    assert parse_size("--window-size", text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "+1", "1.5g", "1e6", "1_000", "64 k b", "64p", "0x10", "٣"])
def test_a_text_that_is_no_size_is_refused_with_its_option(text: str) -> None:
    assert refusal(parse_size, "--window-size", text) == (
        f"--window-size {text!r}: give a number of bytes, such as 1048576, 64MiB or 1GiB."
    )


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0", RejectLimit(count=0)),
        ("100", RejectLimit(count=100)),
        ("0%", RejectLimit(percent=0.0)),
        ("2.5%", RejectLimit(percent=2.5)),
        ("100%", RejectLimit(percent=100.0)),
        ("100.0%", RejectLimit(percent=100.0)),
    ],
)
def test_a_reject_limit_is_a_number_or_a_share(text: str, limit: RejectLimit) -> None:
    assert parse_reject_limit(text) == limit


@pytest.mark.parametrize(
    "text", ["", "%", "-1", "1.5", "1e3", ".5%", "5.%", "100.1%", "101%", "5 %", "5\n", "٣", "٣%", "nan%"]
)
def test_a_text_that_is_no_reject_limit_is_refused(text: str) -> None:
    assert refusal(parse_reject_limit, text) == (
        f"--max-rejects {text!r}: give a number of rows, such as 100, or a share, such as 2%."
    )
