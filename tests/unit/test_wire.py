"""Bodies as BatchWriteItem wants them, and what every kind of reply means."""

import zlib
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from loader.decisions.wire import (
    BETWEEN_ITEMS,
    CHECKSUM,
    UNREADABLE,
    Halt,
    Rejected,
    Reply,
    Throttled,
    Transient,
    Written,
    join_items,
    read_reply,
    read_result,
    request_body,
    split_items,
)

ITEM: dict[str, Any] = {"id": {"S": "ä"}, "n": {"N": "1"}}
WHOLE = orjson.dumps(
    {
        "UnprocessedItems": {"cities": [{"PutRequest": {"Item": ITEM}}]},
        "ConsumedCapacity": [{"TableName": "cities", "CapacityUnits": 24.0}],
    }
)


def reply(status: int, body: bytes | Mapping[str, Any], **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def error(status: int, code: str, message: str = "why", more: Mapping[str, Any] | None = None) -> Reply:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **(more or {})}
    return reply(status, body)


# --- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_index", "asked"), [(False, "TOTAL"), (True, "INDEXES")])
def test_a_body_puts_the_items_in_order(per_index: bool, asked: str) -> None:
    items = [orjson.dumps({"id": {"S": f"é{number}"}}) for number in range(25)]
    body = request_body("cities", items, per_index=per_index)
    assert orjson.loads(body) == {
        "RequestItems": {"cities": [{"PutRequest": {"Item": orjson.loads(item)}} for item in items]},
        "ReturnConsumedCapacity": asked,
    }
    # Non-ASCII travels as UTF-8, not as escapes of twice the size.
    assert "é0".encode() in body


def test_a_body_of_one_item_is_well_formed() -> None:
    body = orjson.loads(request_body("t", [b'{"id":{"S":"x"}}'], per_index=False))
    assert body["RequestItems"] == {"t": [{"PutRequest": {"Item": {"id": {"S": "x"}}}}]}


@pytest.mark.parametrize("count", [0, 26])
def test_no_body_is_made_of_no_item_or_of_more_than_25(count: int) -> None:
    with pytest.raises(ValueError, match=f"a batch of {count} items"):
        request_body("t", [b"{}"] * count, per_index=False)


def test_items_joined_beforehand_make_the_same_body() -> None:
    items = [b'{"id":{"S":"%d"}}' % number for number in range(25)]
    joined = request_body("cities", (join_items(items),), per_index=True)
    assert joined == request_body("cities", items, per_index=True)
    assert joined == request_body("cities", (join_items(items[:9]), join_items(items[9:])), per_index=True)


def test_joined_items_can_be_told_apart() -> None:
    between = BETWEEN_ITEMS.decode()
    # As text, as a name, and as the first name of an item.
    items = [
        orjson.dumps({"id": {"S": between}, "b": {"S": f"{between}}}}}"}}),
        orjson.dumps({between: {"S": "x"}, f"{between}{between}": {"N": "1"}}),
        orjson.dumps({"PutRequest": {"S": '{"Item":'}, "Item": {"S": "}},{"}}),
        b"{}",
    ]
    assert split_items(join_items(items)) == items
    assert split_items(join_items(items[:1])) == items[:1]


def test_a_table_s_name_is_quoted() -> None:
    body = orjson.loads(request_body('a"\\b', [b"{}"], per_index=False))
    assert list(body["RequestItems"]) == ['a"\\b']


# --- successes ----------------------------------------------------------------------------------


def test_a_whole_success_has_its_unprocessed_items_and_write_units() -> None:
    assert read_reply(reply(200, WHOLE), "cities") == Written((ITEM,), 24.0)


def test_a_success_that_leaves_nothing_and_tells_no_units() -> None:
    assert read_reply(reply(200, {"UnprocessedItems": {}}), "cities") == Written((), 0.0)


def test_write_units_are_summed_over_the_entries_and_rubbish_among_them_is_no_fault() -> None:
    entries = [{"CapacityUnits": 1.5}, {"CapacityUnits": 2}, {"CapacityUnits": "many"}, {}, None]
    body: dict[str, Any] = {"UnprocessedItems": {}, "ConsumedCapacity": entries}
    assert read_reply(reply(200, body), "cities") == Written((), 3.5)
    body["ConsumedCapacity"] = 7
    assert read_reply(reply(200, body), "cities") == Written((), 0.0)


def consuming(*entries: Any) -> Written:
    answer = read_reply(reply(200, {"UnprocessedItems": {}, "ConsumedCapacity": list(entries)}), "cities")
    assert isinstance(answer, Written)
    return answer


