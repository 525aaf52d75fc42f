"""The plan of a load: in a dry run from every item, else from a sample of the first window."""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loader.capacity import Measures, Plan
from loader.decisions.bugs import trace
from loader.decisions.forecast import Terms, plan_of, scaled
from loader.decisions.measure import ItemMeasure
from loader.decisions.plan import ENTRY_SAME
from loader.decisions.wire import split_items
from loader.edges.spool import read_entries
from loader.engines.builder import Builder
from loader.engines.outcomes import Outcomes
from loader.engines.pipeline import OpenWindow
from loader.engines.prepare import Prepared, workers_of
from loader.errors import LoaderError
from loader.model import Counts

_log = logging.getLogger(__name__)

_SAMPLE = 1_000
"""Records that are made into items for it."""
_SAMPLE_BYTES = 1 << 20
_SAMPLE_CELLS = 20_000
"""No more than these are read, but for a first record that is larger: nobody is to wait for a plan."""


class Planner:
    """Keeps what the workers of a dry run have measured, and what of the plan has been said."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._measures: dict[int, Measures] = {}
        self._told = prepared.resume is not None or prepared.config.dry_run

    def hear(self, worker: int, measures: Measures) -> None:
        """All that this worker has measured; of one that died it stays."""
        self._measures[worker] = measures

    def found(self, counts: Counts) -> Plan | None:
        """Of a dry run that has seen every row; None of a load that writes."""
        if not self._prepared.config.dry_run:
            return None
        measures = sum(self._measures.values(), Measures())
        # A worker may have died after it told of a shard's items, and before it told that the shard is done.
        exact = measures.items == counts.written
        return plan_of(measures, counts, self._prepared.table, self.terms(), exact=exact)

    def begins(self, window: OpenWindow) -> Plan | None:
        """What can be said before the first window is written; None of later ones, and where it was said."""
        if self._told:
            return None
        self._told = True
        try:
            return self._estimate(window)
        except LoaderError:
            # The source has changed, say: a load could not go on either.
            raise
        except Exception as error:
            # A bug costs the plan. Where it is one of the builder's too, the workers will tell of it.
            _log.warning("The plan could not be made:\n%s", trace(error))
            return None

    def _estimate(self, window: OpenWindow) -> Plan:
        measures, counts, same = self._sample(window)
        rows = self._rows(window)
        duplicates = round(window.repeats * rows / window.records)
        # Rows that a reject file marks as superseded are known as such only when they are read.
        sampled = counts.rows - same
        others = rows - duplicates
        superseded = round(others * max(0, counts.duplicates - same) / sampled)
        rejected = round(others * min(counts.rejected, sampled) / sampled)
        items = max(0, others - superseded - rejected)
        return plan_of(
            scaled(measures, items),
            Counts(written=items, duplicates=rows - items - rejected, rejected=rejected),
            self._prepared.table,
            self.terms(),
            exact=False,
        )

    def _rows(self, window: OpenWindow) -> int:
        """Of the whole source: as many a byte as in the window, which often is all of it."""
        prepared = self._prepared
        length = window.end.position - window.begin.position
        left = prepared.source.total - window.end.position
        rows = window.records + (left * window.records // length if left > 0 else 0)
        limit = prepared.head.limit
        return rows if limit is None else max(window.records, min(rows, limit))

    def _sample(self, window: OpenWindow) -> tuple[Measures, Counts, int]:
        """
        What becomes of records at the beginning of the sorted index, which is in no order of the file; and
        how many of them follow one with their key.
        """
        prepared = self._prepared
        table = prepared.table
        task = window.todo[0]
        entries = _affordable(read_entries(task.spool, 0, min(sampled(prepared), window.records)))
        outcomes = Outcomes(lambda: None)
        outcomes.begin(replace(task, start=0, stop=len(entries)))
        builder = Builder(prepared.source, prepared.build_rules(), outcomes)
        measure = ItemMeasure(table.key, table.indexes)
        measures = Measures()
        for batch in builder.batches(task.shard, entries, prepared.config.batch_size):
            outcomes.under_way(batch.shares)
            measures += measure.of(split_items(batch.json))
            outcomes.written(batch.shares)
        measures = replace(measures, keys=measure.keys())
        return measures, outcomes.report().open, int(np.count_nonzero(entries["flags"] & ENTRY_SAME))

    def terms(self) -> Terms:
        """What else than rows and table decides about the plan."""
        prepared = self._prepared
        config = prepared.config
        types = {rule.name: rule.type for rule in prepared.schema.rules}
        return Terms(
            region=prepared.session.region,
            # Those of a load, whatever a dry run makes do with.
            workers=workers_of(replace(config, dry_run=False), prepared.source.total, prepared.table),
            max_wcu=config.max_wcu,
            price_per_million=config.price_per_million,
            profile=config.connection.profile,
            endpoint_url=config.connection.endpoint_url,
            ttl_type=types.get(prepared.table.ttl or ""),
        )


def sampled(prepared: Prepared) -> int:
    """Of how many records the plan is made at most."""
    return max(1, min(_SAMPLE, _SAMPLE_CELLS // prepared.source.header.width))


def _affordable(entries: NDArray[np.void]) -> NDArray[np.void]:
    """The first of the entries, at least one, whose records are few enough bytes."""
    fitting = np.searchsorted(np.cumsum(entries["size"], dtype=np.int64), _SAMPLE_BYTES, side="right")
    return entries[: max(1, int(fitting))]
