"""Confidence interval of the ratio of two throughputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pytest_bench.metrics.distributions import student_quantile

METHOD = "batch means of gaps between completions, delta method on the logarithm, Welch-Satterthwaite"

_BATCHES = 10
_FEWEST = 2 * _BATCHES
"""Completions that a phase must have for an interval."""


def ratio_interval(
    started_ns: int, completions_ns: Sequence[int], over: tuple[int, Sequence[int]], confidence: float
) -> tuple[float, float] | None:
    """Two-sided interval of one phase's completion rate divided by another's.

    None for fewer than 20 completions in either phase, and if one batch of completions took half of a phase's time:
    answers that arrive in one wave are one observation, not many.

    A rate is one over the mean gap between completions. Gaps of requests in flight together depend on each
    other, so the mean and its error come from 10 batches of consecutive gaps (Law, Simulation Modeling and
    Analysis, 9.5.3). The two phases are independent, so on the logarithmic scale their squared relative
    errors add up (delta method), with the degrees of freedom of Welch and Satterthwaite.
    """
    ours, theirs = _batched(started_ns, completions_ns), _batched(*over)
    if ours is None or theirs is None:
        return None
    (mean, error), (other_mean, other_error) = ours, theirs
    total = error + other_error
    log_ratio = math.log(other_mean / mean)
    if total == 0:
        return math.exp(log_ratio), math.exp(log_ratio)
    # Rounded down, which widens the interval.
    freedom = int(total**2 * (_BATCHES - 1) / (error**2 + other_error**2))
    half = student_quantile(0.5 + confidence / 2, freedom) * math.sqrt(total)
    return math.exp(log_ratio - half), math.exp(log_ratio + half)


def _batched(started_ns: int, completions_ns: Sequence[int]) -> tuple[float, float] | None:
    """Mean gap in nanoseconds, and its squared relative standard error."""
    if len(completions_ns) < _FEWEST:
        return None
    gaps = np.diff(np.asarray([started_ns, *completions_ns], dtype=np.float64))
    batches = np.array_split(gaps, _BATCHES)
    total = float(gaps.sum())
    if max(float(batch.sum()) for batch in batches) >= total / 2:
        return None
    mean = total / gaps.size
    spread = float(np.var([batch.mean() for batch in batches], ddof=1))
    return mean, spread / _BATCHES / mean**2
