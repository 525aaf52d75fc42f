"""Words for what a table takes and what a load asks of it: write units, limits, and the plan made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class WriteCapacity:
    """
    What the service says a table or a global index takes, write units a second; None where it does not say.

    `provisioned` is a setting; `maximum` a limit that the owner of an on-demand table has set; `warm` what an
    on-demand one takes at once, and `warm_reads` the read units a second that it gives at once.
    """

    provisioned: int | None = None
    maximum: int | None = None
    warm: int | None = None
    warm_reads: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """
    What a worker has asked of the table since it began. `written` and `throttled` are items, the latter
    refused or handed back for want of capacity; `used` and `refused` their write units, the latter an
    estimate. `held` are seconds in which batches waited for their share of the rate, not for replies;
    `fruitless` are answers that wrote nothing, faults among them.
    """

    written: int = 0
    throttled: int = 0
    used: float = 0.0
    refused: float = 0.0
    held: float = 0.0
    fruitless: int = 0

    def __add__(self, other: "Flow") -> "Flow":
        return Flow(
            self.written + other.written,
            self.throttled + other.throttled,
            self.used + other.used,
            self.refused + other.refused,
            self.held + other.held,
            self.fruitless + other.fruitless,
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """
    Write units that were charged in all, in the `seconds` in which something was; in `capped` of them it was
    the cap that held the load.
    """

    units: float = 0.0
    seconds: float = 0.0
    capped: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusals:
    """
    Why a worker was refused capacity, since it began. `reasons` counts answers by what they named: the
    reason as the service spells it, or the error's code where it gave none, and the ARN of the table or
    index, or "".

    `keys` has, by name of an index ("" is the table), the partition keys of refused items that were counted
    most, with counts (never too low, see decisions/heavy_hitters.py). `units` are write units charged, by
    name of an index.
    """

    reasons: Mapping[tuple[str, str], int] = field(default_factory=dict)
    keys: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)


class LimitKind(StrEnum):
    """What a load ran into; CAP is its own --max-wcu."""

    CAP = "max_wcu"
    TABLE = "table"
    INDEX = "index"
    KEY_RANGE = "key_range"
    ON_DEMAND_MAXIMUM = "on_demand_maximum"
    ACCOUNT = "account"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Limit:
    """
    Something that limited the load, named by `answers` of the service. `index` is its name, "" the table
    itself; `keys` are, for a key range, the partition keys (of that index) refused most, with how often.
    """

    kind: LimitKind
    answers: int
    index: str = ""
    keys: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Measures:
    """
    What the items made of rows weigh. `bytes` in all and of the `largest`; `sizes` counts items by class of
    size (decisions/measure.py); units are write units for new items, those of indexes by name. `keys` has, by
    name of an index ("" is the table), the partition keys with most units there; none where no key can have
    more than one item.
    """

    items: int = 0
    bytes: int = 0
    largest: int = 0
    sizes: Mapping[int, int] = field(default_factory=dict)
    table_units: int = 0
    index_units: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __add__(self, other: "Measures") -> "Measures":
        return Measures(
            self.items + other.items,
            self.bytes + other.bytes,
            max(self.largest, other.largest),
            _summed(self.sizes, other.sizes),
            self.table_units + other.table_units,
            _summed(self.index_units, other.index_units),
            {
                name: _summed(self.keys.get(name, {}), other.keys.get(name, {}))
                for name in {**self.keys, **other.keys}
            },
        )


def _summed(some: Mapping[_K, int], others: Mapping[_K, int]) -> Mapping[_K, int]:
    summed = dict(some)
    for name, number in others.items():
        summed[name] = summed.get(name, 0) + number
    return summed


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a load is going to do. Where it is not `exact` it was made from a sample of the rows.

    Sizes are bytes, `seconds` None where no capacity is known. `capacity` is write units a second and
    `capacity_source` what sets it and where that was read, in words; `notes` are sentences on what the load
    will set off or run into, `advice` a command that helps. `price` is money, with a price for a million
    write units.
    """

    exact: bool
    rows: int
    duplicates: int
    rejected: int
    items: int
    median_size: int
    largest_size: int
    table_units: int
    index_units: Mapping[str, int]
    held_items: int
    held_bytes: int
    capacity: float | None
    capacity_source: str
    seconds: float | None
    price: float | None = None
    notes: tuple[str, ...] = ()
    advice: str = ""

    @property
    def write_units(self) -> int:
        return self.table_units + sum(self.index_units.values())
