"""The process model: one coordinator hands out work, hears what became of it, and keeps the books."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from loader.capacity import Plan, Refusals
from loader.config import LoadConfig
from loader.decisions.limits import index_units_of, limits_met
from loader.decisions.pacing import first_pace
from loader.edges.events import (
    ChunkIndexed,
    Crashed,
    Drain,
    Drained,
    FreshCredentials,
    FromWorker,
    Halted,
    Logged,
    NeedCredentials,
    Report,
)
from loader.engines.budget import Budget
from loader.engines.deaths import Deaths
from loader.engines.pipeline import WindowBegins, WindowEnds
from loader.engines.planning import Planner
from loader.engines.pool import Died, WorkerPool
from loader.engines.prepare import Prepared, prepare
from loader.engines.renewal import Renewal
from loader.engines.stop import Stop as Stop
from loader.errors import (
    EverythingRejected,
    LoaderError,
    SourceChanged,
    Stalled,
    Stopped,
    TooManyRejects,
)
from loader.model import IndexTask, Phase, ProgressEvent, ShardOutcome, ShardTask, Summary

_log = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between looks at the clock when no worker has anything to say."""
RESUME_HINT = "Give the same command again to continue where it stopped; with --restart it begins anew."
SOURCE_SECONDS = 5.0
"""How often the files are looked at: a load of hours shall not find out at its end that one has changed."""
DRAIN_SECONDS = 60.0
"""How long requests in flight may take to come to their end; a second signal does not wait."""
END_SECONDS = 5.0
"""The same when the load cannot go on anyway."""


def run_load(
    config: LoadConfig,
    on_event: Callable[[ProgressEvent], None] | None = None,
    stop: Stop | None = None,
) -> Summary:
    """
    Load the sources into the table and say how it ended; an interrupted load returns too.

    Raises Refused when nothing was started, Stopped or Fatal, with `summary`, when it ended early.
    """
    with ExitStack() as stack:
        prepared = prepare(config, stack)
        return _Load(prepared, on_event or _ignore, stop or Stop()).run()


def _ignore(_: ProgressEvent) -> None:
    pass


