"""Names of metrics as suites write them: `time_to_first_token.p99`, `request_throughput`, `exact_match,strict`.

For each name: whether it exists, its unit, its meaning, and what a point must have for it.
"""

from __future__ import annotations

from typing import Literal

from pytest_bench.bounds import SCHEDULED
from pytest_bench.errors import UsageError
from pytest_bench.metrics.definitions import (
    COUNTS_TOKENS,
    DEFINITIONS,
    NEEDS_STREAM,
    PERCENTILES,
    RATES,
    SHARES,
)
from pytest_bench.wording import did_you_mean

IntervalMethod = Literal["order statistics", "batch means", "Wilson", "batch means of counts"]


def why_always_null(name: str, *, streamed: bool, videos: bool) -> str | None:
    """Why a metric, as a bound names it, is null in every run of such an API; None if it is not."""
    metric = name.partition(".")[0]
    if videos and metric in COUNTS_TOKENS:
        return "counts tokens, and this API delivers videos"
    if (videos or not streamed) and metric in NEEDS_STREAM:
        return "needs answers that are streamed, and these are not"
    return None


def interval_method(name: str) -> IntervalMethod | None:
    """Method of the confidence interval of a metric, as a bound names it; None if it has none."""
    metric, _, statistic = name.partition(".")
    if metric in SHARES:
        return "Wilson"
    if metric in RATES:
        return "batch means of counts"
    if metric in DEFINITIONS and DEFINITIONS[metric].per_request:
        if statistic in PERCENTILES:
            return "order statistics"
        if statistic == "mean":
            return "batch means"
    return None


def all_names() -> tuple[str, ...]:
    """Every name that a bound may have: scalars, and distributions with each of their statistics."""
    return tuple(
        full
        for definition in DEFINITIONS.values()
        for full in (
            [f"{definition.name}.{statistic}" for statistic in definition.statistics] or [definition.name]
        )
    )


def meaning_of(name: str) -> str:
    """What a metric is, in words. `name` may have a statistic. Raises `KeyError` for an unknown metric."""
    return DEFINITIONS[name.partition(".")[0]].description


def unit_of(name: str) -> str:
    """Base unit of a metric as a bound names it: `time_to_first_token.p99`, `request_throughput`.

    Raises `UsageError`, with the nearest valid name, if the metric or the statistic does not exist, if a distribution
    has no statistic, and if a scalar has one.
    """
    metric, dot, statistic = name.partition(".")
    definition = DEFINITIONS.get(metric)
    if definition is None:
        raise UsageError(f"there is no metric {metric!r}{_nearest(metric, tuple(DEFINITIONS))}")
    if definition.kind == "scalar" and dot:
        raise UsageError(f"{metric} is a single number: write it without {'.' + statistic!r}")
    if definition.kind == "distribution" and statistic not in definition.statistics:
        wanted = f"has no statistic {statistic!r}" if dot else "is a distribution: a statistic must follow"
        raise UsageError(
            f"{metric} {wanted}; expected one of {', '.join(definition.statistics)}, as in '{metric}.p99'"
        )
    return definition.unit


def is_score_name(metric: str) -> bool:
    """Whether a metric is a score of evals, `metric,filter`."""
    return "," in metric


def open_loop_name(name: str) -> str:
    """The metric that a bound on `name` judges in open loop, measured from the scheduled time."""
    metric, dot, statistic = name.partition(".")
    return f"{SCHEDULED.get(metric, metric)}{dot}{statistic}"


def slo_names() -> tuple[str, ...]:
    """Metrics with one value for each request, which an `slo` may limit."""
    return tuple(item.name for item in DEFINITIONS.values() if item.per_request)


def slo_unit_of(name: str) -> str:
    """Base unit of a metric that an `slo` may limit: one with a value for each request.

    Raises `UsageError`, naming those that exist, for any other.
    """
    allowed = slo_names()
    if name not in allowed:
        raise UsageError(
            f"{name!r} cannot limit a single request{_nearest(name, allowed)}; "
            f"expected one of {', '.join(allowed)}"
        )
    return DEFINITIONS[name].unit


_ABBREVIATIONS: dict[str, str] = {
    "ttft": "time_to_first_token",
    "tpot": "time_per_output_token",
    "itl": "inter_token_latency",
    "latency": "request_latency",
    "e2e_latency": "request_latency",
    "rps": "request_throughput",
    "qps": "request_throughput",
    "throughput": "output_token_throughput",
}
"""Common other names of some metrics, for suggestions."""


def _nearest(name: str, known: tuple[str, ...]) -> str:
    meant = _ABBREVIATIONS.get(name.lower())
    return f"; did you mean {meant!r}?" if meant in known else did_you_mean(name, known)
