"""
How many write units a second a load asks of a table, by what the table took and what it refused.

A table that refuses all the time shows its capacity: it is what it accepts meanwhile. So the rate is set a
bit below what was accepted, and creeps up until something is refused again. What was not asked for below the
capacity lies in the table's bucket (at least a second's worth) and is had above it: a slow saw around the
capacity uses all of it.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

from loader.capacity import WriteCapacity

FLOOR = 1.0
"""Write units a second that are always asked for: less would never find out that there is more."""

# While nothing was ever refused: a table without a limit is not slowed for long.
_SEARCH_DOUBLING = 0.25
# Of the scale, a second. The part refused is this times half the time it takes to hear and judge (0.5 s).
_CREEP = 0.035
# Below the accepted rate after refusals, alone and where others take a part: AIMD becomes fair by its cuts.
_CUT, _CUT_SHARED = 0.02, 0.08
# Of what the table is said to take: who gets clearly less has company, who gets hardly any of it meets
# another limit (its partitions).
_ALONE, _ELSEWHERE = 0.95, 0.2
# Of what the table is said to take: no rise is slower than that of one who gets so much.
_LEAST = 0.05
# A rate above the ceiling by more than a saw's height, with nothing refused: the ceiling has moved. The rise
# gets steeper with the distance (a second, each), so that an error of a percent does no harm.
_MOVED = 0.015
_CREST = 1.1
_FADE = 0.98
_CHASE = 10.0
_CHASE_DOUBLING = 0.35
# The refused part of what was asked that says nothing of the table: a key that many rows have.
_NOISE = 0.005
# From this part on the rate is so much too high that it falls before it is known to what.
_SHARP = 0.1
# Times what was used lately: no rise beyond, whatever holds the load.
_ROOM = 4.0
# How far two ways to tell what was accepted may be apart.
_AGREE = 0.05
# Times between requests (at least between samples) that a measurement takes, and a change to be seen.
_MEASURE, _SETTLE = 3, 3
_LUMPS = 16
_FEW = 4
_SAW = 1.0
_CLEAR = 0.01
_SMOOTH = 0.3


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What all workers did in `seconds`: write units charged, and an estimate of those throttled or handed back;
    `held`: batches waited for the pace, so that more would have been sent at a higher rate.
    """

    seconds: float
    used: float
    refused: float
    held: bool


