"""
How many write units a second a load asks of a table, by what the table took and what it refused.

A table that refuses all the time shows its capacity: it is what it accepts meanwhile. So the rate is set a
bit below what was accepted, and creeps up until something is refused again. What was not asked for below the
capacity lies in the table's bucket (at least a second's worth) and is had above it: a slow saw around the
capacity uses all of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from loader.capacity import WriteCapacity
from loader.config import BATCH_LIMIT

FLOOR = 1.0
"""Write units a second that are always asked for: less would never find out that there is more."""
# For an item that costs more, so many seconds; of what the table is said to take, or ever took, so much.
_ITEM_SECONDS, _FLOOR_PART = 2.0, 0.01

# Seconds of a doubling while nothing was ever refused: a table without a limit is not slowed for long. What a
# provisioned table takes beyond its setting comes out of its bucket, and there is no hurry to empty that.
_SEARCH, _SEARCH_PROVISIONED = 0.25, 1.0
# Of the ceiling, a second. Refused is this times half the time until it is heard (some 0.2 s). Where there
# may be company, it is of what the table is said to take, and both rise.
_CREEP, _CREEP_SHARED = 0.05, 0.03
# Below the ceiling after refusals. What is cut is not lost while the bucket (one second's worth) has room for
# it. Where there may be company, it is times the own part: the larger gives more, so they become equal.
_CUT, _CUT_SHARED = 0.02, 0.15
# Of what the table is said to take: who gets clearly less may have company; who gets hardly any of it has
# met something else (partitions), but rises as if it had so much, in case it was pushed aside.
_ALONE, _ELSEWHERE, _LEAST = 0.88, 0.2, 0.05
# Above the rate that was refused last, with nothing refused: the ceiling has moved. The rise gets steeper
# with the distance (a second, each), so that an error of a percent does no harm, up to doubling (seconds).
_MOVED, _CHASE, _CHASE_DOUBLING = 0.015, 10.0, 0.35
# That rate is remembered up to so much above the ceiling, and fades with each saw, for it may have been one
# that overshot. With company it is higher: the other's cut leaves room in the bucket.
_CREST, _CREST_SHARED, _FADE = 1.1, 1.25, 0.98
# Refused, of what was asked: so little says nothing of the table (a key that many rows have); so much ends a
# saw (a tenth of a second has more chance in it); so much cannot wait until it is known how far to fall.
_NOISE, _CLEAR, _SHARP = 0.005, 0.01, 0.1
# A part refused that leaves open what can be had, and the seconds without any after which that is asked for.
_HALF, _SURE = 0.5, 0.2
# How far two ways to tell what was accepted may be apart; and the part of the rate that a trial leaves at
# least, for what is refused altogether may be had again in a moment.
_AGREE, _LOWEST = 0.05, 0.2
# Times the seconds between samples with requests: what a trial takes, and a change to be seen.
_MEASURE, _SETTLE = 2, 2
# Seconds of a saw from which on its mean is good.
_SAW = 1.0
# Seconds between judgements. Of few and large items it takes more to see anything, and all times are longer
# in proportion, rises up to so much; so much more refused in one of them may be chance.
_SPAN, _LONGEST_SPAN, _ITEMS = 0.1, 1.0, 10.0
_MOST_PATIENT, _SLOWEST = 2.5, 3.0
# Refusals that do not get fewer with the rate are not the rate's doing: where after so many seconds (another
# load that begins overshoots for a while) so little of the rate is left, and still so much of the part is
# refused, the first rate is tried again. There so many times as much may be refused, up to a part that no
# load can live with; more says that it was the rate after all. It is forgotten in some times so many seconds.
_IN_VAIN, _LOWER, _AS_MUCH = 4.0, 0.7, 0.4
_TOLERANCE, _MOST_NOISE, _FORGET = 2.0, 0.8, 20.0
# Requests refused, at least to be expected, that tell a part from chance.
_EVENTS = 5
# Times what was used lately: no rise beyond. A rate that doubles is some 0.45 s ahead of what is seen.
_ROOM = 4.0
# The weight of a sample in running means: they look back some three samples.
_SMOOTH = 0.3
# Seconds: less is no sample, and no rise is for more (the machine may have slept).
_INSTANT, _LONG = 1e-3, 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What all workers did in `seconds`: `items` written or refused, write units charged (`used`), and an
    estimate of those throttled or handed back; `held`: batches waited for the pace, so more would have been
    sent.
    """

    seconds: float
    items: float
    used: float
    refused: float
    held: bool

    def __add__(self, other: "Sample") -> "Sample":
        return Sample(
            self.seconds + other.seconds,
            self.items + other.items,
            self.used + other.used,
            self.refused + other.refused,
            self.held or other.held,
        )

    @property
    def part(self) -> float:
        """Of what was asked, refused."""
        asked = self.used + self.refused
        return self.refused / asked if asked > 0 else 0.0


