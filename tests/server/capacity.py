"""How many write units a second a table, its indexes and their partitions take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Capacity:
    """
    Write units a second; None, and an index that is not named, is without limit.

    `table` is the bucket of the table's own units and of those of its local indexes, `indexes` those of
    global indexes by name. `partition` is the bucket of each partition key of the table, and
    `index_partition` that of each hash key of each global index: they hold one second and are full at
    first sight. The buckets of table and indexes hold `burst` seconds and have `filled` of that, 0 to 1,
    when they are first set. With `on_demand_max` the refusals of table and indexes say that the maximum of
    an on-demand table is exceeded. `account` is one bucket for all the tables whose capacity names one.
    """

    table: float | None = None
    indexes: Mapping[str, float] = field(default_factory=dict)
    partition: float | None = None
    index_partition: float | None = None
    burst: float = 1.0
    filled: float = 1.0
    on_demand_max: bool = False
    account: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.indexes, Mapping):
            raise ValueError("the indexes of a capacity are an object of rates by name")
        rates = {name: getattr(self, name) for name in ("table", "partition", "index_partition", "account")}
        for name, rate in {**rates, **self.indexes}.items():
            if not (rate is None and name in rates) and not _positive(rate):
                raise ValueError(f"the capacity of {name} is a number of write units a second, more than 0")
        if not _positive(self.burst):
            raise ValueError("burst is a number of seconds, more than 0")
        if type(self.filled) not in (int, float) or not 0 <= self.filled <= 1:
            raise ValueError("filled is a share of the burst, 0 to 1")
        if type(self.on_demand_max) is not bool:
            raise ValueError("on_demand_max is true or false")

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> "Capacity":
        """A capacity of these members, the others as by default; ValueError where one is unknown or wrong."""
        unknown = set(members) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a capacity has no {', '.join(sorted(unknown))}")
        return cls(**members)


def _positive(number: object) -> bool:
    return type(number) in (int, float) and 0 < number < math.inf  # type: ignore[operator]
