"""No order of deaths, power cuts and full disks loses or repeats an outcome, or lets old writes come late."""

import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from loader.engines.worker import OPEN_SHARDS
from loader.model import Counts
from tests.property.crashing_load import GRACE, CrashingLoad
from tests.property.fragile_disk import Tear

ROWS = st.tuples(
    st.sampled_from([*"abcdefgh", ""]),
    st.sampled_from(["1", "2", "bad"]),
    st.sampled_from(["", "x", '"a\nb"']),
)
GARBAGE = st.just(b"") | st.builds(
    lambda data, end: data.replace(b"\n", b"?") + end, st.binary(max_size=40), st.sampled_from([b"", b"\n"])
)
TEAR = st.builds(Tear, st.integers(0, 3), st.sampled_from([-1, -2]) | st.integers(0, 999), GARBAGE)
TEARS = st.none() | st.tuples(TEAR, TEAR)
"""None: the process ends, and the system does not. Else what the journal and the reject file lose."""
WORKERS = st.integers(0, 2)
TASKS = st.integers(1, OPEN_SHARDS)

runs = precondition(lambda self: self.load.run is not None)


class CrashOrders(RuleBasedStateMachine):
    load: CrashingLoad

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @initialize(
        files=st.lists(st.lists(ROWS, min_size=10, max_size=30), min_size=1, max_size=2),
        window_size=st.integers(40, 400),
        shard_records=st.integers(1, 3),
        chunk_size=st.integers(10, 100),
        seed=st.integers(0, 1 << 62),
    )
    def there_is_a_file(
        self,
        files: list[list[tuple[str, str, str]]],
        window_size: int,
        shard_records: int,
        chunk_size: int,
        seed: int,
    ) -> None:
        self.load = CrashingLoad(
            self.folder,
            files,
            window_size=window_size,
            shard_records=shard_records,
            chunk_size=chunk_size,
            seed=seed,
        )

    @precondition(lambda self: self.load.run is None and not self.load.done)
    @rule(workers=st.integers(1, 3), rounds=st.integers(0, 20))
    def the_command_is_given(self, workers: int, rounds: int) -> None:
        """What comes next comes in the midst of work, or right at the start."""
        with self.load.process():
            self.load.begin(workers)
            self.load.work(rounds)

    @precondition(lambda self: self.load.done)
    @rule()
    def the_file_is_loaded_again(self) -> None:
        self.load.again()

    @runs
    @rule(worker=WORKERS, tasks=TASKS)
    def a_worker_gets_tasks(self, worker: int, tasks: int) -> None:
        with self.load.process():
            for _ in range(tasks):
                self.load.hand_out(worker)

    @runs
    @rule(worker=WORKERS, tasks=TASKS, unanswered=st.booleans())
    def a_worker_finishes_tasks(self, worker: int, tasks: int, unanswered: bool) -> None:
        with self.load.process():
            for _ in range(tasks):
                self.load.finish(worker, unanswered)

    @runs
    @rule(rounds=st.integers(1, 12))
    def all_work(self, rounds: int) -> None:
        with self.load.process():
            self.load.work(rounds)

    @runs
    @rule(worker=WORKERS, part=st.integers(1, 3))
    def a_worker_tells_how_far_it_is(self, worker: int, part: int) -> None:
        load, run = self.load, self.load.run
        assert run is not None
        worker = load.busiest(worker)
        written = sum(load.fate(task).counts.written // part for task in load.shards_at(worker))
        load.tell(run, worker, Counts(written=written))

    @runs
    @rule(worker=WORKERS, rounds=st.integers(0, 30))
    def a_worker_dies(self, worker: int, rounds: int) -> None:
        """The others go on, and may come to the next window."""
        with self.load.process():
            self.load.lose_worker(worker)
            self.load.work(rounds)

    @runs
    @rule(seconds=st.sampled_from([0.5, GRACE / 2, GRACE]))
    def time_passes(self, seconds: float) -> None:
        self.load.now += seconds

    @runs
    @rule(finishing=st.integers(0, OPEN_SHARDS))
    def the_load_is_drained(self, finishing: int) -> None:
        self.load.finishing = finishing
        with self.load.process():
            self.load.wind_down()

    @runs
    @rule(tears=TEARS)
    def the_process_is_killed(self, tears: tuple[Tear, Tear] | None) -> None:
        self.load.tears = tears
        self.load.disk.kill()
        self.load.die()

    @precondition(lambda self: not self.load.done and not self.load.disk.may_die)
    @rule(operation=st.integers(0, 40), tears=TEARS)
    def the_process_is_to_die(self, operation: int, tears: tuple[Tear, Tear] | None) -> None:
        self.load.tears = tears
        self.load.disk.die_before(operation)

    @precondition(lambda self: not self.load.done and not self.load.disk.fills_up)
    @rule(operation=st.integers(0, 20), finishing=st.integers(0, OPEN_SHARDS))
    def the_disk_is_to_fill_up(self, operation: int, finishing: int) -> None:
        self.load.finishing = finishing
        self.load.disk.fill_up(operation)

    @invariant()
    def the_books_tell_of_what_was_entered(self) -> None:
        self.load.check_books()

    def teardown(self) -> None:
        if not hasattr(self, "load"):
            return
        try:
            # Not where the machine has failed already.
            if sys.exception() is None:
                self.load.drive()
                self.load.check_final()
        finally:
            self.load.abandon()


# Shrinking what fails takes minutes.
@pytest.mark.timeout(600)
def test_no_order_of_crashes_loses_or_repeats_an_outcome(tmp_path: Path) -> None:
    # Explaining a failure, after shrinking, would take minutes more.
    phases = [phase for phase in Phase if phase is not Phase.explain]
    run_state_machine_as_test(
        partial(CrashOrders, tmp_path),  # type: ignore[arg-type]  # it takes whatever makes a machine
        settings=settings(stateful_step_count=80, phases=phases),
    )
