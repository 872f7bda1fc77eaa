"""The outcome of a point, and the reasons for it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

from pytest_bench.bounds import Bound


class Outcome(StrEnum):
    """Outcome of a point. Only `PASS` is good."""

    PASS = "pass"  # noqa: S105 # not a password
    FAIL = "fail"
    """Measured, and a bound or rule is not met."""
    INCONCLUSIVE = "inconclusive"
    """The declared interval, or the uncertainty of the measurement, spans the bound."""
    ERROR = "error"
    """Could not be measured, or is not trustworthy."""
    MISSING = "missing"
    """Not reported, withheld, or left out although it must run."""

    @property
    def severity(self) -> int:
        """Higher is worse; `ERROR` and `MISSING` are equal."""
        return _SEVERITY[self]


_SEVERITY = {
    Outcome.PASS: 0,
    Outcome.INCONCLUSIVE: 1,
    Outcome.FAIL: 2,
    Outcome.MISSING: 3,
    Outcome.ERROR: 3,
}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst outcome, `ERROR` before `MISSING`; `PASS` if `outcomes` is empty."""
    return max(
        outcomes, key=lambda outcome: (outcome.severity, outcome is Outcome.ERROR), default=Outcome.PASS
    )


class Reason(msgspec.Struct, frozen=True, order=True):
    """One reason why a point or session does not pass."""

    code: str
    """Stable identifier for programs."""
    sentence: str
    """Text for people: what was wrong, where, what was expected, what to do next."""


BoundState = Literal["met", "not-met", "inconclusive", "undefined"]


class JudgedBound(msgspec.Struct, frozen=True, kw_only=True):
    """A bound and the measured value."""

    bound: Bound
    measured: float | None
    """In the bound's base unit; None if the metric is null."""
    state: BoundState
    sentence: str
    """The measured value, the requirement, and its origin."""
    interval: tuple[float, float] | None = None
    """The confidence interval that the bound declares, widened by the uncertainty of the measurement; None if the
    bound declares no confidence and the value is exact."""

    def is_met(self) -> bool:
        """Whether the bound is met according to both `state` and the numbers."""
        if self.state != "met" or self.measured is None:
            return False
        judged = (
            (self.measured,) if self.interval is None and self.bound.confidence is None else self.interval
        )
        return judged is not None and all(self.bound.holds(value) for value in judged)


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The result of judging one point. It is in the point's call report and in its summary."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    """Why the point does not pass; empty if it passes."""
    bounds: tuple[JudgedBound, ...] = ()
    labels: tuple[str, ...] = ()
    """`unbounded`, `simulator`, `cache-shared`, `unofficial`, …"""
