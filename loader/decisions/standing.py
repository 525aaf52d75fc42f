"""Whether the fast path is still to be tried, or what boto3 does instead shows that the fault is its own."""

from dataclasses import dataclass, replace
from typing import Self

STRIKES = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """
    How often in a row the fast path had a fault where boto3, asked next, got an answer.

    A server that goes away fails the requests of all threads at once, which says no more than one of them: a
    fault counts only if its try began in the present `round`, that is, after the strike before it. Once lost
    the fast path stays so, whatever tries that were still under way come to.
    """

    strikes: int = 0
    round: int = 0

    @property
    def lost(self) -> bool:
        """The fast path is not to be tried again."""
        return self.strikes >= STRIKES

    def answered(self) -> Self:
        """The fast path got an answer."""
        return self._anew()

    def overtaken(self, began: int) -> Self:
        """boto3 got an answer after a fault of a fast try that began in round `began`."""
        if began != self.round:
            return self
        return replace(self, strikes=self.strikes + 1, round=self.round + 1)

    def failed(self) -> Self:
        """boto3 got no answer either: whatever is wrong, it is not the fast path alone."""
        return self._anew()

    def _anew(self) -> Self:
        return self if self.lost else replace(self, strikes=0)
