"""A client for any operation on tables: asks, without knowing botocore."""

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

from loader.decisions.wire import Reply
from loader.edges.boto3_transport import RawClient
from loader.edges.credentials import Credentials
from loader.edges.target import Target, Unsuited

_log = logging.getLogger(__name__)


class TableRawClient(RawClient, Protocol):
    """It also tells where it would send to."""

    region: str
    endpoint: str

    def target(self, table: str) -> Target:
        """Raises Unsuited and BadConnection."""


class TableClient:
    """Any operation, by its name, with DynamoDB JSON in and the raw reply out. Threads may share it."""

    def __init__(self, client: TableRawClient) -> None:
        self._client = client

    @property
    def region(self) -> str:
        return self._client.region

    @property
    def endpoint(self) -> str:
        """URL of the endpoint, less what botocore makes of it for account ids: stable over credentials."""
        return self._client.endpoint

    def call(self, operation: str, request: Mapping[str, Any]) -> Reply:
        """The reply to one try of, say, DescribeTable. Raises ConnectionFault and BadConnection."""
        return self._client.call(operation, orjson.dumps(request), request)

    def target(self, table: str) -> Target | None:
        """
        Where and how botocore sends batches to `table`, found without sending anything.

        None where only botocore can send them; the log says why. Raises BadConnection.
        """
        try:
            return self._client.target(table)
        except Unsuited as reason:
            _log.info("Batches go through boto3: %s.", reason)
            return None

    def use(self, credentials: Credentials) -> None:
        """Sign with these from the next request on."""
        self._client.held.current = credentials

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
