"""Two-sided confidence intervals. Functions return None if there are too few values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics.distributions import binomial_cdf, normal_quantile, student_quantile

Pair = tuple[float, float]

BATCHES = 20
"""Number of equal batches of a phase from which the interval of a rate is computed."""
EVENTS_PER_BATCH = 2
"""Minimum number of events per batch, on average."""


def wilson(successes: int, count: int, confidence: float) -> Pair | None:
    """Interval of a share: Wilson's score interval (Wilson 1927), which lies within [0, 1]."""
    if count == 0:
        return None
    z = normal_quantile(0.5 + confidence / 2)
    share = successes / count
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def of_mean(values: NDArray[np.float64], confidence: float) -> Pair | None:
    """Interval of the mean of independent values: Student's t. Needs two values."""
    if values.size < 2:
        return None
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(values.size)
    half = student_quantile(0.5 + confidence / 2, values.size - 1) * error
    return mean - half, mean + half


def of_percentile(ascending: NDArray[np.float64], share: float, confidence: float) -> Pair | None:
    """Distribution-free interval of a percentile of independent values: order statistics with binomial ranks.

    The interval [x_l, x_u] covers the percentile with at least `confidence`, and each side misses it with at most half
    of the rest. None if the sample is too small to bound both sides (David and Nagaraja, Order Statistics, 7.1).
    """
    count, tail = ascending.size, (1 - confidence) / 2
    low = _first(count + 1, lambda rank: binomial_cdf(rank - 1, count, share) > tail) - 1
    high = _first(count + 1, lambda rank: binomial_cdf(rank - 1, count, share) >= 1 - tail)
    if low < 1 or high > count:
        return None
    return float(ascending[low - 1]), float(ascending[high - 1])


def values_needed_for_percentile(share: float, confidence: float) -> int:
    """The smallest number of values for which `of_percentile` returns an interval.

    Both `share`^n and (1 - `share`)^n, the probabilities that all values lie on one side of the percentile, must not
    exceed half of 1 - `confidence`.
    """
    count = max(1, math.floor(math.log((1 - confidence) / 2) / math.log(max(share, 1 - share))))
    while of_percentile(np.zeros(count), share, confidence) is None:
        count += 1
    return count


def _first(limit: int, holds: Callable[[int], bool]) -> int:
    """The first rank in 1 … limit from which a monotone condition holds; `limit` if none."""
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def of_rate(times_ns: NDArray[np.int64], start_ns: int, end_ns: int, confidence: float) -> Pair | None:
    """Interval of the rate of events: batch means with Student's t.

    The time is divided into equal batches that are long enough to be nearly independent. Needs two events per batch on
    average (Law, Simulation Modeling and Analysis, 9.5.3).
    """
    if times_ns.size < EVENTS_PER_BATCH * BATCHES or end_ns <= start_ns:
        return None
    counts, _ = np.histogram(times_ns, bins=BATCHES, range=(start_ns, end_ns))
    seconds = (end_ns - start_ns) / 1e9 / BATCHES
    pair = of_mean(counts / seconds, confidence)
    return None if pair is None else (max(0.0, pair[0]), pair[1])
