"""What a load is going to do, for people and for machines."""

import math
from collections.abc import Iterator
from typing import Any

from cli.text import counted
from loader.capacity import Plan


def lines(plan: Plan) -> list[str]:
    """Aligned lines for people; texts in them are as they came. What is estimated is called so."""
    return [f"  {label:<10}  {text}" if label else f"    {text}" for label, text in _parts(plan)]


def _parts(plan: Plan) -> Iterator[tuple[str, str]]:
    about = "" if plan.exact else "about "
    apart = [counted(plan.items, "item")]
    if plan.duplicates:
        apart.append(f"{plan.duplicates:,} superseded by a later row with their key")
    if plan.rejected:
        apart.append(f"{plan.rejected:,} rejected")
    yield "rows", f"{about}{plan.rows:,}: {', '.join(apart)}"
    largest = "largest" if plan.exact else "largest seen"
    # It is known within 1 %, whatever is exact.
    yield "sizes", f"median item about {counted(plan.median_size, 'byte')}, {largest} {plan.largest_size:,}"
    yield "units", f"{about}{counted(plan.write_units, 'write unit')} for new items{_shares(plan)}"
    if plan.capacity is None:
        yield "capacity", "not known: the table is on demand and does not tell, or is no table of AWS"
    else:
        rate = f"{counted(plan.capacity, 'write unit')} a second"
        if not plan.index_units:
            yield "capacity", f"{rate}: {plan.capacity_source}"
        else:
            # One of them is used up, or an option of the user's holds for all.
            joint = ": " if plan.capacity_source.startswith("--") else ", while "
            yield "capacity", f"{rate} for table and indexes together{joint}{plan.capacity_source}"
    if plan.seconds is not None:
        yield "time", f"about {spelled(plan.seconds)}" if plan.seconds >= 1 else "less than a second"
    if plan.price is not None:
        yield "price", f"{about}{_amount(plan.price)}, write units alone"
    for note in plan.notes:
        yield "note", note
    if plan.advice:
        yield "advice", "this raises the warm throughput, which is paid once and cannot be lowered again:"
        yield "", plan.advice


def _shares(plan: Plan) -> str:
    """`: 10 of the table, 5 of index by_city`; nothing where there are no indexes."""
    if not plan.index_units:
        return ""
    shares = [f"{plan.table_units:,} of the table"]
    shares += [f"{units:,} of index {name}" for name, units in plan.index_units.items()]
    return f": {', '.join(shares)}"


def spelled(seconds: float) -> str:
    """`9 s`, `6 min 9 s`, `22 h 13 min`: more than that is not known."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def _amount(price: float) -> str:
    """To the cent; of less than one, three figures that tell something."""
    if price >= 1 or price <= 0:
        return f"{price:,.2f}"
    return f"{price:.{2 - math.floor(math.log10(price))}f}"


def members(plan: Plan) -> dict[str, Any]:
    """The plan as members of a JSON object; sizes are bytes, `capacity` write units a second."""
    return {
        "exact": plan.exact,
        "rows": plan.rows,
        "duplicates": plan.duplicates,
        "rejected": plan.rejected,
        "items": plan.items,
        "median_size": plan.median_size,
        "largest_size": plan.largest_size,
        "write_units": plan.write_units,
        "table_write_units": plan.table_units,
        "index_write_units": dict(plan.index_units),
        "table_items": plan.held_items,
        "table_bytes": plan.held_bytes,
        "capacity": None if plan.capacity is None else round(plan.capacity, 1),
        "capacity_source": plan.capacity_source,
        "seconds": None if plan.seconds is None else round(plan.seconds, 1),
        "price": None if plan.price is None else round(plan.price, 6),
        "notes": list(plan.notes),
        "advice": plan.advice or None,
    }
