"""Refuse limits that could never be judged, before anything is started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_bench.bounds import SCHEDULED, Bound
from pytest_bench.errors import SuiteError
from pytest_bench.metrics.definitions import RATES, SHARES
from pytest_bench.metrics.dependent import requests_needed
from pytest_bench.metrics.names import why_always_null
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.workload import OPEN_LOOP, Load

_OPEN_LOOP = f"an open-loop load ({', '.join(sorted(OPEN_LOOP))})"
_INTERVALS = f"the mean or a percentile of what every request has one of, {', '.join(sorted(SHARES | RATES))}"


def require_possible(plan: Plan, points: Iterable[Point]) -> None:
    """Raises `SuiteError` for each limit of `points` that could never be judged, because its metric would be null or
    would have no confidence interval in any run."""
    problems = [
        f"{limit.origin}: {limit.metric!r} {why}"
        for point in points
        if point.kind == "perf"
        for limit in (*point.bounds, *point.slo)
        for why in _reasons(plan, point, limit)
    ]
    if problems:
        raise SuiteError(list(dict.fromkeys(problems)))


def _reasons(plan: Plan, point: Point, limit: Bound) -> Iterator[str]:
    metric = limit.metric.partition(".")[0]
    deployment = plan.deployment_of(point)
    null = why_always_null(metric, streamed=deployment.stream, videos=deployment.video_seconds is not None)
    if null is not None:
        yield f"{null}; expected no limit on this metric"
    if metric in {"goodput", "good_request_fraction"} and not point.slo:
        yield (
            "counts requests that meet the `slo`, and the point declares none; "
            "expected `slo: {…}` in the point, or no limit on this metric"
        )
    if point.load is not None:
        yield from _of_load(metric, point.load)
    if limit.confidence is not None:
        yield from _of_interval(limit.metric, limit.confidence, point.load)


def _of_interval(metric: str, confidence: float, load: Load | None) -> Iterator[str]:
    """Why `metric` would have no confidence interval under `load`."""
    needed = requests_needed(metric, confidence)
    if needed is None:
        yield f"has no confidence interval; expected no `confidence` here, or a bound on {_INTERVALS}"
    elif load is not None and load.most_requests is not None and load.most_requests < needed:
        yield (
            f"needs {needed:,} requests for an interval of confidence {confidence:g}, and the point issues at most "
            f"{load.most_requests:,}; expected `requests` of at least {needed:,}, or a bound without `confidence`"
        )


def _of_load(metric: str, load: Load) -> Iterator[str]:
    """Why `metric` would be null under `load`."""
    closed = all(part.pattern == "concurrency" for part in load.parts)
    plain = next((name for name, scheduled in SCHEDULED.items() if scheduled == metric), None)
    if plain is not None and closed:
        yield f"counts from the scheduled time, which a closed loop does not have; expected {plain!r}, or {_OPEN_LOOP}"
    if metric == "schedule_lateness" and (closed or load.pattern == "burst"):
        yield f"needs a schedule, which this load does not have; expected {_OPEN_LOOP}, or no limit on this metric"
    if metric == "server_scenario_throughput" and load.pattern not in OPEN_LOOP:
        yield f"is of MLPerf's Server scenario; expected {_OPEN_LOOP}, or a limit on 'request_throughput'"
    if metric == "server_scenario_throughput" and load.max_concurrency is not None:
        yield (
            "is of MLPerf's Server scenario, which has no 'max_concurrency'; expected a load without it, or a limit on "
            "'request_throughput'"
        )
    if metric.startswith("steady_") and load.pattern in {"burst", "stages"}:
        yield (
            f"needs a steady state, which a load of pattern {load.pattern!r} does not have; "
            f"expected another load, or a limit on {metric.removeprefix('steady_')!r}"
        )
