import pytest

from loader.decisions.keys import KeySpec
from loader.decisions.schema import ColumnRule, build_schema, clipped
from loader.errors import BadOption, BadSource, BadTable
from loader.model import Header, IndexDescription, KeyPart, KeySchema, TableDescription


def table(key: KeySchema | None = None, *indexes: IndexDescription, name: str = "people") -> TableDescription:
    return TableDescription(
        name=name,
        arn=f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}",
        id="1",
        created="0",
        endpoint="http://127.0.0.1:1",
        status="ACTIVE",
        key=key or KeySchema(KeyPart("id", "S")),
        indexes=indexes,
    )


def global_index(
    name: str, hash_keys: list[tuple[str, str]], range_keys: list[tuple[str, str]]
) -> IndexDescription:
    return IndexDescription(
        name=name,
        local=False,
        hash_keys=tuple(KeyPart(*key) for key in hash_keys),
        range_keys=tuple(KeyPart(*key) for key in range_keys),
        projection="ALL",
    )


def local_index(name: str, range_key: tuple[str, str]) -> IndexDescription:
    return IndexDescription(
        name=name,
        local=True,
        hash_keys=(KeyPart("id", "S"),),
        range_keys=(KeyPart(*range_key),),
        projection="KEYS_ONLY",
    )


def test_columns_are_strings_and_keep_empty_cells_unless_told_otherwise() -> None:
    schema = build_schema(table(), Header(("id", "note", "age", "active")), {"age": "N", "active": "BOOL"})

    assert schema.rules == (
        ColumnRule("id", "S", "reject", 2048, True),
        ColumnRule("note", "S", "keep"),
        ColumnRule("age", "N", "omit"),
        ColumnRule("active", "BOOL", "omit"),
    )
    assert schema.key == KeySpec(columns=(0,), types=("S",))
    assert schema.key_schema == KeySchema(KeyPart("id", "S"))
    assert schema.local_indexes == ()


def test_key_columns_follow_the_table_wherever_they_stand() -> None:
    key = KeySchema(KeyPart("day", "N"), KeyPart("who", "S"))

    schema = build_schema(table(key), Header(("who", "what", "day")), {"day": "N"})

    assert schema.rules[0] == ColumnRule("who", "S", "reject", 1024, True)
    assert schema.rules[2] == ColumnRule("day", "N", "reject", 2048, True)
    assert schema.key == KeySpec(columns=(2, 0), types=("N", "S"))


def test_index_key_columns_follow_the_table_and_leave_out_empty_cells() -> None:
    index = global_index("by-city", [("city", "S"), ("country", "S")], [("age", "N"), ("height", "N")])

    schema = build_schema(table(None, index), Header(("id", "city", "age", "country")), {})

    assert schema.rules[1:] == (
        ColumnRule("city", "S", "omit", 2048),
        ColumnRule("age", "N", "omit", 1024),
        ColumnRule("country", "S", "omit", 2048),
    )


def test_the_strictest_limit_holds_for_an_attribute_that_is_several_keys() -> None:
    twice = (global_index("a", [("city", "S")], []), global_index("b", [("name", "S")], [("city", "S")]))
    header = Header(("id", "city"))

    assert build_schema(table(None, *twice), header, {}).rules[1].key_limit == 1024
    assert build_schema(table(None, *reversed(twice)), header, {}).rules[1].key_limit == 1024


def test_a_table_key_that_sorts_an_index_keeps_the_index_limit_and_stays_required() -> None:
    schema = build_schema(table(None, global_index("i", [("x", "S")], [("id", "S")])), Header(("id",)), {})

    assert schema.rules == (ColumnRule("id", "S", "reject", 1024, True),)


def test_only_local_indexes_are_kept_for_sizes() -> None:
    local = local_index("l", ("at", "N"))

    schema = build_schema(table(None, global_index("g", [("x", "S")], []), local), Header(("id",)), {})

    assert schema.local_indexes == (local,)


def test_reject_columns_have_no_rule() -> None:
    assert [rule.name for rule in build_schema(table(), Header(("id", "a"), 6), {}).rules] == ["id", "a"]


def test_a_header_without_a_key_is_refused_with_the_columns_it_has() -> None:
    with pytest.raises(BadSource) as refused:
        build_schema(table(), Header(("ID", "name")), {})
    assert str(refused.value) == (
        "The header has no column id, a key of table people. The columns are: ID, name."
    )