class _Load:
    def __init__(self, prepared: Prepared, on_event: Callable[[ProgressEvent], None], stop: Stop) -> None:
        self._prepared = prepared
        self._on_event = on_event
        self._stop = stop
        self._began = time.monotonic()
        self._ledger = prepared.ledger
        self._pipeline = prepared.pipeline(self._began)
        self._planner = Planner(prepared)
        self._refusals: dict[int, Refusals] = {}
        self._pool: WorkerPool | None = None
        self._deaths = Deaths()
        pace = first_pace(prepared.table.capacities, prepared.config.max_wcu)
        self._budget = Budget(pace, prepared.workers, self._began)
        self._phase = Phase.INDEXING
        self._last_change = self._began
        self._last_rows = -1
        self._next_tick = self._began
        self._next_source_check = self._began + SOURCE_SECONDS
        self._renewal = Renewal(prepared.session)
        self._threads = prepared.threads
        # Workers that wait for the service to come back.
        self._cut_off: set[int] = set()

    def run(self) -> Summary:
        prepared = self._prepared
        _log.info(
            "Loading %d files, %d bytes, into %s with %d workers of %d threads.",
            len(prepared.source.files),
            prepared.source.total,
            prepared.table.arn,
            prepared.workers,
            prepared.threads,
        )
        try:
            if self._ledger.resumed:
                rows = self._ledger.resumed
                self._on_event(self._event(f"Continuing an interrupted load: {rows:,} rows are done."))
            self._loop()
            return self._complete() if self._pipeline.finished else self._interrupted()
        except LoaderError as error:
            self._end_early()
            told = self._with_reason(error)
            told.summary = self._summary(rejects=self._ledger.rejects_so_far)
            raise told from error.__cause__
        except BaseException:
            self._end_early()
            raise
        finally:
            if self._pool is not None:
                self._pool.stop(0.0)

    def _with_reason(self, error: LoaderError) -> LoaderError:
        """Rejects are counted as they come; what is wrong with them is told with their shards, at the end."""
        reason = self._ledger.commonest_reason
        if not isinstance(error, Stopped) or reason is None:
            return error
        return type(error)(f"{error} Most often: {reason}.")

    def _end_early(self) -> None:
        """Keep what can be kept."""
        try:
            self._wind_down(END_SECONDS)
            self._ledger.sync()
            self._pipeline.discard()
        except LoaderError as another:
            # What ended the load may stand in the way here too; what was synced before is on disk.
            _log.warning("While the load was ended: %s", another)

    def _complete(self) -> Summary:
        self._wind_down(END_SECONDS)
        _log.info("Every row has its outcome: %s", self._ledger.tally.counts)
        summary = self._summary(complete=True, rejects=self._ledger.complete())
        self._phase = Phase.DONE
        self._on_event(self._event())
        return summary

    def _interrupted(self) -> Summary:
        self._phase = Phase.DRAINING
        self._show()
        self._wind_down(DRAIN_SECONDS)
        self._ledger.sync()
        self._pipeline.discard()
        return self._summary(interrupted=self._stop.requested, rejects=self._ledger.rejects_so_far)

    # --- the loop -------------------------------------------------------------------------------

    def _loop(self) -> None:
        while self._stop.requested is None:
            for change in self._pipeline.advance(time.monotonic()):
                self._note(change)
            if self._pipeline.finished:
                return
            self._hand_out()
            if self._pool is not None:
                for number, message in self._pool.events(TICK):
                    self._hear(number, message)
            self._ledger.sync()
            self._check_limits()
            self._tick()

    def _note(self, change: WindowBegins | WindowEnds) -> None:
        # Before a window counts as indexed, and again before it counts as written.
        self._prepared.source.check_unchanged()
        if isinstance(change, WindowBegins):
            self._ledger.window_begins(change.window)
            if (plan := self._planner.begins(change.window)) is not None:
                self._on_event(self._event(plan=plan))
        else:
            self._ledger.window_ends(change.window)

    def _hand_out(self) -> None:
        if self._pool is None:
            first = self._pipeline.next_task(0)
            if first is None:
                return
            self._pool = WorkerPool(
                lambda: self._prepared.worker_setup(self._budget.first_share()), self._prepared.workers
            )
            self._pool.give(next(self._pool.free()), first)
        for worker in self._pool.free():
            shards = sum(isinstance(task, ShardTask) for task in worker.open)
            task = self._pipeline.next_task(shards)
            if task is None:
                return
            self._pool.give(worker, task)

    def _hear(self, number: int, message: FromWorker | Died) -> None:
        assert self._pool is not None
        match message:
            case ChunkIndexed():
                self._pool.settle(number, partial(_is_chunk, message))
                try:
                    self._pipeline.indexed(message.window, message.chunk, message.index)
                except SourceChanged:
                    # That can name the file.
                    self._prepared.source.check_unchanged()
                    raise
            case Report():
                self._take_report(number, message)
            case Halted():
                # A source that changes makes for odd errors further on: it is the one to name.
                self._prepared.source.check_unchanged()
                raise message.error
            case Crashed():
                _log.error("A worker met a bug:\n%s", message.traceback)
                self._deaths.crash = f"A worker met a bug: {message.traceback.strip().splitlines()[-1]}"
            case Died():
                self._replace(number, message)
            case NeedCredentials():
                self._renewal.refused(message.serial)
            case Logged():
                _keep(message)
            case Drained():
                pass

    def _take_report(self, number: int, report: Report) -> None:
        assert self._pool is not None
        self._threads = max(self._threads, report.senders)
        self._budget.hear(number, report.flow, time.monotonic())
        self._planner.hear(number, report.measures)
        if report.refusals is not None:
            self._refusals[number] = report.refusals
        self._note_outage(number, report.fault)
        for outcome in report.finished:
            self._deaths.work_goes_on()
            self._pool.settle(number, partial(_is_shard, outcome))
            self._pipeline.shard_done(outcome.shard, unanswered=outcome.unanswered)
            self._ledger.shard_done(outcome)
        for outcome in report.given_up:
            self._ledger.shard_given_up(outcome)
        self._ledger.underway(number, report.open)

    def _note_outage(self, number: int, fault: str) -> None:
        """What stands between a worker and the service; empty where nothing does."""
        if fault:
            if not self._cut_off:
                _log.warning("The service cannot be reached, and the load waits for it: %s", fault)
            self._cut_off.add(number)
        elif number in self._cut_off:
            self._cut_off.remove(number)
            if not self._cut_off:
                _log.warning("The service answers again.")

    def _replace(self, number: int, death: Died) -> None:
        """What a dead worker had in hand goes to a fresh one, but not for ever."""
        assert self._pool is not None
        self._prepared.source.check_unchanged()
        self._ledger.underway(number, None)
        self._cut_off.discard(number)
        self._budget.forget(number)
        self._deaths.count(death)
        _log.warning("A worker process died (status %s); its work goes to a new one.", death.status)
        self._pipeline.give_back(death.open)
        self._pool.start_one()

    # --- what time brings -----------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        counts = self._ledger.tally.counts
        # The load's own pacing is no stall.
        if counts.rows != self._last_rows or not self._writing() or self._budget.waits:
            self._last_rows, self._last_change = counts.rows, now
        if now < self._next_tick:
            return
        self._next_tick = now + TICK
        self._hand_down(self._renewal.poll(now))
        if self._pool is not None:
            for number, share in self._budget.shares(now).items():
                self._pool.tell(number, share)
        if now >= self._next_source_check:
            self._next_source_check = now + SOURCE_SECONDS
            self._prepared.source.check_unchanged()
        if now - self._last_change > self._prepared.config.stall_timeout:
            raise Stalled(
                f"Nothing was written for {self._prepared.config.stall_timeout:g} seconds (--stall-timeout). "
                "The same command continues the load."
            )
        self._show()

    def _writing(self) -> bool:
        return self._pipeline.writing is not None

    def _hand_down(self, word: FreshCredentials | None) -> None:
        if word is not None and self._pool is not None:
            self._pool.broadcast(word)

    def _check_limits(self) -> None:
        tally = self._ledger.tally
        if tally.all_rejected:
            raise EverythingRejected(f"All of the first {tally.done.rejected:,} rows were rejected.")
        if tally.past(self._prepared.config.max_rejects):
            counts = tally.counts
            raise TooManyRejects(
                f"{counts.rejected:,} of {counts.rows:,} rows were rejected, more than --max-rejects allows."
            )

    def _show(self) -> None:
        if self._phase is not Phase.DRAINING:
            self._phase = (
                Phase.OUTAGE
                if self._cut_off
                else Phase.LOADING
                if self._writing()
                else Phase.WAITING
                if self._pipeline.waits
                else Phase.INDEXING
            )
        self._on_event(self._event())

    def _event(self, message: str = "", plan: Plan | None = None) -> ProgressEvent:
        return ProgressEvent(
            phase=self._phase,
            seconds=time.monotonic() - self._began,
            counts=self._ledger.tally.counts,
            resumed=self._ledger.resumed,
            bytes_done=self._ledger.bytes_done,
            bytes_total=self._prepared.source.total if self._prepared.config.limit is None else 0,
            workers=len(self._pool) if self._pool is not None else 0,
            message=message,
            plan=plan,
        )

    # --- the end --------------------------------------------------------------------------------

    def _wind_down(self, seconds: float) -> None:
        """Let the workers end, and hear what they still have to say; those that take too long are killed."""
        if self._pool is None:
            return
        deadline = time.monotonic() + seconds
        self._pool.broadcast(Drain())
        while len(self._pool) and (left := deadline - time.monotonic()) > 0:
            for number, message in self._pool.events(min(left, TICK)):
                if isinstance(message, Report):
                    self._take_report(number, message)
                elif isinstance(message, Logged):
                    _keep(message)
        self._pool.stop(0.0)

    def _summary(
        self, *, complete: bool = False, interrupted: str | None = None, rejects: str | None = None
    ) -> Summary:
        prepared, tally = self._prepared, self._ledger.tally
        config = prepared.config
        if config.dry_run and (config.rejects is None or not complete):
            # Nobody asked for them, or they go with the run.
            rejects = None
        return Summary(
            table=prepared.table.name,
            source=config.sources,
            mode="processes",
            counts=tally.counts,
            resumed=self._ledger.resumed,
            seconds=time.monotonic() - self._began,
            workers=prepared.workers,
            threads=self._threads,
            rejects_file=rejects,
            interrupted=interrupted,
            complete=complete,
            errors=tuple(self._ledger.errors),
            resume_hint=None if complete or config.dry_run else RESUME_HINT,
            reject_codes=dict(tally.codes),
            limits=limits_met(self._refusals.values(), prepared.table, self._budget.spent),
            index_units=index_units_of(self._refusals.values()),
            plan=self._planner.found(tally.counts) if complete else None,
            dry_run=config.dry_run,
            max_wcu=config.max_wcu,
        )


def _keep(line: Logged) -> None:
    logging.getLogger(line.logger).log(line.level, "%s", line.text)


def _is_shard(outcome: ShardOutcome, task: IndexTask | ShardTask) -> bool:
    return isinstance(task, ShardTask) and (task.window, task.shard) == (outcome.window, outcome.shard)


def _is_chunk(indexed: ChunkIndexed, task: IndexTask | ShardTask) -> bool:
    return isinstance(task, IndexTask) and (task.window, task.chunk) == (indexed.window, indexed.chunk)
