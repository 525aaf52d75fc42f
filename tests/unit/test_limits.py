"""What limited a load, from the reasons that answers gave."""

import pytest

from loader.capacity import Limit, LimitKind, Refusals, Spent, WriteCapacity
from loader.decisions.limits import UNTOLD, index_units_of, limits_met, limits_of, sentence
from loader.model import IndexDescription, KeyPart, KeySchema, TableDescription

ARN = "arn:aws:dynamodb:us-east-1:111122223333:table/t"
INDEX_ARN = f"{ARN}/index/by_city"


def only(reason: str, arn: str, **keys: tuple[tuple[str, int], ...]) -> Limit:
    (limit,) = limits_of([Refusals({(reason, arn): 7}, keys)])
    assert limit.answers == 7
    return limit


@pytest.mark.parametrize(
    ("reason", "arn", "kind", "index", "said"),
    [
        (
            "TableWriteProvisionedThroughputExceeded",
            ARN,
            LimitKind.TABLE,
            "",
            "the write capacity of the table",
        ),
        (
            "IndexWriteProvisionedThroughputExceeded",
            INDEX_ARN,
            LimitKind.INDEX,
            "by_city",
            "index by_city: its own write capacity",
        ),
        (
            "TableWriteKeyRangeThroughputExceeded",
            ARN,
            LimitKind.KEY_RANGE,
            "",
            "a key range of the table (1,000 write units a second a partition)",
        ),
        (
            "IndexWriteKeyRangeThroughputExceeded",
            INDEX_ARN,
            LimitKind.KEY_RANGE,
            "by_city",
            "a key range of index by_city (1,000 write units a second a partition)",
        ),
        (
            "TableWriteMaxOnDemandThroughputExceeded",
            ARN,
            LimitKind.ON_DEMAND_MAXIMUM,
            "",
            "the maximum that is set for the table's on-demand writes",
        ),
        (
            "IndexWriteMaxOnDemandThroughputExceeded",
            INDEX_ARN,
            LimitKind.ON_DEMAND_MAXIMUM,
            "by_city",
            "index by_city: the maximum that is set for its on-demand writes",
        ),
        (
            "TableWriteAccountLimitExceeded",
            ARN,
            LimitKind.ACCOUNT,
            "",
            "the account's quota of write units a second",
        ),
        (
            "IndexWriteAccountLimitExceeded",
            INDEX_ARN,
            LimitKind.ACCOUNT,
            "by_city",
            "index by_city: the account's quota of write units a second",
        ),
        ("RequestLimitExceeded", "", LimitKind.ACCOUNT, "", "the account's quota of write units a second"),
        (
            "ThrottlingException",
            "",
            LimitKind.UNEXPLAINED,
            "",
            "the service, which did not say why",
        ),
    ],
)
def test_each_reason_is_a_limit_and_has_its_words(
    reason: str, arn: str, kind: LimitKind, index: str, said: str
) -> None:
    limit = only(reason, arn)
    assert (limit.kind, limit.index) == (kind, index)
    assert sentence(limit) == said


@pytest.mark.parametrize(
    ("reason", "arn"),
    [
        ("ProvisionedThroughputExceededException", ""),
        ("ProvisionedThroughputExceeded", ARN),
        ("429", ""),
        ("", ""),
        ("TableWriteMoonPhase", ARN),
        ("IndexWriteProvisionedThroughputExceeded", ARN),
        ("IndexWriteKeyRangeThroughputExceeded", ""),
    ],
)
def test_what_names_nothing_that_is_known_is_unexplained(reason: str, arn: str) -> None:
    assert only(reason, arn) == Limit(LimitKind.UNEXPLAINED, 7)


def test_limits_of_several_workers_are_added_up_and_the_most_often_named_comes_first() -> None:
    table = "TableWriteProvisionedThroughputExceeded", ARN
    index = "IndexWriteProvisionedThroughputExceeded", INDEX_ARN
    other = "IndexWriteProvisionedThroughputExceeded", f"{ARN}/index/by_name"
    limits = limits_of([Refusals({table: 3, index: 5}), Refusals({table: 4, other: 1}), Refusals()])
    assert [(limit.kind, limit.index, limit.answers) for limit in limits] == [
        (LimitKind.TABLE, "", 7),
        (LimitKind.INDEX, "by_city", 5),
        (LimitKind.INDEX, "by_name", 1),
    ]


def test_nothing_refused_is_no_limit() -> None:
    assert limits_of([]) == ()
    assert limits_of([Refusals(keys={"": ()})]) == ()


def test_codes_that_tell_nothing_are_one_limit() -> None:
    (limit,) = limits_of([Refusals({("ThrottlingException", ""): 1, ("429", ""): 2})])
    assert limit == Limit(LimitKind.UNEXPLAINED, 3)


def test_items_handed_back_without_a_reason_are_a_limit_only_where_nothing_was_told() -> None:
    table = "TableWriteProvisionedThroughputExceeded", ARN
    assert limits_of([Refusals({UNTOLD: 2}), Refusals({UNTOLD: 3})]) == (Limit(LimitKind.UNEXPLAINED, 5),)
    assert limits_of([Refusals({UNTOLD: 50}), Refusals({UNTOLD: 3, table: 1})]) == (
        Limit(LimitKind.TABLE, 1),
    )


