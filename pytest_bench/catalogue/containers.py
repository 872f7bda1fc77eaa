"""Containers that could not be started, or whose flags contradict the suite, told before anything is started."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pytest_bench.errors import UsageError
from pytest_bench.suite.command_evals import is_command
from pytest_bench.suite.container_plan import LogBudget
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point
from pytest_bench.suite.serving_flags import inconsistencies


def require_containers(
    plan: Plan, points: Collection[Point], environ: Mapping[str, str], *, offline: bool
) -> None:
    """Raises `UsageError` for flags of the host that contradict the suites, for log budgets that cannot be judged, and,
    unless `offline`, for builds that need `docker buildx` where it is not installed."""
    problems: list[str] = []
    for suite in dict.fromkeys(point.suite for point in points):
        deployment = plan.deployments[suite]
        has_eval = any(point.kind == "eval" for point in plan.points if point.suite == suite)
        found = inconsistencies(
            deployment.containers, labels=deployment.labels, has_eval=has_eval, environ=environ
        )
        problems += (f"{deployment.origin}: {'.'.join(map(str, path))} {what}" for path, what in found)
        if not offline:
            problems += _missing_builders(deployment, environ)
    for point in points:
        problems += _without_requests(plan.deployment_of(point), point)
    if problems:
        raise UsageError("\n".join(problems))


def _missing_builders(deployment: DeploymentPlan, environ: Mapping[str, str]) -> Iterator[str]:
    for container in deployment.containers:
        if container.build is not None and container.build.contexts:
            from pytest_bench.containers.builds import buildx_problem  # noqa: PLC0415 # loads docker

            if problem := buildx_problem(environ):
                yield f"{deployment.origin}: {container.place}.build.contexts {problem}"


def _without_requests(deployment: DeploymentPlan, point: Point) -> Iterator[str]:
    if is_command(point):
        for container in deployment.containers:
            if container.log.budget != LogBudget():
                yield (
                    f"{point.origin}: {point.id} sends its requests by a command, so they are not counted, and "
                    f"{container.place}.log.budget is for each request: leave the budget out, or limit lines with "
                    "log.failures"
                )
