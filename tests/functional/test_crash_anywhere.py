"""A load that is killed before any one of its operations on files, continued, ends as if it never was."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Writes what a load of two windows writes, as the coordinator does, but does nothing that an earlier run
# recorded. With a number, it is killed before that operation on a file, or in the middle of that write.
LOAD = """
import os, sys
import numpy as np
from loader.decisions.checkpoint import Head, ShardLine, SourceFile, WindowDone, WindowLine
from loader.edges.journal import LOCK, Journal, make_state_directory
from loader.edges.lock import FileLock
from loader.model import Counts, Dialect, Header, KeyPart, KeySchema, Problem, Reject, RejectCode
from loader.decisions.plan import ENTRY
from loader.edges.rejects import RejectFile
from loader.edges.spool import Spool

KEY = KeySchema(KeyPart("id", "S"))
HEAD = Head("t", "arn:t", "", "1", "http://x", KEY, (SourceFile("/a.csv", 1, 2, 3),), Header(("id",)),
            Dialect(), {}, 7, 100, 2)
PROBLEM = Problem(RejectCode.REFUSED, "no")
WINDOWS = {0: {0: [30, 10], 1: [], 2: [20]}, 1: {0: [130], 1: [140, 120, 110]}}
OPERATIONS = {"open", "os.link", "os.remove", "os.rename", "os.truncate", "os.mkdir", "os.rmdir"}

def load(directory):
    final = directory + "/a.rejects.csv"
    state = make_state_directory(directory + "/state", "load")
    lock = FileLock(state + "/" + LOCK)
    resume = Journal.load(state)
    if resume is None and os.path.exists(final):
        lock.close()
        return "complete before"
    journal = Journal.create(state, HEAD) if resume is None else Journal.resume(state, resume)
    recorded, all_done = (None, False) if resume is None else (resume.rejects, resume.all_done)
    rejects = RejectFile.open(final, b"id", HEAD.header, HEAD.dialect, recorded, all_done=all_done)
    spool = Spool(state)
    finished = 0 if resume is None else len(resume.finished)
    redone = 0
    for number, shards in list(WINDOWS.items())[finished:]:
        opened = resume.open if resume is not None else None
        done = opened.shards if opened is not None and opened.line.window == number else ()
        spool.write(number, [np.zeros(3, ENTRY)])
        records = sum(map(len, shards.values()))
        # The last of the two is the one behind which there is no file more.
        journal.append(WindowLine(number, number * 100, number * 100 + 100, records, "d", 0, 1, number, 1))
        for shard, positions in shards.items():
            if shard in done:
                continue
            redone += 1
            told = []
            for position in positions:
                reject = Reject(position, 2, PROBLEM)
                told.append((position, rejects.append(b"r%d" % position, "a.csv", position, reject)))
            counts = Counts(rejected=len(told))
            journal.append(ShardLine(number, shard, counts, told, False, rejects.sum if told else 0))
            rejects.sync()
            journal.sync()
        journal.append(WindowDone(number))
        rejects.sync()
        journal.sync()
        spool.remove(number)
    rejects.finish()
    journal.delete()
    lock.close()
    return f"complete now, {redone} shards"

def die_before(number, directory):
    seen = 0

    def operation():
        nonlocal seen
        seen += 1
        return seen > number

    def hook(event, args):
        ours = event == "os.truncate" or (args and str(args[0]).startswith(directory))
        if event in OPERATIONS and ours and operation():
            os._exit(9)

    whole = os.pwrite

    def torn(descriptor, data, offset):
        if operation():
            whole(descriptor, data[: len(data) // 2], offset)
            os._exit(9)
        return whole(descriptor, data, offset)

    sys.addaudithook(hook)
    os.pwrite = torn

directory, *number = sys.argv[1:]
for step in map(int, number):
    # A child for each, so that what is imported is imported once.
    place = f"{directory}/{step}"
    os.mkdir(place)
    child = os.fork()
    if child == 0:
        die_before(step, place)
        load(place)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(step, status, load(place), sep="|")
"""

FINAL = b"id,_file,_line,_column,_code,_reason,_superseded\r\n" + b"".join(
    b"r%d,a.csv,%d,,refused,no,\r\n" % (number, number) for number in (10, 20, 30, 110, 120, 130, 140)
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_load_killed_before_any_operation_on_a_file_is_continued_to_the_same_end(tmp_path: Path) -> None:
    steps = 80
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), *map(str, range(steps))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    results = [line.split("|") for line in done.stdout.splitlines()]
    assert [int(step) for step, _, _ in results] == list(range(steps))
    assert all(end.startswith("complete") for _, _, end in results)
    # Enough steps were tried to come to the end, and no step was left out.
    statuses = [int(status) for _, status, _ in results]
    killed = statuses.count(9)
    assert 15 < killed < steps
    assert statuses == [9] * killed + [0] * (steps - killed)
    for step in range(steps):
        place = tmp_path / str(step)
        assert sorted(path.name for path in place.iterdir()) == ["a.rejects.csv", "state"], step
        assert (place / "a.rejects.csv").read_bytes() == FINAL, step
        leftovers = [path.name for path in place.rglob("*") if path.name not in ("a.rejects.csv", "state")]
        # A run that finds the load complete makes the lock's directory, and has no journal to remove it with.
        assert set(leftovers) <= {"load", "lock", "window-1.index"}, step
    assert {end for _, _, end in results} >= {
        "complete before",
        "complete now, 5 shards",
        "complete now, 0 shards",
    }
    shutil.rmtree(tmp_path)
