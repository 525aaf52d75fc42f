"""The books of a load: journal, reject file and tally, kept by the coordinator alone."""

import logging
from collections import Counter, deque

from loader.decisions.checkpoint import Resume, ShardLine, WindowDone, WindowLine
from loader.decisions.tally import Tally
from loader.edges.journal import Journal
from loader.edges.rejects import RejectFile
from loader.edges.source import Source
from loader.engines.pipeline import OpenWindow
from loader.errors import SourceChanged, WorkerFailed
from loader.model import Counts, Reject, ShardOutcome

_log = logging.getLogger(__name__)

NAMED_ERRORS = 100


class Ledger:
    """
    Enters outcomes as they come. A shard is in the journal once its rejects are in the reject file: the one
    is synced before the other.
    """

    def __init__(self, source: Source, journal: Journal, rejects: RejectFile, resume: Resume | None) -> None:
        self._source = source
        self._journal = journal
        self._rejects = rejects
        self._open = resume.open if resume is not None else None
        resumed = resume.counts if resume is not None else Counts()
        self.resumed = resumed.rows
        self.tally = Tally(resumed=resumed)
        self.errors: list[str] = []
        self._reasons: Counter[str] = Counter()
        self._window: OpenWindow | None = None
        self._rows_of_window = 0
        self._bytes_before = source.files[0].data_start if resume is None or resume.last is None else 0
        if resume is not None and resume.finished:
            self._bytes_before = resume.finished[-1].stop

    # --- windows --------------------------------------------------------------------------------

    def window_begins(self, window: OpenWindow) -> None:
        """From here on shards of it may be written. Those that an earlier run finished are taken off."""
        start, stop = window.begin.position, window.end.position
        self._window = window
        self._rows_of_window = 0
        before, self._open = self._open, None
        if before is not None and before.line.window == window.number:
            line = before.line
            if (line.start, line.records) != (start, window.records):
                raise SourceChanged(
                    f"Window {window.number} of the source is not what it was when the load was interrupted. "
                    "Load it again with --restart."
                )
            window.todo = deque(task for task in window.todo if task.shard not in before.shards)
            # The run before may have been cut off with writes under way.
            window.unanswered = True
            self._rows_of_window = before.counts.rows
        else:
            self._journal.append(
                WindowLine(
                    window=window.number,
                    start=start,
                    stop=stop,
                    records=window.records,
                    digest=self._source.digest(start, stop - start),
                    file=window.begin.file,
                    line=window.begin.line,
                    next_file=window.end.file,
                    next_line=window.end.line,
                )
            )
        _log.info("Window %d: %d records, bytes %d to %d.", window.number, window.records, start, stop)
        self.sync()

    def window_ends(self, window: OpenWindow) -> None:
        """Raises WorkerFailed, and notes nothing, unless every row of it has an outcome."""
        if self._rows_of_window != window.records:
            raise WorkerFailed(
                f"Window {window.number} of the source has {window.records:,} rows, and outcomes of "
                f"{self._rows_of_window:,} were told. This is a bug of the loader: please report it. "
                "Give the same command again, and with --restart if that ends here too."
            )
        self._journal.append(WindowDone(window.number))
        self.sync()
        self._bytes_before = window.end.position
        self._window = None

    # --- shards ---------------------------------------------------------------------------------

    def shard_done(self, outcome: ShardOutcome) -> None:
        """Raises WorkerFailed, and notes nothing, unless the rejects are as many as it counts."""
        if len(outcome.rejects) != outcome.counts.rejected:
            raise WorkerFailed(
                f"Shard {outcome.shard} of window {outcome.window} counts {outcome.counts.rejected:,} "
                f"rejects and tells of {len(outcome.rejects):,}. This is a bug of the loader: please report "
                "it. The same command does the shard again."
            )
        with self._rejects.all_or_none():
            # One by one: their records have no limit in all, and reading or writing one may fail.
            written = [
                (reject.position, self._rejects.append(*self._told(reject), reject))
                for reject in outcome.rejects
            ]
        self._journal.append(
            ShardLine(
                outcome.window,
                outcome.shard,
                outcome.counts,
                written,
                outcome.unanswered,
                self._rejects.sum if written else 0,
            )
        )
        _log.debug("Shard %d of window %d: %s", outcome.shard, outcome.window, outcome.counts)
        self._rows_of_window += outcome.counts.rows
        self.tally = self.tally.finished(outcome.counts, outcome.rejects)

    def shard_given_up(self, outcome: ShardOutcome) -> None:
        """
        A shard that this run does not finish: its rejects can be looked at, but are not in the journal, since
        the next run does the shard anew.
        """
        for reject in outcome.rejects:
            self._rejects.append_unrecorded(*self._told(reject), reject)
        self.tally = self.tally.finished(outcome.counts, outcome.rejects)

    def underway(self, worker: int, counts: Counts | None) -> None:
        """What a worker has done of unfinished shards; None when it is gone."""
        self.tally = self.tally.underway(worker, counts)

    # --- what is asked --------------------------------------------------------------------------

    @property
    def commonest_reason(self) -> str | None:
        """Of the rejects whose shards were finished or given up."""
        return self._reasons.most_common(1)[0][0].rstrip(".") if self._reasons else None

    @property
    def bytes_done(self) -> int:
        """How far in the source the rows with an outcome reach, a window's rows taken to be of one size."""
        window = self._window
        if window is None or not window.records:
            return self._bytes_before
        share = min(1.0, self._rows_of_window / window.records)
        return self._bytes_before + int(share * (window.end.position - window.begin.position))

    @property
    def rejects_so_far(self) -> str | None:
        """The reject file in the making, if there is anything in it."""
        return self._rejects.part if self.tally.counts.rejected else None

    # --- the disk -------------------------------------------------------------------------------

    def sync(self) -> None:
        """
        What was entered reaches the disk. To be called before workers are given more to do: then a process
        that is killed has at most their open shards to do again. What came since the last call goes together.
        """
        self._rejects.sync()
        self._journal.sync()

    def complete(self) -> str | None:
        """
        The load is done: the path of the reject file, if there are rejects; the checkpoint is removed.

        Raises WorkerFailed, and keeps both, where a window that was begun did not end.
        """
        if self._window is not None or self._open is not None:
            raise WorkerFailed(
                "A window of the source was begun and has not ended. This is a bug of the loader: please "
                "report it. Give the same command again, and with --restart if that ends here too."
            )
        self.sync()
        path = self._rejects.finish()
        self._journal.delete()
        return path

    def _told(self, reject: Reject) -> tuple[bytes, str, int]:
        """The record's bytes, its file and line; the reject is counted and named."""
        span = self._source.span_at(reject.position)
        assert self._window is not None
        line = self._window.lines.line_of(reject.position)
        record = self._source.read(reject.position, reject.size)
        reason = f"{reject.problem.code.value}: {reject.problem.reason}"
        self._reasons[reason] += 1
        if len(self.errors) < NAMED_ERRORS:
            self.errors.append(f"{span.identity.shown}, line {line:,}: {reject.problem.reason}")
        return record, span.identity.shown, line
