"""The parts that are not ours do what the suite takes for granted of them."""

import csv
import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import thirdparty


def post(url: str, operation: str, body: str) -> int:
    """The status of one DynamoDB request with a signature that no server here checks."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        headers = {
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-target, Signature=00",
        }
        connection.request("POST", "/", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def records(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_moto_answers(moto: str) -> None:
    assert post(moto, "ListTables", "{}") == 200


def test_dynalite_answers_and_refuses_26_items(dynalite: str) -> None:
    assert post(dynalite, "ListTables", "{}") == 200
    put = '{"PutRequest":{"Item":{"id":{"S":"%d"}}}}'
    body = '{"RequestItems":{"t":[' + ",".join(put % n for n in range(26)) + "]}}"
    assert post(dynalite, "BatchWriteItem", body) == 400


def test_zipcodes_keep_their_leading_zeros(zipcodes_csv: Path) -> None:
    header, *rows = records(zipcodes_csv)
    assert len(rows) == 42_049
    assert rows[0][header.index("zip_code")].startswith("0")


def test_airports_are_those_the_tests_count(airports_csv: Path) -> None:
    header, *rows = records(airports_csv)
    assert "icao" in header
    assert len(rows) == 28_298
    assert sum(row.count("") for row in rows) == 39_673


def test_flights_are_those_the_tests_count(flights_csv: Path) -> None:
    header, *rows = records(flights_csv)
    assert {"carrier", "time_hour"} <= set(header)
    assert (len(header), len(rows)) == (19, 336_776)


def test_without_node_the_reason_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DDBLOAD_REQUIRE_NODE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="node and npm are not installed"):
        thirdparty.need_node({"PATH": str(tmp_path)})


def test_where_node_is_required_its_absence_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DDBLOAD_REQUIRE_NODE", "1")
    with pytest.raises(pytest.fail.Exception, match="node and npm are not installed"):
        thirdparty.need_node({"PATH": str(tmp_path)})


def test_no_aws_setting_of_the_machine_is_seen(own_environment: Path) -> None:
    settings = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    assert settings.pop("AWS_ACCESS_KEY_ID").startswith("test")
    assert settings.pop("AWS_SECRET_ACCESS_KEY").startswith("test")
    assert settings.pop("AWS_EC2_METADATA_DISABLED") == "true"
    assert settings.keys() == {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}
    assert all(value.startswith(str(own_environment)) for value in settings.values())
    assert Path.home() == own_environment
