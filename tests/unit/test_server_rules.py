"""What an index costs, and the meter, the faults and the table definitions of the tests' own server."""

from dataclasses import asdict
from typing import Any

import orjson
import pytest

from tests.server.auth import Caller
from tests.server.client import table_request
from tests.server.errors import ServiceError
from tests.server.faults import Fault, FaultPlan, Faults
from tests.server.index import Charge, charge_indexes, check_with_local_entries
from tests.server.limits import measure
from tests.server.meter import Meter
from tests.server.schema import TableSchema, read_schema


def schema(key: str, **indexes: Any) -> TableSchema:
    return read_schema(table_request("tab", key, **indexes))


def _item(**attributes: str) -> dict[str, dict[str, Any]]:
    return {name: {"S": text} for name, text in {"pk": "a", **attributes}.items()}


@pytest.mark.parametrize(
    ("old", "new", "units"),
    [
        (None, _item(), 0),
        (None, _item(city="x"), 1),
        (None, _item(city="x", text="t" * 2_000), 2),
        (_item(city="x", text="t" * 2_000), None, 2),
        (_item(city="x"), _item(), 1),
        (_item(city="x"), _item(city="x"), 0),
        (_item(city="x"), _item(city="y"), 2),
        (_item(city="x", text="t"), _item(city="x", text="u"), 1),
        (_item(city="x", text="t" * 2_000), _item(city="x", text="u"), 2),
        (_item(city="x", text="t" * 2_000), _item(city="y"), 3),
    ],
)
def test_an_index_costs_by_what_changes_in_it(old: Any, new: Any, units: int) -> None:
    charge = Charge()
    size = measure(new) if new else 0
    charge_indexes(schema("pk:S", gsis={"by-city": "city:S"}), old, new, size, charge)
    assert charge.global_ == ({"by-city": units} if units else {})
    assert charge.total == units


def test_only_what_is_projected_counts_in_an_index() -> None:
    table = schema(
        "pk:S",
        gsis={"all": "city:S", "keys": "city:S / KEYS_ONLY", "some": "city:S / INCLUDE name note"},
    )
    charge = Charge()
    old, new = _item(city="x", text="t" * 3_000), _item(city="x", text="u", name="n")
    charge_indexes(table, old, new, measure(new), charge)
    assert charge.global_ == {"all": 3, "some": 1}
    charge = Charge()
    charge_indexes(table, None, old, measure(old), charge)
    assert charge.global_ == {"all": 3, "keys": 1, "some": 1}


def test_an_index_of_several_attributes_has_an_entry_where_all_are_there() -> None:
    table = schema("pk:S", gsis={"place": "country:S+city:S,street:S"})
    for attributes, units in (
        ({"country": "c", "city": "t"}, 0),
        ({"country": "c", "city": "t", "street": "s"}, 1),
    ):
        charge = Charge()
        item = _item(**attributes)
        charge_indexes(table, None, item, measure(item), charge)
        assert charge.total == units


def test_an_item_must_fit_together_with_its_local_entries() -> None:
    table = schema("pk:S,sk:S", lsis={"by-age": "age:S", "by-name": "name:S / KEYS_ONLY"})
    item = _item(sk="b", age="c", text="t" * 204_000)
    check_with_local_entries(table, item, measure(item))
    item = _item(sk="b", age="c", text="t" * 205_000)
    with pytest.raises(ServiceError, match="maximum allowed size"):
        check_with_local_entries(table, item, measure(item))
    check_with_local_entries(table, no_entry := _item(sk="b", text="t" * 205_000), measure(no_entry))


def test_a_meter_holds_one_second_and_lets_a_larger_write_leave_a_debt() -> None:
    now = 0.0
    meter = Meter(10, lambda: now)
    assert meter.take(8)
    assert not meter.take(3)
    assert meter.take(2)
    now = 0.5
    assert meter.take(5)
    assert not meter.take(1)
    now = 100.0
    assert meter.take(25)
    assert not meter.take(1)
    now = 101.5
    assert not meter.take(1)
    now = 101.75
    assert meter.take(1)


