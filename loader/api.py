"""Loading from Python: the names of the tool this one succeeds, over the same engine as the command line."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loader.config import ConnectionConfig, LoadConfig
from loader.engines.coordinator import Stop, run_load
from loader.errors import BadSource
from loader.model import ProgressEvent, Summary


@dataclass(frozen=True, slots=True)
class LoadResult:
    """
    What a load did. `failed_writes` are rejected rows; `errors` tell of the first 100 of them.

    `total_records` counts every row with an outcome: successful writes, duplicates and failed ones.
    """

    total_records: int
    successful_writes: int
    failed_writes: int
    duration_seconds: float
    duplicates: int = 0
    errors: list[str] = field(default_factory=list)
    summary: Summary | None = None

    def success_rate(self) -> float:
        """The share of rows, from 0 to 100, that are in the table or superseded by a later row."""
        if self.total_records == 0:
            return 0.0
        return 100.0 * (self.total_records - self.failed_writes) / self.total_records


class DynamoDBLoader:
    """
    Loads CSV files into one table, with worker processes.

    `options` are the other fields of `loader.LoadConfig` (`threads`, `types`, `window_size`, ...).
    """

    def __init__(
        self,
        table_name: str,
        region: str | None = None,
        max_workers: int | None = None,
        batch_size: int = 25,
        max_retries: int | None = None,
        *,
        profile: str | None = None,
        endpoint_url: str | None = None,
        allow_http: bool = False,
        on_event: Callable[[ProgressEvent], None] | None = None,
        **options: Any,
    ) -> None:
        self._base: Mapping[str, Any] = {
            "table": table_name,
            "connection": ConnectionConfig(region, profile, endpoint_url, allow_http),
            "workers": max_workers,
            "batch_size": batch_size,
            "max_retries": max_retries,
            **options,
        }
        self._on_event = on_event
        self._stop = Stop()
        # Options are checked where they are given, not when the first file is loaded.
        LoadConfig(sources=("-",), **self._base)

    def load_csv(self, *paths: str | os.PathLike[str]) -> LoadResult:
        """
        Load the files, in this order, and return when every row has its outcome.

        Raises loader.errors.Refused when nothing was started, Stopped or Fatal (with `summary`) when the load
        ended early; rejected rows raise nothing and are in the result.
        """
        self._stop = Stop()
        return self._load(paths, self._stop)

    def stop(self) -> None:
        """From another thread: finish what is in flight, keep the checkpoint, and return."""
        self._stop.request("stop")

    def _load(self, paths: Sequence[str | os.PathLike[str]], stop: Stop) -> LoadResult:
        if not all(isinstance(path, str | os.PathLike) for path in paths):
            raise BadSource("Give each path as an argument of its own: load_csv('a.csv', 'b.csv').")
        config = LoadConfig(sources=tuple(os.fspath(path) for path in paths), **self._base)
        return _result(run_load(config, self._on_event, stop))


ThreadedDynamoDBLoader = DynamoDBLoader


class AsyncDynamoDBLoader:
    """
    The same as an awaitable: a thread drives the worker processes, and the event loop stays free.

    Cancelling the task drains the load and keeps its checkpoint before CancelledError is raised.
    """

    def __init__(self, table_name: str, region: str | None = None, **options: Any) -> None:
        self._loader = DynamoDBLoader(table_name, region, **options)

    async def load_csv(self, *paths: str | os.PathLike[str]) -> LoadResult:
        """As DynamoDBLoader.load_csv."""
        # Of this load alone, and there before its thread is: others may run, and a cancel may come first.
        stop = Stop()
        running = asyncio.ensure_future(asyncio.to_thread(self._loader._load, paths, stop))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.request("cancelled")
            await asyncio.wait([running])
            raise


def _result(summary: Summary) -> LoadResult:
    counts = summary.counts
    return LoadResult(
        total_records=counts.rows,
        successful_writes=counts.written,
        failed_writes=counts.rejected,
        duration_seconds=summary.seconds,
        duplicates=counts.duplicates,
        errors=list(summary.errors),
        summary=summary,
    )
