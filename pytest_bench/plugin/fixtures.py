"""The public fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_bench.errors import UsageError
from pytest_bench.plugin import markers
from pytest_bench.plugin.call import call_of
from pytest_bench.plugin.session import Session

if TYPE_CHECKING:
    from pytest_bench.containers.group import Containers, Member
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
    """The point that this test runs, with all defaults filled in: id, load, bounds, origin."""
    return request.config.stash[_SESSION].plan.point(request.param)


@pytest.fixture(scope="session")
def _runner(request: pytest.FixtureRequest) -> PointRunner:
    from pytest_bench.plugin.runner import PointRunner  # noqa: PLC0415 # heavy; xdist workers may never run a point

    return PointRunner(request.config, call_of(request.config), request.config.stash[_SESSION])


@pytest.fixture(scope="session")
def tokenizer_pool() -> Iterator[TokenizerPool]:
    """Processes that count tokens, shared by all points; started on first use."""
    from pytest_bench.tokens.pool import TokenizerPool  # noqa: PLC0415 # as above

    with TokenizerPool() as pool:
        yield pool


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest, _runner: PointRunner) -> Iterator[Deployment]:
    """The system under test, ready for requests: started once for all its points, stopped after the last."""
    with _runner.deployment(request.param) as up:
        yield up


@pytest.fixture(scope="session")
def endpoint(deployment: Deployment) -> str:
    """URL of the deployment's first endpoint."""
    return deployment.urls[0]


@pytest.fixture(scope="session")
def containers(deployment: Deployment) -> Containers:
    """The containers of the deployment by role; the only one under ''."""
    if deployment.containers is None:
        raise UsageError(
            f"{deployment.plan.origin}: the fixtures `container` and `containers` are for deployments with a container "
            "of this session; declare deployment.container, and leave out --endpoint"
        )
    return deployment.containers


@pytest.fixture(scope="session")
def container(containers: Containers) -> Member:
    """The container that serves the deployment: its `url`, `name`, `log` and `require_running()`."""
    return containers.serving


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
    """A function that runs the point: it drives the load, measures, judges, and writes the evidence.

    Call it once. It returns a `MeasuredPoint`; the test fails only if it calls `require()` on the result.
    """
    mark = markers.read(list(request.node.iter_markers("points")), request.node.nodeid)
    if mark is None or not mark.judge:
        raise UsageError(
            f"{request.node.nodeid} does not judge its point (judge=False), so it cannot run it: use the "
            "fixture `measurement`, or remove judge=False"
        )
    return _runner.runner(request.node, point, deployment, _resources)


@pytest.fixture
def measurement(
    point: Point,
    deployment: Deployment,  # noqa: ARG001 # every point test needs its deployment
    _runner: PointRunner,
) -> MeasuredPoint:
    """The measured point, for functions with judge=False. Its judging function has already run."""
    return _runner.read(point)
