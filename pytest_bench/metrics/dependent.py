"""Confidence intervals of means and percentiles over requests, whose latencies depend on each other.

A request that waits behind another is slow because the other was: on a busy server, neighbours in a long series have
similar latencies. Formulas for independent values then give intervals that are far too narrow. So the values, in the
order of issue, are divided into blocks that are long compared with the *relaxation time*, and the blocks count as
independent (Law, Simulation Modeling and Analysis, 9.5.3).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics.definitions import PERCENTILES
from pytest_bench.metrics.distributions import normal_quantile, student_quantile
from pytest_bench.metrics.intervals import (
    BATCHES,
    EVENTS_PER_BATCH,
    Pair,
    of_percentile,
    values_needed_for_percentile,
)
from pytest_bench.metrics.names import interval_method
from pytest_bench.metrics.observed import NotDefined

BLOCKS = 20
RELAXATION_TIMES = 10
"""Minimum length of a block."""
FEWEST = BLOCKS * RELAXATION_TIMES // 2
"""Fewest values with an interval: the relaxation time of independent ones is half a value."""
_INDEPENDENT = 1.0
"""Values with at most this relaxation time count as independent."""
_WINDOW = 10
"""The sum of autocorrelations ends at this multiple of the relaxation time (Sokal 1997, section 3)."""
_MOST_VALUES = 1 << 17
"""Longer series are averaged to at most this many values, which bounds memory and time."""


def mean_interval(values: NDArray[np.float64], confidence: float) -> Pair:
    """Interval of a mean by batch means: Student's t of the blocks' means. `values` are in the order of issue.

    Raises `NotDefined` (`too-short`) if a block would be shorter than ten relaxation times.
    """
    _require_length(values, relaxation_time(values))
    half = student_quantile(0.5 + confidence / 2, BLOCKS - 1) * math.sqrt(_variance_of_mean(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def percentile_interval(values: NDArray[np.float64], share: float, confidence: float) -> Pair:
    """Interval of a percentile: order statistics, as for the number of independent values with the same information.

    Whether a value is beyond the percentile is a series of zeros and ones; the variance of its mean over blocks gives
    that number. `values` are in the order of issue. Raises `NotDefined`: `too-short` as `mean_interval`, or if fewer
    than 20 independent values lie beyond the percentile; or if an interval of this confidence needs more requests.
    """
    _require_length(values, relaxation_time(values))
    ascending = np.sort(values)
    count = values.size
    within = (values <= ascending[max(0, math.ceil(share * count) - 1)]).astype(np.float64)
    relaxation = relaxation_time(within)
    beyond = min(share, 1 - share) * count / (2 * relaxation)
    if relaxation > _INDEPENDENT and beyond < BLOCKS:
        raise NotDefined(
            f"too-short: about {beyond:.0f} independent values lie beyond this percentile, and its interval needs "
            f"{BLOCKS}, because the latencies of {2 * relaxation:.0f} successive requests depend on each other"
        )
    effective = _effective(within, confidence)
    ranks = of_percentile(np.arange(1.0, effective + 1), share, confidence)
    if ranks is None:
        raise NotDefined(f"too few requests: they hold as much information as {effective:,} independent ones")
    low, high = (rank * count / effective for rank in ranks)
    return float(ascending[max(1, math.floor(low)) - 1]), float(ascending[min(count, math.ceil(high)) - 1])


def requests_needed(name: str, confidence: float) -> int | None:
    """The smallest number of requests that may have an interval of metric `name`, as a bound names it.

    None for a metric that has no confidence interval.
    """
    match interval_method(name):
        case "order statistics":
            return max(FEWEST, values_needed_for_percentile(PERCENTILES[name.partition(".")[2]], confidence))
        case "batch means":
            return FEWEST
        case "Wilson":
            return 1
        case "batch means of counts":
            return EVENTS_PER_BATCH * BATCHES
        case None:
            return None


def relaxation_time(values: NDArray[np.float64]) -> float:
    """The number of values after which a series has forgotten its past: its integrated autocorrelation time.

    One half for independent values, and never less. The mean of n values varies as that of n / (2 * relaxation time)
    independent ones.
    """
    group = -(-values.size // _MOST_VALUES)
    if group > 1:
        whole = values.size // group * group
        values = values[:whole].reshape(-1, group).mean(axis=1)
    count = values.size
    deviations = values - values.mean()
    variance = float(deviations @ deviations)
    if np.ptp(values) == 0 or variance == 0:  # of equal values, the mean may differ by rounding
        return group / 2
    spectrum = np.fft.rfft(deviations, 1 << (2 * count - 1).bit_length())
    correlations = np.fft.irfft(np.abs(spectrum) ** 2)[:count] / variance
    times = np.maximum(np.cumsum(correlations) - 0.5, 0.5)
    inside = np.arange(count) >= _WINDOW * times
    return group * float(times[int(np.argmax(inside)) if inside.any() else -1])


def _require_length(values: NDArray[np.float64], relaxation: float) -> None:
    needed = math.ceil(BLOCKS * RELAXATION_TIMES * relaxation)
    if values.size < needed:
        raise NotDefined(
            f"too-short: an interval needs {BLOCKS} blocks of ten relaxation times of {relaxation:.3g} requests, which "
            f"are {needed:,} requests, and {values.size:,} have a value"
        )


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    length = values.size // BLOCKS
    means = values[: BLOCKS * length].reshape(BLOCKS, length).mean(axis=1)
    return float(np.var(means, ddof=1)) / BLOCKS


def _effective(within: NDArray[np.float64], confidence: float) -> int:
    """How many independent values vary as much. Fewer, as the variance is estimated from 20 blocks (Student's t)."""
    share, variance = float(np.mean(within)), _variance_of_mean(within)
    if variance <= 0:
        return within.size
    known = normal_quantile(0.5 + confidence / 2) / student_quantile(0.5 + confidence / 2, BLOCKS - 1)
    return max(1, min(within.size, int(share * (1 - share) / variance * known**2)))
