"""
Measurements; each of these is a command of its own, says what it prints, and checks that nothing was lost.

    python -m perf.compare      this loader beside others
    python -m perf.growth       this loader alone: larger files, more workers, TLS, memory, the first write
    python -m perf.curves       over sender threads, workers, size of a shard
    python -m perf.shares       where the CPU of a row goes

Files to load, a certificate and aiobotocore's environment are kept in $DDBLOAD_PERF_CACHE, or under /tmp.
"""
