"""The last word on a load: some lines for people, one JSON object for machines."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cli import plan
from cli.exits import Ending
from cli.frames import duration
from cli.text import counted, visible
from loader.capacity import Limit
from loader.decisions.checkpoint import printable
from loader.decisions.limits import sentence
from loader.model import Counts, ProgressEvent, Summary

_SHOWN_REJECTS = 5
_SHOWN_LIMITS = 3


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
    null. Numbers are of all runs of the load, but for `seconds`, `items_per_second`, `reject_codes`,
    `index_write_units` and `limited_by`.
    """
    counts = summary.counts
    planned = {} if summary.plan is None else {"plan": plan.members(summary.plan)}
    return line_of(
        {
            "table": summary.table or None,
            "source": list(summary.source),
            "mode": summary.mode,
            "dry_run": summary.dry_run,
            "max_wcu": summary.max_wcu,
            "rows": counts.rows,
            "written": counts.written,
            "duplicates": counts.duplicates,
            "rejected": counts.rejected,
            "resumed": summary.resumed,
            "seconds": round(summary.seconds, 3),
            "items_per_second": round(items_per_second(summary), 1),
            "write_units": round(counts.write_units, 1),
            "index_write_units": {name: round(units, 1) for name, units in summary.index_units.items()},
            "limited_by": [_limit(limit) for limit in summary.limits],
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
            **planned,
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
    if summary.dry_run:
        return [visible(line) for line in _dry_run(summary, f"{name} -> {summary.table}", took)]
    lines = [
        f"{name} -> {summary.table}: {counted(counts.rows, 'row')} in {took}, {rate:,.0f} items/s, "
        f"{counted(summary.workers, 'worker')} x {counted(summary.threads, 'thread')}"
    ]
    if summary.resumed:
        lines.append(f"  resumed     {summary.resumed:,} of the rows had been done by an earlier run")
    lines.append(f"  written     {counts.written:,}")
    if counts.duplicates:
        lines.append(f"  duplicates  {counts.duplicates:,}, superseded by a later row with their key")
    lines += _rejected(summary, _SHOWN_REJECTS)
    lines.append(
        f"  capacity    {counted(counts.write_units, 'write unit')}{_of_indexes(summary)}, "
        f"{counted(counts.requests, 'request')}, "
        f"{counts.throttled:,} throttled, {counted(counts.unprocessed, 'unprocessed item')}, "
        f"{counted(counts.retries, 'retry', 'retries')}"
    )
    lines.extend(f"  limited by  {sentence(limit)}" for limit in summary.limits[:_SHOWN_LIMITS])
    return [visible(line) for line in lines]


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "what": limit.kind.value,
        "index": limit.index or None,
        "answers": limit.answers,
        "keys": [[key, count] for key, count in limit.keys],
    }


def _of_indexes(summary: Summary) -> str:
    """` (of which 600 in index by_city)`. Earlier runs left only the sum over table and indexes."""
    if not summary.index_units:
        return ""
    by_share = sorted(summary.index_units.items(), key=lambda each: (-each[1], each[0]))
    shares = ", ".join(f"{units:,.0f} in index {name}" for name, units in by_share)
    return f" (in this run: {shares})" if summary.resumed else f" (of which {shares})"


def _dry_run(summary: Summary, what: str, took: str) -> list[str]:
    """The plan, and all rejects that were named where no file tells of them."""
    counts = summary.counts
    if summary.plan is None:
        seen = counted(counts.rows, "row")
        told = [f"{what}: a dry run that ended early, {seen} in {took}; nothing was written"]
    else:
        told = [f"{what}: a dry run of {took}; nothing was written", *plan.lines(summary.plan)]
    return told + _rejected(summary, _SHOWN_REJECTS if summary.rejects_file else len(summary.errors))


def _rejected(summary: Summary, shown: int) -> list[str]:
    """How many rows were rejected, where they are, and the first `shown` of those that were named."""
    rejected = summary.counts.rejected
    if not rejected:
        return []
    where = f" in {summary.rejects_file}" if summary.rejects_file else ""
    lines = [f"  rejected    {rejected:,}{where}{_codes(summary)}"]
    lines.extend(f"    {text}" for text in _in_file_order(summary)[:shown])
    if rejected > shown and len(summary.errors) >= shown:
        lines.append(f"    ... and {rejected - shown:,} more")
    return lines


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