def test_write_units_of_indexes_are_told_by_name() -> None:
    entry = {
        "TableName": "cities",
        "CapacityUnits": 11.0,
        "Table": {"CapacityUnits": 5.0},
        "GlobalSecondaryIndexes": {"by_city": {"CapacityUnits": 3}, "by_name": {"CapacityUnits": 1.5}},
        "LocalSecondaryIndexes": {"by_age": {"CapacityUnits": 1.5}},
    }
    assert consuming(entry) == Written((), 11.0, {"by_city": 3.0, "by_name": 1.5, "by_age": 1.5})
    assert consuming(entry, entry).index_units == {"by_city": 6.0, "by_name": 3.0, "by_age": 3.0}


@pytest.mark.parametrize(
    "indexes",
    [
        None,
        7,
        [],
        ["by_city"],
        {},
        {"by_city": None},
        {"by_city": 3},
        {"by_city": {}},
        {"by_city": {"CapacityUnits": "3"}},
    ],
    ids=str,
)
def test_rubbish_about_indexes_is_no_fault(indexes: Any) -> None:
    found = consuming(
        {"CapacityUnits": 2, "GlobalSecondaryIndexes": indexes, "LocalSecondaryIndexes": indexes}
    )
    assert found == Written((), 2.0, {})


def test_a_table_named_by_its_arn_may_come_back_under_its_name() -> None:
    arn = "arn:aws:dynamodb:us-east-1:111122223333:table/cities"
    assert read_reply(reply(200, WHOLE), arn) == Written((ITEM,), 24.0)


def test_a_checksum_that_fits_is_accepted() -> None:
    assert read_reply(reply(200, WHOLE, x_amz_crc32=str(zlib.crc32(WHOLE))), "cities") == Written(
        (ITEM,), 24.0
    )


# --- replies that only look like success --------------------------------------------------------


def test_a_success_cut_short_anywhere_is_worth_another_try() -> None:
    for length in range(len(WHOLE)):
        answer = read_reply(reply(200, WHOLE[:length]), "cities")
        assert isinstance(answer, Transient), WHOLE[:length]
        assert answer.code == UNREADABLE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'"UnprocessedItems"',
        b"<html>Welcome to the airport</html>",
        b"\xff\xfe",
        b'{"__type":"com.amazonaws#ThrottlingException"}',
        b'{"UnprocessedItems":null}',
        b'{"UnprocessedItems":[]}',
        b'{"UnprocessedItems":{"cities":{}}}',
        b'{"UnprocessedItems":{"cities":[null]}}',
        b'{"UnprocessedItems":{"cities":[{"DeleteRequest":{"Key":{}}}]}}',
        b'{"UnprocessedItems":{"cities":[{"PutRequest":{}}]}}',
        b'{"UnprocessedItems":{"rivers":[{"PutRequest":{"Item":{}}}]}}',
    ],
)
def test_a_200_that_is_no_answer_of_batch_write_item_is_worth_another_try(body: bytes) -> None:
    answer = read_reply(reply(200, body), "cities")
    assert isinstance(answer, Transient)
    assert answer.code == UNREADABLE


def test_the_reason_says_what_came_instead() -> None:
    answer = read_reply(reply(200, b"<html>", content_type="text/html"), "cities")
    assert isinstance(answer, Transient)
    assert answer.message == (
        "A reply of 6 bytes (text/html) is no whole answer of DynamoDB's: it is not a JSON object."
    )


@pytest.mark.parametrize("status", [201, 202, 204, 206, 301, 302, 304])
def test_no_other_status_is_a_success(status: int) -> None:
    assert isinstance(read_reply(reply(status, WHOLE), "cities"), Transient)


@pytest.mark.parametrize("crc", ["1", "", "many", "-1"])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_reply_that_does_not_fit_its_checksum_says_nothing(status: int, crc: str) -> None:
    body = WHOLE if status == 200 else error(status, "ValidationException").body
    answer = read_reply(reply(status, body, x_amz_crc32=crc), "cities")
    assert isinstance(answer, Transient)
    assert answer.code == CHECKSUM


# --- errors -------------------------------------------------------------------------------------

THROTTLES = (
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TooManyRequestsException",
)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
@pytest.mark.parametrize("code", THROTTLES)
def test_a_throttle_is_known_by_its_code(code: str, status: int) -> None:
    assert read_reply(error(status, code), "cities") == Throttled(code, "why")


