"""Rows to items: one by one and many together, what they hold, what they weigh, and which have none."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from loader.decisions.attributes import BOOLEANS
from loader.decisions.item_size import ITEM_LIMIT, ItemSizer
from loader.decisions.items import ItemEncoder
from loader.decisions.schema import ItemSchema, build_schema
from loader.decisions.wire import join_items, split_items
from loader.model import Header, IndexDescription, KeyPart, KeySchema, Problem, RejectCode, TableDescription

BY_ID = KeySchema(KeyPart("id", "S"))
TYPED = ("id", "name", "age", "active")


def schema_of(
    columns: Sequence[str] = ("id", "name"),
    *indexes: IndexDescription,
    key: KeySchema = BY_ID,
    reject_columns: int = 0,
    **types: str,
) -> ItemSchema:
    table = TableDescription(
        name="t",
        arn="arn",
        id="1",
        created="0",
        endpoint="http://127.0.0.1:1",
        status="ACTIVE",
        key=key,
        indexes=indexes,
    )
    return build_schema(table, Header(tuple(columns), reject_columns), types)


def typed() -> ItemEncoder:
    return ItemEncoder(schema_of(TYPED, age="N", active="BOOL"))


def global_index(hash_key: tuple[str, str], range_key: tuple[str, str]) -> IndexDescription:
    return IndexDescription("g", False, (KeyPart(*hash_key),), (KeyPart(*range_key),), "ALL")


def local_index(range_key: str, projection: str, *included: str) -> IndexDescription:
    return IndexDescription(
        f"by-{range_key}", True, (KeyPart("id", "S"),), (KeyPart(range_key, "S"),), projection, included
    )


def decoded(item: bytes | Problem) -> dict[str, Any]:
    assert isinstance(item, bytes), item
    value: dict[str, Any] = json.loads(item.decode())
    return value


# --- one row --------------------------------------------------------------------------------------


def test_a_row_becomes_an_item_in_dynamodb_json() -> None:
    assert typed().encode(["a1", "Ann", "41", "yes"]) == (
        b'{"id":{"S":"a1"},"name":{"S":"Ann"},"age":{"N":"41"},"active":{"BOOL":true}}'
    )


def test_text_survives_whatever_it_holds() -> None:
    text = 'a,\n  "b" \\ %s %b \r\t\x00\x1f\x7f ü 日本 🎉 \u2028 </script>'
    assert decoded(ItemEncoder(schema_of()).encode(["k", text])) == {"id": {"S": "k"}, "name": {"S": text}}


def test_names_survive_whatever_they_hold() -> None:
    odd = ["id", "100%", "%b", 'say "hi"', "a\nb", "größe", "{x}"]
    item = decoded(ItemEncoder(schema_of(odd)).encode([str(i) for i in range(len(odd))]))
    assert item == {name: {"S": str(i)} for i, name in enumerate(odd)}


def test_text_goes_out_as_utf8_not_as_escapes() -> None:
    item = ItemEncoder(schema_of(["id", "größe"])).encode(["ключ", "日本"])
    assert item == '{"id":{"S":"ключ"},"größe":{"S":"日本"}}'.encode()


def test_a_single_column_is_an_item() -> None:
    assert ItemEncoder(schema_of(["id"])).encode(["x"]) == b'{"id":{"S":"x"}}'


def test_an_empty_string_is_kept_and_other_empty_cells_are_left_out() -> None:
    assert decoded(typed().encode(["k", "", "", ""])) == {"id": {"S": "k"}, "name": {"S": ""}}
    assert decoded(typed().encode(["k", "", "1", ""])) == {
        "id": {"S": "k"},
        "name": {"S": ""},
        "age": {"N": "1"},
    }


def test_any_set_of_columns_may_be_left_out() -> None:
    columns = [f"n{i}" for i in range(11)]
    encoder = ItemEncoder(
        schema_of(["id", *columns], key=BY_ID, reject_columns=0, **dict.fromkeys(columns, "N"))
    )
    for left_out in range(2 ** len(columns)):
        cells = ["" if left_out >> i & 1 else str(i) for i in range(len(columns))]
        expected = {name: {"N": cell} for name, cell in zip(columns, cells, strict=True) if cell}
        assert decoded(encoder.encode(["k", *cells])) == {"id": {"S": "k"}} | expected


def test_a_cell_that_looks_like_two_numbers_is_a_reject() -> None:
    encoder = ItemEncoder(schema_of(["id", "a", "b"], a="N", b="N"))
    for row in (["k", "1,2", ""], ["k", "", ",1"], ["k", "1,", "2"]):
        problem = encoder.encode(row)
        assert isinstance(problem, Problem)
        assert problem.code is RejectCode.BAD_NUMBER


def test_an_empty_index_key_is_left_out() -> None:
    encoder = ItemEncoder(schema_of(["id", "city", "n"], global_index(("city", "S"), ("n", "N"))))
    assert decoded(encoder.encode(["k", "", ""])) == {"id": {"S": "k"}}
    assert decoded(encoder.encode(["k", "Rome", "5"])) == {
        "id": {"S": "k"},
        "city": {"S": "Rome"},
        "n": {"N": "5"},
    }


@pytest.mark.parametrize("type_", ["S", "N"])
def test_an_empty_table_key_is_a_reject(type_: str) -> None:
    encoder = ItemEncoder(schema_of(["id", "name"], key=KeySchema(KeyPart("id", type_))))
    assert encoder.encode(["", "x"]) == Problem(RejectCode.EMPTY_KEY, "column id: the key is empty", "id")


def test_a_table_key_that_is_also_an_index_key_may_not_be_empty() -> None:
    encoder = ItemEncoder(schema_of(["id", "city"], global_index(("city", "S"), ("id", "S"))))
    problem = encoder.encode(["", "Rome"])
    assert isinstance(problem, Problem)
    assert problem.code is RejectCode.EMPTY_KEY


@pytest.mark.parametrize("text", ["5", "-5", "+5", "05", "5.0", "1e2", ".5", "5.", "1E-130", "9" * 38, "-0"])
def test_a_number_is_sent_as_it_is_written(text: str) -> None:
    assert decoded(typed().encode(["k", "", text, "1"]))["age"] == {"N": text}


@pytest.mark.parametrize(
    "text", ["abc", " 5", "5 ", "5\n", "1_000", "٣", "NaN", "0x10", "1,5", "9" * 39, "1E126"]
)
def test_what_is_no_number_of_dynamodbs_is_a_reject(text: str) -> None:
    problem = typed().encode(["k", "", text, "1"])
    assert isinstance(problem, Problem)
    assert (problem.code, problem.column) == (RejectCode.BAD_NUMBER, "age")


def test_a_bad_number_is_shown_short_and_on_one_line() -> None:
    assert typed().encode(["k", "", "abc", "1"]) == Problem(
        RejectCode.BAD_NUMBER, 'column age: "abc" is not a number', "age"
    )
    problem = typed().encode(["k", "", "\n" + "x" * 100_000, "1"])
    assert isinstance(problem, Problem)
    assert problem.reason == 'column age: "\\n' + "x" * 39 + '…" is not a number'


def test_the_boolean_words_are_taken_in_any_case() -> None:
    for word, value in BOOLEANS.items():
        for spelling in (word, word.upper(), word.title()):
            assert decoded(typed().encode(["k", "", "", spelling]))["active"] == {"BOOL": value}
            assert decoded(typed().encode(["k", "", "1", spelling]))["active"] == {"BOOL": value}


@pytest.mark.parametrize("text", ["maybe", " true", "2", "ja", "tru"])
def test_another_word_for_a_boolean_is_a_reject(text: str) -> None:
    assert typed().encode(["k", "", "1", text]) == Problem(
        RejectCode.BAD_BOOLEAN, f'column active: "{text}" is not true or false', "active"
    )


def test_the_first_column_that_is_wrong_is_named() -> None:
    problem = typed().encode(["k", "", "abc", "maybe"])
    assert isinstance(problem, Problem)
    assert problem.column == "age"


def test_key_limits_count_bytes_not_characters() -> None:
    key = KeySchema(KeyPart("id", "S"), KeyPart("at", "S"))
    encoder = ItemEncoder(schema_of(["id", "at"], key=key))

    assert decoded(encoder.encode(["é" * 1024, "日" * 341 + "x"]))
    assert encoder.encode(["é" * 1024 + "x", "a"]) == Problem(
        RejectCode.KEY_TOO_LONG, "column id: the key has 2,049 bytes; DynamoDB takes 2,048", "id"
    )
    assert encoder.encode(["a", "日" * 341 + "xy"]) == Problem(
        RejectCode.KEY_TOO_LONG, "column at: the key has 1,025 bytes; DynamoDB takes 1,024", "at"
    )


def test_an_index_key_too_long_rejects_the_row() -> None:
    encoder = ItemEncoder(schema_of(["id", "city", "n"], global_index(("n", "N"), ("city", "S"))))
    assert decoded(encoder.encode(["k", "x" * 1024, ""]))
    problem = encoder.encode(["k", "x" * 1025, ""])
    assert isinstance(problem, Problem)
    assert (problem.code, problem.column) == (RejectCode.KEY_TOO_LONG, "city")


def test_a_long_spelling_of_a_short_number_is_no_key_too_long() -> None:
    encoder = ItemEncoder(schema_of(["id"], key=KeySchema(KeyPart("id", "N"))))
    assert decoded(encoder.encode(["0" * 3000 + "7"]))["id"] == {"N": "0" * 3000 + "7"}


# --- what it weighs -------------------------------------------------------------------------------


def test_an_item_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    encoder = ItemEncoder(schema_of())
    room = ITEM_LIMIT - len("id" + "k" + "name")

    assert isinstance(encoder.encode(["k", "é" * (room // 2) + "x" * (room % 2)]), bytes)
    assert encoder.encode(["k", "x" * (room + 1)]) == Problem(
        RejectCode.ITEM_TOO_LARGE, "the item has 409,601 bytes; DynamoDB takes 409,600"
    )


def test_escapes_do_not_count_as_size() -> None:
    encoder = ItemEncoder(schema_of())
    assert isinstance(encoder.encode(["k", "\x00" * (ITEM_LIMIT - 7)]), bytes)


def test_omitted_attributes_do_not_count_as_size() -> None:
    room = ITEM_LIMIT - len("id" + "k" + "name")
    assert isinstance(typed().encode(["k", "x" * room, "", ""]), bytes)
    assert typed().encode(["k", "x" * room, "", "t"]) == Problem(
        RejectCode.ITEM_TOO_LARGE, "the item has 409,607 bytes; DynamoDB takes 409,600"
    )


@pytest.mark.parametrize(
    ("index", "entry"),
    [
        (local_index("at", "ALL"), 3 + 6 + 14 + 11),
        (local_index("at", "KEYS_ONLY"), 3 + 6),
        (local_index("at", "INCLUDE", "tag", "absent"), 3 + 6 + 11),
        (local_index("nowhere", "ALL"), 0),
    ],
)
def test_entries_in_local_indexes_count_as_size(index: IndexDescription, entry: int) -> None:
    schema = schema_of(["id", "at", "name", "tag"], index)
    item = 3 + 6 + 14 + 11
    assert ItemSizer(schema).size(["k", "noon", "x" * 10, "y" * 8]) == item + entry


def test_an_item_without_the_range_key_has_no_local_entry() -> None:
    sizer = ItemSizer(schema_of(["id", "at"], local_index("at", "ALL")))
    assert sizer.size(["k", ""]) == 3
    assert sizer.size(["k", "noon"]) == 2 * (3 + 6)


def test_local_entries_lower_the_size_an_item_may_have() -> None:
    encoder = ItemEncoder(schema_of(["id", "at", "name"], local_index("at", "ALL")))
    room = (ITEM_LIMIT - 2 * (3 + 3 + 4)) // 2

    assert isinstance(encoder.encode(["k", "1", "x" * room]), bytes)
    assert encoder.encode(["k", "1", "x" * (room + 1)]) == Problem(
        RejectCode.ITEM_TOO_LARGE,
        "the item and its entries in local indexes have 409,602 bytes; DynamoDB takes 409,600",
    )
    assert isinstance(encoder.encode(["k", "", "x" * (room + 1)]), bytes)


def test_numbers_and_booleans_weigh_what_dynamodb_says() -> None:
    sizer = ItemSizer(schema_of(TYPED, age="N", active="BOOL"))
    names = len("id" + "name" + "age" + "active")
    assert sizer.size(["k", "", "0", "t"]) == names + 1 + 0 + 1 + 1
    assert sizer.size(["k", "", "-123", "f"]) == names + 1 + 0 + (1 + 2 + 0 + 1) + 1


def test_a_reject_files_own_columns_are_ignored() -> None:
    encoder = ItemEncoder(schema_of(["id", "age"], reject_columns=6, age="N"))
    tail = ["f.csv", "2", "age", "bad_number", "why", ""]
    assert decoded(encoder.encode(["k", "5", *tail])) == {"id": {"S": "k"}, "age": {"N": "5"}}
    assert decoded(encoder.encode(["k", "", *tail])) == {"id": {"S": "k"}}
    assert isinstance(encoder.encode(["k", "x", *tail]), Problem)


def test_a_row_may_be_any_sequence_and_is_left_as_it_was() -> None:
    row = ["k", "n", "5", "yes"]
    assert typed().encode(row) == typed().encode(tuple(row))
    assert row == ["k", "n", "5", "yes"]


# --- many rows together ---------------------------------------------------------------------------


def escaped(*rows: Sequence[str]) -> list[bytes]:
    """The cells of all rows, each as it stands within a JSON string."""
    return [orjson.dumps(cell)[1:-1] for row in rows for cell in row]


def one_by_one(encoder: ItemEncoder, rows: Sequence[Sequence[str]]) -> bytes:
    items = [encoder.encode(row) for row in rows]
    return join_items([item for item in items if isinstance(item, bytes)])


def test_rows_together_make_the_items_they_make_one_by_one() -> None:
    rows = [[f"k{n}", "x" * n, str(n) if n % 3 else "", ("yes", "", "F")[n % 3]] for n in range(25)]
    together = typed().encode_rows(rows)
    assert together == one_by_one(typed(), rows)
    assert together is not None
    assert typed().encode_cells(escaped(*rows)) == together
    assert [decoded(item)["id"] for item in split_items(together)] == [{"S": f"k{n}"} for n in range(25)]


def test_every_row_leaves_out_columns_of_its_own() -> None:
    columns = ("a", "b", "c", "d")
    encoder = ItemEncoder(schema_of(["id", *columns], a="N", b="BOOL", c="N", d="BOOL"))
    rows = [["k", *("" if left_out >> i & 1 else "1" for i in range(4))] for left_out in range(16)]
    together = encoder.encode_rows(rows)
    assert together == one_by_one(encoder, rows)
    # The same whatever batches came before.
    for size in (1, 5, 16, 3):
        assert encoder.encode_rows(rows[:size]) == one_by_one(encoder, rows[:size])


def test_a_first_column_may_be_left_out() -> None:
    encoder = ItemEncoder(schema_of(["n", "id"], n="N"))
    assert encoder.encode_rows([["", "a"], ["1", "b"]]) == join_items(
        [b'{"id":{"S":"a"}}', b'{"n":{"N":"1"},"id":{"S":"b"}}']
    )


def test_names_with_a_percent_sign_survive_in_any_number_of_rows() -> None:
    encoder = ItemEncoder(
        schema_of(
            ["id", "100%", "%b%%", "%.0b"], key=BY_ID, reject_columns=0, **{"%b%%": "N", "%.0b": "BOOL"}
        )
    )
    rows = [["a", "%", "5", "t"], ["b", "%b", "", "f"], ["c", "%%", "6", ""], ["d", "", "", ""]]
    together = encoder.encode_rows(rows)
    assert together == one_by_one(encoder, rows)
    assert together is not None
    assert decoded(split_items(together)[2]) == {
        "id": {"S": "c"},
        "100%": {"S": "%%"},
        "%b%%": {"N": "6"},
    }


@pytest.mark.parametrize(
    "bad",
    [
        ["", "x", "1", "t"],
        ["k" * 2049, "x", "1", "t"],
        ["k", "x", "one", "t"],
        ["k", "x", "1,5", "t"],
        ["k", "x", "1", "maybe"],
        ["k", "x" * ITEM_LIMIT, "1", "t"],
    ],
    ids=["empty key", "long key", "no number", "two numbers", "no boolean", "too large"],
)
@pytest.mark.parametrize("place", [0, 12, 24])
def test_one_row_that_has_no_item_leaves_the_batch_to_be_looked_at_row_by_row(
    bad: list[str], place: int
) -> None:
    rows = [[f"k{n}", "x", str(n), "no"] for n in range(25)]
    assert typed().encode_rows(rows) is not None
    rows[place] = bad
    assert typed().encode_rows(rows) is None
    assert isinstance(typed().encode(bad), Problem)


def test_numbers_of_a_rare_spelling_do_not_leave_the_quick_way() -> None:
    rows = [["k", "", text, ""] for text in ("+5", "1e2", ".5", "5.", "9" * 38, "", "-0", "1")]
    assert typed().encode_rows(rows) == one_by_one(typed(), rows)


def test_as_many_numbers_as_cells_though_one_has_a_comma() -> None:
    """Joined they look like numbers, but not like so many."""
    encoder = ItemEncoder(schema_of(["id", "a", "b"], a="N", b="N"))
    rows = [["k", "1", "2"], ["l", "3,4", "5"]]
    assert encoder.encode_rows(rows[:1]) is not None
    assert encoder.encode_rows(rows) is None


def test_large_items_that_fit_each_by_itself_stay_together() -> None:
    rows = [[f"k{n}", "x" * 300_000, "1", "t"] for n in range(3)]
    assert typed().encode_rows(rows) == one_by_one(typed(), rows)


def test_of_a_schema_as_wide_as_a_megabyte_rows_are_encoded_one_by_one() -> None:
    columns = [f"{n:05}{'%' * 990}" for n in range(1100)]
    encoder = ItemEncoder(
        schema_of(["id", *columns], key=BY_ID, reject_columns=0, **dict.fromkeys(columns, "N"))
    )
    rows = [["k", *[""] * 1100], ["l", *["7"] * 10, *[""] * 1090]]
    assert encoder.encode_rows(rows) is None
    assert [decoded(encoder.encode(row)) for row in rows] == [
        {"id": {"S": "k"}},
        {"id": {"S": "l"}} | {name: {"N": "7"} for name in columns[:10]},
    ]
