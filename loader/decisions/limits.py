"""What limited a load, from what the service gave as reasons."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from loader.capacity import Limit, LimitKind, Refusals, Spent, WriteCapacity
from loader.decisions.heavy_hitters import merged
from loader.model import TableDescription

PARTITION_UNITS = 1_000
"""Write units a second that a partition takes, whatever the capacity of its table or index."""

UNTOLD = ("", "")
"""In the place of a reason and its ARN: a success handed items back, which tells neither."""

USED_UP = 0.85
"""The part of a capacity from which on, over a load, it is what limited it."""

_NAMED_KEYS = 20
_SHOWN_KEYS = 3

# A reason is spelled by what it is about (Table or Index), Write, and one of these.
_KEY_RANGE = "KeyRangeThroughputExceeded"
_KINDS = {
    "ProvisionedThroughputExceeded": LimitKind.TABLE,
    _KEY_RANGE: LimitKind.KEY_RANGE,
    "MaxOnDemandThroughputExceeded": LimitKind.ON_DEMAND_MAXIMUM,
    "AccountLimitExceeded": LimitKind.ACCOUNT,
}
# The code of an error that needs no reasons: only the account's quota is refused with it.
_ACCOUNT_CODE = "RequestLimitExceeded"


def resource_of(arn: str) -> str:
    """The index that an ARN names; "" for that of a table."""
    return arn.partition("/index/")[2]


def is_key_range(reason: str) -> bool:
    """Whether a reason is about some partition keys, and not about the table or an index as a whole."""
    return reason.endswith(_KEY_RANGE)


def limits_of(refusals: Iterable[Refusals]) -> tuple[Limit, ...]:
    """
    What the workers ran into, taken together, what most answers named first. Items handed back without a
    reason are a limit only where no answer told one: they are many, and a few of them were asked about.
    """
    of_workers = list(refusals)
    reasons: Counter[tuple[str, str]] = Counter()
    for worker in of_workers:
        reasons.update(worker.reasons)
    if len(reasons) > 1:
        del reasons[UNTOLD]
    answers: Counter[tuple[LimitKind, str]] = Counter()
    for (reason, arn), count in reasons.items():
        answers[_limit(reason, arn)] += count
    limits = [
        Limit(kind, count, index, _keys(of_workers, index) if kind is LimitKind.KEY_RANGE else ())
        for (kind, index), count in answers.items()
    ]
    return tuple(sorted(limits, key=lambda limit: (-limit.answers, limit.kind, limit.index)))


def limits_met(refusals: Iterable[Refusals], table: TableDescription, spent: Spent) -> tuple[Limit, ...]:
    """
    As `limits_of`, behind the load's own cap where that held it most of the time. Where no answer told why it
    refused, the reason is what was used up, if something was.
    """
    of_workers = list(refusals)
    limits = limits_of(of_workers)
    if limits and all(limit.kind is LimitKind.UNEXPLAINED for limit in limits):
        used_up = _most_used(table, spent, index_units_of(of_workers))
        limits = limits if used_up is None else (replace(used_up, answers=limits[0].answers),)
    capped = spent.seconds > 0 and spent.capped >= spent.seconds / 2
    return (Limit(LimitKind.CAP, 0), *limits) if capped else limits


def _most_used(table: TableDescription, spent: Spent, index_units: Mapping[str, float]) -> Limit | None:
    """What of the table and its global indexes is nearest to its known capacity, if it is near enough."""
    if spent.seconds <= 0:
        return None
    own = {index.name: index.capacity for index in table.indexes if not index.local}
    units = {name: index_units.get(name, 0.0) for name in own}
    units[""] = spent.units - sum(units.values())
    found = [
        (
            units[name] / spent.seconds / most,
            Limit(LimitKind.INDEX if name and kind is LimitKind.TABLE else kind, 0, name),
        )
        for name, capacity in {"": table.capacity, **own}.items()
        for kind, most in _bounds(capacity)
    ]
    share, limit = max(found, key=lambda each: each[0], default=(0.0, None))
    return limit if share >= USED_UP else None


def _bounds(capacity: WriteCapacity) -> list[tuple[LimitKind, int]]:
    if capacity.provisioned is not None:
        return [(LimitKind.TABLE, capacity.provisioned)]
    bounds = [(LimitKind.TABLE, capacity.warm), (LimitKind.ON_DEMAND_MAXIMUM, capacity.maximum)]
    return [(kind, units) for kind, units in bounds if units]


def index_units_of(refusals: Iterable[Refusals]) -> dict[str, float]:
    """Write units by name of an index, of all workers."""
    units: Counter[str] = Counter()
    for worker in refusals:
        units.update(worker.units)
    return dict(units)


def sentence(limit: Limit) -> str:
    """In plain words, to be read behind "limited by". Names and keys stand in it as they are."""
    index = f"index {limit.index}"
    match limit.kind:
        case LimitKind.CAP:
            return "its own --max-wcu"
        case LimitKind.TABLE:
            return "the write capacity of the table"
        case LimitKind.INDEX:
            return f"{index}: its own write capacity"
        case LimitKind.KEY_RANGE:
            return _key_range(limit, index)
        case LimitKind.ON_DEMAND_MAXIMUM if limit.index:
            return f"{index}: the maximum that is set for its on-demand writes"
        case LimitKind.ON_DEMAND_MAXIMUM:
            return "the maximum that is set for the table's on-demand writes"
        case LimitKind.ACCOUNT if limit.index:
            return f"{index}: the account's quota of write units a second"
        case LimitKind.ACCOUNT:
            return "the account's quota of write units a second"
        case LimitKind.UNEXPLAINED:
            return "the service, which did not say why"


def _limit(reason: str, arn: str) -> tuple[LimitKind, str]:
    if reason == _ACCOUNT_CODE:
        return LimitKind.ACCOUNT, ""
    about = next((about for about in ("Table", "Index") if reason.startswith(about)), None)
    kind = next((kind for end, kind in _KINDS.items() if reason.endswith(end)), None)
    index = resource_of(arn) if about == "Index" else ""
    if about is None or kind is None or (about == "Index" and not index):
        return LimitKind.UNEXPLAINED, ""
    return (LimitKind.INDEX if index and kind is LimitKind.TABLE else kind), index


def _keys(of_workers: Iterable[Refusals], index: str) -> tuple[tuple[str, int], ...]:
    return merged((worker.keys.get(index, ()) for worker in of_workers), _NAMED_KEYS)


def _key_range(limit: Limit, index: str) -> str:
    where = index if limit.index else "the table"
    text = f"a key range of {where} ({PARTITION_UNITS:,} write units a second a partition)"
    keys = ", ".join(f"{key} ({_times(count)})" for key, count in limit.keys[:_SHOWN_KEYS])
    return f"{text}; refused most: {keys}" if keys else text


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
