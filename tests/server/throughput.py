"""The buckets of one table under a Capacity, and what a write that does not fit is told."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.server.buckets import Bucket, PartitionBuckets
from tests.server.capacity import Capacity
from tests.server.index import EntryUnits

_NO_UNITS: Mapping[str, float] = {}


class Refusal(NamedTuple):
    """One of a reply's ThrottlingReasons: the reason and the ARN of the table or index."""

    reason: str
    resource: str


class Throughput:
    """
    Of the table at `arn`. Its account's bucket is shared with other tables.

    Call `begin` with the time of a batch, then `take` for each of its writes.
    """

    def __init__(self, capacity: Capacity, arn: str, account: Bucket | None, now: float) -> None:
        self._arn = arn
        self._now = now
        self._table: Bucket | None = None
        self._indexes: dict[str, Bucket] = {}
        self._partitions: PartitionBuckets | None = None
        self._index_partitions: dict[str, PartitionBuckets] = {}
        self._key_range = Refusal("TableWriteKeyRangeThroughputExceeded", arn)
        self._of_account = Refusal("TableWriteAccountLimitExceeded", arn)
        self.set(capacity, account, now)

    def set(self, capacity: Capacity, account: Bucket | None, now: float) -> None:
        """Another capacity from now on; buckets that were there keep what they hold as far as it fits."""
        limit = "MaxOnDemandThroughputExceeded" if capacity.on_demand_max else "ProvisionedThroughputExceeded"
        self._capacity = capacity
        self._account = account
        self._of_table = Refusal(f"TableWrite{limit}", self._arn)
        self._of_index = f"IndexWrite{limit}"
        self._table = None if capacity.table is None else self._bucket(self._table, capacity.table, now)
        self._indexes = {
            name: self._bucket(self._indexes.get(name), rate, now) for name, rate in capacity.indexes.items()
        }
        if capacity.partition is None:
            self._partitions = None
        elif self._partitions is None:
            self._partitions = PartitionBuckets(capacity.partition)
        else:
            self._partitions.resize(capacity.partition, now)
        if capacity.index_partition is None:
            self._index_partitions.clear()
        else:
            for partitions in self._index_partitions.values():
                partitions.resize(capacity.index_partition, now)

    def _bucket(self, old: Bucket | None, rate: float, now: float) -> Bucket:
        size = rate * self._capacity.burst
        if old is None:
            return Bucket(rate, size, size * self._capacity.filled, now)
        old.resize(rate, size, now)
        return old

    def begin(self, now: float) -> None:
        self._now = now
        if self._table is not None:
            self._table.refill(now)
        if self._account is not None:
            self._account.refill(now)
        for bucket in self._indexes.values():
            bucket.refill(now)

    def take(
        self,
        partition: Hashable,
        units: float,
        indexes: Mapping[str, float] = _NO_UNITS,
        entries: Sequence[EntryUnits] = (),
    ) -> list[Refusal]:
        """
        Take a write's units from every bucket concerned, or from none; who refuses, nobody where it fits.

        `units` are the table's with its local indexes, `indexes` those of global indexes by name, and
        `entries` the same by hash key.
        """
        table, account, partitions, now = self._table, self._account, self._partitions, self._now
        refused: list[Refusal] = []
        total = units + sum(indexes.values()) if indexes else units
        if table is not None and not table.has(units):
            refused.append(self._of_table)
        if account is not None and not account.has(total):
            refused.append(self._of_account)
        if partitions is not None and not partitions.has(partition, units, now):
            refused.append(self._key_range)
        for name, of_index in indexes.items():
            bucket = self._indexes.get(name)
            if bucket is not None and not bucket.has(of_index):
                refused.append(Refusal(self._of_index, self._index_arn(name)))
        index_rate = self._capacity.index_partition
        if index_rate is not None:
            for index in dict.fromkeys(entry.index_name for entry in self.refusing(entries)):
                refused.append(Refusal("IndexWriteKeyRangeThroughputExceeded", self._index_arn(index)))
        if refused:
            return refused
        if table is not None:
            table.tokens -= units
        if account is not None:
            account.tokens -= total
        if partitions is not None:
            partitions.take(partition, units, now)
        for name, of_index in indexes.items():
            bucket = self._indexes.get(name)
            if bucket is not None:
                bucket.tokens -= of_index
        if index_rate is not None:
            for entry in entries:
                self._partitions_of(entry.index_name, index_rate).take(entry.key, entry.units, now)
        return refused

    def refusing(self, entries: Iterable[EntryUnits]) -> list[EntryUnits]:
        """Those of the entries for which their partition of the index has no room."""
        rate = self._capacity.index_partition
        if rate is None:
            return []
        return [
            entry
            for entry in entries
            if not self._partitions_of(entry.index_name, rate).has(entry.key, entry.units, self._now)
        ]

    def spent(self, refused: list[Refusal]) -> list[Refusal]:
        """Those of the refusals that every other write of the batch would meet too."""
        return [refusal for refusal in refused if refusal in (self._of_table, self._of_account)]

    def _index_arn(self, name: str) -> str:
        return f"{self._arn}/index/{name}"

    def _partitions_of(self, index: str, rate: float) -> PartitionBuckets:
        partitions = self._index_partitions.get(index)
        if partitions is None:
            partitions = self._index_partitions[index] = PartitionBuckets(rate)
        return partitions
