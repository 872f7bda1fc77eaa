"""The deployment of a suite's evals, if its section `eval` overrides settings of the suite's deployment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from pytest_bench.suite.context import Context
from pytest_bench.suite.deployments import SIMULATOR, plan_deployment
from pytest_bench.suite.document import Document, Path
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point

OVERRIDES = "deployment"
"""Key of the section `eval` with the overridden settings; no eval can have this name."""

REFUSED: dict[str, str] = {
    "model": "scores of another model say nothing about this one: declare it in a suite of its own",
    "generation": "each eval has a `generation` of its own: set parameters there",
    "tokens": "no tokens are counted in an eval",
    "cache_reset": "an eval resets no cache",
}
"""Settings that evals cannot override, and why."""

_SERVERS = frozenset({"container", "containers", "endpoint"})
"""Settings that name another server. Only one of them can be in effect."""

T = TypeVar("T")


def name_of(suite: str) -> str:
    """Name in the plan of the deployment of a suite's evals. No suite can have this name."""
    return f"{suite}.eval"


def plan_eval_deployment(
    context: Context, suite: str, base: Mapping[str, Any], written: object
) -> DeploymentPlan | None:
    """The deployment `base` with the settings `written` in the section `eval`. None if it has problems."""
    path: Path = ("eval", OVERRIDES)
    if not isinstance(written, dict) or not written:
        context.problem(path, "has no settings; expected those of `deployment` that differ for evals")
        return None
    for name in written.keys() & REFUSED:
        context.problem((*path, name), f"cannot be overridden for evals: {REFUSED[name]}")
    merged = _merged(base, written)
    if merged == base:
        context.problem(path, "repeats settings of `deployment`; expected settings that differ, or none")
    if written.keys() & REFUSED or merged == base:
        return None
    for name in {*_SERVERS, "nodes"} - written.keys() if _SERVERS & written.keys() else ():
        merged.pop(name, None)
    planned = plan_deployment(replace(context, document=_moved(context.document, path)), suite, merged)
    return None if planned is None else msgspec.structs.replace(planned[0], overridden=tuple(sorted(written)))


def by_deployment(points: Iterable[Point]) -> list[Point]:
    """`points` in their order, but all points of a deployment together, so that it is started once."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.deployment_name, []).append(point)
    return [point for group in groups.values() for point in group]


def one_server_for_two(plan: Plan, points: Collection[Point]) -> list[str]:
    """Why `points` cannot run: their evals need another server than the others, and `--endpoint` names one for all."""
    selected = {point.deployment_name for point in points}
    problems: list[str] = []
    for suite in dict.fromkeys(point.suite for point in points):
        base, own = plan.deployments[suite], plan.deployments.get(name_of(suite))
        if own is None or not selected.issuperset({suite, name_of(suite)}):
            continue
        servers = _SERVERS & set(own.overridden or ())
        if servers and own.endpoints == base.endpoints not in ((), (SIMULATOR,)):
            problems.append(
                f"{own.origin}: the evals of suite {suite!r} override {', '.join(sorted(servers))}, and --endpoint "
                "names one server for all points: select either the evals or the other points (-k), and give "
                "each selection its own --endpoint"
            )
    return problems


def _merged(base: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `written`, mapping by mapping; other values are replaced."""
    merged = dict(base)
    for name, value in written.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            value = _merged(before, value)  # noqa: PLW2901 # mappings are merged, other values replaced
        merged[name] = value
    return merged


def _moved(document: Document, path: Path) -> Document:
    """`document` with the positions of what is written at `path` in place of those of the deployment."""

    def moved(marks: Mapping[Path, T]) -> dict[Path, T]:
        length = len(path)
        return {
            **marks,
            **{("deployment", *at[length:]): mark for at, mark in marks.items() if at[:length] == path},
        }

    return replace(document, marks=moved(document.marks), keys=moved(document.keys))
