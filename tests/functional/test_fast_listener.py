"""A worker that is given credentials which nobody expected."""

import logging
import multiprocessing
from dataclasses import replace
from pathlib import Path

from loader.decisions.retry import RetryPolicy
from loader.decisions.schema import build_schema
from loader.edges.clients import Credentials
from loader.edges.events import Crashed, FreshCredentials, one_way_queue
from loader.edges.source import Source
from loader.engines.builder import BuildRules
from loader.engines.worker import WorkerSetup, run_worker
from loader.engines.writer import WriterRules
from loader.model import Dialect, Header, KeyPart, KeySchema, TableDescription
from tests.functional.raw_server import raw_server
from tests.functional.test_fast import SUCCESS, factory, target_at


def setup_for(url: str, path: Path) -> WorkerSetup:
    key = KeySchema(KeyPart("id", "S"))
    table = TableDescription("cities", "arn", "1", "0", url, "ACTIVE", key)
    source = Source.open([str(path)], Dialect())
    header = Header(source.header.columns, source.header.reject_columns)
    source.close()
    return WorkerSetup(
        files=source.files,
        build=BuildRules(build_schema(table, header, {})),
        factory=replace(factory(url), target=target_at(url)),
        retry=RetryPolicy(),
        write=WriterRules("cities", key, indexes=(), threads=1, adapts=False, batch_size=25),
        seed=1,
        log_level=logging.WARNING,
    )


def test_an_error_over_new_credentials_ends_the_worker_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text("id\n1\n")
    nonsense = Credentials(None, "secret")  # type: ignore[arg-type]
    context = multiprocessing.get_context("spawn")
    tasks, to_worker = one_way_queue(context)
    from_worker, events = one_way_queue(context)
    with raw_server(lambda request: SUCCESS) as server:
        process = context.Process(target=run_worker, args=(setup_for(server.url, path), 0, tasks, events))
        process.start()
        tasks.close()
        events.close()
        try:
            to_worker.send(FreshCredentials(nonsense, 1))
            heard = []
            while from_worker.poll(20):
                try:
                    heard.append(from_worker.recv())
                except EOFError:
                    break
            process.join(20)
            assert process.exitcode == 0
        finally:
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
            to_worker.close()
            from_worker.close()
    crash = heard[-1]
    assert isinstance(crash, Crashed)
    assert "TypeError" in crash.traceback and "in use" in crash.traceback
