"""What a worker of a dry run does with batches instead of sending them."""

from collections.abc import Sequence
from dataclasses import replace

from loader.capacity import Measures
from loader.decisions.batch import Batch
from loader.decisions.measure import ItemMeasure
from loader.decisions.wire import split_items
from loader.model import IndexDescription, KeySchema


class Measurer:
    """
    Adds up what batches weigh. One thread adds; any may ask for the report, which has whole shards only: one
    that a worker dies over is measured anew by another. Its partition keys alone are counted twice then.
    """

    def __init__(self, key: KeySchema, indexes: Sequence[IndexDescription]) -> None:
        self._measure = ItemMeasure(key, indexes)
        self._shard = Measures()
        self._done = Measures()

    def add(self, batch: Batch) -> None:
        self._shard += self._measure.of(split_items(batch.json))

    def shard_ends(self) -> None:
        """What was added since the last shard ended is reported from now on."""
        # Replaced as a whole, so that no other thread sees half of it.
        self._done = replace(self._done + self._shard, keys=self._measure.keys())
        self._shard = Measures()

    def report(self) -> Measures:
        return self._done
