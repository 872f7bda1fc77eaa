"""Refuses points whose tokenizer is missing, before anything is started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_bench.errors import SuiteError, TokensError
from pytest_bench.metrics.definitions import COMPARES_COUNTS
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point
from pytest_bench.tokens.hub import fetch
from pytest_bench.tokens.source import NotCached, TokenizerSource, find, refuse_fetch


def require_tokenizers(plan: Plan, points: Iterable[Point], *, offline: bool = False) -> None:
    """Find the tokenizer of every deployment of `points`; one that is not cached is downloaded from the hub.

    With `offline`, nothing is downloaded, and a tokenizer that would have to be is not checked.

    Raises `SuiteError` for each named tokenizer that cannot be found, for `count: tokenizer` without one, and for each
    limit on the difference of two counts if there is none to make the first.
    """
    wanted = list(points)
    problems: list[str] = []
    for suite in dict.fromkeys(point.suite for point in wanted):
        deployment = plan.deployments[suite]
        try:
            source = find(
                deployment.tokens.tokenizer,
                deployment.tokenizer_model,
                plan.folder(suite),
                fetch_folder=refuse_fetch if offline else fetch,
            )
        except NotCached:
            continue
        except TokensError as error:
            problems.append(f"{deployment.origin}: {error}{_place(plan, suite, str(error))}")
            continue
        of_suite = [point for point in wanted if point.suite == suite]
        problems += _without_tokenizer(deployment, of_suite, source)
    if problems:
        raise SuiteError(list(dict.fromkeys(problems)))


def _place(plan: Plan, suite: str, error: str) -> str:
    """The path that a name in a suite also means, unless the error shows it."""
    deployment = plan.deployments[suite]
    beside = str(Path(plan.folder(suite)) / (deployment.tokens.tokenizer or deployment.model))
    return "" if beside in error else f" (looked for {beside})"


def _without_tokenizer(
    deployment: DeploymentPlan, points: list[Point], source: TokenizerSource | None
) -> Iterator[str]:
    if source is not None:
        return
    remedy = "expected `tokens: {tokenizer: …}` in the deployment, or --tokenizer"
    if deployment.tokens.count == "tokenizer":
        yield f"{deployment.origin}: `count: tokenizer` has no tokenizer to count with; {remedy}"
    for point in points:
        for limit in (*point.bounds, *point.slo):
            if limit.metric.partition(".")[0] in COMPARES_COUNTS:
                yield f"{limit.origin}: {limit.metric!r} compares a tokenizer's count with the server's; {remedy}"
