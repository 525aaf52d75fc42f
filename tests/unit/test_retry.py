"""What follows an answer, case by case."""

from dataclasses import replace

import pytest

from loader.decisions.retry import Attempt, Done, Halt, Reject, Resend, RetryPolicy, Split, decide, halt_error
from loader.decisions.wire import Answer, Rejected, Throttled, Transient, Written
from loader.decisions.wire import Halt as Halted
from loader.errors import ConnectionFault, Denied, Fatal, TableGone
from loader.model import RejectCode

POLICY = RetryPolicy()
# The longest wait that full jitter allows.
LONGEST = 1.0
HANDED_BACK = Written(({"id": {"S": "x"}},), 1.0)
THROTTLED = Throttled("ThrottlingException", "slower")
BROKEN = Transient("InternalServerError", "sorry")
INVALID = Rejected("ValidationException", "no")
EXPIRED = Halted("ExpiredTokenException", "too old")
LOST = ConnectionFault("Connection was closed.")


def resent(
    answer: Answer | ConnectionFault, attempt: Attempt, policy: RetryPolicy = POLICY, items: int = 25
) -> Resend:
    decision = decide(policy, attempt, answer, LONGEST, items=items)
    assert isinstance(decision, Resend)
    return decision


def test_a_success_with_nothing_left_is_done() -> None:
    assert decide(POLICY, Attempt(3, 4), Written((), 25.0), 0.5, items=25) == Done()


# --- flow control -------------------------------------------------------------------------------


def test_the_wait_under_throttles_doubles_up_to_its_cap() -> None:
    attempt = Attempt()
    waits = []
    for _ in range(10):
        decision = resent(THROTTLED, attempt)
        waits.append(decision.wait)
        attempt = decision.attempt
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert attempt == Attempt(failures=0, throttles=10)


def test_a_batch_handed_back_whole_is_a_throttle() -> None:
    assert resent(HANDED_BACK, Attempt(throttles=3), items=1) == resent(THROTTLED, Attempt(throttles=3))


def test_progress_resets_the_wait_under_throttles() -> None:
    assert resent(HANDED_BACK, Attempt(throttles=9), items=2) == Resend(POLICY.base, Attempt(throttles=0))


@pytest.mark.parametrize("answer", [THROTTLED, HANDED_BACK])
def test_flow_control_never_counts_as_a_failing_try(answer: Answer) -> None:
    policy = replace(POLICY, max_retries=0)
    attempt = Attempt(failures=7)
    for _ in range(1000):
        attempt = resent(answer, attempt, policy, items=1).attempt
    assert attempt == Attempt(failures=7, throttles=1000)


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [BROKEN, LOST])
def test_the_wait_after_failures_doubles_up_to_its_cap(answer: Answer | ConnectionFault) -> None:
    waits = [resent(answer, Attempt(failures=failures)).wait for failures in range(12)]
    assert waits == pytest.approx([0.05 * 2**n for n in range(9)] + [20.0, 20.0, 20.0])


def test_a_failing_try_is_counted_and_leaves_the_throttles_alone() -> None:
    assert resent(BROKEN, Attempt(2, 5)).attempt == Attempt(3, 5)


@pytest.mark.parametrize("answer", [BROKEN, LOST, THROTTLED, HANDED_BACK])
def test_the_jitter_is_full(answer: Answer | ConnectionFault) -> None:
    attempt = Attempt(4, 4)
    whole = resent(answer, attempt, items=1).wait
    for random in (0.0, 0.25, 0.5):
        decision = decide(POLICY, attempt, answer, random, items=1)
        assert isinstance(decision, Resend)
        assert decision.wait == pytest.approx(whole * random)


@pytest.mark.parametrize("answer", [BROKEN, LOST, THROTTLED])
def test_no_number_of_tries_is_too_many_for_the_wait(answer: Answer | ConnectionFault) -> None:
    assert resent(answer, Attempt(10**9, 10**9)).wait in (POLICY.failure_cap, POLICY.throttle_cap)


