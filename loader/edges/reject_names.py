"""Where the rejects of a load go: while it runs, and when it is complete."""

import os
import re

_STEM_BYTES = 200  # of the 255 that a name may have
_GLOB = re.compile(r"\[!?\]?[^]]*\]|[][*?]")  # a set of characters as a whole
_SEPARATORS = "-_. "


def default_path(source_path: str, directory: str) -> str:
    """
    The absolute path of `STEM.rejects.csv` in `directory`, STEM being that of the source without its glob
    characters (`rejects.csv` where it has no others); or of the first of `STEM.rejects-2.csv`, `-3` ... that
    is not taken, be it by a file still in the making.
    """
    stem = _without_glob(os.path.splitext(os.path.basename(source_path))[0])
    stem = os.fsdecode(os.fsencode(stem)[:_STEM_BYTES])
    name = f"{stem}.rejects" if stem else "rejects"
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        path = os.path.join(os.path.abspath(directory), f"{name}{suffix}.csv")
        if not os.path.lexists(path) and not os.path.lexists(part_path(path)):
            return path
        number += 1


def _without_glob(stem: str) -> str:
    """`part` for `part-*`: a name that no pattern is needed to give, nor is one."""
    parts = _GLOB.split(stem)
    if len(parts) == 1:
        return stem
    joined = parts[0]
    for part in parts[1:]:
        # Of the separators on both sides of what is taken out, one stays.
        joined += part.lstrip(_SEPARATORS) if not joined or joined[-1] in _SEPARATORS else part
    return joined.strip(_SEPARATORS)


def part_path(final_path: str) -> str:
    """Where the rejects are until the load is complete."""
    return f"{final_path}.part"
