"""The verb verify."""

import argparse
from collections.abc import Callable, Sequence

from cli import exits, frames, logs, signals, streams, view
from cli.exits import Ending
from cli.load import connection_of, sources_of
from cli.summary import line_of
from cli.text import counted, visible
from loader.config import parse_types
from loader.engines.verify import Finding, VerifyConfig, VerifyResult, verify


def run(options: argparse.Namespace) -> int:
    result, ending = _run(options)
    if ending.message:
        streams.complain(ending.message)
    if result is not None:
        text = as_text(result)
        streams.say(text) if options.json else streams.put(text)
    if options.json:
        streams.put([_as_json(options, result, ending)])
    return ending.status


def _run(options: argparse.Namespace) -> tuple[VerifyResult | None, Ending]:
    try:
        config = VerifyConfig(
            sources=sources_of(options),
            table=options.table,
            connection=connection_of(options),
            types=parse_types(options.types),
            limit=options.limit,
        )
        with (
            view.opened(options.progress) as shown,
            logs.kept(options.log_level, options.log_file, shown, config.sources),
        ):
            result = compare(config, shown, last=_farewell(options))
    except (Exception, exits.Interrupted, KeyboardInterrupt) as error:
        return None, exits.of_error(error)
    return result, ending_of(result)


def compare(
    config: VerifyConfig,
    shown: view.View,
    at_once: Sequence[signals.Action] = (),
    last: Callable[[str], None] = signals.tell,
) -> VerifyResult:
    """
    Verify while `shown` shows how far it is. Raises LoaderError, and exits.Interrupted on a signal; a second
    signal calls `at_once` and `last`, and ends the process.
    """
    frame_of = frames.of_verify()
    with signals.watched(signals.interrupt, (shown.put_right, *at_once), last):
        return verify(config, lambda event: shown.show(frame_of(event)))


def _farewell(options: argparse.Namespace) -> Callable[[str], None]:
    def farewell(signal_name: str) -> None:
        signals.tell(signal_name)
        if options.json:
            streams.put_at_once(_as_json(options, None, exits.of_signal(signal_name)))

    return farewell


def ending_of(result: VerifyResult) -> Ending:
    return Ending(exits.OK, "equal") if result.same else Ending(exits.NOT_ALL, "not_equal")


def as_text(result: VerifyResult) -> list[str]:
    """The verdict first, then the counts that are not 0, then the findings by name."""
    lines = [f"{result.equal:,} of {counted(result.expected, 'item')} equal"]
    if not result.same:
        lines.append(
            f"  missing {result.missing:,}, different {result.different:,}, extra {result.extra:,} "
            f"in table {result.table}"
        )
    if result.duplicates or result.rejected:
        lines.append(
            f"  {counted(result.rows, 'row')}: {result.duplicates:,} superseded by a later row with their "
            f"key, {result.rejected:,} rejected"
        )
    lines.extend(f"  {_finding(finding)}" for finding in result.findings)
    unnamed = result.missing + result.different + result.extra - len(result.findings)
    if unnamed:
        lines.append(f"  ... and {unnamed:,} more")
    return [visible(line) for line in lines]


def _finding(finding: Finding) -> str:
    parts = [f"{finding.kind:<9}", finding.key]
    if finding.file:
        parts.append(f"({finding.file} line {finding.line:,})")
    if finding.attribute:
        parts.append(f"{finding.attribute}: {finding.detail}")
    return "  ".join(parts)


def _as_json(options: argparse.Namespace, result: VerifyResult | None, ending: Ending) -> str:
    counted = ("rows", "duplicates", "rejected", "expected", "equal", "missing", "different", "extra")
    return line_of(
        {
            "table": options.table,
            "source": [*options.csv, *options.source],
            **{name: getattr(result, name, 0) for name in counted},
            "findings": [] if result is None else [_finding_json(each) for each in result.findings],
            "seconds": 0.0 if result is None else round(result.seconds, 3),
            "exit": ending.status,
            "exit_reason": ending.reason,
            "message": ending.message or None,
        }
    )


def _finding_json(finding: Finding) -> dict[str, str | int | None]:
    return {
        "kind": finding.kind,
        "key": finding.key,
        "file": finding.file or None,
        "line": finding.line or None,
        "attribute": finding.attribute or None,
        "detail": finding.detail or None,
    }