_NOTHING = Sample(0.0, 0.0, 0.0, 0.0, False)


@dataclass(frozen=True, slots=True)
class _Cut:
    """
    A rate, and the part of what was asked that was refused at it; units asked and refused at lower ones in
    the `seconds` since, and the sum of the parts of those.
    """

    rate: float
    part: float
    seconds: float = 0.0
    asked: float = 0.0
    refused: float = 0.0
    parts: float = 0.0

    def __add__(self, sample: Sample) -> "_Cut":
        return replace(
            self,
            seconds=self.seconds + sample.seconds,
            asked=self.asked + sample.used + sample.refused,
            refused=self.refused + sample.refused,
            parts=self.parts + sample.part * sample.seconds,
        )

    @property
    def still(self) -> float:
        """The part refused since, by time: a moment at a much too high rate is not to count for minutes."""
        return self.parts / self.seconds if self.seconds else self.part


@dataclass(frozen=True, slots=True)
class Pace:
    """
    `rate` is write units a second over all workers; None is no limit, until something is refused.

    `cap` bounds it; `told` is what the table is said to take. At first the rate doubles in `search` seconds.
    `ceiling` is what was taken when something was refused last, None if it never was, and `crest` the rate at
    that time; `good` is what may be had again after nearly all was refused, and `best` the most that was
    taken since the beginning. `trial` are the samples since a refusal, without the first, which is only
    partly refused; `saw` those since the last cut, while the pace held the load. Nothing is judged for
    `settling` seconds after a cut: it is not yet seen.

    `flow` is what was used lately, a second; `gap` are the seconds between samples in which anything was
    asked, `still` those since the last one. `item` is the units of an item; while items are few, samples are
    `pending` until there are enough to judge, and all times are longer by `stretch`. `noise` is the part of
    what is asked whose refusal says nothing, `calm` the seconds without more than that, and `cut` what the
    next cuts are compared with, to find refusals that have nothing to do with the rate.
    """

    rate: float | None
    cap: float | None = None
    told: float | None = None
    search: float = _SEARCH
    ceiling: float | None = None
    good: float = 0.0
    best: float = 0.0
    crest: float = 1.0
    trial: Sample | None = None
    saw: Sample | None = None
    settling: float = 0.0
    flow: float = 0.0
    gap: float = _SPAN
    still: float = 0.0
    item: float = 1.0
    pending: Sample = _NOTHING
    stretch: float = 1.0
    noise: float = _NOISE
    calm: float = 0.0
    cut: _Cut | None = None

    def after(self, sample: Sample) -> Self:
        """The pace from now on. Time passes by `sample.seconds` alone."""
        if sample.seconds < _INSTANT:
            return self
        sample += self.pending
        item = self.item
        if sample.items >= 1:
            # No item costs less than one; where nothing is told of any, it is as if it did.
            units = max(1.0, (sample.used + sample.refused) / sample.items)
            item += (min(1.0, sample.seconds) if self.flow else 1.0) * (units - item)
        span = min(_LONGEST_SPAN, max(_SPAN, _ITEMS * item / self.rate)) if self.rate else _SPAN
        if sample.seconds < 0.9 * span:
            return replace(self, pending=sample, item=item)
        return replace(self, pending=_NOTHING, item=item, stretch=span / _SPAN)._judged(sample)

    @property
    def at_cap(self) -> bool:
        """Whether the cap is all that bounds the rate."""
        return self.cap is not None and self.rate is not None and self.rate >= self.cap

    def _judged(self, sample: Sample) -> Self:
        seen = self._seen(sample)
        if seen.saw is not None:
            # What a table saves up while it is not asked for all is no part of what it takes a second.
            seen = replace(seen, saw=seen.saw + sample if sample.held else None)
        if seen.settling > 0:
            return replace(seen, settling=seen.settling - sample.seconds)
        if not sample.used and not sample.refused:
            return seen
        if seen.cut is not None:
            # Time in which nothing was asked says nothing of the part refused.
            seen = replace(seen, cut=seen.cut + sample)
        if seen.trial is not None:
            return seen._tried(seen.trial + sample)
        if sample.part > seen.noise:
            return seen._refused(sample)
        seen = replace(seen, calm=seen.calm + sample.seconds)
        return seen._risen(min(sample.seconds, _LONG)) if sample.held else seen

    def _seen(self, sample: Sample) -> Self:
        noise = max(_NOISE, self.noise * 0.5 ** (sample.seconds / _FORGET))
        if not sample.used and not sample.refused:
            return replace(self, still=self.still + sample.seconds, noise=noise)
        still = self.still + sample.seconds
        weight = min(1.0, _SMOOTH * still / self.gap)
        return replace(
            self,
            noise=noise,
            still=0.0,
            gap=self.gap + _SMOOTH * (still - self.gap),
            flow=self.flow + weight * (sample.used / still - self.flow),
        )

    def _refused(self, sample: Sample) -> Self:
        """
        The first refusal since a while. At both ends of a saw the bucket is empty, so that its mean is the
        capacity. Where there was none, or the rate is far off, a trial tells what is accepted.
        """
        if self.noise > _NOISE:
            return replace(self, trial=_NOTHING, calm=0.0)
        if sample.part <= _SHARP * min(self.stretch, _MOST_PATIENT):
            saw = self.saw
            if (
                saw is not None
                and saw.seconds >= _SAW * self.stretch
                and (self.rate or 0.0) < self.crest * _CREST
            ):
                if sample.part <= _CLEAR:
                    return self
                return self._lowered(saw.used / saw.seconds, sample.part)
            return replace(self, trial=_NOTHING, calm=0.0)
        if self.rate is None:
            return replace(self, trial=_NOTHING, calm=0.0)
        # What was taken in this sample is no less than what can be taken.
        known = self.ceiling or self.told or 0.0
        rate = self._bounded(min(self.rate, max(sample.used / sample.seconds, known)))
        return replace(self, rate=rate, trial=_NOTHING, calm=0.0)

    def _tried(self, trial: Sample) -> Self:
        if trial.seconds < _MEASURE * self.gap * 0.99 or self._is_chance(trial):
            return replace(self, trial=trial)
        if trial.part <= self.noise:
            return replace(self, trial=None)
        accepted = trial.used / trial.seconds
        if self.rate is not None:
            # Reports come when they come, so that what was used in a short time is not exact; the rate is.
            exact = self.rate * (1 - trial.part)
            if abs(exact - accepted) < _AGREE * exact:
                accepted = exact
            # Where little was asked, little was taken: that is no capacity.
            accepted = max(accepted, exact, _LOWEST * self.rate)
        return self._lowered(accepted, trial.part)

    def _is_chance(self, trial: Sample) -> bool:
        """Whether it is too early to say that more is refused than what does not count."""
        asked = trial.used + trial.refused
        return self.noise > _NOISE and asked * self.noise < 2 * _EVENTS * BATCH_LIMIT * self.item

    def _lowered(self, accepted: float, part: float) -> Self:
        """The table refuses a part of what it is asked, and takes `accepted` units a second."""
        accepted = max(accepted, FLOOR)
        asked = self.rate if self.rate is not None else accepted / (1 - min(part, 0.99))
        last = self._followed(asked, part)
        sure = last.seconds >= _IN_VAIN and last.refused >= _EVENTS * BATCH_LIMIT * self.item
        if sure and asked <= _LOWER * last.rate and _TOLERANCE * last.still <= _MOST_NOISE:
            return replace(
                self,
                rate=self._bounded(last.rate),
                noise=_TOLERANCE * last.still,
                cut=None,
                trial=None,
                saw=None,
                calm=0.0,
            )
        told = self.told or accepted
        shared = _ELSEWHERE * told < accepted < _ALONE * told
        # The larger of two gives more.
        depth = max(_CUT, _CUT_SHARED * accepted / told) if shared else _CUT
        rate = accepted * (1 - depth)
        if self.rate is not None:
            rate = min(rate, self.rate)
        most = accepted * (_CREST_SHARED if shared else _CREST)
        crest = min(max(self.rate or 0.0, _FADE * self.crest), most)
        return replace(
            self,
            rate=self._bounded(rate),
            ceiling=accepted,
            good=accepted if part < _HALF else max(accepted, max(self.good, asked) / 2),
            best=max(self.best, accepted) if part < _HALF else self.best,
            # A saw is about as high above the ceiling as it is deep below.
            crest=max(accepted * (1 + 2 * depth), crest),
            trial=None,
            saw=_NOTHING,
            noise=_NOISE,
            calm=0.0,
            cut=last,
            settling=_SETTLE * self.gap,
        )

    def _followed(self, rate: float, part: float) -> _Cut:
        """What to compare the next cuts with, after one at `rate`, of which a `part` was refused."""
        last = self.cut
        if last is None:
            return _Cut(rate, part)
        # Chance has its part in it, the more the fewer requests there were.
        enough = last.asked * last.part >= _EVENTS * BATCH_LIMIT * self.item
        return _Cut(rate, part) if enough and last.still < _AS_MUCH * last.part else last

    def _risen(self, seconds: float) -> Self:
        if self.rate is None:
            return self
        if self.ceiling is None:
            rate = self.rate * 2 ** (seconds / self.search)
        elif self.rate < self.good / 2 and self.calm > _SURE:
            # What was refused altogether for a moment, and is no more.
            rate = min(self.good / 2, self.rate * 2 ** (seconds / _SEARCH))
        else:
            beyond = max(0.0, self.rate / self.crest - 1 - _MOVED)
            steep = min(_CHASE * beyond, math.log(2) / _CHASE_DOUBLING)
            slower = min(self.stretch, _SLOWEST)
            rate = (
                self.rate * math.exp(steep * seconds / slower) + self._creep(self.ceiling) * seconds / slower
            )
        return replace(self, rate=self._bounded(max(self.rate, min(rate, _ROOM * self.flow))))

    def _creep(self, ceiling: float) -> float:
        """Units a second by which the rate rises each second on the way to the next refusal."""
        told = max(self.told or 0.0, ceiling)
        part = ceiling / told
        if part >= _ALONE:
            return _CREEP * ceiling
        if part <= _ELSEWHERE:
            return _CREEP_SHARED * max(ceiling, _LEAST * told)
        # Two loads rise by units, not by parts of what they have, the smaller by more: they become equal.
        return _CREEP_SHARED * min(told * (3 - 2.5 * part), 4 * ceiling)

    def _bounded(self, rate: float) -> float:
        rate = max(rate, FLOOR, self.item / _ITEM_SECONDS, _FLOOR_PART * max(self.told or 0.0, self.best))
        return rate if self.cap is None else min(rate, self.cap)


def first_pace(capacities: Sequence[WriteCapacity], cap: float | None) -> Pace:
    """
    Where a load begins: with what the table (the first of the `capacities`) and its global indexes are said
    to take, at most `cap`; without a limit where nothing is known. A row is taken to cost each the same.
    """
    known = [units for each in capacities if (units := _told(each)) is not None]
    told = min(known) * len(capacities) if known else None
    rates = [rate for rate in (told, cap) if rate is not None]
    search = _SEARCH if capacities[0].provisioned is None else _SEARCH_PROVISIONED
    return Pace(min(rates, default=None), cap, told, search)


def _told(capacity: WriteCapacity) -> float | None:
    on_demand = [units for units in (capacity.maximum, capacity.warm) if units]
    return float(capacity.provisioned or min(on_demand, default=0)) or None
