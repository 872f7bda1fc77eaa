"""By how much a metric may be off because of the client: what stamps of the kernel leave open, its own lateness, and
its share of the concurrency that was missing.

Sources: `moments` (reads that held several events), `receive_clock` (the offset between two clocks), and `health`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from pytest_bench.bounds import Bound
from pytest_bench.metrics.formulas import (
    PER_REQUEST,
    connect_time,
    good,
    meeting,
    output_token_throughput_per_user,
    time_per_output_token,
)
from pytest_bench.metrics.measurement import Metric
from pytest_bench.metrics.observed import Floats, Ints, Observed, elapsed, ratio

_MOST_MISSING = 0.999


def _time_to_first_token(seen: Observed) -> Floats:
    return _stamped(seen.columns.first_content_uncertainty_ns, seen)


def _time_to_first_output_token(seen: Observed) -> Floats:
    return _stamped(seen.columns.first_output_uncertainty_ns, seen)


def _request_latency(seen: Observed) -> Floats:
    return _stamped(seen.columns.last_content_uncertainty_ns, seen)


def _scheduled_time_to_first_token(seen: Observed) -> Floats:
    return _time_to_first_token(seen) + _lateness(seen)


def _scheduled_request_latency(seen: Observed) -> Floats:
    return _request_latency(seen) + _lateness(seen)


def _time_per_output_token(seen: Observed) -> Floats:
    """Both ends have kernel stamps, so the clock error cancels."""
    columns = seen.columns
    ends_ns = np.maximum(columns.first_content_uncertainty_ns, columns.last_content_uncertainty_ns)
    return ratio(ends_ns.astype(np.float64), seen.lengths.output - seen.lengths.first_event)


def _output_token_throughput_per_user(seen: Observed) -> Floats:
    """Uncertainty of 1 / t: 1 / (t - u) - 1 / t."""
    share = ratio(_time_per_output_token(seen), time_per_output_token(seen))
    bounded = np.minimum(share, _MOST_MISSING)
    return output_token_throughput_per_user(seen) * bounded / (1.0 - bounded)


def _stamped(uncertainty_ns: Ints, seen: Observed) -> Floats:
    """Uncertainty of a time from a client stamp to a kernel stamp."""
    return np.add(uncertainty_ns, seen.phase.health.clock_error_ns, dtype=np.float64)


def _lateness(seen: Observed) -> Floats:
    """If the request had been sent when it was due, the response might have arrived that much earlier."""
    return np.maximum(elapsed(seen.columns.send_start_ns, seen.columns.due_ns), 0.0)


OF_REQUESTS: dict[str, Callable[[Observed], Floats]] = {
    "time_to_first_token": _time_to_first_token,
    "time_to_first_output_token": _time_to_first_output_token,
    "scheduled_time_to_first_token": _scheduled_time_to_first_token,
    "request_latency": _request_latency,
    "scheduled_request_latency": _scheduled_request_latency,
    "time_per_output_token": _time_per_output_token,
    "output_token_throughput_per_user": _output_token_throughput_per_user,
}
"""Uncertainty of each row's value of `PER_REQUEST`, in both directions. Metrics that the client does not affect are
excluded."""

OF_ISSUES: dict[str, Callable[[Observed], Floats]] = {"connect_time": connect_time}
"""The same for `PER_ISSUE`. A connection's set-up has the client's own stamps, of which only the second may be late:
it took at most as long as measured."""

_THROUGHPUTS = frozenset(
    {
        "request_throughput",
        "steady_request_throughput",
        "output_token_throughput",
        "steady_output_token_throughput",
        "total_token_throughput",
        "goodput",
        "video_throughput",
        "video_seconds_throughput",
    }
)
"""Scalars that the client's vacancy lowers."""


def of_scalar(name: str, value: float, seen: Observed) -> float:
    """Uncertainty of a scalar in both directions: of throughputs from the client's vacancy, of goodput also from
    requests that may lie on either side of a limit."""
    uncertainty = 0.0
    vacancy = seen.phase.health.vacancy
    if name in _THROUGHPUTS and vacancy is not None:
        bounded = min(vacancy, _MOST_MISSING)
        uncertainty += value * bounded / (1.0 - bounded)
    if name == "goodput":
        uncertainty += _good_requests(seen) / seen.whole.seconds
    elif name == "good_request_fraction":
        uncertainty += _good_requests(seen) / len(seen.columns)
    return uncertainty


def _good_requests(seen: Observed) -> int:
    """Uncertainty of the number of good requests."""
    count = int(good(seen).sum())

    def at_end(limit: Bound, *, better: bool) -> Floats:
        values = PER_REQUEST[limit.metric](seen)
        if limit.metric not in OF_REQUESTS:
            return values
        lower = better == (limit.comparison in {"<", "<="})
        width = OF_REQUESTS[limit.metric](seen)
        return values - width if lower else values + width

    most = int(meeting(seen, lambda limit: at_end(limit, better=True)).sum())
    least = int(meeting(seen, lambda limit: at_end(limit, better=False)).sum())
    return max(most - count, count - least)


def of_statistics(
    metric: Metric, low: Mapping[str, float | None], high: Mapping[str, float | None], *, squares: float
) -> Metric:
    """Return `metric` with the uncertainty of each statistic.

    A statistic that is monotone in every value lies between that of the lower ends and that of the upper ends. The
    standard deviation is not monotone. As a seminorm it moves by at most the norm of all errors, whose sum of squares
    is at most `squares`.
    """
    found: dict[str, float] = {}
    for name, value in metric.statistics.items():
        below, above = low[name], high[name]
        if value is None or below is None or above is None or metric.count is None:
            continue
        spread = name == "stddev"
        found[name] = math.sqrt(squares / (metric.count - 1)) if spread else max(value - below, above - value)
    return msgspec.structs.replace(metric, uncertainties=found)
