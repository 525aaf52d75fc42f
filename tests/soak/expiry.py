"""Keys of a helper that live for seconds: a load passes through their expiry, and the helper runs seldom."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from tests.server.client import start
from tests.server.faults import FaultPlan
from tests.soak.checks import TABLE, Checks
from tests.soak.files import KEY, ORDER, TYPES, make
from tests.soak.processes import Load, credentials
from tests.soak.result import Figure, Fold, Job, Result, Scale

CASE = "expiry"
LIFETIME = 20
EXPIRIES = 3
AHEAD = 0.25
"""Of a lifetime: keys may be fetched so long before the old ones expire."""
WORKERS, THREADS = 2, 4
_LATENCY = 0.1
_RATE = WORKERS * THREADS * 25 / _LATENCY
_TIMEOUT = 300.0

# Whole seconds, so that the expiry that it tells and that of the token are the same moment.
_HELPER = """#!/bin/sh
now=$(date +%s)
until=$((now + {lifetime}))
echo "$(date +%s.%N) $until" >> {runs}
expiration=$(date -u -d "@$until" +%Y-%m-%dT%H:%M:%SZ)
printf '{{"Version": 1, "AccessKeyId": "testAccessKey", "SecretAccessKey": "testSecretKey",'
printf ' "SessionToken": "until-%s", "Expiration": "%s"}}' "$until" "$expiration"
"""


@dataclass(frozen=True, slots=True)
class HelperRun:
    """One run of the helper, when it was and until when its keys were good: epoch seconds."""

    at: float
    until: float


def jobs(scale: Scale) -> list[Job]:
    lifetime = 6 if scale.quick else LIFETIME
    return [
        Job(CASE, transport, 1, asked(lifetime), partial(run, transport, lifetime))
        for transport in ("fast", "boto3")
    ]


def asked(lifetime: int) -> str:
    return (
        f"keys of a credential_process live {lifetime} s, {EXPIRIES} expire or more: no rejects, the helper"
        " runs once an expiry and once at the start"
    )


def run(transport: str, lifetime: int, folder: Path) -> Result:
    began = time.monotonic()
    # The start takes a second or so of the first keys' life.
    file = make(folder / "soak.csv", int(_RATE * (EXPIRIES + 0.3) * lifetime), 1)
    right = file.right(file.size)
    checks = Checks()
    runs = folder / "helper-runs"
    options = {"workers": WORKERS, "threads": THREADS, "transport": transport, "types": TYPES}
    plan = FaultPlan(latency_ms=_LATENCY * 1000, expiring_tokens=True)
    with start(faults=plan, order_by=ORDER) as server:
        server.create_table(TABLE, KEY)
        with Load(server.endpoint, TABLE, file.path, options, _profile(folder, runs, lifetime)) as load:
            ended = load.wait(_TIMEOUT)
        over = time.time()
        checks.ended_well(ended, right)
        checks.table_is(server, file)
        checks.nothing_overtaken(server)
        checks.nothing_left(folder)
        stats = server.stats()
    found = read(runs)
    expired, needless = expired_before(found, over), needless_runs(found, lifetime)
    checks.that(expired >= EXPIRIES, f"only {expired} keys expired while it ran")
    checks.that(not needless, f"{needless} of {len(found)} runs of the helper were long before an expiry")
    # At the end one key is good, or two where the last expiry but one is still to come.
    good = len(found) - expired
    checks.that(good <= 2, f"the helper ran {len(found)} times, for {expired} expiries")
    return Result(
        CASE,
        transport,
        1,
        asked(lifetime),
        (
            Figure("keys that expired", expired, Fold.LEAST),
            Figure("runs of the helper", len(found)),
            Figure("requests with expired keys", stats["faults"].get("expired_token", 0), Fold.SUM),
            Figure("rejects", ended.rejected, Fold.SUM),
        ),
        tuple(checks.failures),
        time.monotonic() - began,
    )


def read(path: Path) -> list[HelperRun]:
    return [HelperRun(*map(float, line.split())) for line in path.read_text().splitlines()]


def expired_before(runs: Sequence[HelperRun], over: float) -> int:
    """Keys whose time was up while the load ran."""
    return sum(run.until <= over for run in runs)


def needless_runs(runs: Sequence[HelperRun], lifetime: float) -> int:
    """
    Runs but for the first, which the start needs, that no expiry called for.

    An expiry calls for one run, a little ahead of it: a run is needless where more than AHEAD of the time of
    the keys before was left.
    """
    return sum(after.at < before.until - AHEAD * lifetime for before, after in pairwise(runs))


def _profile(folder: Path, runs: Path, lifetime: int) -> dict[str, str]:
    """An environment in which the profile that AWS_PROFILE names has the helper for its credentials."""
    helper = folder / "helper"
    helper.write_text(_HELPER.format(lifetime=lifetime, runs=runs))
    helper.chmod(0o700)
    config = folder / "aws-config"
    config.write_text(f"[profile soak]\nregion = us-east-1\ncredential_process = {helper}\n")
    kept = {
        name: value
        for name, value in credentials().items()
        if name not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    return kept | {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "soak"}
