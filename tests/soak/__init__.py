"""
The promise under faults, for as long as it takes: whole loads against tests.server, a table at the end.

    python -m tests.soak [CASE ...] [--rows N] [--seeds N] [--jobs N] [--grace S] [--quick]

Each case is a function that makes one load and says what it asked and what it saw. The suite runs a slice of
each with small numbers (tests/functional/test_soak_slice.py).

    words       result, table                 pure
    means       files, checks, child, processes
    cases       faults, kills, outage, expiry, memory, promise
    edge        runner, __main__
"""
