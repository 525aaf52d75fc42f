"""The verb load."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from cli import exits, frames, logs, signals, streams, summary, view
from cli.exits import Ending
from loader.config import WINDOW_SIZE, ConnectionConfig, LoadConfig, parse_types
from loader.errors import BadOption, LoaderError
from loader.model import Summary


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a load ended, and what it did until then; nothing where it never began."""

    ending: Ending
    summary: Summary | None


def run(options: argparse.Namespace) -> int:
    outcome = _run(options)
    report(outcome, as_json=options.json, asked=_asked(options))
    return outcome.ending.status


def _run(options: argparse.Namespace) -> Outcome:
    try:
        config = config_of(options)
        with view.opened(options.progress) as shown, logs.kept(options.log_level, options.log_file, shown):
            return load(config, shown)
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
        stall_timeout=options.stall_timeout,
        max_rejects=options.max_rejects,
        types=parse_types(options.types),
        rejects=options.rejects,
        include_superseded=options.include_superseded,
        state_dir=options.state_dir,
        restart=options.restart,
        window_size=WINDOW_SIZE if options.window_size is None else options.window_size,
        limit=options.limit,
    )


def sources_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The files as they were given. Raises BadOption where they were given in two ways."""
    if options.csv and options.source:
        raise BadOption(
            "Files are given both with --csv and without it, so their order is not clear. Leave out --csv."
        )
    return tuple(options.csv or options.source)


def connection_of(options: argparse.Namespace) -> ConnectionConfig:
    return ConnectionConfig(options.region, options.profile, options.endpoint_url)


def load(config: LoadConfig, shown: view.View, at_once: Sequence[signals.Action] = ()) -> Outcome:
    """
    Load while `shown` shows how far it is. The first signal drains; a second one also calls `at_once`.
    """
    from loader.engines.coordinator import Stop, run_load

    stop = Stop()
    frame_of = frames.of_load()
    with signals.watched(stop.request, (shown.put_right, *at_once)):
        try:
            done = run_load(config, lambda event: shown.show(frame_of(event)), stop)
        except LoaderError as error:
            return Outcome(exits.of_error(error), error.summary)
    return Outcome(exits.of_summary(done), done)


def report(outcome: Outcome, *, as_json: bool, asked: Summary) -> None:
    """Say how it ended: sentences to standard error, the figures to standard output."""
    ending, done = outcome.ending, outcome.summary
    if ending.message:
        streams.complain(ending.message)
    if done is not None:
        text = summary.as_text(done)
        streams.say(text) if as_json else streams.put(text)
        if done.resume_hint and ending.status not in (exits.OK, exits.NOT_ALL):
            streams.complain(done.resume_hint)
    if as_json:
        streams.put([summary.as_json(done or asked, ending)])


def _asked(options: argparse.Namespace) -> Summary:
    return summary.blank((*options.csv, *options.source), options.table, options.mode)