def test_both_missing_keys_are_named_at_once() -> None:
    with pytest.raises(BadSource) as refused:
        build_schema(table(KeySchema(KeyPart("pk", "S"), KeyPart("sk", "N"))), Header(("a",)), {})
    assert str(refused.value) == (
        "The header has no columns pk and sk, the keys of table people. The only column is: a."
    )


def test_a_header_without_a_key_is_named_by_its_file() -> None:
    with pytest.raises(BadSource, match=r"^a\.csv: the header has no column id, a key of table people\."):
        build_schema(table(), Header(("ID", "name")), {}, shown="a.csv")


@pytest.mark.parametrize(("column", "what"), [("id;a", "semicolons"), ("id\ta", "tabs"), ("id|a", "bars")])
def test_a_header_without_a_comma_gets_a_hint(column: str, what: str) -> None:
    with pytest.raises(
        BadSource, match=rf"Only commas separate columns so far; this file seems to use {what}\.$"
    ):
        build_schema(table(), Header((column,)), {})
    with pytest.raises(BadSource) as refused:
        build_schema(table(), Header((column, "b")), {})
    assert "commas" not in str(refused.value)


def test_a_long_list_of_columns_is_cut() -> None:
    with pytest.raises(BadSource, match=r"c38, c39 and 60 more\."):
        build_schema(table(), Header(tuple(f"c{i}" for i in range(100))), {})


def test_types_for_a_column_that_is_not_there_are_refused() -> None:
    with pytest.raises(BadOption) as refused:
        build_schema(table(), Header(("id", "age")), {"aeg": "N"})
    assert str(refused.value) == ("--types aeg=N: the header has no such column. The columns are: id, age.")


def test_types_against_the_tables_key_are_refused() -> None:
    with pytest.raises(BadOption, match=r"--types id=N: the column is a key of the table, .* type is S"):
        build_schema(table(), Header(("id",)), {"id": "N"})


def test_types_against_an_index_key_are_refused() -> None:
    index = global_index("by-age", [("age", "N")], [])
    with pytest.raises(BadOption, match=r"--types age=S: the column is a key of index by-age, .* type is N"):
        build_schema(table(None, index), Header(("id", "age")), {"age": "S"})


def test_a_type_that_is_not_there_yet_is_refused() -> None:
    with pytest.raises(BadOption, match="tags=SS: this type is not there yet"):
        build_schema(table(), Header(("id", "tags")), {"tags": "SS"})


def test_a_binary_table_key_is_refused_before_the_header_is_looked_at() -> None:
    key = KeySchema(KeyPart("id", "S"), KeyPart("hash", "B"))
    with pytest.raises(
        BadTable, match="Key hash of table people is of type B: binary keys are not there yet"
    ):
        build_schema(table(key), Header(("a",)), {})


def test_a_binary_index_key_is_refused_only_where_the_file_has_the_column() -> None:
    binary = table(None, global_index("by-hash", [("hash", "B")], []))

    with pytest.raises(BadTable, match="Column hash is a key of index by-hash, of type B"):
        build_schema(binary, Header(("id", "hash")), {})
    assert len(build_schema(binary, Header(("id", "other")), {}).rules) == 2


def test_a_name_too_long_for_an_attribute_is_refused() -> None:
    longest = "é" * 32_767 + "x"

    assert build_schema(table(), Header(("id", longest)), {}).rules[1].name == longest
    with pytest.raises(BadSource, match=r"has 65,536 bytes; DynamoDB takes 65,535\. ") as refused:
        build_schema(table(), Header(("id", longest + "x")), {})
    assert len(str(refused.value)) < 300


def test_a_name_too_long_for_a_key_is_refused() -> None:
    def keyed(name: str) -> ColumnRule:
        return build_schema(table(KeySchema(KeyPart(name, "S"))), Header((name,)), {}).rules[0]

    assert keyed("k" * 255).table_key
    with pytest.raises(BadSource, match="has 256 bytes; DynamoDB takes 255 for a key"):
        keyed("k" * 256)


def test_names_in_messages_stay_short_and_on_their_line() -> None:
    assert clipped("plain näme") == "plain näme"
    assert clipped("a\nb\x00c\u2028d\u202ee") == "a\\nb\\x00c\\u2028d\\u202ee"
    assert clipped("x" * 40) == "x" * 40
    assert clipped("x" * 41) == "x" * 40 + "…"
