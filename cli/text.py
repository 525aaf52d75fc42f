"""Text that others wrote, fit for a terminal."""


def visible(text: str) -> str:
    """With control characters, line ends and the like as escapes: it stays on its line and orders nothing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
