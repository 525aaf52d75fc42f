"""The stages that a row goes through, each timed by itself: the program's own code, fed as in the program."""

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from loader.config import BATCH_LIMIT, WINDOW_SIZE
from loader.decisions.batch import Batch
from loader.decisions.http1 import ReplyReader
from loader.decisions.index import index_chunk
from loader.decisions.items import ItemEncoder
from loader.decisions.plan import LineTable, cut_shards, entries, sort_window
from loader.decisions.retry import Attempt, RetryPolicy
from loader.decisions.rows import allow_large_cells, plain_cells, whole_rows
from loader.decisions.schema import build_schema
from loader.decisions.wire import Answer, read_reply, request_body
from loader.edges.clients import ClientFactory, Credentials
from loader.edges.connections import Connections
from loader.edges.source import Source
from loader.edges.spool import Spool, read_entries
from loader.edges.target import Target
from loader.engines.builder import Builder, BuildRules
from loader.engines.delivery import Delivery, Settler
from loader.engines.outcomes import Outcomes
from loader.engines.refusals import RefusalLog
from loader.engines.windows import Cutter, Place, WindowIndex
from loader.model import Dialect, KeyPart, KeySchema, ShardTask, TableDescription
from perf import harness
from perf.harness import Sink
from perf.inputs import Input

TOGETHER = 1_000
"""Rows that go through a stage before the next stage has them: in the cache still, as in the program."""

CUTTING = "cutting"
INDEX = "index"
SORT = "sort, spool"
READING = "reading"
PARSING = "parsing"
ENCODING = "encoding"
BUILDING = "the builder's rest"
BODY = "body"
SIGNING = "signing, head"
EXCHANGE = "exchange"
REPLY = "reply"
SETTLING = "settling"

STAGES = {
    CUTTING: "`Cutter.next_chunk`",
    INDEX: "`index_chunk`",
    SORT: "`sort_window`, `cut_shards`, `Spool.write`, `read_entries`",
    READING: "`Source.read_many`",
    PARSING: "`plain_cells`; `whole_rows` where there are quotes",
    ENCODING: "`ItemEncoder.encode_cells`, `encode_rows`",
    BUILDING: "`Builder.batches`, less the three above",
    BODY: "`request_body`",
    SIGNING: "`Signer.sign`",
    EXCHANGE: "`Connections.exchange`, less its part of the reply",
    REPLY: "`ReplyReader`, `read_reply`",
    SETTLING: "`Delivery`, `Outcomes`",
}
"""In the order of the street, and what is called; the first and the sort are the coordinator's."""

_READER = "reply reader"