def test_without_a_limit_a_failing_try_is_always_repeated() -> None:
    assert resent(LOST, Attempt(failures=10**6)).attempt.failures == 10**6 + 1


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_past_the_limit_the_outcome_is_unknown(max_retries: int) -> None:
    policy = replace(POLICY, max_retries=max_retries)
    attempt = Attempt()
    for _ in range(max_retries):
        attempt = resent(BROKEN, attempt, policy).attempt
    decision = decide(policy, attempt, LOST, 0.5, items=25)
    assert isinstance(decision, Reject)
    assert decision.code == RejectCode.UNKNOWN_OUTCOME
    tries = "1 try" if max_retries == 0 else f"{max_retries + 1} tries"
    assert decision.reason == (
        f"Given up after {tries} that failed; it may or may not be in the table."
        " The last one: Connection was closed."
    )


# --- verdicts -----------------------------------------------------------------------------------


def test_a_refused_batch_is_split_however_often_it_was_tried() -> None:
    assert decide(replace(POLICY, max_retries=0), Attempt(5, 5), INVALID, 0.5, items=2) == Split()


def test_a_refused_item_alone_is_rejected() -> None:
    decision = decide(POLICY, Attempt(), INVALID, 0.5, items=1)
    assert decision == Reject(RejectCode.REFUSED, "Refused by the service (ValidationException: no)")


def test_a_full_item_collection_has_a_code_of_its_own() -> None:
    full = Rejected("ItemCollectionSizeLimitExceededException", "10 GB")
    assert decide(POLICY, Attempt(), full, 0.5, items=25) == Split()
    decision = decide(POLICY, Attempt(), full, 0.5, items=1)
    assert isinstance(decision, Reject)
    assert decision.code == RejectCode.ITEM_COLLECTION_TOO_LARGE


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ResourceNotFoundException", TableGone),
        ("AccessDeniedException", Denied),
        ("ExpiredTokenException", Denied),
        ("UnrecognizedClientException", Denied),
        ("403", Denied),
        ("UnknownOperationException", Fatal),
    ],
)
def test_a_halt_has_the_error_it_ends_with(code: str, kind: type[Fatal]) -> None:
    error = halt_error(Halted(code, "because"))
    assert type(error) is kind
    assert f"({code}: because)" in str(error)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException", "403"])
def test_what_waiting_cannot_mend_stops_at_once(code: str) -> None:
    decision = decide(POLICY, Attempt(), Halted(code, "because"), 0.5, items=25)
    assert isinstance(decision, Halt)
    assert str(decision.error) == str(halt_error(Halted(code, "because")))


def test_stale_credentials_get_time_for_newer_ones_and_then_stop() -> None:
    policy = replace(POLICY, max_retries=0)
    attempt = Attempt(2, 3)
    waits = []
    for _ in range(policy.max_denials):
        decision = resent(EXPIRED, attempt, policy)
        waits.append(decision.wait)
        attempt = decision.attempt
    assert waits == [1.0, 2.0, 4.0]
    assert attempt == Attempt(2, 3, denials=3)
    assert isinstance(decide(policy, attempt, EXPIRED, 0.5, items=25), Halt)


def test_the_time_for_newer_credentials_is_never_near_zero() -> None:
    decision = decide(POLICY, Attempt(), EXPIRED, 0.0, items=25)
    assert isinstance(decision, Resend)
    assert decision.wait == 0.5


@pytest.mark.parametrize("answer", [THROTTLED, HANDED_BACK])
def test_who_is_throttled_has_been_let_in(answer: Answer) -> None:
    assert resent(answer, Attempt(denials=3)).attempt.denials == 0


@pytest.mark.parametrize("answer", [BROKEN, LOST])
def test_a_failure_does_not_show_that_the_credentials_are_accepted(answer: Answer | ConnectionFault) -> None:
    assert resent(answer, Attempt(denials=3)).attempt.denials == 3
