"""The last word on a load: some lines for people, one JSON object for machines."""

import json
from collections.abc import Sequence

from cli.exits import Ending
from cli.frames import duration
from cli.text import visible
from loader.model import Counts, Summary

_SHOWN_REJECTS = 5


def blank(sources: Sequence[str], table: str | None, mode: str) -> Summary:
    """The summary of a load that never began."""
    return Summary(
        table=table or "",
        source=tuple(sources),
        mode=mode,
        counts=Counts(),
        resumed=0,
        seconds=0.0,
        workers=0,
        threads=0,
        rejects_file=None,
    )


def as_json(summary: Summary, ending: Ending) -> str:
    """One line. `message` is the sentence that standard error got, or null."""
    counts = summary.counts
    return json.dumps(
        {
            "table": summary.table or None,
            "source": list(summary.source),
            "mode": summary.mode,
            "rows": counts.rows,
            "written": counts.written,
            "duplicates": counts.duplicates,
            "rejected": counts.rejected,
            "resumed": summary.resumed,
            "seconds": round(summary.seconds, 3),
            "items_per_second": round(items_per_second(summary), 1),
            "write_units": round(counts.write_units, 1),
            "requests": counts.requests,
            "throttled_requests": counts.throttled,
            "unprocessed_items": counts.unprocessed,
            "retries": counts.retries,
            "workers": summary.workers,
            "threads": summary.threads,
            "rejects_file": summary.rejects_file,
            "reject_codes": dict(summary.reject_codes),
            "interrupted": summary.interrupted,
            "resume": summary.resume_hint,
            "exit": ending.status,
            "exit_reason": ending.reason,
            "message": ending.message or None,
        }
    )


def items_per_second(summary: Summary) -> float:
    """
    Items this run wrote, a second. Earlier runs left only a number of rows (`resumed`): the written among
    them are taken to be as many in a hundred as over all.
    """
    rows = summary.counts.rows
    if rows == 0 or summary.seconds <= 0:
        return 0.0
    return summary.counts.written * (rows - summary.resumed) / rows / summary.seconds


def as_text(summary: Summary) -> list[str]:
    """Lines for people, with the figures of all runs of the load."""
    counts = summary.counts
    name = ", ".join(summary.source[:3]) + (" ..." if len(summary.source) > 3 else "")
    rate = items_per_second(summary)
    took = f"{summary.seconds:.1f} s" if summary.seconds < 60 else duration(summary.seconds)
    lines = [
        f"{name} -> {summary.table}: {counts.rows:,} rows in {took}, "
        f"{rate:,.0f} items/s, {summary.workers} workers x {summary.threads} threads"
    ]
    if summary.resumed:
        lines.append(f"  resumed     {summary.resumed:,} of the rows had been done by an earlier run")
    lines.append(f"  written     {counts.written:,}")
    if counts.duplicates:
        lines.append(f"  duplicates  {counts.duplicates:,}, superseded by a later row with their key")
    if counts.rejected:
        codes = ", ".join(f"{number:,} {code}" for code, number in sorted(summary.reject_codes.items()))
        where = f" in {summary.rejects_file}" if summary.rejects_file else ""
        lines.append(f"  rejected    {counts.rejected:,}{where}{f': {codes}' if codes else ''}")
        lines.extend(f"    {text}" for text in summary.errors[:_SHOWN_REJECTS])
        if counts.rejected > _SHOWN_REJECTS and len(summary.errors) > _SHOWN_REJECTS:
            lines.append(f"    ... and {counts.rejected - _SHOWN_REJECTS:,} more")
    lines.append(
        f"  capacity    {counts.write_units:,.0f} write units, {counts.requests:,} requests, "
        f"{counts.throttled:,} throttled, {counts.unprocessed:,} unprocessed items, "
        f"{counts.retries:,} retries"
    )
    return [visible(line) for line in lines]
