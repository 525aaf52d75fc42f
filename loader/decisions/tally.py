"""Adding up what became of the rows, and deciding when that is reason to stop."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from loader.config import RejectLimit
from loader.model import Counts, Reject

PERCENT_FROM = 1_000
"""A share of rejects says nothing before there are this many rows."""
ALL_REJECTED_ROWS = 1_000
"""When the first so many rows are all rejected, something is wrong with all of them."""
ALL_REFUSED_BATCHES = 20
"""When the service refuses every item of so many batches in a row, likewise."""


@dataclass(frozen=True, slots=True)
class Tally:
    """
    `resumed` earlier runs recorded, `done` are this run's finished shards; `open` is what each worker has
    done of shards that are not finished. A worker that dies takes its open counts with it, since its shards
    are done anew.
    """

    resumed: Counts = field(default_factory=Counts)
    done: Counts = field(default_factory=Counts)
    open: Mapping[int, Counts] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)

    def finished(self, counts: Counts, rejects: tuple[Reject, ...]) -> "Tally":
        codes = Counter(self.codes)
        codes.update(reject.problem.code.value for reject in rejects)
        return replace(self, done=self.done + counts, codes=codes)

    def underway(self, worker: int, counts: Counts | None) -> "Tally":
        others = {key: value for key, value in self.open.items() if key != worker}
        return replace(self, open=others if counts is None else {**others, worker: counts})

    @property
    def finished_counts(self) -> Counts:
        """Of all runs, finished shards only."""
        return self.resumed + self.done

    @property
    def counts(self) -> Counts:
        """Of all runs, unfinished shards included."""
        return sum(self.open.values(), self.finished_counts)

    def past(self, limit: RejectLimit | None) -> bool:
        """
        Whether there are more rejects than the user allows, in all runs together.

        A share is taken of finished shards: in an open one, rows that make no item are known before others
        are written.
        """
        if limit is None:
            return False
        if limit.count is not None:
            return self.counts.rejected > limit.count
        share = limit.percent if limit.percent is not None else 100.0
        settled = self.finished_counts
        return settled.rows >= PERCENT_FROM and settled.rejected * 100 > share * settled.rows

    @property
    def all_rejected(self) -> bool:
        """
        Whether nothing at all was written although many rows were tried.

        Finished shards of this run alone: bad rows are known at once and others a round trip later, and what
        was wrong in an earlier run may be mended.
        """
        return self.done.written == 0 and self.done.rejected >= ALL_REJECTED_ROWS
