"""The last word on a load: some lines for people, one JSON object for machines."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cli.exits import Ending
from cli.frames import duration
from cli.text import counted, visible
from loader.decisions.checkpoint import printable
from loader.model import Counts, ProgressEvent, Summary

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


def cut_off(asked: Summary, event: ProgressEvent | None, signal_name: str) -> Summary:
    """The summary of a load that ends at once, from the last that was heard of it."""
    if event is None:
        return replace(asked, interrupted=signal_name)
    return replace(
        asked,
        counts=event.counts,
        resumed=event.resumed,
        seconds=event.seconds,
        workers=event.workers,
        interrupted=signal_name,
    )


def as_json(summary: Summary, ending: Ending, resume: str | None) -> str:
    """
    One line. `message` and `resume` are the sentences that tell why the load ended and how it goes on, or
    null. Numbers are of all runs of the load, but for `seconds`, `items_per_second` and `reject_codes`.
    """
    counts = summary.counts
    return line_of(
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
            "resume": resume,
            "exit": ending.status,
            "exit_reason": ending.reason,
            "message": ending.message or None,
        }
    )


def line_of(told: Mapping[str, Any]) -> str:
    """As a JSON object that every reader takes: what in a name is not UTF-8 stands there as escapes."""
    return json.dumps(_printable(told))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(name): _printable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    return value


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
        f"{name} -> {summary.table}: {counted(counts.rows, 'row')} in {took}, {rate:,.0f} items/s, "
        f"{counted(summary.workers, 'worker')} x {counted(summary.threads, 'thread')}"
    ]
    if summary.resumed:
        lines.append(f"  resumed     {summary.resumed:,} of the rows had been done by an earlier run")
    lines.append(f"  written     {counts.written:,}")
    if counts.duplicates:
        lines.append(f"  duplicates  {counts.duplicates:,}, superseded by a later row with their key")
    if counts.rejected:
        where = f" in {summary.rejects_file}" if summary.rejects_file else ""
        lines.append(f"  rejected    {counts.rejected:,}{where}{_codes(summary)}")
        lines.extend(f"    {text}" for text in _in_file_order(summary)[:_SHOWN_REJECTS])
        if counts.rejected > _SHOWN_REJECTS and len(summary.errors) > _SHOWN_REJECTS:
            lines.append(f"    ... and {counts.rejected - _SHOWN_REJECTS:,} more")
    lines.append(
        f"  capacity    {counted(counts.write_units, 'write unit')}, {counted(counts.requests, 'request')}, "
        f"{counts.throttled:,} throttled, {counted(counts.unprocessed, 'unprocessed item')}, "
        f"{counted(counts.retries, 'retry', 'retries')}"
    )
    return [visible(line) for line in lines]


def _codes(summary: Summary) -> str:
    """
    `: 3 bad_number`. They are counted by this run alone, and only with their shards: where they do not add up
    they are said to be this run's, or left out.
    """
    codes = ", ".join(f"{number:,} {code}" for code, number in sorted(summary.reject_codes.items()))
    if sum(summary.reject_codes.values()) == summary.counts.rejected:
        return f": {codes}"
    return f"; in this run: {codes}" if codes and summary.resumed and summary.complete else ""


def _in_file_order(summary: Summary) -> list[str]:
    """Rejects are told as they come, which is the order of the keys' hashes."""

    def place(text: str) -> tuple[int, bytes, int]:
        match = re.match(r"(.*?), line ([0-9,]+): ", text, re.DOTALL)
        if match is None:
            return len(summary.source), b"", 0
        named = summary.source.index(match[1]) if match[1] in summary.source else len(summary.source)
        return named, os.fsencode(match[1]), int(match[2].replace(",", ""))

    return sorted(summary.errors, key=place)
