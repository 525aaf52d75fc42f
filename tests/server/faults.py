"""What goes wrong with BatchWriteItem, decided from one seeded source of randomness."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from random import Random
from typing import Any

from tests.server.auth import Caller
from tests.server.errors import (
    THROTTLE_REASONS,
    THROTTLES,
    ServiceError,
    access_denied,
    collection_too_large,
    expired_token,
    invalid,
    table_not_found,
)

_ANY = "any"
_EXPIRING = re.compile(r"until-(\d+(?:\.\d*)?)(?:-.*)?")


class Fault(StrEnum):
    """What befalls a request that was valid; at most one of them does."""

    UNPROCESSED = "unprocessed"
    THROTTLE = "throttle"
    ERROR500 = "error500"
    ERROR503_HTML = "error503_html"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    CUT_REPLY = "cut_reply"
    EMPTY200 = "empty200"
    HTML200 = "html200"
    WRONG_CRC = "wrong_crc"
    SLOW = "slow"
    LATE = "late"


class Cut(StrEnum):
    """How a reply is cut in half: the whole's length announced, none announced, or the half's own."""

    LENGTH = "length"
    CLOSE = "close"
    SHORT = "short"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """
    Shares are of requests, 0 to 1, and exclude each other: their sum is at most 1.

    `unprocessed_items` is the share of items within a reply that hands some back (at least one).
    `cut_reply_how` is one of Cut, `throttle_code` one of THROTTLES and `throttle_reason` one of
    THROTTLE_REASONS, or "any": drawn for each request; a reason of None is the code's usual one.
    A slow reply comes `slow_seconds` after its write; a late write is applied up to `late_seconds`
    after its connection was reset, and after half of them at the earliest. `refuse_keys` and
    `collection_too_large_keys` name partition keys by their text. Counts of requests begin when the
    plan is set. After `expired_token_after_requests`, credentials seen until then are expired and
    other ones are good. With `expiring_tokens` a session token "until-<epoch seconds>", or that and
    "-<anything>", is good for every operation until then and for none afterwards.
    Nobody may ask for the `deny_operations`, such as "DescribeTimeToLive".
    """

    seed: int = 0
    unprocessed_share: float = 0.0
    unprocessed_items: float = 0.5
    throttle_share: float = 0.0
    throttle_code: str = "ProvisionedThroughputExceededException"
    throttle_reason: str | None = None
    error500_share: float = 0.0
    error503_html_share: float = 0.0
    reset_before_share: float = 0.0
    reset_after_share: float = 0.0
    cut_reply_share: float = 0.0
    cut_reply_how: str = "any"
    empty200_share: float = 0.0
    html200_share: float = 0.0
    wrong_crc_share: float = 0.0
    slow_share: float = 0.0
    slow_seconds: float = 3.0
    late_share: float = 0.0
    late_seconds: float = 3.0
    latency_ms: float = 0.0
    latency_jitter_ms: float = 0.0
    refuse_keys: tuple[str, ...] = ()
    refuse_all: bool = False
    access_denied_after_requests: int | None = None
    table_gone_after_requests: int | None = None
    expired_token_after_requests: int | None = None
    expiring_tokens: bool = False
    collection_too_large_keys: tuple[str, ...] = ()
    deny_operations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shares = [share for _, share in self.shares()]
        if not all(0 <= share <= 1 for share in (*shares, self.unprocessed_items)):
            raise ValueError("a share of a fault plan is between 0 and 1")
        if sum(shares) > 1 + 1e-9:
            raise ValueError("the shares of a fault plan add up to more than 1")
        if self.throttle_code not in (_ANY, *THROTTLES):
            raise ValueError(f"throttle_code is one of any, {', '.join(THROTTLES)}")
        if self.throttle_reason not in (None, _ANY, *THROTTLE_REASONS):
            raise ValueError(f"throttle_reason is one of any, {', '.join(THROTTLE_REASONS)}")
        if self.cut_reply_how not in (_ANY, *Cut):
            raise ValueError(f"cut_reply_how is any, {', '.join(Cut)}")
        if min(self.latency_ms, self.latency_jitter_ms) < 0:
            raise ValueError("a latency is not negative")
        for name in ("slow_seconds", "late_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is a number of seconds, 0 or more")
        if type(self.expiring_tokens) is not bool:
            raise ValueError("expiring_tokens is true or false")
        if not isinstance(self.deny_operations, tuple):
            raise ValueError("deny_operations are names of operations")

    def shares(self) -> list[tuple[Fault, float]]:
        return [(fault, float(getattr(self, f"{fault}_share"))) for fault in Fault]

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> "FaultPlan":
        """A plan of these members, the others at rest; ValueError where one is unknown or wrong."""
        unknown = set(members) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a fault plan has no {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in members.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"a member of the fault plan is of the wrong type: {error}") from error


class Faults:
    """A plan under way. Each decision is drawn in the order of the requests."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.random = Random(plan.seed)
        self.requests = 0
        self._expired: set[tuple[str, str]] = set()
        self._shares = [(fault, share) for fault, share in plan.shares() if share]
        self._refused = frozenset(plan.refuse_keys)
        self._too_large = frozenset(plan.collection_too_large_keys)

    def gate(self, caller: Caller, table: str) -> tuple[str, ServiceError] | None:
        """Count a request; what bars it, once the plan says that nothing goes any more."""
        plan = self.plan
        before = self.requests
        self.requests += 1
        if plan.access_denied_after_requests is not None and before >= plan.access_denied_after_requests:
            return "access_denied", access_denied("BatchWriteItem", caller.access_key)
        if plan.table_gone_after_requests is not None and before >= plan.table_gone_after_requests:
            return "table_gone", table_not_found(table)
        if plan.expired_token_after_requests is not None:
            credentials = (caller.access_key, caller.session_token)
            # Where the count is 0, the credentials of the first request are the ones that expired.
            if before < plan.expired_token_after_requests or not self._expired:
                self._expired.add(credentials)
            if before >= plan.expired_token_after_requests and credentials in self._expired:
                return "expired_token", expired_token()
        return None

    def expired(self, caller: Caller, now: float) -> ServiceError | None:
        """What bars a session token whose time is up at `now`, in epoch seconds."""
        if not self.plan.expiring_tokens:
            return None
        match = _EXPIRING.fullmatch(caller.session_token)
        return expired_token() if match is not None and float(match[1]) <= now else None

    def bar(self, partitions: Iterable[str]) -> tuple[str, ServiceError] | None:
        """What bars a valid batch of these partition keys, given as text."""
        if self.plan.refuse_all:
            return "refuse_all", invalid("One or more parameter values were invalid")
        if self._refused or self._too_large:
            for partition in partitions:
                if partition in self._refused:
                    return "refuse_keys", invalid("One or more parameter values were invalid")
                if partition in self._too_large:
                    return "collection_too_large", collection_too_large()
        return None

    def draw(self) -> Fault | None:
        if not self._shares:
            return None
        point = self.random.random()
        for fault, share in self._shares:
            if point < share:
                return fault
            point -= share
        return None

    def draw_some(self, count: int, share: float) -> list[int]:
        """At least one of `count` places, each with the chance `share`, in ascending order."""
        chosen = [place for place in range(count) if self.random.random() < share]
        return chosen or [self.random.randrange(count)]

    def draw_cut(self) -> Cut:
        how = self.plan.cut_reply_how
        return self.random.choice(list(Cut)) if how == _ANY else Cut(how)

    def draw_throttle(self) -> tuple[str, str | None]:
        """A code, and a reason where it is not to be the code's usual one."""
        code, reason = self.plan.throttle_code, self.plan.throttle_reason
        if code == _ANY:
            code = self.random.choice(list(THROTTLES))
        return code, self.random.choice(THROTTLE_REASONS) if reason == _ANY else reason

    def draw_late(self) -> float:
        """Seconds from a request to its write."""
        longest = self.plan.late_seconds
        return self.random.uniform(longest / 2, longest)

    def draw_latency(self) -> float:
        """Seconds a reply is held back."""
        plan = self.plan
        jitter = plan.latency_jitter_ms * self.random.random() if plan.latency_jitter_ms else 0.0
        return (plan.latency_ms + jitter) / 1000
