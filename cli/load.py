"""The verb load."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cli import exits, frames, logs, plan, resume, signals, streams, summary, view
from cli.exits import Ending
from loader.capacity import Plan
from loader.config import ConnectionConfig, LoadConfig, parse_types
from loader.errors import BadOption, LoaderError
from loader.model import ProgressEvent, Summary

Farewell = Callable[[str, ProgressEvent | None], None]
"""The last word of a load that ends at once: takes the signal's name, and the last that was heard of it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a load ended, and what it did until then; nothing where it never began."""

    ending: Ending
    summary: Summary | None


def run(options: argparse.Namespace) -> int:
    outcome = _run(options)
    with signals.held():
        report(outcome, as_json=options.json, asked=_asked(options), command=_command())
        # What came meanwhile is too late to change the outcome.
        signals.discard()
    return outcome.ending.status


def _run(options: argparse.Namespace) -> Outcome:
    try:
        config = config_of(options)
        with (
            view.opened(options.progress) as shown,
            logs.kept(options.log_level, options.log_file, shown, config.sources, config.rejects),
        ):
            return load(config, shown, farewell=_farewell(options))
    except (Exception, exits.Interrupted, KeyboardInterrupt) as error:
        return Outcome(exits.of_error(error), None)


def config_of(options: argparse.Namespace) -> LoadConfig:
    """Raises BadOption."""
    return LoadConfig(
        sources=sources_of(options),
        table=options.table,
        connection=connection_of(options),
        workers=options.workers,
        threads=options.threads,
        batch_size=options.batch_size,
        max_retries=options.max_retries,
        transport=options.transport,
        stall_timeout=options.stall_timeout,
        max_rejects=options.max_rejects,
        types=parse_types(options.types),
        rejects=options.rejects,
        include_superseded=options.include_superseded,
        state_dir=options.state_dir,
        restart=options.restart,
        window_size=options.window_size,
        limit=options.limit,
        max_wcu=options.max_wcu,
        dry_run=options.dry_run,
        price_per_million=options.price_per_million,
    )


def sources_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The files as they were given. Raises BadOption where they were given in two ways."""
    if options.csv and options.source:
        raise BadOption(
            "Files are given both with --csv and without it, so their order is not clear. Leave out --csv."
        )
    return tuple(options.csv or options.source)


def connection_of(options: argparse.Namespace) -> ConnectionConfig:
    return ConnectionConfig(options.region, options.profile, options.endpoint_url, options.allow_http)


def load(
    config: LoadConfig,
    shown: view.View,
    at_once: Sequence[signals.Action] = (),
    farewell: Farewell | None = None,
) -> Outcome:
    """
    Load while `shown` shows how far it is. The first signal drains; a second one calls `at_once` and
    `farewell`, and ends the process.
    """
    with signals.held():
        from loader.engines.coordinator import Stop, run_load

    stop = Stop()
    frame_of = frames.of_load()
    latest: ProgressEvent | None = None

    def on_event(event: ProgressEvent) -> None:
        nonlocal latest
        latest = event
        frame = frame_of(event)
        shown.show(frame if event.plan is None else replace(frame, lead=_lead(event.plan)))

    def last(signal_name: str) -> None:
        signals.tell(signal_name) if farewell is None else farewell(signal_name, latest)

    with signals.watched(stop.request, (shown.put_right, *at_once), last):
        try:
            done = run_load(config, on_event, stop)
        except LoaderError as error:
            return Outcome(exits.of_error(error), error.summary)
    return Outcome(exits.of_summary(done), done)


def _lead(plan_: Plan) -> str:
    return "\n".join(["The plan, as a sample of the rows tells:", *plan.lines(plan_)])


def report(outcome: Outcome, *, as_json: bool, asked: Summary, command: str) -> None:
    """Say how it ended: sentences to standard error, the figures to standard output."""
    ending, done = outcome.ending, outcome.summary
    goes_on = done is not None and not done.complete and not done.dry_run
    hint = resume.hint(ending.reason, command) if goes_on else None
    if ending.message:
        streams.complain(ending.message)
    if done is not None:
        text = summary.as_text(done)
        streams.say(text) if as_json else streams.put(text)
    # That the same command continues it is in the message of a load that was stalled.
    if hint and ending.reason != "stalled":
        streams.complain(hint)
    if as_json:
        streams.put([summary.as_json(done or asked, ending, hint)])


def _farewell(options: argparse.Namespace) -> Farewell:
    """Made before the load, of what a signal handler shall not have to find out."""
    asked, command = _asked(options), _command()

    def farewell(signal_name: str, event: ProgressEvent | None) -> None:
        ending = exits.of_signal(signal_name)
        hint = None if asked.dry_run else resume.hint(ending.reason, command)
        streams.complain_at_once(f"{ending.message} {hint}" if hint else ending.message)
        if options.json:
            done = summary.cut_off(asked, event, signal_name)
            streams.put_at_once(summary.as_json(done, ending, hint))

    return farewell


def _command() -> str:
    return resume.command(sys.argv, sys.orig_argv)


def _asked(options: argparse.Namespace) -> Summary:
    asked = summary.blank((*options.csv, *options.source), options.table, options.mode)
    return replace(asked, dry_run=options.dry_run, max_wcu=options.max_wcu)
