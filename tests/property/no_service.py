"""What a load's books have no need of, or no replay would find again: the service, chance, large chunks."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from unittest import mock

from loader.engines import prepare
from loader.engines.windows import Cutter
from loader.model import KeyPart, KeySchema, TableDescription

TABLE = TableDescription("t", "arn:t", "", "1", "http://127.0.0.1:1", "ACTIVE", KeySchema(KeyPart("id", "S")))


class Nowhere:
    """In place of a session with the service, which a load's books have no need of."""

    def factory(self, _: int) -> "Nowhere":
        return self

    def table_client(self, patience: float | None = None) -> nullcontext[None]:
        return nullcontext()


@contextmanager
def surroundings(seed: int, chunk_size: int) -> Iterator[None]:
    """While this lasts every new load has this seed, and is read in chunks of so many bytes."""
    fixed = SimpleNamespace(randbits=lambda _: seed, randbelow=lambda _: 0)
    with (
        mock.patch.object(prepare, "open_session", lambda *_: Nowhere()),
        mock.patch.object(prepare, "describe", lambda *_: TABLE),
        mock.patch.object(prepare, "time_to_live", lambda *_: None),
        mock.patch.object(prepare, "secrets", fixed),
        mock.patch.object(prepare, "Cutter", partial(Cutter, chunk_size=chunk_size)),
    ):
        yield
