"""What a worker was refused for want of capacity: why, and which keys; shared by its senders."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from loader.capacity import Refusals
from loader.decisions import numbers
from loader.decisions.batch import Item
from loader.decisions.heavy_hitters import HeavyHitters
from loader.decisions.limits import UNTOLD, is_key_range, resource_of
from loader.decisions.wire import Throttled
from loader.model import IndexDescription, KeyPart, KeySchema

ASK_SECONDS = 1.0
"""Between two single items sent to learn why items stay unprocessed."""
EAGER_SECONDS = 0.1
"""The same, as long as no reason is known: where little is refused, most single items are taken."""
TOP_KEYS = 20
# What a key's count must at least be sure of to be named: a sketch holds passers-by too.
_CERTAINTY = 0.5

# Whatever a service says, what is kept of it stays this small.
_MOST_NAMES = 100
_REASON_LENGTH = 100
_ARN_LENGTH = 700
_KEY_LENGTH = 100
_GAP = "..."
_OTHER = ("Other", "")

TABLE = ""
"""The table, where indexes go by their names."""


class RefusalLog:
    """
    Partition keys of refused items are counted for the table, and for an index from the first answer on that
    names a key range of it. `clock` gives seconds.
    """

    def __init__(
        self,
        key: KeySchema,
        indexes: Sequence[IndexDescription] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._key_parts = {index.name: index.hash_keys for index in indexes} | {TABLE: (key.hash,)}
        self._sketches = {TABLE: HeavyHitters()}
        self._reasons: dict[tuple[str, str], int] = {}
        self._units: dict[str, float] = {}
        self._report: Refusals | None = Refusals()
        self._asked: float | None = None

    def throttled(self, answer: Throttled, items: Sequence[Item]) -> None:
        """These items were refused together."""
        named = {(reason or answer.code, resource) for reason, resource in answer.reasons}
        reasons = [
            (reason[:_REASON_LENGTH], resource[:_ARN_LENGTH])
            for reason, resource in named or {(answer.code, "")}
        ]
        with self._lock:
            for reason in reasons:
                _count(self._reasons, reason if self._has_room_for(reason) else _OTHER)
                self._watch(*reason)
            self._report = None
        self._count_keys([orjson.loads(item.json) for item in items])

    def unprocessed(self, items: Sequence[Mapping[str, Any]]) -> None:
        """These items (DynamoDB JSON) were handed back by a success, which tells no reason."""
        if items:
            with self._lock:
                _count(self._reasons, UNTOLD)
            self._count_keys(items)

    def charged(self, index_units: Mapping[str, float]) -> None:
        """Write units that were charged for entries in indexes, by name; those the table has count."""
        with self._lock:
            for name, units in index_units.items():
                if name in self._key_parts:
                    self._units[name] = self._units.get(name, 0.0) + units
            self._report = None

    def asks(self) -> bool:
        """Whether it is time to learn why items stay unprocessed: yes to one sender in so many seconds."""
        with self._lock:
            now = self._clock()
            pause = ASK_SECONDS if self._reasons.keys() - {UNTOLD} else EAGER_SECONDS
            due = self._asked is None or now - self._asked >= pause
            if due:
                self._asked = now
            return due

    def report(self) -> Refusals:
        """All there is since the worker began; the same object as long as nothing is added."""
        with self._lock:
            if self._report is None:
                keys = {
                    name: sketch.most(TOP_KEYS, certainty=_CERTAINTY)
                    for name, sketch in self._sketches.items()
                }
                self._report = Refusals(dict(self._reasons), keys, dict(self._units))
            return self._report

    def _has_room_for(self, reason: tuple[str, str]) -> bool:
        # A place is kept for all that find none, and one for those that tell nothing.
        return reason in self._reasons or len(self._reasons) < _MOST_NAMES - 2

    def _watch(self, reason: str, arn: str) -> None:
        name = resource_of(arn)
        if is_key_range(reason) and name in self._key_parts and name not in self._sketches:
            # A new dictionary: other senders may be going over this one.
            self._sketches = {**self._sketches, name: HeavyHitters()}

    def _count_keys(self, items: Iterable[Mapping[str, Any]]) -> None:
        watched = list(self._sketches.items())
        found = [
            (sketch, key)
            for name, sketch in watched
            for item in items
            if (key := _key_text(item, self._key_parts[name])) is not None
        ]
        with self._lock:
            for sketch, key in found:
                sketch.add(key)
            self._report = None


def _count(counts: dict[tuple[str, str], int], reason: tuple[str, str]) -> None:
    counts[reason] = counts.get(reason, 0) + 1


def _key_text(item: Mapping[str, Any], parts: Iterable[KeyPart]) -> str | None:
    """The partition key for people to read; None for an item without one, which is not in that index."""
    texts = []
    for part in parts:
        value = item.get(part.name)
        text = value.get(part.type) if isinstance(value, dict) else None
        if not isinstance(text, str):
            return None
        texts.append((numbers.normal_form(text) or text) if part.type == "N" else text)
    return _clipped(", ".join(texts))


def _clipped(text: str) -> str:
    # Long keys differ at their ends more often than in the middle.
    if len(text) <= _KEY_LENGTH:
        return text
    end = (_KEY_LENGTH - len(_GAP)) // 2
    return f"{text[: _KEY_LENGTH - len(_GAP) - end]}{_GAP}{text[-end:]}"
