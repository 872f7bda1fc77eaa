"""Estimates of a score: value, standard error, and an interval with the method that it was made by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics.distributions import beta_cdf
from pytest_bench.metrics.intervals import of_mean, wilson
from pytest_bench.metrics.observed import NotDefined

Method = Literal["wilson", "t", "bootstrap"]
Spread = Literal["t", "bootstrap"]

_RESAMPLES = 10_000
_CHUNK = 1 << 22
"""Values drawn at once."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Mean score of `n` values on `items` items."""

    n: int
    """Scored responses."""
    items: int
    """Independent units: repeats of an item are one cluster."""
    value: float
    stderr: float | None
    """Sample standard deviation of the items' means over √items, as lm-eval has it; None for a single item."""
    interval: tuple[float, float] | None
    """Two-sided; None if there is too little to make one of."""
    confidence: float
    method: Method


def estimate(
    values: Mapping[str, Sequence[float]],
    *,
    binary: bool,
    confidence: float = 0.95,
    spread: Spread = "t",
    seed: int = 0,
) -> Estimate:
    """Estimate the mean of scores from 0 to 1, given by item: one value a repeat.

    Binary scores without repeats have Wilson's interval. Others have Student's t or, with `spread="bootstrap"`, the
    percentile bootstrap of the items' means from `seed` (Efron and Tibshirani, An Introduction to the Bootstrap,
    chapter 13). Raises `NotDefined` without values.
    """
    if not values or not all(values.values()):
        raise NotDefined("there is no scored item")
    count = sum(map(len, values.values()))
    means = np.array([math.fsum(scores) / len(scores) for scores in values.values()])
    mean = math.fsum(score for scores in values.values() for score in scores) / count
    method: Method
    interval: tuple[float, float] | None
    if binary and count == len(values):
        method, interval = "wilson", wilson(round(math.fsum(means)), count, confidence)
    elif spread == "bootstrap":
        method, interval = "bootstrap", _bootstrap(means, confidence, seed)
    else:
        method, interval = "t", of_mean(means, confidence)
    return Estimate(
        n=count,
        items=len(values),
        value=mean,
        stderr=float(np.std(means, ddof=1)) / math.sqrt(means.size) if means.size > 1 else None,
        interval=None if interval is None else (max(0.0, interval[0]), min(1.0, interval[1])),
        confidence=confidence,
        method=method,
    )


def pass_at_k(correct: int, count: int, k: int) -> float:
    """Unbiased estimate of the probability that one of `k` answers is right, from `count` of which `correct` are.

    1 - C(n - c, k) / C(n, k) (Chen et al. 2021, Evaluating Large Language Models Trained on Code). Raises
    `NotDefined` for n < k.
    """
    if k < 1 or not 0 <= correct <= count:
        raise ValueError(f"pass@{k} of {correct} in {count} is not a share")
    if count < k:
        raise NotDefined(f"pass@{k} needs {k} repeats of each item; there are {count}")
    return 1.0 - math.comb(count - correct, k) / math.comb(count, k)


class Statistic(NamedTuple):
    """A standard score, and the distribution that it has if the limit is the truth."""

    z: float
    freedom: int | None = None
    """Degrees of freedom of Student's t; None for a normal distribution."""

    @property
    def p_above(self) -> float:
        """One-sided p-value of being at most at the limit."""
        return _upper_tail(self.z, self.freedom)

    @property
    def p_below(self) -> float:
        """One-sided p-value of being at least at the limit."""
        return _upper_tail(-self.z, self.freedom)


def share_test(value: float, count: int, limit: float) -> Statistic:
    """Score test of a share against `limit`, whose inversion is Wilson's interval."""
    if not 0 < limit < 1:
        return Statistic(0.0 if value == limit else math.copysign(math.inf, value - limit))
    return Statistic((value - limit) / math.sqrt(limit * (1 - limit) / count))


def _upper_tail(z: float, freedom: int | None) -> float:
    if freedom is None or math.isinf(z):
        return 0.5 * math.erfc(z / math.sqrt(2))
    # the t distribution's tail as an incomplete beta function (DLMF 8.17, Abramowitz and Stegun 26.5.27)
    tail = 0.5 * beta_cdf(freedom / (freedom + z * z), freedom / 2, 0.5)
    return tail if z >= 0 else 1 - tail


def _bootstrap(means: NDArray[np.float64], confidence: float, seed: int) -> tuple[float, float] | None:
    if means.size < 2:
        return None
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK // means.size)
    drawn = [
        means[random.integers(0, means.size, (min(rows, _RESAMPLES - start), means.size))].mean(axis=1)
        for start in range(0, _RESAMPLES, rows)
    ]
    low, high = np.quantile(np.concatenate(drawn), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
