"""
What follows an answer: pure decisions over what has been tried so far.

Two kinds of waiting are kept apart. A *failing* answer (an error of the service's, no answer at all) says
that something is broken, and counts towards `max_retries`. A throttle or an unprocessed item is flow
control: the service is well and asks for patience, so it never counts, however often it comes. Nor does a
try that fell into an outage (see outage.py), which says nothing of the batch.
"""

from dataclasses import dataclass

from loader.decisions import wire
from loader.errors import ConnectionFault, Denied, Fatal, TableGone
from loader.model import RejectCode


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    Times in seconds; `max_retries` None is no limit.

    After failures the wait may grow long, since what is broken is not mended by asking. Under throttles it
    stays short: capacity comes back every second, a sender asleep past the end of a throttle leaves capacity
    unused, and how much is asked of the table is bounded elsewhere (pacing.py).
    """

    max_retries: int | None = None
    base: float = 0.05
    failure_cap: float = 20.0
    throttle_cap: float = 1.0
    denial_base: float = 1.0
    max_denials: int = 3


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    What was tried with a batch so far.

    `failures` are all its failing tries; `throttles` the answers since the last progress that wrote nothing
    for want of capacity; `denials` those since it was last let in that refused the credentials.
    """

    failures: int = 0
    throttles: int = 0
    denials: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """Every item was written."""


@dataclass(frozen=True, slots=True)
class Resend:
    """Send what is not written yet again, `wait` seconds from now, as `attempt`."""

    wait: float
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Split:
    """Refused as it stands: send it in smaller batches, until the bad item stands alone."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Give up the items of this batch: one that was refused, or all that were tried too often."""

    code: RejectCode
    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Nothing more can be written by anyone: end the load with this error."""

    error: Fatal


Decision = Done | Resend | Split | Reject | Halt

_DONE = Done()

_REJECT_CODES = {wire.ITEM_COLLECTION_TOO_LARGE: RejectCode.ITEM_COLLECTION_TOO_LARGE}
# Far past every cap, and small enough that no float overflows.
_MAX_DOUBLINGS = 60


def decide(
    policy: RetryPolicy,
    attempt: Attempt,
    answer: wire.Answer | ConnectionFault,
    random: float,
    *,
    items: int,
    in_outage: bool = False,
) -> Decision:
    """
    What follows `answer` to a batch of `items` items; `random` is from [0, 1), a new draw each call.

    `in_outage`: the try failed with all others, and by now the service can be reached again.
    """
    if in_outage:
        return Resend(_jittered(policy.base, 0, policy.failure_cap, random), attempt)
    match answer:
        case wire.Written(unprocessed=()):
            return _DONE
        case wire.Written():
            return _after_throttle(policy, attempt, random, progress=len(answer.unprocessed) < items)
        case wire.Throttled():
            return _after_throttle(policy, attempt, random, progress=False)
        case wire.Transient():
            return _after_failure(policy, attempt, random, _said(answer))
        case ConnectionFault():
            return _after_failure(policy, attempt, random, str(answer))
        case wire.Rejected():
            return Split() if items > 1 else _refused(answer)
        case wire.Halt():
            return _after_halt(policy, attempt, random, answer)


def halt_error(answer: wire.Halt) -> Fatal:
    """The error a load ends with when the service refuses it as a whole."""
    if answer.code in wire.TABLE_GONE:
        return TableGone(f"The table is gone, or no longer active ({_said(answer)}).")
    if answer.code in wire.NO_SUCH_OPERATION:
        return Fatal(f"What answers at the endpoint does not know the request ({_said(answer)}).")
    if answer.code in wire.STALE_CREDENTIALS:
        return Denied(
            f"The credentials are no longer accepted ({_said(answer)}). Renew them, check this machine's"
            " clock, and give the same command again."
        )
    return Denied(
        f"Access was denied ({_said(answer)}). The load needs dynamodb:BatchWriteItem on the table."
    )


def _after_throttle(policy: RetryPolicy, attempt: Attempt, random: float, *, progress: bool) -> Resend:
    doublings = 0 if progress else attempt.throttles
    wait = _jittered(policy.base, doublings, policy.throttle_cap, random)
    throttles = 0 if progress else attempt.throttles + 1
    return Resend(wait, Attempt(attempt.failures, throttles))


def _after_failure(policy: RetryPolicy, attempt: Attempt, random: float, reason: str) -> Resend | Reject:
    failures = attempt.failures + 1
    if policy.max_retries is not None and failures > policy.max_retries:
        tries = "1 try" if failures == 1 else f"{failures} tries"
        return Reject(
            RejectCode.UNKNOWN_OUTCOME,
            f"Given up after {tries} that failed; it may or may not be in the table. The last one: {reason}",
        )
    wait = _jittered(policy.base, attempt.failures, policy.failure_cap, random)
    return Resend(wait, Attempt(failures, attempt.throttles, attempt.denials))


def _after_halt(policy: RetryPolicy, attempt: Attempt, random: float, answer: wire.Halt) -> Resend | Halt:
    # A signature grows old while a machine sleeps, and new credentials are known everywhere a moment late:
    # unlike other waits these are never near 0. That there are new ones at all is waited for elsewhere.
    if answer.code not in wire.STALE_CREDENTIALS or attempt.denials >= policy.max_denials:
        return Halt(halt_error(answer))
    wait = policy.denial_base * 2**attempt.denials * (0.5 + random / 2)
    return Resend(wait, Attempt(attempt.failures, attempt.throttles, attempt.denials + 1))


def _refused(answer: wire.Rejected) -> Reject:
    code = _REJECT_CODES.get(answer.code, RejectCode.REFUSED)
    return Reject(code, f"Refused by the service ({_said(answer)})")


def _said(answer: wire.Failure) -> str:
    return f"{answer.code}: {answer.message}" if answer.message else answer.code


def _jittered(base: float, doublings: int, cap: float, random: float) -> float:
    """Full jitter: senders that failed together do not come back together."""
    return random * min(cap, base * 2.0 ** min(doublings, _MAX_DOUBLINGS))