def test_a_key_range_has_the_keys_of_its_table_or_index_over_all_workers() -> None:
    of_table = "TableWriteKeyRangeThroughputExceeded", ARN
    of_index = "IndexWriteKeyRangeThroughputExceeded", INDEX_ARN
    limits = limits_of(
        [
            Refusals({of_table: 2}, {"": (("user#17", 4000), ("user#1", 1))}),
            Refusals({of_index: 1}, {"": (("user#17", 213), ("user#9", 20)), "by_city": (("Paris", 9),)}),
        ]
    )
    assert limits == (
        Limit(LimitKind.KEY_RANGE, 2, "", (("user#17", 4213), ("user#9", 20), ("user#1", 1))),
        Limit(LimitKind.KEY_RANGE, 1, "by_city", (("Paris", 9),)),
    )
    assert sentence(limits[0]) == (
        "a key range of the table (1,000 write units a second a partition); refused most: "
        "user#17 (4,213 times), user#9 (20 times), user#1 (once)"
    )


def test_a_sentence_names_a_few_keys_of_many() -> None:
    limit = Limit(LimitKind.KEY_RANGE, 1, "by_city", tuple((f"key {n}", 100 - n) for n in range(20)))
    assert sentence(limit).endswith("refused most: key 0 (100 times), key 1 (99 times), key 2 (98 times)")


def test_other_limits_have_no_keys() -> None:
    limit = only("TableWriteProvisionedThroughputExceeded", ARN, **{"": (("a", 5),)})
    assert limit.keys == ()


def test_write_units_of_indexes_are_those_of_all_workers() -> None:
    workers = [Refusals(units={"by_city": 1.5, "by_name": 2.0}), Refusals(units={"by_city": 2.0}), Refusals()]
    assert index_units_of(workers) == {"by_city": 3.5, "by_name": 2.0}


# --- what no answer told ------------------------------------------------------------------------


def table(capacity: WriteCapacity, **indexes: WriteCapacity) -> TableDescription:
    part = KeyPart("id", "S")
    return TableDescription(
        "t",
        ARN,
        "1",
        "0",
        "http://127.0.0.1:1",
        "ACTIVE",
        KeySchema(part),
        indexes=(
            IndexDescription("by_age", True, (part,), (KeyPart("age", "N"),), "ALL"),
            *(
                IndexDescription(name, False, (part,), (), "ALL", capacity=of_index)
                for name, of_index in indexes.items()
            ),
        ),
        capacity=capacity,
    )


UNKNOWN = Refusals({UNTOLD: 7}, units={"by_city": 9_500.0, "by_age": 4_000.0})


@pytest.mark.parametrize(
    ("described", "kind", "index"),
    [
        # In ten seconds: 950 a second for by_city, and 1,050 for the table with its local index.
        (
            table(WriteCapacity(provisioned=5_000), by_city=WriteCapacity(provisioned=1_000)),
            "index",
            "by_city",
        ),
        (table(WriteCapacity(provisioned=1_100), by_city=WriteCapacity(provisioned=5_000)), "table", ""),
        (table(WriteCapacity(maximum=1_100, warm=4_000)), "on_demand_maximum", ""),
        (table(WriteCapacity(maximum=9_000, warm=2_050)), "table", ""),
        (table(WriteCapacity(provisioned=2_100, warm=4_000)), "table", ""),
        (table(WriteCapacity(), by_city=WriteCapacity(maximum=1_000)), "on_demand_maximum", "by_city"),
        (
            table(WriteCapacity(provisioned=5_000), by_city=WriteCapacity(provisioned=5_000)),
            "unexplained",
            "",
        ),
        (table(WriteCapacity()), "unexplained", ""),
    ],
)
def test_where_nothing_was_told_the_limit_is_what_was_used_up(
    described: TableDescription, kind: str, index: str
) -> None:
    units = 20_000.0 if any(each.name == "by_city" for each in described.indexes) else 20_500.0
    if described.capacity.maximum == 1_100:
        units = 10_500.0
    (limit,) = limits_met([UNKNOWN], described, Spent(units, 10.0))
    assert (limit.kind, limit.index, limit.answers) == (kind, index, 7)


def test_what_was_told_is_not_guessed() -> None:
    told = Refusals({("TableWriteKeyRangeThroughputExceeded", ARN): 1, UNTOLD: 50})
    (limit,) = limits_met([told], table(WriteCapacity(provisioned=100)), Spent(1_000.0, 10.0))
    assert limit.kind is LimitKind.KEY_RANGE


def test_a_load_that_was_never_refused_has_no_limit_however_much_it_used() -> None:
    assert limits_met([Refusals()], table(WriteCapacity(provisioned=100)), Spent(1_000.0, 10.0)) == ()


@pytest.mark.parametrize(("capped", "kinds"), [(6.0, ["max_wcu", "table"]), (4.0, ["table"])])
def test_the_cap_comes_first_where_it_held_the_load_most_of_the_time(capped: float, kinds: list[str]) -> None:
    told = Refusals({("TableWriteProvisionedThroughputExceeded", ARN): 2})
    limits = limits_met([told], table(WriteCapacity()), Spent(1_000.0, 10.0, capped))
    assert [limit.kind for limit in limits] == kinds
    assert limits_met([], table(WriteCapacity()), Spent(0.0, 0.0, 0.0)) == ()


def test_a_capacity_that_was_used_by_chance_only_is_no_limit() -> None:
    described = table(WriteCapacity(provisioned=1_000))
    assert limits_met([Refusals({UNTOLD: 1})], described, Spent(8_000.0, 10.0))[0].kind == "unexplained"
    assert limits_met([Refusals({UNTOLD: 1})], described, Spent(8_600.0, 10.0))[0].kind == "table"
