"""Whether two sessions asked the same of their systems at a point: the same data, load and requests.

The digest of a point covers its system, too: endpoints, containers, the model. Two systems to compare differ in these,
so here everything else that the digest covers is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pytest_bench.comparison.changes import Change, changes, flat
from pytest_bench.comparison.sessions import Session
from pytest_bench.results.summary import Summary
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.wording import first_of, one_line

_ASKED = (
    "api",
    "path",
    "stream",
    "parameters",
    "video_seconds",
    "poll_interval_s",
    "cache_reset",
)
"""Fields of a deployment that say what is asked of it. The others say which system it is, and how it is reached."""
_NOT_MEASURED = ("id", "suite", "origin", "bounds", "load", "dataset", "labels", "budget", "deployment")
"""Fields of a point that do not change its numbers, or that are compared on their own."""
_NO_SETTING = frozenset({"gates"})
"""Options of a point that judge its numbers only."""
_SHOWN = 3
_LONGEST = 24


def mismatches(plans: tuple[Plan, Plan], summaries: tuple[Summary, Summary], point_id: str) -> Iterator[str]:
    """A short sentence for each reason why the two are not comparable."""
    points = plans[0].point(point_id), plans[1].point(point_id)
    digests = [summary.dataset.digest if summary.dataset else "none" for summary in summaries]
    if digests[0] != digests[1]:
        yield f"other dataset digest ({digests[0][:12]}, {digests[1][:12]})"
    yield from _differ("other load", *(_load(point) for point in points))
    yield from _differ("other point", *map(_asked, plans, points))
    counted = [_counts(summary) for summary in summaries]
    if counted[0] != counted[1]:
        yield f"other token counts ({counted[0]}, {counted[1]})"


def point_digests(sessions: tuple[Session, ...], point_id: str) -> set[str]:
    """The digests of a point in several sessions."""
    return {session.plan.point_digest(session.plan.point(point_id)) for session in sessions}


def _load(point: Point) -> dict[str, str]:
    return dict(flat("", msgspec.to_builtins(point.load)))


def _asked(plan: Plan, point: Point) -> dict[str, str]:
    deployment = plan.deployment_of(point)
    fields: Mapping[str, Any] = msgspec.to_builtins(point)
    asked = {name: value for name, value in fields.items() if name not in _NOT_MEASURED}
    asked["options"] = {name: value for name, value in point.options.items() if name not in _NO_SETTING}
    asked["slo"] = [(limit.metric, limit.comparison, limit.limit) for limit in point.slo]
    built: Mapping[str, Any] = msgspec.to_builtins(deployment)
    asked["requests"] = {name: built.get(name) for name in _ASKED}
    asked["requests"]["count"] = deployment.tokens.count
    asked["duration_scale"] = plan.duration_scale
    return dict(flat("", asked))


def _counts(summary: Summary) -> str:
    """Whose counts the metrics of tokens use."""
    source = summary.measurement.token_source if summary.measurement else None
    return source.output or "not counted" if source else "not counted"


def _differ(what: str, baseline: Mapping[str, str], candidate: Mapping[str, str]) -> Iterator[str]:
    found = changes([baseline, candidate])
    if found:
        yield f"{what} ({first_of([_shown(change) for change in found], _SHOWN)})"


def _shown(change: Change) -> str:
    before, after = (one_line(value, _LONGEST) for value in change.values)
    return f"{change.name or 'load'} {before}, {after}"