@dataclass(frozen=True, slots=True)
class _Trial:
    """Samples since the first refusal, that one (which is only partly refused) left out."""

    seconds: float = 0.0
    used: float = 0.0
    refused: float = 0.0

    def __add__(self, sample: Sample) -> "_Trial":
        return _Trial(self.seconds + sample.seconds, self.used + sample.used, self.refused + sample.refused)

    @property
    def part(self) -> float:
        asked = self.used + self.refused
        return self.refused / asked if asked else 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """
    `rate` is write units a second over all workers; None is no limit, until something is refused.

    `cap` bounds it; `told` is what the table is said to take. `ceiling` is what it last accepted while it
    refused, `cut` how far below that the rate went. `flow` is what was used lately (units a second), `gap`
    the seconds between samples in which anything was asked, `still` those since the last one; `settling` are
    seconds for which a change is not yet seen.
    """

    rate: float | None
    cap: float | None = None
    told: float | None = None
    ceiling: float | None = None
    crest: float = 1.0
    trial: _Trial | None = None
    saw: _Trial | None = None
    settling: float = 0.0
    flow: float = 0.0
    gap: float = 0.1
    still: float = 0.0
    asked: float = 0.0
    lump: float = 0.0

    def after(self, sample: Sample) -> Self:
        """The pace from now on. Time passes by `sample.seconds` alone."""
        if sample.seconds <= 0:
            return self
        seen = self._seen(sample)
        if seen.saw is not None:
            # What a table saves up while it is not asked for all is no part of what it takes a second.
            seen = replace(seen, saw=seen.saw + sample if sample.held else None)
        if not sample.used and not sample.refused:
            return seen
        if seen.settling > 0:
            return replace(seen, settling=seen.settling - sample.seconds)
        if seen.trial is not None:
            return seen._tried(seen.trial + sample)
        if sample.refused > _NOISE * (sample.used + sample.refused):
            return seen._refused(sample)
        return seen._risen(sample.seconds) if sample.held else seen

    def _seen(self, sample: Sample) -> Self:
        still = self.still + sample.seconds
        if not sample.used and not sample.refused:
            return replace(self, still=still)
        weight = min(1.0, _SMOOTH * still / self.gap)
        asked = sample.used + sample.refused
        lump = self.lump + _SMOOTH * (min(abs(asked - self.asked), asked) - self.lump)
        return replace(
            self,
            asked=asked,
            lump=lump,
            still=0.0,
            gap=self.gap + _SMOOTH * (still - self.gap),
            flow=self.flow + weight * (sample.used / still - self.flow),
        )

    def _refused(self, sample: Sample) -> Self:
        """After a saw the capacity is known; otherwise the first refusal begins a trial."""
        asked = sample.used + sample.refused
        sharp = sample.refused > max(_SHARP * asked, 2 * self.lump)
        if not sharp and self.rate is not None and self.saw is not None:
            risen = self.rate < self.crest * _CREST
            if risen and self.saw.seconds >= _SAW and self.saw.used >= _LUMPS * self.lump:
                if sample.refused <= _CLEAR * asked:
                    return self
                return self._lowered(self.saw.used / self.saw.seconds)
        rate = self.rate
        if rate is not None and sharp:
            # What was taken in this sample is no less than what can be taken.
            known = self.ceiling or self.told or 0.0
            rate = self._bounded(min(rate, max(sample.used / sample.seconds, known)))
        return replace(self, rate=rate, trial=_Trial())

    def _tried(self, trial: _Trial) -> Self:
        if trial.seconds < _MEASURE * self.gap * 0.99 or trial.used + trial.refused < _LUMPS * self.lump:
            return replace(self, trial=trial)
        if trial.part <= _NOISE:
            return replace(self, trial=None)
        accepted = trial.used / trial.seconds
        if self.rate is not None:
            # Reports come when they come, so that what was used in a short time is not exact; the rate is.
            exact = self.rate * (1 - trial.part)
            if abs(exact - accepted) < _AGREE * exact:
                accepted = exact
        # Few large requests: one more might have been taken just so.
        if trial.used < _FEW * self.lump:
            accepted = (trial.used + self.lump) / trial.seconds
        return self._lowered(accepted)

    def _lowered(self, accepted: float) -> Self:
        accepted = max(accepted, FLOOR)
        told = self.told or accepted
        shared = _ELSEWHERE * told < accepted < _ALONE * told
        cut = _CUT_SHARED if shared else _CUT
        rate = accepted * (1 - cut)
        if self.rate is not None:
            rate = min(rate, self.rate)
        top = min(max(self.rate or 0.0, _FADE * self.crest), accepted * _CREST)
        return replace(
            self,
            rate=self._bounded(rate),
            ceiling=accepted,
            crest=max(accepted * (1 + cut), top),
            trial=None,
            saw=_Trial(),
            settling=_SETTLE * self.gap,
        )

    def _risen(self, seconds: float) -> Self:
        if self.rate is None:
            return self
        if self.ceiling is None:
            rate = self.rate * 2 ** (seconds / _SEARCH_DOUBLING)
        else:
            told = max(self.told or 0.0, self.ceiling)
            # Two loads on one table rise by the same, or the larger would stay it.
            part = self.ceiling / told
            scale = (
                min(told * (2 - part), 3 * self.ceiling)
                if part > _ELSEWHERE
                else max(self.ceiling, _LEAST * told)
            )
            beyond = max(0.0, self.rate / self.crest - 1 - _MOVED - self.lump / (2 * self.ceiling))
            steep = min(_CHASE * beyond, math.log(2) / _CHASE_DOUBLING)
            rate = self.rate * math.exp(steep * seconds) + _CREEP * scale * seconds
        return replace(self, rate=self._bounded(max(self.rate, min(rate, _ROOM * self.flow))))

    def _bounded(self, rate: float) -> float:
        rate = max(rate, FLOOR)
        return rate if self.cap is None else min(rate, self.cap)


def first_pace(capacity: WriteCapacity, cap: float | None) -> Pace:
    """
    Where a load begins: with what the table is said to take, at most `cap`; without a limit where nothing
    is known.
    """
    on_demand = [units for units in (capacity.maximum, capacity.warm) if units]
    told = float(capacity.provisioned or min(on_demand, default=0)) or None
    rates = [rate for rate in (told, cap) if rate is not None]
    return Pace(rate=min(rates, default=None), cap=cap, told=told)