class Stopwatch:
    """CPU seconds of this thread, by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.seconds[stage] += time.thread_time() - began


class Street:
    """One input and all that its rows meet, the sink at the end; `folder` is for the spool file."""

    def __init__(self, data: Input, sink: Sink, folder: str) -> None:
        allow_large_cells()
        self._data = data
        self._sink = sink
        self._dialect = Dialect()
        self._source = Source.open([data.path], self._dialect)
        key = KeySchema(KeyPart("id", "S"))
        table = TableDescription(harness.TABLE, "arn", "id", "0", sink.endpoint, "ACTIVE", key)
        self._schema = build_schema(table, self._source.header, {})
        self._encoder = ItemEncoder(self._schema)
        self._spool = Spool(folder)
        # As the worker has it: a reporter is told that something happened, the writer that bytes are settled.
        self._outcomes = Outcomes(threading.Event().set)
        self._builder = Builder(self._source, BuildRules(self._schema, self._dialect), self._outcomes)
        in_flight = _BytesInFlight()
        refusals = RefusalLog(key)
        self._settler = Settler(
            RetryPolicy(), key, self._outcomes, self._builder, in_flight.account, refusals
        )
        credentials = Credentials("test", "test")
        self._target = _target(sink, credentials)
        self._start = self._target.request_start()
        self._signer = self._target.signer(credentials)
        self._connections = Connections(self._target.host, self._target.port, self._target.ca_file)
        self._raw_reply = self._reply_to([b'{"id":{"S":"x"}}'] * BATCH_LIMIT)

    def close(self) -> None:
        self._connections.close()
        self._source.close()

    def walk(self) -> dict[str, float]:
        """
        All rows through all stages, once; CPU seconds of each stage. Raises SystemExit where the sink did not
        get exactly what the file holds.
        """
        self._sink.reset()
        watch = Stopwatch()
        spool, shards = self._plan(watch)
        for number, (start, stop) in enumerate(shards):
            task = ShardTask(0, number, start, stop, spool)
            with watch(SORT):
                found = read_entries(spool, start, stop)
            self._parts(watch, found)
            batches = self._build(watch, task, found)
            self._settle(watch, task, batches, self._send(watch, batches))
        harness.check("The stages", self._sink.stats(), self._data)
        return _shares(watch.seconds)

    def _plan(self, watch: Stopwatch) -> tuple[str, list[tuple[int, int]]]:
        """The path of the spool file, and the shards in it."""
        (span,) = self._source.files
        begin = Place(0, span.base + span.data_start, span.first_line)
        cutter = Cutter(self._source, self._dialect, WINDOW_SIZE, None, begin)
        window = WindowIndex(0, begin)
        with watch(CUTTING):
            while cutter.next_chunk(window) is not None:
                pass
        if not cutter.exhausted:
            raise SystemExit(f"{self._data.path} is larger than a window: ask for fewer --rows.")
        schema = self._schema
        with watch(INDEX):
            indexes = [
                index_chunk(
                    self._source.read(chunk.start, chunk.stop - chunk.start),
                    chunk.start,
                    schema.key,
                    self._dialect,
                    schema.header.width,
                    1,
                )
                for chunk in window.chunks
            ]
        with watch(SORT):
            LineTable(window.chunks, indexes)
            ordered = sort_window(indexes)
            return self._spool.write(0, entries(ordered)), cut_shards(ordered, TOGETHER)

    def _parts(self, watch: Stopwatch, found: NDArray[np.void]) -> None:
        """What the builder does with most rows."""
        header, dialect = self._schema.header, self._dialect
        with watch(READING):
            starts, sizes = found["start"].tolist(), found["size"].tolist()
            records = [
                self._source.read_many(starts[at : at + BATCH_LIMIT], sizes[at : at + BATCH_LIMIT])
                for at in range(0, len(found), BATCH_LIMIT)
            ]
        with watch(PARSING):
            plain = [plain_cells(batch, header, dialect) for batch in records]
            quoted = [
                whole_rows(batch, header, dialect)
                for batch, cells in zip(records, plain, strict=True)
                if cells is None
            ]
        with watch(ENCODING):
            for cells in plain:
                if cells is not None:
                    self._encoder.encode_cells(cells)
            for rows in quoted:
                if rows is not None:
                    self._encoder.encode_rows(rows)

    def _build(self, watch: Stopwatch, task: ShardTask, found: NDArray[np.void]) -> list[Batch]:
        self._outcomes.begin(task)
        with watch(BUILDING):
            return list(self._builder.batches(task.shard, found, BATCH_LIMIT))

    def _send(self, watch: Stopwatch, batches: Sequence[Batch]) -> list[Answer]:
        with watch(BODY):
            bodies = [request_body(harness.TABLE, (batch.json,), per_index=False) for batch in batches]
        with watch(SIGNING):
            heads = [self._head(body) for body in bodies]
        with watch(EXCHANGE):
            replies = list(map(self._connections.exchange, heads, bodies))
        with watch(_READER):
            for _ in bodies:
                ReplyReader().feed(self._raw_reply)
        with watch(REPLY):
            return [read_reply(reply, harness.TABLE) for reply in replies]

    def _settle(
        self, watch: Stopwatch, task: ShardTask, batches: Sequence[Batch], answers: Sequence[Answer]
    ) -> None:
        with watch(SETTLING):
            for batch, answer in zip(batches, answers, strict=True):
                self._outcomes.under_way(batch.shares)
                delivery = Delivery(self._settler, batch, Attempt())
                while part := delivery.next_part():
                    delivery.answered(part, answer, 0.0)
            self._outcomes.built(task.shard)
        self._outcomes.report()
        for shard in self._outcomes.take_closed():
            self._builder.forget(shard)

    def _head(self, body: bytes) -> bytes:
        """As the fast path makes it."""
        lines = self._signer.sign(body, time.time())
        return b"%b%bContent-Length: %d\r\n\r\n" % (self._start, lines, len(body))

    def _reply_to(self, items: Sequence[bytes]) -> bytes:
        body = request_body(harness.TABLE, items, per_index=False)
        with socket.create_connection((self._target.host, self._target.port)) as opened:
            opened.sendall(self._head(body) + body)
            # The sink's replies come in one piece.
            return opened.recv(1 << 16)


class _BytesInFlight:
    def __init__(self) -> None:
        self._room = threading.Condition()
        self._bytes = 0

    def account(self, size: int) -> None:
        with self._room:
            self._bytes += size


def _target(sink: Sink, credentials: Credentials) -> Target:
    with ClientFactory("us-east-1", sink.endpoint, credentials, 1).table_client() as client:
        target = client.target(harness.TABLE)
    if target is None:
        raise SystemExit("Requests would go through a proxy: unset HTTP_PROXY for this measurement.")
    return target


def _shares(seconds: dict[str, float]) -> dict[str, float]:
    """By STAGES: what was timed as part of something else is taken off there."""
    found = dict(seconds)
    found[BUILDING] -= found[READING] + found[PARSING] + found[ENCODING]
    reader = found.pop(_READER)
    found[EXCHANGE] -= reader
    found[REPLY] += reader
    return found
