"""The verb demo: everything once, on this machine alone."""

import argparse
import http
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cli import exits, generate, load, logs, server, signals, streams, summary, verify, view
from cli.exits import Ending
from cli.text import counted
from loader.config import ConnectionConfig, LoadConfig
from loader.edges.clients import TableClient, open_session
from loader.edges.generate import GenerateSpec
from loader.edges.table import describe
from loader.engines.verify import VerifyConfig
from loader.errors import BadConnection, BadOption, BadTable, ConnectionFault

_REGION = "us-east-1"
_TABLE_SECONDS = 30.0
"""How long a new table may take until it can be written."""


def run(options: argparse.Namespace) -> int:
    ending = _run(options)
    if ending.message:
        streams.complain(ending.message)
    return ending.status


def _run(options: argparse.Namespace) -> Ending:
    try:
        if options.rows < 1:
            raise BadOption(f"--rows {options.rows}: give a number of at least 1.")
        if options.endpoint_url is not None:
            server.require_loopback(options.endpoint_url)
        at_once: list[signals.Action] = []
        with (
            _no_account(),
            tempfile.TemporaryDirectory(prefix="ddbload-demo-") as directory,
            signals.watched(signals.interrupt, at_once),
            _endpoint(options.endpoint_url, Path(directory)) as (url, kill),
        ):
            # When the server is dead: it writes there.
            at_once += [*kill, partial(shutil.rmtree, directory, ignore_errors=True)]
            return _show_all(options, Path(directory), url, at_once)
    except (Exception, exits.Interrupted, KeyboardInterrupt) as error:
        return exits.of_error(error)


@contextmanager
def _no_account() -> Iterator[None]:
    """
    While this lasts, no setting of the user's for AWS or proxies is seen, by this process and its children.
    """
    before = dict(os.environ)
    for name in before:
        if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="demo",
        AWS_SECRET_ACCESS_KEY="demo",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="*",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _endpoint(given: str | None, directory: Path) -> Iterator[tuple[str, tuple[signals.Action, ...]]]:
    """Where the server is, and what stops it at once."""
    if given is not None:
        yield given, ()
        return
    streams.say(["Starting a local server."])
    with server.started(directory) as running:
        yield running.url, (running.kill,)


def _show_all(
    options: argparse.Namespace, directory: Path, url: str, at_once: Sequence[signals.Action]
) -> Ending:
    table = f"ddbload-demo-{secrets.token_hex(4)}"
    connection = ConnectionConfig(region=_REGION, endpoint_url=url)
    path = str(directory / "people.csv")
    streams.say([f"Creating table {table} at {url}, and {counted(options.rows, 'row')} to load into it."])
    with (
        _table(connection, table),
        view.opened(options.progress) as shown,
        logs.kept(options.log_level, options.log_file, shown),
    ):
        generate.make(path, GenerateSpec(count=options.rows), shown, at_once)
        config = LoadConfig(
            sources=(path,),
            table=table,
            connection=connection,
            workers=options.workers,
            rejects=str(directory / "rejects.csv"),
            state_dir=str(directory / "state"),
        )
        outcome = load.load(config, shown, at_once)
        if outcome.summary is not None:
            shown.say("\n".join(summary.as_text(outcome.summary)))
        if outcome.ending.status not in (exits.OK, exits.NOT_ALL):
            return outcome.ending
        compared = VerifyConfig(sources=(path,), table=table, connection=connection)
        result = verify.compare(compared, shown, at_once)
    streams.put(verify.as_text(result))
    if result.same and result.expected != options.rows:
        return Ending(exits.NOT_ALL, "not_equal", f"Of {counted(options.rows, 'row')} some were rejected.")
    return verify.ending_of(result)


@contextmanager
def _table(connection: ConnectionConfig, name: str) -> Iterator[None]:
    """A table with partition key `id`, while this lasts."""
    wanted = {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    with open_session(connection).factory(1).table_client() as client:
        _ask(client, "CreateTable", wanted)
        try:
            _wait_until_active(client, name)
            yield
        finally:
            try:
                _ask(client, "DeleteTable", {"TableName": name})
            except BadConnection as error:
                streams.say([f"Table {name} is left behind. {error}"])


def _ask(client: TableClient, operation: str, request: Mapping[str, Any]) -> None:
    try:
        reply = client.call(operation, request)
    except ConnectionFault as fault:
        raise BadConnection(f"No answer from {client.endpoint} to {operation}. {fault}") from fault
    if reply.status != http.HTTPStatus.OK:
        said = reply.body[:200].decode(errors="replace")
        raise BadConnection(f"{client.endpoint} refuses {operation}: {reply.status} {said}")


def _wait_until_active(client: TableClient, name: str) -> None:
    deadline = time.monotonic() + _TABLE_SECONDS
    while True:
        try:
            describe(client, name)
            return
        except BadTable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
