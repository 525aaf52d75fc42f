"""What a worker was refused, and why: the log its senders share."""

import pickle
import threading
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from loader.capacity import Refusals
from loader.decisions.batch import Item
from loader.decisions.limits import UNTOLD
from loader.decisions.wire import Throttled
from loader.engines.refusals import ASK_SECONDS, EAGER_SECONDS, RefusalLog
from loader.model import IndexDescription, KeyPart, KeySchema

CODE = "ProvisionedThroughputExceededException"
TABLE_ARN = "arn:aws:dynamodb:us-east-1:111122223333:table/t"
KEY = KeySchema(KeyPart("id", "S"), KeyPart("at", "N"))
INDEXES = (
    IndexDescription("by_size", False, (KeyPart("size", "N"),), (), "ALL"),
    IndexDescription("by_place", False, (KeyPart("country", "S"), KeyPart("zip", "N")), (), "ALL"),
    IndexDescription("by_hash", False, (KeyPart("hash", "B"),), (), "KEYS_ONLY"),
)

Json = Mapping[str, Mapping[str, Any]]


def refused(*reasons: tuple[str, str], code: str = CODE) -> Throttled:
    return Throttled(code, "slowly", reasons)


def key_range(index: str = "") -> tuple[str, str]:
    if index:
        return "IndexWriteKeyRangeThroughputExceeded", f"{TABLE_ARN}/index/{index}"
    return "TableWriteKeyRangeThroughputExceeded", TABLE_ARN


def of(key: str, **others: Any) -> Json:
    return {"id": {"S": key}, "at": {"N": "1"}, **others}


def sent(*items: Json) -> list[Item]:
    return [Item(orjson.dumps(item), 0, entry) for entry, item in enumerate(items)]


def test_there_is_nothing_to_tell_at_first() -> None:
    assert RefusalLog(KEY).report() == Refusals()


def test_partition_keys_of_refused_items_are_counted_whatever_refused_them() -> None:
    log = RefusalLog(KEY)
    log.throttled(refused(), sent(of("a"), of("b")))
    log.unprocessed([of("a"), of("c")])
    assert log.report().keys == {"": (("a", 2), ("b", 1), ("c", 1))}


def test_answers_are_counted_by_reason_and_resource_each_once() -> None:
    log = RefusalLog(KEY)
    table = "TableWriteProvisionedThroughputExceeded", TABLE_ARN
    for _ in range(3):
        log.throttled(refused(key_range(), table, key_range()), sent(of("a")))
    log.throttled(refused(key_range()), sent(of("a")))
    assert log.report().reasons == {key_range(): 4, table: 3}


def test_an_answer_without_a_reason_counts_by_its_code() -> None:
    log = RefusalLog(KEY)
    log.throttled(refused(code="ThrottlingException"), sent(of("a")))
    log.throttled(refused(("", TABLE_ARN)), sent(of("a")))
    assert log.report().reasons == {("ThrottlingException", ""): 1, (CODE, TABLE_ARN): 1}


def test_keys_of_an_index_are_counted_from_the_answer_on_that_names_a_key_range_of_it() -> None:
    log = RefusalLog(KEY, INDEXES)
    items = [of("a", size={"N": "05.0"}), of("b", size={"N": "5"}), of("c", size={"N": "7"}), of("d")]
    log.throttled(refused(("IndexWriteProvisionedThroughputExceeded", key_range("by_size")[1])), sent(*items))
    assert set(log.report().keys) == {""}
    log.throttled(refused(key_range("by_size")), sent(*items))
    # As numbers, whatever their spelling; an item without the attribute is not in the index.
    assert log.report().keys["by_size"] == (("5", 2), ("7", 1))
    log.unprocessed(items)
    assert log.report().keys["by_size"] == (("5", 4), ("7", 2))
    assert log.report().keys[""] == (("a", 3), ("b", 3), ("c", 3), ("d", 3))


def test_a_key_of_several_attributes_and_a_binary_one_are_told_as_text() -> None:
    log = RefusalLog(KEY, INDEXES)
    item = of("a", country={"S": "ES"}, zip={"N": "8001"}, hash={"B": "3q2+7w=="})
    log.throttled(refused(key_range("by_place"), key_range("by_hash")), sent(item, of("b", zip={"N": "1"})))
    assert log.report().keys["by_place"] == (("ES, 8001", 1),)
    assert log.report().keys["by_hash"] == (("3q2+7w==", 1),)


