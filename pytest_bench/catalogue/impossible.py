"""What a plan asks for and can never have, told before anything is started."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_bench.errors import SuiteError
from pytest_bench.metrics.definitions import NEEDS_TOKENIZER
from pytest_bench.suite.plan import Plan, Point


def require_possible(plan: Plan, points: Iterable[Point]) -> None:
    """Raises `SuiteError` for each limit of `points` on a metric that would be null for want of a tokenizer."""
    problems = [
        f"{limit.origin}: {limit.metric!r} takes a tokenizer to count with, and the deployment names none; "
        "expected `tokens: {tokenizer: …}` in the deployment, or --tokenizer, or no limit on this metric"
        for point in points
        if point.kind == "perf" and plan.deployments[point.suite].tokens.tokenizer is None
        for limit in (*point.bounds, *point.slo)
        if limit.metric.partition(".")[0] in NEEDS_TOKENIZER
    ]
    if problems:
        raise SuiteError(list(dict.fromkeys(problems)))
