"""The public fixtures: what test functions ask for."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from pytest_bench.audits import registry
from pytest_bench.audits.point import run_audit
from pytest_bench.errors import UsageError
from pytest_bench.leases import Lease as HeldLease
from pytest_bench.leases import Scope, acquire_all
from pytest_bench.perf import run_perf
from pytest_bench.plugin import markers, reports
from pytest_bench.plugin.progress import ProgressLine
from pytest_bench.plugin.session import Session
from pytest_bench.running.bench import Bench
from pytest_bench.running.deployment import SIMULATOR, Deployment, bring_up
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.suite.plan import Point
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.verdict.events import Lease

Runner = Callable[[Bench, Point, Deployment], MeasuredPoint]

RUNNERS: Mapping[str, Runner] = {"perf": run_perf, "audit": partial(run_audit, registry=registry())}
"""What runs each kind of point."""

_DESK = pytest.StashKey["Desk"]()


class Desk:
    """What the fixtures of one process share."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self.session = session
        self.progress = ProgressLine(config)
        self.worker = getattr(config, "workerinput", {}).get("workerid", "main")

    @contextmanager
    def hold(self, item: pytest.Item, point: str, urls: tuple[str, ...]) -> Iterator[None]:
        """This host and these endpoints for one point alone; on record with `item` once given back."""
        wanted: list[tuple[Scope, str]] = [("host", platform.node())]
        wanted += [("endpoint", url) for url in urls if url != SIMULATOR]
        held: tuple[HeldLease, ...] = ()
        try:
            with acquire_all(
                wanted, nonce=self.session.nonce, point=point, on_wait=self.progress.say
            ) as held:
                yield
        finally:
            reports.note_leases(item, [self._record(point, lease) for lease in held])

    def _record(self, point: str, lease: HeldLease) -> Lease:
        return Lease(
            point=point,
            worker=self.worker,
            scope=lease.scope,
            resource=lease.resource,
            boot_id=lease.boot_id,
            start_ns=lease.start_ns,
            end_ns=lease.end_ns,
        )


def set_up(config: pytest.Config, session: Session) -> None:
    """Prepare what the fixtures of this process share."""
    config.stash[_DESK] = Desk(config, session)


@pytest.fixture(scope="session")
def point(request: pytest.FixtureRequest) -> Point:
    """The point this test runs, with every default filled in: id, load, bounds, where it is declared."""
    return request.config.stash[_DESK].session.plan.point(request.param)


@pytest.fixture(scope="session")
def tokenizer_pool() -> Iterator[TokenizerPool]:
    """Processes that count tokens, shared by all points; started when first used."""
    with TokenizerPool() as pool:
        yield pool


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """The system under test, ready: started once for all its points, taken down after the last."""
    desk = request.config.stash[_DESK]
    plan = desk.session.plan.deployments[request.param]
    item, first = reports.running(request.config)
    folder = desk.session.deployment_folder(plan.suite)
    with ExitStack() as stack:
        with desk.hold(item, first, plan.endpoints):
            up = stack.enter_context(bring_up(plan, folder, os.environ))
        yield up


@pytest.fixture(scope="session")
def endpoint(deployment: Deployment) -> str:
    """URL of the deployment's first endpoint."""
    return deployment.urls[0]


@pytest.fixture(scope="session")
def _bench(request: pytest.FixtureRequest, tokenizer_pool: TokenizerPool) -> Bench:
    desk = request.config.stash[_DESK]
    session = desk.session
    return Bench(
        plan=session.plan,
        nonce=session.nonce,
        results=session.results,
        tokenizer_pool=tokenizer_pool,
        on_progress=desk.progress.show,
        rerun=session.rerun,
    )


@pytest.fixture
def run_load(
    request: pytest.FixtureRequest, point: Point, deployment: Deployment, _bench: Bench
) -> Callable[[], MeasuredPoint]:
    """Call it, once, to run the point: drive its load, measure, judge, leave the evidence.

    Returns a `MeasuredPoint`; the test has decided nothing until it calls its `require()`.
    """
    desk = request.config.stash[_DESK]
    mark = markers.read(list(request.node.iter_markers("points")), request.node.nodeid)
    if mark is None or not mark.judge:
        raise UsageError(
            f"{request.node.nodeid} does not judge its point (judge=False), so it cannot run it: ask for "
            "`measurement` instead, or let this function judge"
        )

    started = False

    def run() -> MeasuredPoint:
        nonlocal started
        if started:
            raise UsageError(f"{request.node.nodeid} calls run_load() twice: a point is measured once")
        started = True
        with desk.hold(request.node, point.id, deployment.urls):
            try:
                measured = RUNNERS[point.kind](_bench, point, deployment)
            finally:
                desk.progress.clear()
        reports.note_judgement(request.node, measured.summary.judgement)
        return measured

    return run


@pytest.fixture
def measurement(
    request: pytest.FixtureRequest,
    point: Point,
    deployment: Deployment,  # noqa: ARG001 # points come with their deployment
) -> MeasuredPoint:
    """What the point came to, for functions with judge=False: its judging function has run before."""
    session = request.config.stash[_DESK].session
    return MeasuredPoint.read(point, session.point_folder(point.id), session.rerun(point))
