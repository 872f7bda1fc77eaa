"""Which points sent an audit's samples to its server before it: they may have primed the cache it tests for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

from pytest_bench.api import import_api
from pytest_bench.audits.contract import AuditPhase
from pytest_bench.endpoints.address import servers
from pytest_bench.errors import BenchError
from pytest_bench.files import canonical_json
from pytest_bench.results.details import AuditDetail, Before, Order
from pytest_bench.results.layout import point_path
from pytest_bench.running.deployment import SIMULATOR, Deployment
from pytest_bench.running.resources import Resources
from pytest_bench.running.samples import Share
from pytest_bench.running.session import SessionFacts
from pytest_bench.running.sharing import surely_shares
from pytest_bench.suite.plan import Plan, Point


class OutOfOrder(BenchError):
    """The audit was about to run after points that the plan puts after it."""

    code = "out-of-order"


def find_earlier_points(
    session: SessionFacts, resources: Resources, point: Point, deployment: Deployment
) -> Before:
    """Find the points that share samples and server with the audit `point`, which is about to start."""
    ours = _servers(deployment.urls)
    reaching = {
        name
        for name, other in session.plan.deployments.items()
        if name == point.deployment_name or not ours.isdisjoint(_servers(other.endpoints))
    }
    prompts = functools.cache(functools.partial(_prompts, session.plan, resources))
    sharing = [
        other.id
        for other in session.plan.points
        if other.id != point.id
        and (
            surely_shares(session.plan, point, other)
            or (other.deployment_name in reaching and _same_samples(prompts, point, other))
        )
    ]
    # A phase creates its folder before its first request.
    begun = [name for name in sharing if (session.results / point_path(name) / "phases").exists()]
    return Before(sharing=tuple(sharing), begun=tuple(begun))


def order_of(plan: Plan, before: Before) -> Order:
    """Whether the audit ran before or after the benchmark that it audits. A benchmark primes the cache that an audit
    tests for."""
    benchmarks = {name for name in before.sharing if plan.point(name).kind == "perf"}
    earlier, later = benchmarks & set(before.begun), benchmarks - set(before.begun)
    if earlier:
        return "between benchmarks" if later else "after the benchmark"
    return "before the benchmark" if later else "no benchmark on its dataset"


def primed_by(first: AuditPhase | None, shares: Mapping[str, Share], before: Before) -> list[str]:
    """Earlier points that may have sent samples of the audit's first phase, unless that phase resets the cache.

    `shares` are those of all points on the audit's dataset; points on another dataset have no share of it.
    """
    if first is None or first.reset_cache:
        return []
    begin, end = first.samples.first, first.samples.first + first.samples.count
    return [name for name in before.begun if name not in shares or shares[name].meets(begin, end)]


def require_in_order(plan: Plan, point: Point, primed: list[str]) -> None:
    """Raises `OutOfOrder` if points that the plan puts after the audit have already sent its samples."""
    place = plan.points.index(point)
    if early := [name for name in primed if plan.points.index(plan.point(name)) > place]:
        raise OutOfOrder(
            f"{point.origin}: {', '.join(early)} was planned after the audit, but has already sent its samples to the "
            "same server, so a cache could not be detected. Next: find what reorders pytest's items "
            "(a conftest.py, a plugin), or declare the order in the suite"
        )


def contradictions(plan: Plan, point: Point, detail: AuditDetail, began: Mapping[str, int]) -> Iterator[str]:
    """Differences between an audit's stated order and the leases. `began`: start times of points in ns, if known."""
    before = detail.before
    for other in plan.points:
        if other.id != point.id and other.id not in before.sharing and surely_shares(plan, point, other):
            yield f"detail.before.sharing: lacks {other.id}, which sends the same samples to the same server"
    if point.id in began:
        for name in before.sharing:
            if name in began and (earlier := began[name] < began[point.id]) is not (name in before.begun):
                yield (
                    f"detail.before.begun: says that {name} began {'after' if earlier else 'before'} the audit; "
                    f"its lease says {'before' if earlier else 'after'}"
                )
    if detail.order != (order := order_of(plan, before)):
        yield f"detail.order: is {detail.order!r}; from what ran before it follows {order!r}"


def _servers(urls: Iterable[str]) -> frozenset[str]:
    """All servers that endpoints may lead to. The simulator is left out, because each suite has its own."""
    return frozenset[str]().union(*(servers(url) for url in urls if url != SIMULATOR))


def _same_samples(prompts: Callable[[str, str], frozenset[bytes]], one: Point, other: Point) -> bool:
    """Whether two points' datasets have a prompt in common, or may have one."""
    if one.dataset is None or other.dataset is None:
        return False
    try:
        return not prompts(one.suite, one.dataset).isdisjoint(prompts(other.suite, other.dataset))
    except (BenchError, OSError):
        return True


def _prompts(plan: Plan, resources: Resources, suite: str, dataset: str) -> frozenset[bytes]:
    deployment = plan.deployments[suite]
    required = sorted(import_api(deployment.api, deployment.api_reference).required)
    rows = resources.dataset(suite, dataset).rows
    return frozenset(canonical_json([row[column] for column in required if column in row]) for row in rows)