def test_an_index_that_nobody_described_has_no_keys() -> None:
    log = RefusalLog(KEY, INDEXES)
    log.throttled(refused(key_range("new")), sent(of("a")))
    assert set(log.report().keys) == {""}
    assert log.report().reasons == {key_range("new"): 1}


def test_a_long_key_keeps_both_its_ends() -> None:
    log = RefusalLog(KEY)
    log.unprocessed([of("x" * 2000 + "1"), of("x" * 2000 + "2"), of("y" * 100)])
    keys = [key for key, _ in log.report().keys[""]]
    assert len(keys) == 3
    assert {len(key) for key in keys} == {100}
    assert sorted(key[-1] for key in keys) == ["1", "2", "y"]


def test_hot_keys_are_named_and_passers_by_are_not() -> None:
    log = RefusalLog(KEY)
    for n in range(2000):
        log.unprocessed([of(f"passer {n}"), of("hot" if n % 2 else f"other {n}")])
    ((key, count),) = log.report().keys[""]
    assert key == "hot"
    assert 1000 <= count <= 1000 + 4000 / 128


def test_write_units_of_indexes_are_added_up() -> None:
    log = RefusalLog(KEY, INDEXES)
    log.charged({"by_size": 2.0, "by_place": 0.5})
    log.charged({"by_size": 1.0})
    assert log.report().units == {"by_size": 3.0, "by_place": 0.5}


def test_a_service_that_makes_up_names_does_not_fill_the_memory() -> None:
    log = RefusalLog(KEY, INDEXES)
    for n in range(1000):
        log.throttled(refused((f"Reason{n}" + "x" * 10_000, f"{TABLE_ARN}{n}" + "y" * 10_000)), sent(of("a")))
        log.charged({f"index{n}" + "w" * 10_000: 1.0, "by_size": 1.0})
        log.unprocessed([of(f"{n}" + "z" * 10_000)])
    report = log.report()
    assert len(report.reasons) <= 100
    # What found no place of its own is counted all the same.
    assert sum(report.reasons.values()) == 2000
    assert report.reasons[UNTOLD] == 1000
    assert report.units == {"by_size": 1000.0}
    assert len(pickle.dumps(report)) < 200_000


@pytest.mark.parametrize(
    "item", [{}, {"id": {"N": "1"}}, {"id": {"S": 7}}, {"id": None}, {"id": "a"}], ids=str
)
def test_an_item_without_a_readable_key_is_not_counted(item: Any) -> None:
    log = RefusalLog(KEY)
    log.unprocessed([item, of("a")])
    assert log.report().keys == {"": (("a", 1),)}


def test_the_report_is_the_same_object_until_something_is_added() -> None:
    log = RefusalLog(KEY)
    log.throttled(refused(), sent(of("a")))
    first = log.report()
    assert log.report() is first
    log.unprocessed([])
    assert log.report() is first
    log.unprocessed([of("a")])
    second = log.report()
    assert second is not first
    log.charged({"by_size": 1.0})
    assert log.report() is not second
    # What was told stays as it was.
    assert (first.keys, first.units) == ({"": (("a", 1),)}, {})
    assert pickle.loads(pickle.dumps(second)) == second


@pytest.mark.parametrize(("known", "pause"), [(False, EAGER_SECONDS), (True, ASK_SECONDS)])
def test_it_is_time_to_ask_at_first_and_then_once_in_a_while(known: bool, pause: float) -> None:
    now = 100.0
    log = RefusalLog(KEY, clock=lambda: now)
    log.unprocessed([of("a")])
    if known:
        log.throttled(refused(key_range()), sent(of("a")))
    assert [log.asks(), log.asks()] == [True, False]
    now += pause * 0.9
    assert not log.asks()
    now += pause * 0.2
    assert [log.asks(), log.asks()] == [True, False]


def test_items_handed_back_are_counted_by_answer_as_untold() -> None:
    log = RefusalLog(KEY)
    log.unprocessed([of("a"), of("b")])
    log.unprocessed([of("a")])
    assert log.report().reasons == {UNTOLD: 2}


def test_senders_count_at_the_same_time() -> None:
    log = RefusalLog(KEY, INDEXES)

    def run() -> None:
        for _ in range(300):
            log.throttled(refused(key_range("by_size")), sent(of("a", size={"N": "1"})))
            log.charged({"by_size": 1.0})
            log.report()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = log.report()
    assert report.keys == {"": (("a", 1200),), "by_size": (("1", 1200),)}
    assert report.reasons == {key_range("by_size"): 1200}
    assert report.units == {"by_size": 1200.0}
