"""The verb generate."""

import argparse
import time
from collections.abc import Sequence

from cli import exits, frames, logs, signals, streams, view
from cli.exits import Ending
from cli.text import counted, visible
from loader.edges.generate import GenerateSpec, generate
from loader.errors import BadOption, DiskFailed


def run(options: argparse.Namespace) -> int:
    ending = _run(options)
    if ending.message:
        streams.complain(ending.message)
    return ending.status


def _run(options: argparse.Namespace) -> Ending:
    try:
        spec = _spec(options)
        with view.opened(options.progress) as shown, logs.kept(options.log_level, options.log_file, shown):
            size = make(options.output, spec, shown)
    except (Exception, exits.Interrupted, KeyboardInterrupt) as error:
        return exits.of_error(error)
    streams.put([visible(f"{options.output}: {counted(spec.count, 'row')}, {counted(size, 'byte')}")])
    return Ending(exits.OK, "complete")


def make(path: str, spec: GenerateSpec, shown: view.View, at_once: Sequence[signals.Action] = ()) -> int:
    """Generate while `shown` shows how far it is; the size in bytes. Raises BadOption and DiskFailed."""
    began = time.monotonic()
    frame_of = frames.of_count("generating", spec.count, "row")
    begun = False

    def on_progress(rows: int) -> None:
        nonlocal begun
        begun = True
        shown.show(frame_of(time.monotonic() - began, rows))

    with signals.watched(signals.interrupt, (shown.put_right, *at_once)):
        try:
            return generate(path, spec, on_progress)
        except OSError as error:
            if begun:
                raise DiskFailed(f"{path} could not be written to its end: {error.strerror}.") from error
            raise BadOption(f"--output {path} cannot be written: {error.strerror}.") from error


def _spec(options: argparse.Namespace) -> GenerateSpec:
    try:
        return GenerateSpec(
            count=options.count,
            seed=options.seed,
            row_bytes=options.row_bytes,
            duplicates=options.duplicates,
            sorted_keys=options.sorted_keys,
        )
    except ValueError as error:
        raise BadOption(str(error)) from error
