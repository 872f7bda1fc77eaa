"""How a point ended, and why."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

from pytest_bench.bounds import Bound


class Outcome(StrEnum):
    """Of a point. Only `PASS` is good."""

    PASS = "pass"  # noqa: S105 # a word of the contract, no password
    FAIL = "fail"
    """Measured, and not good enough."""
    INCONCLUSIVE = "inconclusive"
    """The declared interval, or the uncertainty of the measurement, spans the bound."""
    ERROR = "error"
    """Could not be measured, or not be trusted."""
    MISSING = "missing"
    """Never reported."""

    @property
    def severity(self) -> int:
        """The higher the worse; `ERROR` and `MISSING` are equally bad."""
        return _SEVERITY[self]


_SEVERITY = {
    Outcome.PASS: 0,
    Outcome.INCONCLUSIVE: 1,
    Outcome.FAIL: 2,
    Outcome.MISSING: 3,
    Outcome.ERROR: 3,
}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of them, `ERROR` before `MISSING`; `PASS` where there are none."""
    return max(
        outcomes, key=lambda outcome: (outcome.severity, outcome is Outcome.ERROR), default=Outcome.PASS
    )


class Reason(msgspec.Struct, frozen=True, order=True):
    """One reason why something is not a pass."""

    code: str
    """Stable, for machines."""
    sentence: str
    """For people: what was wrong, where, what was expected, what to do next."""


BoundState = Literal["met", "not-met", "inconclusive", "undefined"]


class JudgedBound(msgspec.Struct, frozen=True, kw_only=True):
    """A bound beside what was measured."""

    bound: Bound
    measured: float | None
    """In the bound's base unit; None where the metric is null."""
    state: BoundState
    sentence: str
    """Measured, required, and where the requirement stands."""
    interval: tuple[float, float] | None = None
    """What the value may be, within the confidence that the bound declares and the uncertainty of the measurement;
    None where the bound declares none and the value is exact."""

    def is_met(self) -> bool:
        """Whether the numbers themselves, and not only `state`, say that the bound is met."""
        if self.state != "met" or self.measured is None:
            return False
        judged = (
            (self.measured,) if self.interval is None and self.bound.confidence is None else self.interval
        )
        return judged is not None and all(self.bound.holds(value) for value in judged)


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of judging one point: travels with its call report and stands in its summary."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    """Why it is not a pass; empty for one that is."""
    bounds: tuple[JudgedBound, ...] = ()
    labels: tuple[str, ...] = ()
    """`unbounded`, `simulator`, `cache-shared`, `unofficial`, …"""
