"""How far a metric of two systems is apart: its confidence interval, and whether the evidence decides on a limit.

A shift is candidate minus baseline. Relative differences are shifts of logarithms, so that +25 % and -20 % are equally
far from none. These kinds of evidence give one:

- *pairs*: repeated sessions that alternate in time. Student's t of the differences within pairs, which cancels drift.
- *groups*: repeated sessions of each system, unpaired. Welch's t (Welch 1947).
- *blocks*: one session of each. Each has an interval of its own, from blocks of dependent requests; the two are
  combined by the method of variance estimates recovery (Zou and Donner 2008, Statistics in Medicine 27, equation 8).
  It knows nothing of how sessions differ from each other.
- *shares*: requests counted over all sessions, for shares that are equal in all of them. Wilson's intervals, combined
  in the same way (Newcombe 1998, Statistics in Medicine 17, method 10).

Repeating until a difference is significant finds one that does not exist far more often than the level of the test
says. Stein's two-stage procedure (1945, Annals of Mathematical Statistics 16) avoids that: the spread is estimated from
the first stage only, and the number of repeats follows from this spread and from the smallest difference that matters.
For normal values, the errors of the test are then exact, whatever the number. A decision before that number is reached
uses a small share of the error, and the last decision uses the rest (Haybittle 1971; Peto et al. 1976).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import numpy as np

from pytest_bench.metrics.distributions import normal_quantile, student_quantile
from pytest_bench.metrics.intervals import Pair
from pytest_bench.metrics.observed import NotDefined

ERROR = 0.025
"""One-sided error of a decision: probability that it says `worse`, or `not worse`, at a limit that is met exactly."""
FIRST_STAGE = 6
"""Sessions of each system from which the spread is estimated; fewer have no interval."""
POWER = 0.95
"""Probability that the number of repeats decides a difference from the limit that is as large as the resolution."""
_EARLY = 0.05
"""Share of the error that a decision before this number may use. Two of them and the last one use all of it."""
_LAST = 0.9

Method = Literal["pairs", "groups", "blocks", "shares"]
Answer = Literal["not worse", "worse", "cannot tell"]


class Tails(NamedTuple):
    """Probabilities that an interval leaves out on either side."""

    early: float
    """For a decision before the number of repeats is reached."""
    last: float

    @classmethod
    def of(cls, decisions: int) -> Tails:
        """Of each of several decisions, which together are wrong as often as one may be (Bonferroni)."""
        return cls(_EARLY * ERROR / decisions, _LAST * ERROR / decisions)


class Shift(Protocol):
    """A shift with its uncertainty."""

    @property
    def value(self) -> float: ...

    @property
    def method(self) -> str: ...

    @property
    def repeats(self) -> int:
        """Sessions of each system."""

    def limits(self, tail: float) -> Pair:
        """The interval that leaves out `tail` on either side. Raises `NotDefined` if there is none."""

    def needed(self, tail: float, resolution: float) -> int:
        """Sessions of each system that decide a difference of `resolution` from a limit."""


class Sampled(NamedTuple):
    """A shift from repeated sessions."""

    method: Method
    value: float
    error: float
    """Standard error, with the spread of the first stage."""
    degrees: float
    """Degrees of freedom of that spread."""
    repeats: int
    """Sessions of each system; the smaller number, if they differ."""

    def limits(self, tail: float) -> Pair:
        half = _student(1 - tail, self.degrees) * self.error
        return self.value - half, self.value + half

    def needed(self, tail: float, resolution: float) -> int:
        """Sessions of each system that decide a difference of `resolution` from a limit (Stein 1945)."""
        deviates = _student(1 - tail, self.degrees) + _student(POWER, self.degrees)
        spread = self.error * math.sqrt(self.repeats)
        return max(FIRST_STAGE, math.ceil((deviates * spread / resolution) ** 2 - 1e-9))


class Recovered(NamedTuple):
    """A shift from one session of each system, or of two shares."""

    value: float
    baseline: float
    candidate: float
    intervals: Callable[[float], tuple[Pair, Pair]]
    """Of the baseline and of the candidate for a tail. Raises `NotDefined`."""
    method: Method = "blocks"
    repeats: int = 1

    def limits(self, tail: float) -> Pair:
        (low, high), (new_low, new_high) = self.intervals(tail)
        return (
            self.value - math.hypot(self.candidate - new_low, high - self.baseline),
            self.value + math.hypot(new_high - self.candidate, self.baseline - low),
        )

    def needed(self, tail: float, resolution: float) -> int:
        """As `Sampled.needed`, as far as the spread within these sessions says; those that there are if they decide."""
        low, high = self.limits(tail)
        error = (high - low) / 2 / normal_quantile(1 - tail)
        if (normal_quantile(1 - tail) + normal_quantile(POWER)) * error <= resolution:
            return self.repeats
        degrees = FIRST_STAGE - 1
        deviates = _student(1 - tail, degrees) + _student(POWER, degrees)
        return max(FIRST_STAGE, math.ceil((deviates * error / resolution) ** 2))


class Decision(NamedTuple):
    answer: Answer
    low: float
    high: float
    """The interval of the last decision."""
    needed: int | None
    """Sessions of each system that the decision needs; those that there are, if they suffice. None if no number would
    do, because the measurement is not certain enough."""


def decide(shift: Shift, limit: float, resolution: float, tails: Tails, uncertainty: float = 0.0) -> Decision:
    """Decide whether the shift exceeds `limit`; larger is worse. `resolution`: the smallest excess that matters.

    `uncertainty` of the measurement itself widens every interval; repeats do not make it smaller. Raises `NotDefined`
    if the interval of the last decision is not defined.
    """
    needed = shift.needed(tails.last, resolution - uncertainty) if uncertainty < resolution else None
    low, high = shift.limits(tails.last)
    is_last = needed is not None and shift.repeats >= needed
    judged = (low, high) if is_last else _early_limits(shift, tails)
    answer: Answer = "cannot tell"
    if judged[0] - uncertainty > limit:
        answer = "worse"
    elif judged[1] + uncertainty <= limit:
        answer = "not worse"
    return Decision(
        answer,
        low - uncertainty,
        high + uncertainty,
        None if needed is None else max(needed, shift.repeats),
    )


def _early_limits(shift: Shift, tails: Tails) -> Pair:
    try:
        return shift.limits(tails.early)
    except NotDefined:
        return -math.inf, math.inf


def of_pairs(baseline: Sequence[float], candidate: Sequence[float]) -> Sampled:
    """The shift of sessions in pairs, in the order of time. Raises `NotDefined` if they are too few or do not vary."""
    _require_first_stage(len(baseline))
    differences = np.subtract(candidate, baseline)
    spread = _spread(differences)
    if not spread:
        raise NotDefined(
            "all pairs of sessions differ by the same amount, which repeated measurements never do"
        )
    return Sampled(
        "pairs",
        float(np.mean(differences)),
        spread / math.sqrt(len(differences)),
        FIRST_STAGE - 1,
        len(differences),
    )


def of_groups(baseline: Sequence[float], candidate: Sequence[float]) -> Sampled:
    """The shift of unpaired sessions, each group in the order of time. Raises `NotDefined` as `of_pairs`."""
    _require_first_stage(min(len(baseline), len(candidate)))
    variances = [_spread(np.asarray(group)) ** 2 for group in (baseline, candidate)]
    if not all(variances):
        raise NotDefined(
            "all sessions of a system have the same value, which repeated measurements never have"
        )
    counts = len(baseline), len(candidate)
    squares = [variance / count for variance, count in zip(variances, counts, strict=True)]
    degrees = sum(squares) ** 2 / sum(square**2 / (FIRST_STAGE - 1) for square in squares)
    return Sampled(
        "groups",
        float(np.mean(candidate) - np.mean(baseline)),
        math.sqrt(sum(squares)),
        degrees,
        min(counts),
    )


def mean_of_sessions(values: Sequence[float]) -> Sampled:
    """The mean of one system's sessions, in the order of time. Raises `NotDefined` as `of_pairs`."""
    return of_pairs([0.0] * len(values), values)


def _spread(values: np.ndarray) -> float:
    return float(np.std(values[:FIRST_STAGE], ddof=1))


def _require_first_stage(count: int) -> None:
    if count < FIRST_STAGE:
        raise NotDefined(f"{count} sessions of each system; an interval needs {FIRST_STAGE}")


@lru_cache(maxsize=256)
def _student(probability: float, degrees: float) -> float:
    return student_quantile(probability, degrees)
