"""Where in the file the items of a table come from, and whether an older row replaced a newer one."""

from typing import Any

from tests.server.limits import Item, Key, key_text

_EXAMPLES_KEPT = 20
# Python refuses to convert very long texts.
_DIGITS_LIMIT = 100


class Places:
    """
    The place in the file of each item's row, as the attribute `order_by` tells it: a number, or text, of
    digits only. `unknown` counts puts that do not tell it.
    """

    def __init__(self, order_by: str) -> None:
        self._order_by = order_by
        self._places: dict[Key, int] = {}
        self.older_over_newer = 0
        self.examples: list[tuple[str, int, int]] = []
        self.unknown = 0

    def put(self, key: Key, item: Item) -> None:
        text = _digits(item.get(self._order_by))
        if text is None:
            self.unknown += 1
            self._places.pop(key, None)
            return
        new = int(text)
        old = self._places.get(key, new)
        if new < old:
            self.older_over_newer += 1
            if len(self.examples) < _EXAMPLES_KEPT:
                self.examples.append((key_text(key), old, new))
        self._places[key] = new

    def delete(self, key: Key) -> None:
        self._places.pop(key, None)


def _digits(value: dict[str, Any] | None) -> str | None:
    if value is None:
        return None
    text: str | None = value.get("N") or value.get("S")
    return text if text and text.isascii() and text.isdigit() and len(text) <= _DIGITS_LIMIT else None
