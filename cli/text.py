"""Text that others wrote, fit for a terminal."""


def counted(number: float, noun: str, nouns: str = "") -> str:
    """`1 row`, `1,000 rows`."""
    shown = f"{number:,.0f}"
    return f"{shown} {noun if shown == '1' else nouns or f'{noun}s'}"


def visible(text: str) -> str:
    """With control characters, line ends and the like as escapes: it stays on its line and orders nothing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
