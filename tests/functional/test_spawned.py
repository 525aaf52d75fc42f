"""A worker that is still being made when its coordinator dies."""

import os
import signal
import subprocess
import sys
import time

from perf.processes import alive
from tests.server.client import ROOT

PARENT = """
import multiprocessing, time
from loader.engines.spawned import begin

class Slow:
    def __reduce__(self):
        return time.sleep, (60,)

if __name__ == "__main__":
    import pickle
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=begin, args=(pickle.dumps(Slow()), 0, reader, writer))
    process.start()
    print(process.pid, flush=True)
    time.sleep(60)
"""


def test_a_worker_in_the_making_ends_with_its_coordinator() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        # It is unpickling then, or about to; either way it has a minute to go.
        time.sleep(0.3)
        os.kill(worker, 0)
        parent.send_signal(signal.SIGKILL)
        killed = time.monotonic()
    while alive(worker):
        assert time.monotonic() < killed + 1.5
        time.sleep(0.01)
