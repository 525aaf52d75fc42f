"""Batches through a boto3 client: knows every endpoint, proxy and signature, at some ten times the cost."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from loader.decisions.wire import Reply
from loader.edges.credentials import Credentials, HandedDown
from loader.errors import BadConnection, Fatal


class RawClient(Protocol):
    """A boto3 client that takes a body ready made and gives the reply as it came."""

    held: HandedDown

    def call(self, operation: str, body: bytes, shape: Mapping[str, Any]) -> Reply:
        """One try; `shape` is for botocore to find the endpoint by. Raises ConnectionFault, BadConnection."""

    def close(self) -> None: ...


def shape_of_batch(table: str) -> dict[str, Any]:
    """What botocore reads of a batch to find its endpoint; an empty name tells it nothing."""
    return {"RequestItems": {table: []} if table else {}}


class Boto3Transport:
    """Sends batches through one boto3 client, from any number of threads."""

    def __init__(
        self, client: RawClient, prober: Callable[[Credentials], RawClient], table: str = ""
    ) -> None:
        self._client = client
        self._make_prober = prober
        self._prober: RawClient | None = None
        self._shape = shape_of_batch(table)

    def send(self, body: bytes) -> Reply:
        """
        The reply to one try of BatchWriteItem.

        Raises ConnectionFault where there is none, and Fatal where none can be asked for.
        """
        return self._call(self._client, body)

    def probe(self, body: bytes) -> Reply:
        """As `send`, by a client without much patience, one at a time: meanwhile all senders may wait."""
        if self._prober is None:
            try:
                self._prober = self._make_prober(self._client.held.current)
            except BadConnection as problem:
                raise Fatal(str(problem)) from problem
        return self._call(self._prober, body)

    def _call(self, client: RawClient, body: bytes) -> Reply:
        try:
            return client.call("BatchWriteItem", body, self._shape)
        except BadConnection as problem:
            raise Fatal(str(problem)) from problem

    def use(self, credentials: Credentials) -> None:
        """Sign with these from the next request on."""
        for client in self._clients():
            client.held.current = credentials

    def close(self) -> None:
        for client in self._clients():
            client.close()

    def _clients(self) -> list[RawClient]:
        return [self._client] if self._prober is None else [self._client, self._prober]
