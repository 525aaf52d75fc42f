"""Everything the server remembers."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.server.buckets import Bucket
from tests.server.capacity import Capacity
from tests.server.errors import table_not_found
from tests.server.faults import FaultPlan, Faults
from tests.server.meter import Meter
from tests.server.stats import Stats
from tests.server.table import Table
from tests.server.throughput import Throughput

_NOT_WRITTEN = ("CREATING", "DELETING")


@dataclass(frozen=True, slots=True)
class Settings:
    """
    How the server was started: `wcu` is write units a second for each table, None for no limit, and
    `capacity` that of each table, in place of it.
    `order_by` names the attribute that tells the place of an item's row in the file.
    """

    faults: FaultPlan = field(default_factory=FaultPlan)
    wcu: float | None = None
    log_writes: bool = False
    keep_items: bool = True
    order_by: str | None = None
    capacity: Capacity | None = None


@dataclass(slots=True)
class State:
    """
    `clock` gives seconds that never run backwards, `wall` those since the epoch; `later` calls what it
    is given after so many seconds. `late_pending` counts writes that wait for that.
    """

    settings: Settings
    clock: Callable[[], float]
    wall: Callable[[], float]
    later: Callable[[float, Callable[[], None]], object]
    tables: dict[str, Table] = field(default_factory=dict)
    stats: Stats = field(default_factory=Stats)
    faults: Faults = field(init=False)
    late_pending: int = 0
    _meters: dict[str, Meter] = field(default_factory=dict)
    _throughputs: dict[str, Throughput] = field(default_factory=dict)
    _account: Bucket | None = None

    def __post_init__(self) -> None:
        self.faults = Faults(self.settings.faults)

    def table(self, name: object) -> Table:
        """The table of that name; ServiceError where there is none."""
        table = self.tables.get(name) if isinstance(name, str) else None
        if table is None:
            raise table_not_found(str(name))
        return table

    def table_to_write(self, name: object) -> Table:
        """A table that is being made or deleted is there to be described, but not yet to be written."""
        table = self.table(name)
        if table.status in _NOT_WRITTEN:
            raise table_not_found(str(name))
        return table

    def is_current(self, table: Table) -> bool:
        """Whether it can still be written: one made anew under its name is another table."""
        return self.tables.get(table.schema.name) is table and table.status not in _NOT_WRITTEN

    def set_capacity(self, table: Table, capacity: Capacity) -> None:
        """From now on; ValueError where it names an index that is no global one of the table."""
        unknown = set(capacity.indexes) - {index.name for index in table.schema.indexes if not index.local}
        if unknown:
            raise ValueError(f"{table.schema.name} has no global index {', '.join(sorted(unknown))}")
        account = self._account_of(capacity)
        throughput = self._throughputs.get(table.id)
        if throughput is None:
            self._throughputs[table.id] = Throughput(capacity, table.arn, account, self.clock())
        else:
            throughput.set(capacity, account, self.clock())

    def _account_of(self, capacity: Capacity) -> Bucket | None:
        """The bucket that all tables share whose capacity names an account's."""
        rate = capacity.account
        if rate is None:
            return None
        if self._account is None:
            self._account = Bucket(rate, rate, rate, self.clock())
        else:
            self._account.resize(rate, rate, self.clock())
        return self._account

    def throughput(self, table: Table) -> Throughput | None:
        """Its buckets, once it has a Capacity; `meter` is then not asked."""
        throughput = self._throughputs.get(table.id)
        capacity = self.settings.capacity
        if throughput is None and capacity is not None:
            account = self._account_of(capacity)
            throughput = Throughput(capacity, table.arn, account, self.clock())
            self._throughputs[table.id] = throughput
        return throughput

    def meter(self, table: Table) -> Meter | None:
        if self.settings.wcu is None:
            return None
        # By id: a table made anew under an old name has a bucket of its own.
        meter = self._meters.get(table.id)
        if meter is None:
            meter = self._meters[table.id] = Meter(self.settings.wcu, self.clock)
        return meter

    def reset(self, *, keep_tables: bool) -> None:
        """
        As after the start; with `keep_tables` their items stay too, and late writes still come: who
        only sets the counts to zero in mid-load must not heal the load by that. For the same reason a
        table that stays keeps its Capacity, and what is in its buckets.
        """
        if not keep_tables:
            self.tables.clear()
            self._throughputs.clear()
            self._account = None
        self._meters.clear()
        self.stats = self.stats.fresh()
        self.faults = Faults(self.settings.faults)
