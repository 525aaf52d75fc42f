"""What a run was asked, and what was seen of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Fold(StrEnum):
    """How a figure of several runs becomes one."""

    SUM = "sum"
    LEAST = "least"
    MOST = "most"
    MEDIAN = "median"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was seen, with so many `digits` behind the point and a `unit` behind it, such as " s"."""

    name: str
    value: float
    fold: Fold = Fold.MOST
    unit: str = ""
    digits: int = 0

    def shown(self) -> str:
        return f"{self.value:,.{self.digits}f}{self.unit}"


@dataclass(frozen=True, slots=True)
class Result:
    """
    One run. Runs of one `cell` of a case's matrix share what was `asked`, and differ in their `seed`. All is
    well where there are no `failures`, each a sentence.
    """

    case: str
    cell: str
    seed: int
    asked: str
    figures: tuple[Figure, ...] = ()
    failures: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.failures

    def figure(self, name: str) -> float:
        """Raises KeyError where no such thing was seen."""
        for figure in self.figures:
            if figure.name == name:
                return figure.value
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is to be made, in an empty folder of its own."""

    case: str
    cell: str
    seed: int
    asked: str
    run: Callable[[Path], Result]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of the matrices is asked for; what is None is as issue 5 has it."""

    rows: int | None = None
    seeds: int | None = None
    grace: float | None = None
    quick: bool = False
