"""
How a worker process begins: tied to its parent before anything takes time.

What a worker is made of takes half a second to import, and seconds where many are started at once. This
module takes nothing, so that a coordinator that is killed meanwhile has no orphans either.
"""

import multiprocessing
import os
import pickle
import threading
from multiprocessing.connection import Connection


def begin(setup: bytes, slot: int, tasks: Connection, events: Connection) -> None:
    """`setup` is a pickled WorkerSetup: to unpickle it imports most of the program. See run_worker."""
    threading.Thread(target=_end_with_parent, name="orphan guard", daemon=True).start()
    from loader.engines.worker import run_worker

    run_worker(pickle.loads(setup), slot, tasks, events)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    # What is in flight may still be applied: a restart waits for that.
    os._exit(1)
