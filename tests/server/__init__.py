"""
A small DynamoDB of our own, run as its own process, for tests of the loader.

    python -m tests.server --port 0 [--faults JSON] [--wcu N | --capacity JSON] [--log-writes] ...

It is as strict about documented limits as the service, injects seeded faults into BatchWriteItem,
and remembers what it was asked and what it acknowledged. `tests.server.client.start()` runs it.

    words       errors, number, schema, message
    decisions   limits, index, capacity, buckets, throughput, meter, faults, auth        pure
    state       places, table, description, usage, stats, state
    operations  parameters, admin, items, writes, late, batch, control, service
    edge        http, listener, __main__ · client (the tests' side)
"""
