"""The public fixtures: what test functions ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_bench.errors import UsageError
from pytest_bench.plugin import markers
from pytest_bench.plugin.call import call_of
from pytest_bench.plugin.session import Session

if TYPE_CHECKING:
    from pytest_bench.plugin.runner import PointRunner
    from pytest_bench.running.deployment import Deployment
    from pytest_bench.running.measured import MeasuredPoint
    from pytest_bench.running.resources import Resources
    from pytest_bench.suite.plan import Point
    from pytest_bench.tokens.pool import TokenizerPool

_SESSION = pytest.StashKey[Session]()


def set_up(config: pytest.Config, session: Session) -> None:
    """Set the session that the fixtures of this process serve."""
    config.stash[_SESSION] = session


@pytest.fixture(scope="session")
def point(request: pytest.FixtureRequest) -> Point:
    """The point this test runs, with every default filled in: id, load, bounds, where it is declared."""
    return request.config.stash[_SESSION].plan.point(request.param)


@pytest.fixture(scope="session")
def _runner(request: pytest.FixtureRequest) -> PointRunner:
    from pytest_bench.plugin.runner import PointRunner  # noqa: PLC0415 # heavy; xdist workers may never run a point

    return PointRunner(request.config, call_of(request.config), request.config.stash[_SESSION])


@pytest.fixture(scope="session")
def tokenizer_pool() -> Iterator[TokenizerPool]:
    """Processes that count tokens, shared by all points; started when first used."""
    from pytest_bench.tokens.pool import TokenizerPool  # noqa: PLC0415 # as above

    with TokenizerPool() as pool:
        yield pool


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest, _runner: PointRunner) -> Iterator[Deployment]:
    """The system under test, ready: started once for all its points, taken down after the last."""
    with _runner.deployment(request.param) as up:
        yield up


@pytest.fixture(scope="session")
def endpoint(deployment: Deployment) -> str:
    """URL of the deployment's first endpoint."""
    return deployment.urls[0]


@pytest.fixture(scope="session")
def _resources(request: pytest.FixtureRequest, tokenizer_pool: TokenizerPool) -> Resources:
    from pytest_bench.running.resources import Resources  # noqa: PLC0415 # as above

    return Resources(request.config.stash[_SESSION].plan, tokenizer_pool)


@pytest.fixture
def run_load(
    request: pytest.FixtureRequest,
    point: Point,
    deployment: Deployment,
    _runner: PointRunner,
    _resources: Resources,
) -> Callable[[], MeasuredPoint]:
    """Call it, once, to run the point: drive its load, measure, judge, leave the evidence.

    Returns a `MeasuredPoint`; the test has decided nothing until it calls its `require()`.
    """
    mark = markers.read(list(request.node.iter_markers("points")), request.node.nodeid)
    if mark is None or not mark.judge:
        raise UsageError(
            f"{request.node.nodeid} does not judge its point (judge=False), so it cannot run it: ask for "
            "`measurement` instead, or let this function judge"
        )
    return _runner.runner(request.node, point, deployment, _resources)


@pytest.fixture
def measurement(
    point: Point,
    deployment: Deployment,  # noqa: ARG001 # points come with their deployment
    _runner: PointRunner,
) -> MeasuredPoint:
    """What the point came to, for functions with judge=False: its judging function has run before."""
    return _runner.read(point)
