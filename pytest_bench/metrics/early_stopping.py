"""MLPerf's early stopping: percentile estimates that hold with a stated confidence at small counts.

Source: MLPerf Inference rules, "Early Stopping Criterion", and LoadGen's `early_stopping.cc`. Of n
requests, t may exceed the latency if the probability of t or fewer, given a true share 1 - p of slow requests, is below
1 - confidence. A tolerance d replaces p by p - d.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics.distributions import beta_cdf

CONFIDENCE = 0.99
TOLERANCE = 0.0


def _met(passing: int, over: int, percentile: float) -> bool:
    return beta_cdf(percentile - TOLERANCE, passing, over + 1) < 1.0 - CONFIDENCE


def minimum_passing(over: int, percentile: float) -> int:
    """Number of requests that must be within a latency to claim it as `percentile` if `over` others exceed it."""
    high = 1
    while not _met(high, over, percentile):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if _met(middle, over, percentile):
            high = middle
        else:
            low = middle
    return high


def minimum_requests(percentile: float) -> int:
    """The smallest number of requests with an estimate of `percentile` (the maximum): 64 for p90, 662 for p99."""
    return minimum_passing(1, percentile) + 1


def rank_from_top(count: int, percentile: float) -> int | None:
    """Rank, from the highest (1), of the latency that is the estimate of `percentile` among `count` latencies.

    None below `minimum_requests`. Of 10,000 latencies the 77th highest is the estimate of p99.
    """
    if count < 2 or not _met(count - 1, 1, percentile):
        return None
    low, high = 1, count
    while high - low > 1:
        middle = (low + high) // 2
        if _met(count - middle, middle, percentile):
            low = middle
        else:
            high = middle
    return low


def estimate(ascending: NDArray[np.float64], percentile: float) -> float | None:
    """The early-stopping estimate of `percentile` of latencies in ascending order; None if there are too few."""
    rank = rank_from_top(ascending.size, percentile)
    return None if rank is None else float(ascending[ascending.size - rank])