def test_faults_come_in_their_shares_and_alike_for_the_same_seed() -> None:
    plan = FaultPlan(seed=7, throttle_share=0.25, reset_after_share=0.5)
    drawn = [Faults(plan).draw() for _ in range(2)]
    assert drawn[0] == drawn[1]
    faults, again = Faults(plan), Faults(plan)
    sequence = [faults.draw() for _ in range(4_000)]
    assert sequence == [again.draw() for _ in range(4_000)]
    assert 900 < sequence.count(Fault.THROTTLE) < 1_100
    assert 1_850 < sequence.count(Fault.RESET_AFTER) < 2_150
    assert set(sequence) == {None, Fault.THROTTLE, Fault.RESET_AFTER}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"throttle_share": 1.5}, "between 0 and 1"),
        ({"throttle_share": 0.6, "error500_share": 0.6}, "add up to more than 1"),
        ({"unprocessed_items": -1}, "between 0 and 1"),
        ({"throttle_code": "Nonsense"}, "throttle_code is one of"),
        ({"cut_reply_how": "sideways"}, "cut_reply_how is"),
        ({"latency_ms": -1}, "latency"),
        ({"latency_ms": "much"}, "wrong type"),
        ({"slow_share": -0.1}, "between 0 and 1"),
        ({"late_share": 1.1}, "between 0 and 1"),
        ({"slow_share": 0.6, "late_share": 0.6}, "add up to more than 1"),
        ({"slow_seconds": -1}, "slow_seconds is a number of seconds"),
        ({"late_seconds": -0.5}, "late_seconds is a number of seconds"),
        ({"late_seconds": float("nan")}, "late_seconds is a number of seconds"),
        ({"slow_seconds": float("inf")}, "slow_seconds is a number of seconds"),
        ({"late_seconds": "long"}, "wrong type"),
        ({"throttle_reason": "TableReadAccountLimitExceeded"}, "throttle_reason is one of any, TableWrite"),
        ({"throttle_reason": ["any"]}, "throttle_reason is one of"),
        ({"expiring_tokens": "yes"}, "expiring_tokens is true or false"),
        ({"no_such_fault": 1}, "no_such_fault"),
    ],
)
def test_a_fault_plan_that_makes_no_sense_is_refused(members: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaultPlan.from_json(members)


def test_a_fault_plan_comes_through_json_as_it_was() -> None:
    plan = FaultPlan(
        slow_share=0.1,
        slow_seconds=1,
        late_share=0.2,
        late_seconds=0.5,
        throttle_code="any",
        throttle_reason="any",
        expiring_tokens=True,
        refuse_keys=("a",),
    )
    assert FaultPlan.from_json(orjson.loads(orjson.dumps(asdict(plan)))) == plan


def test_a_late_write_comes_between_half_its_longest_time_and_the_whole() -> None:
    faults = Faults(FaultPlan(late_share=1, late_seconds=4))
    drawn = [faults.draw_late() for _ in range(1_000)]
    assert 2 <= min(drawn) < 2.1
    assert 3.9 < max(drawn) <= 4
    assert 2.9 < sum(drawn) / len(drawn) < 3.1


@pytest.mark.parametrize(
    ("token", "now", "refused"),
    [
        ("until-100", 99.9, False),
        ("until-100", 100, True),
        ("until-100.5", 100.4, False),
        ("until-100.5", 100.6, True),
        ("until-100.5-second-key", 100.4, False),
        ("until-100.5-second-key", 100.6, True),
        ("until-100x", 100.6, False),
        ("until-", 100.6, False),
        ("forever", 100.6, False),
        ("", 100.6, False),
    ],
)
def test_a_token_is_refused_from_the_time_it_names(token: str, now: float, refused: bool) -> None:
    caller = Caller("key", "eu-west-1", token)
    error = Faults(FaultPlan(expiring_tokens=True)).expired(caller, now)
    assert (error is not None) is refused
    assert error is None or error.code == "ExpiredTokenException"
    assert Faults(FaultPlan()).expired(caller, now) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TableName": "x"}, "TableName"),
        ({"KeySchema": []}, "KeySchema"),
        ({"KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}]}, "KeySchema"),
        ({"AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "BOOL"}]}, "AttributeDefinition"),
        ({"BillingMode": "PROVISIONED"}, "ReadCapacityUnits"),
        ({"BillingMode": "FREE"}, "BillingMode"),
        ({"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}, "Neither"),
        ({"LocalSecondaryIndexes": [{"IndexName": "x"}]}, "IndexName"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        read_schema({**table_request("tab", "pk:S"), **change})


def test_attribute_definitions_are_those_that_keys_use() -> None:
    request = table_request("tab", "pk:S")
    request["AttributeDefinitions"].append({"AttributeName": "unused", "AttributeType": "S"})
    with pytest.raises(ServiceError, match="not used"):
        read_schema(request)
