"""A table's items, all of them, a page at a time: a parallel scan."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from loader.decisions.wire import Reply
from loader.edges import table
from loader.edges.clients import Session, TableClient
from loader.errors import Fatal, Refused

_PATIENCE = 0.5
"""Seconds one side waits for the other before it looks whether anything else is to be done."""
_END = 2.0
"""Seconds the threads have to come to an end."""


class Pages:
    """The pages of a whole table, from one thread a segment, each a few pages ahead."""

    def __init__(self, session: Session, name: str, segments: int) -> None:
        self._session = session
        self._table = name
        self._segments = segments
        self._ready: queue.Queue[list[table.Item] | Exception | None] = queue.Queue(2 * segments)
        self._stop = threading.Event()
        self._client = _SharedClient(session.factory(segments).table_client())
        self._threads = [
            threading.Thread(target=self._scan, args=(number,), name=f"scan-{number}", daemon=True)
            for number in range(segments)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # One that waits for an answer sees it late; nothing depends on it any more.
        deadline = time.monotonic() + _END
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self._client.close()

    def __iter__(self) -> Iterator[list[table.Item]]:
        """Pages as they come, an empty one when none comes for a while. Raises the threads' errors."""
        scanning = self._segments
        while scanning:
            if self._session.refreshed() is not None:
                self._client.replace(self._session.factory(self._segments).table_client())
            try:
                page = self._ready.get(timeout=_PATIENCE)
            except queue.Empty:
                page = []
            if page is None:
                scanning -= 1
            elif isinstance(page, Refused):
                raise Fatal(str(page)) from page
            elif isinstance(page, Exception):
                raise page
            else:
                yield page

    def _scan(self, segment: int) -> None:
        try:
            for page in table.scan(self._client, self._table, segment, self._segments):
                if not self._put(page):
                    return
        except Exception as error:
            # Whatever it is, it is raised where the pages are read.
            self._put(error)
            return
        self._put(None)

    def _put(self, page: list[table.Item] | Exception | None) -> bool:
        """False once nobody wants any more."""
        while not self._stop.is_set():
            try:
                self._ready.put(page, timeout=_PATIENCE)
                return True
            except queue.Full:
                continue
        return False


class _SharedClient:
    """One client for all threads, which can be replaced by one with newer credentials."""

    def __init__(self, client: TableClient) -> None:
        self._client = client

    @property
    def region(self) -> str:
        return self._client.region

    @property
    def endpoint(self) -> str:
        return self._client.endpoint

    def call(self, operation: str, request: Mapping[str, Any]) -> Reply:
        return self._client.call(operation, request)

    def replace(self, client: TableClient) -> None:
        # The old one is left to the threads that are still using it.
        self._client = client

    def close(self) -> None:
        self._client.close()
