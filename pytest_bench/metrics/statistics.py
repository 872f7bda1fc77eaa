"""Exact statistics of values that fit in memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics.definitions import PERCENTILES

SINGLE_VALUE = "a single value has no standard deviation"


def lower_rank(count: int, share: float) -> int:
    """Index, from 0, of a percentile among `count` ascending values: the lower of two neighbours.

    As numpy's `method="lower"`: floor((n - 1) * share), in binary floating point.
    """
    return math.floor((count - 1) * share)


def percentile(ascending: NDArray[np.float64], share: float) -> float:
    """Percentile of ascending values, equal to `np.quantile(values, share, method="lower")`."""
    return float(ascending[lower_rank(ascending.size, share)])


def loadgen_percentile(ascending: NDArray[np.float64], share: float) -> float:
    """Percentile as MLPerf's LoadGen takes it: `sorted[int(n * share)]` (`results.cc`), for share < 1."""
    return float(ascending[int(ascending.size * share)])


def sample_stddev(values: NDArray[np.float64]) -> float | None:
    """Sample standard deviation (n - 1); None for a single value, which has none."""
    return float(np.std(values, ddof=1)) if values.size > 1 else None


def describe(ascending: NDArray[np.float64]) -> dict[str, float | None]:
    """The statistics of a distribution, `definitions.STATISTICS`, of at least one ascending value."""
    return {
        "min": float(ascending[0]),
        "max": float(ascending[-1]),
        "mean": float(np.mean(ascending)),
        "stddev": sample_stddev(ascending),
        **{name: percentile(ascending, share) for name, share in PERCENTILES.items()},
    }