@pytest.mark.parametrize("member", ["ThrottlingReasons", "throttlingReasons"])
def test_the_reasons_of_a_throttle_are_read_in_both_spellings(member: str) -> None:
    entry = {
        "reason": "IndexWriteKeyRangeThroughputExceeded",
        "resource": "arn:aws:dynamodb:::table/t",
    }
    answer = read_reply(error(400, "ThrottlingException", more={member: [entry, "odd", {}]}), "cities")
    assert isinstance(answer, Throttled)
    assert answer.reasons == (
        ("IndexWriteKeyRangeThroughputExceeded", "arn:aws:dynamodb:::table/t"),
        ("", ""),
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalServerError"),
        (400, "InternalServerError"),
        (409, "ReplicatedWriteConflictException"),
        (400, "TransactionConflictException"),
        (400, "ResourceInUseException"),
        (503, "ServiceUnavailable"),
        (500, "ValidationException"),
        (500, "AccessDeniedException"),
        (599, "NeverHeardOf"),
    ],
)
def test_what_the_service_could_not_do_just_now_is_worth_another_try(status: int, code: str) -> None:
    assert read_reply(error(status, code), "cities") == Transient(code, "why")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationException"),
        (400, "ItemCollectionSizeLimitExceededException"),
        (400, "SerializationException"),
        (400, "NeverHeardOf"),
        (413, "RequestEntityTooLarge"),
        (422, "NeverHeardOf"),
    ],
)
def test_a_verdict_on_the_batch_rejects_it(status: int, code: str) -> None:
    assert read_reply(error(status, code), "cities") == Rejected(code, "why")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "AccessDeniedException"),
        (400, "ResourceNotFoundException"),
        (400, "ExpiredTokenException"),
        (400, "UnrecognizedClientException"),
        (400, "InvalidSignatureException"),
        (400, "IncompleteSignatureException"),
        (400, "MissingAuthenticationTokenException"),
        (400, "UnknownOperationException"),
        (403, "NeverHeardOf"),
        (401, "NeverHeardOf"),
    ],
)
def test_what_no_batch_could_overcome_halts(status: int, code: str) -> None:
    assert read_reply(error(status, code), "cities") == Halt(code, "why")


def test_a_refused_signature_tells_the_clock_of_the_service() -> None:
    refused = error(400, "InvalidSignatureException", "Signature expired")
    answer = read_reply(refused._replace(headers={"date": "Wed, 25 Nov 2026 03:04:16 GMT"}), "cities")
    assert answer == Halt(
        "InvalidSignatureException",
        "Signature expired (the service's clock: Wed, 25 Nov 2026 03:04:16 GMT)",
    )


@pytest.mark.parametrize(
    "type_",
    [
        "ValidationException",
        "com.amazon.coral.validate#ValidationException",
        "ValidationException:http://internal.amazon.com/coral/#com.amazon.coral.validate/",
        "com.amazon.coral.validate#ValidationException:http://internal.amazon.com/",
    ],
)
def test_the_code_of_an_error_is_found_in_every_spelling(type_: str) -> None:
    assert read_reply(reply(400, {"__type": type_, "Message": "x"}), "t") == Rejected(
        "ValidationException", "x"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Transient),
        (401, Halt),
        (403, Halt),
        (404, Transient),
        (407, Halt),
        (408, Transient),
        (413, Rejected),
        (429, Throttled),
        (500, Transient),
        (502, Transient),
        (503, Transient),
        (504, Transient),
    ],
)
def test_an_error_without_a_code_goes_by_its_status(
    status: int, kind: type[Throttled | Transient | Rejected | Halt]
) -> None:
    answer = read_reply(reply(status, b"<html>\n  <h1>Sorry</h1>\n</html>"), "cities")
    assert isinstance(answer, kind)
    assert (answer.code, answer.message) == (str(status), "<html> <h1>Sorry</h1> </html>")


def test_an_error_cut_short_rejects_nothing() -> None:
    whole = error(400, "ValidationException").body
    for length in range(len(whole)):
        assert isinstance(read_reply(reply(400, whole[:length]), "cities"), Transient)


@pytest.mark.parametrize("body", [b"[]", b"7", b'{"__type":7}', b'{"code":"ValidationException"}'])
def test_a_400_of_someone_elses_rejects_nothing(body: bytes) -> None:
    assert isinstance(read_reply(reply(400, body), "cities"), Transient)


# --- other operations ---------------------------------------------------------------------------


def test_the_result_of_another_operation_is_known_by_its_member() -> None:
    assert read_result(reply(200, {"Table": {"TableName": "t"}}), "Table") == {"Table": {"TableName": "t"}}
    assert isinstance(read_result(reply(200, {}), "Table"), Transient)
    assert read_result(error(400, "ResourceNotFoundException"), "Table") == Halt(
        "ResourceNotFoundException", "why"
    )
