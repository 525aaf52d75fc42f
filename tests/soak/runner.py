"""Runs jobs, some at a time, each in a folder of its own, and tells of each when it ends."""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path

from tests.server.client import ServerProblem
from tests.soak.processes import Interrupted, LoadProblem, running
from tests.soak.result import Job, Result

_EXPECTED = (LoadProblem, ServerProblem, OSError, LookupError, ValueError, AssertionError)
"""What a run may break with: of the loader's, of the server's, and what follows from either."""


def run_all(jobs: Iterable[Job], at_a_time: int, tell: Callable[[Result], None]) -> list[Result]:
    """
    The results in the order of the jobs. A case's runs have the machine to themselves: what they measure is
    not to be disturbed by another case. An interrupt ends every process of theirs, and is raised again.
    """
    results: list[Result] = []
    for _, of_case in groupby(jobs, key=lambda job: job.case):
        results += _run_case(list(of_case), at_a_time, tell)
    return results


def _run_case(jobs: Sequence[Job], at_a_time: int, tell: Callable[[Result], None]) -> list[Result]:
    with ThreadPoolExecutor(at_a_time) as threads:
        futures = {threads.submit(_run, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                tell(future.result())
        except BaseException:
            # First, so that no thread waits for a load that goes on.
            running.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _run(job: Job) -> Result:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ddbload-soak-") as folder:
        try:
            return job.run(Path(folder))
        except Interrupted:
            raise
        except _EXPECTED as error:
            failure = f"{type(error).__name__}: {error}"
            return Result(
                job.case,
                job.cell,
                job.seed,
                job.asked,
                failures=(failure,),
                seconds=time.monotonic() - began,
            )
