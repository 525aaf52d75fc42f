"""What a load is going to do, for people and for machines."""

from collections.abc import Iterator
from typing import Any

from cli.frames import duration
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
    yield "sizes", f"median item {counted(plan.median_size, 'byte')}, largest {plan.largest_size:,}"
    yield "units", f"{about}{counted(plan.write_units, 'write unit')} for new items{_shares(plan)}"
    if plan.capacity is None:
        yield "capacity", "not known: the table is on demand and does not tell, or is no table of AWS"
    else:
        of = "table and indexes together" if plan.index_units else ""
        told = ", ".join(filter(None, (of, plan.capacity_source)))
        yield "capacity", f"{counted(plan.capacity, 'write unit')} a second: {told}"
    if plan.seconds is not None:
        yield "time", f"about {duration(plan.seconds)}"
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


def _amount(price: float) -> str:
    """To the cent; of less than one, four places."""
    return f"{price:,.2f}" if price >= 1 else f"{price:.4f}"


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
