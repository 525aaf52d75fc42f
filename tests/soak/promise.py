"""The promise and the other properties, with many more examples than the suite has time for."""

import os
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

from perf.processes import ROOT
from tests.soak.processes import running
from tests.soak.result import Figure, Fold, Job, Result, Scale

CASE = "promise"
LOADS, EXAMPLES = 600, 5_000
_TIMEOUT = 7_200
_TAIL = 2_000


def jobs(scale: Scale) -> list[Job]:
    loads, examples = (30, 200) if scale.quick else (LOADS, EXAMPLES)
    return [Job(CASE, "", 1, asked(loads, examples), partial(run, loads, examples))]


def asked(loads: int, examples: int) -> str:
    return (
        f"{loads:,} small loads of any rows under any faults, {examples:,} examples of every other property"
    )


def run(loads: int, examples: int, folder: Path) -> Result:
    began = time.monotonic()
    output = folder / "pytest.out"
    command = [sys.executable, "-m", "pytest", "-n", "2", "--timeout", str(_TIMEOUT)]
    command += [f"--basetemp={folder / 'tmp'}", "tests/functional/test_promise.py", "tests/property"]
    asked_of_it = {"DDBLOAD_PROMISE_EXAMPLES": str(loads), "DDBLOAD_PROPERTY_EXAMPLES": str(examples)}
    with output.open("wb") as told:
        process = running.start(
            command,
            cwd=ROOT,
            env=os.environ | asked_of_it,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        )
        try:
            status = process.wait(_TIMEOUT)
        finally:
            running.end(process)
    said = output.read_text(errors="replace").strip()
    failures = (f"pytest ended with {status}: {said[-_TAIL:]}",) if status else ()
    return Result(
        CASE,
        "",
        1,
        asked(loads, examples),
        (Figure("properties that hold", passed(said), Fold.LEAST),),
        failures,
        time.monotonic() - began,
    )


def passed(said: str) -> int:
    """From the last line of pytest's: `20 passed in 3.10s`."""
    words = said.splitlines()[-1].replace("=", " ").split() if said else []
    return next((int(number) for number, word in pairwise(words) if word == "passed"), 0)
