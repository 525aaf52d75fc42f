"""The table at the end: one row for each cell of each case's matrix."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from tests.soak.result import Figure, Fold, Result

HEAD = ("case", "runs", "asked", "seen", "")
_FOLDS: dict[Fold, Callable[[Sequence[float]], float]] = {
    Fold.SUM: sum,
    Fold.LEAST: min,
    Fold.MOST: max,
    Fold.MEDIAN: median,
}
# What a folded number is, where a reader could take it for another.
_SAID = {Fold.SUM: "", Fold.LEAST: "at least ", Fold.MOST: "at most ", Fold.MEDIAN: "in the median "}


def markdown(results: Sequence[Result]) -> str:
    """In the order in which the cells first came."""
    cells: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        cells.setdefault((result.case, result.cell), []).append(result)
    lines = [_line(HEAD), "|" + "---|" * len(HEAD)]
    return "\n".join([*lines, *(_line(_row(runs)) for runs in cells.values())])


def line(result: Result) -> str:
    """One run, told when it ends."""
    name = ", ".join(filter(None, [result.case, result.cell, f"seed {result.seed}"]))
    seen = " · ".join(f"{figure.name} {figure.shown()}" for figure in result.figures)
    said = f"{'ok' if result.ok else 'FAILED'}  {name}  ({result.seconds:.1f} s)  {seen}".rstrip()
    return "\n".join([said, *(f"        {failure}" for failure in result.failures)])


def _row(runs: Sequence[Result]) -> tuple[str, ...]:
    first = runs[0]
    failed = sum(not run.ok for run in runs)
    seen = [folded(figures) for figures in _by_name(runs)]
    return (
        ", ".join(filter(None, [first.case, first.cell])),
        str(len(runs)),
        first.asked,
        "; ".join(seen),
        f"**FAILED** {failed} of {len(runs)}" if failed else "ok",
    )


def _by_name(runs: Sequence[Result]) -> list[list[Figure]]:
    names: dict[str, list[Figure]] = {}
    for run in runs:
        for figure in run.figures:
            names.setdefault(figure.name, []).append(figure)
    return list(names.values())


def folded(figures: Sequence[Figure]) -> str:
    """Figures of one name as one text."""
    first = figures[0]
    value = _FOLDS[first.fold]([figure.value for figure in figures])
    several = len({figure.value for figure in figures}) > 1
    return f"{first.name} {_SAID[first.fold] if several else ''}{replace(first, value=value).shown()}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
