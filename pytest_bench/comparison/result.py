"""The result of a comparison, as it is written to JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_bench.metrics.shifts import Answer

COMPARISON_VERSION = 1

Mark = Literal["better", "worse", "differs", ""]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one point, on both sides."""

    point: str
    metric: str
    unit: str
    baseline: float
    """Of several sessions: their mean, which is the geometric one if the difference is relative."""
    candidate: float
    relative: bool
    change: float
    """A fraction of the baseline if `relative`, otherwise a difference in `unit`."""
    low: float | None = None
    high: float | None = None
    """95 % confidence interval of the change, widened by the uncertainty of the measurement."""
    method: str = ""
    """`pairs` or `groups` of sessions, `blocks` within one session each, `items` of an eval."""
    reason: str = ""
    """Why there is no interval."""
    mark: Mark = ""
    """Set if the difference is beyond noise, with all differences of the comparison taken together."""
    flips: tuple[int, int] | None = None
    """Of an eval with binary scores: items that only the candidate has right, and that only the baseline has."""
    mcnemar_p: float | None = None
    """Two-sided exact p-value of no difference."""
    incomparable: tuple[str, ...] = ()
    """Why the two sides are not comparable."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A condition, judged on one point."""

    condition: str
    point: str
    answer: Answer
    sentence: str
    more: int | None = None
    """Further sessions of each system that decide, if the answer is `cannot tell`; None: repeats do not help."""
    incomparable: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two sides, compared."""

    version: int = COMPARISON_VERSION
    baseline: str
    candidate: str
    sessions: tuple[int, int]
    """Of either side."""
    differences: tuple[Difference, ...]
    judged: tuple[Judged, ...]
    problems: tuple[str, ...]
    """Why points, or whole sides, could not be compared. Any of them makes the comparison an error."""
