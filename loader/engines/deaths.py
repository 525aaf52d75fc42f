"""How often work may die with the worker that does it, before the load ends."""

from loader.engines.pool import Died
from loader.errors import WorkerFailed
from loader.model import IndexTask, ShardTask

DEATHS = 3
"""A task that this many workers died of is not tried again."""


class Deaths:
    """Kept by the coordinator. `crash` is what the last worker that met a bug had to say."""

    def __init__(self) -> None:
        self.crash = ""
        self._of: dict[IndexTask | ShardTask, int] = {}
        self._idle = 0

    def work_goes_on(self) -> None:
        """Something was finished."""
        self._idle = 0

    def count(self, death: Died) -> None:
        """Raises WorkerFailed for one death too many."""
        self._idle += not death.open
        if self._idle >= DEATHS:
            raise WorkerFailed(f"{DEATHS} worker processes in a row died with nothing to do. {self.crash}")
        for task in death.open:
            self._of[task] = self._of.get(task, 0) + 1
            if self._of[task] >= DEATHS:
                raise WorkerFailed(
                    f"{DEATHS} worker processes died at {_named(task)}, the last with status {death.status}. "
                    f"{self.crash or 'Nothing is known of why: perhaps memory ran out.'}"
                )


def _named(task: IndexTask | ShardTask) -> str:
    if isinstance(task, ShardTask):
        return f"shard {task.shard} of window {task.window}"
    return f"the index of bytes {task.start:,} to {task.stop:,}"
