"""
`python -m tests.soak.child JSON`: one load in this process, its outcome as the last line of standard output.

It ends at once when standard input does: then the soak that started it is gone.
"""

import json
import logging
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cli import exits
from loader.errors import LoaderError
from loader.model import Counts, Summary
from tests.loads import load

_WARNINGS_KEPT = 100


class Heard(logging.Handler):
    """Keeps what the loader warns of; workers' lines come here too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.warnings) < _WARNINGS_KEPT:
            self.warnings.append(record.getMessage())


def outcome(summary: Summary | None, status: int, error: str, warnings: list[str]) -> dict[str, Any]:
    """The members of processes.Ended."""
    counts = summary.counts if summary is not None else Counts()
    return {
        **{name: value for name, value in asdict(counts).items() if name != "write_units"},
        "rows": counts.rows,
        "status": status,
        "error": error,
        "complete": summary is not None and summary.complete,
        "resumed": summary.resumed if summary is not None else 0,
        "rejects_file": summary.rejects_file if summary is not None else None,
        "reject_codes": dict(summary.reject_codes) if summary is not None else {},
        "warnings": warnings,
    }


def main() -> int:
    asked = json.loads(sys.argv[1])
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    heard = Heard()
    logging.getLogger("loader").addHandler(heard)
    summary: Summary | None
    try:
        summary = load(asked["endpoint"], asked["table"], Path(asked["path"]), **asked["options"])
        status, error = exits.of_summary(summary).status, ""
    except LoaderError as problem:
        summary, status = problem.summary, exits.of_error(problem).status
        error = f"{type(problem).__name__}: {problem}"
    print(json.dumps(outcome(summary, status, error, heard.warnings)), flush=True)
    return status


def _end_with_standard_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(9)


if __name__ == "__main__":
    sys.exit(main())
