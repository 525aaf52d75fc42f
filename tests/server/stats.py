"""What the server was asked, and what it did about it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.server.usage import Usage

_VIOLATIONS_KEPT = 1_000
_TENTHS_KEPT = 6_000


@dataclass(slots=True)
class Stats:
    """
    `applied` counts items written, `acknowledged` those of them that a whole reply told the client
    of; `refused` counts requests answered with an error of the client's by their code. `timeline` has
    items applied by tenth of a second since the epoch, `outages` begin and end of those that are over;
    `probes` are batches of no table at all, `usages` what each table took and refused.
    """

    requests: Counter[str] = field(default_factory=Counter)
    batch_sizes: Counter[int] = field(default_factory=Counter)
    applied: int = 0
    applied_late: int = 0
    acknowledged: int = 0
    unprocessed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    probes: int = 0
    metered_items: int = 0
    metered_requests: int = 0
    write_units: float = 0.0
    violations: list[str] = field(default_factory=list)
    violation_count: int = 0
    connections: int = 0
    connections_open: int = 0
    user_agents: Counter[str] = field(default_factory=Counter)
    timeline: Counter[int] = field(default_factory=Counter)
    outages: list[tuple[float, float]] = field(default_factory=list)
    usages: dict[str, Usage] = field(default_factory=dict)

    def count_applied(self, items: int, now: float) -> None:
        """Items applied at `now`, in epoch seconds."""
        if not items:
            return
        self.applied += items
        self.timeline[int(now * 10)] += items
        if len(self.timeline) >= 2 * _TENTHS_KEPT:
            self.timeline = Counter(dict(self._last_tenths()))

    def _last_tenths(self) -> list[tuple[int, int]]:
        return sorted(self.timeline.items())[-_TENTHS_KEPT:]

    def usage_of(self, table: str) -> Usage:
        """Of the table of that name, whichever it is by now."""
        usage = self.usages.get(table)
        if usage is None:
            usage = self.usages[table] = Usage()
        return usage

    def violation(self, what: str) -> None:
        self.violation_count += 1
        if len(self.violations) < _VIOLATIONS_KEPT:
            self.violations.append(what)

    def fresh(self) -> "Stats":
        """Counts at zero; connections that are open now count as opened."""
        return Stats(connections=self.connections_open, connections_open=self.connections_open)

    def as_json(self) -> dict[str, Any]:
        sizes = sorted(self.batch_sizes)
        return {
            "requests": self.requests,
            "batch_sizes": {str(size): self.batch_sizes[size] for size in sizes},
            "min_items": sizes[0] if sizes else None,
            "max_items": sizes[-1] if sizes else None,
            "items_applied": self.applied,
            "applied_late": self.applied_late,
            "items_acknowledged": self.acknowledged,
            "items_unprocessed": self.unprocessed,
            "faults": self.faults,
            "refused": self.refused,
            "refusals": self.refusals,
            "probes": self.probes,
            "metered": {"items": self.metered_items, "requests": self.metered_requests},
            "write_units": self.write_units,
            "violations": self.violations,
            "violation_count": self.violation_count,
            "connections": self.connections,
            "connections_open": self.connections_open,
            "user_agents": self.user_agents,
            "timeline": self._last_tenths(),
            "outages": self.outages,
            "capacity": {table: usage.as_json() for table, usage in self.usages.items()},
        }
