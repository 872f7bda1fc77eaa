"""What the concurrencies of an eval share, and what summaries and result files say about one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

import pytest_bench
from pytest_bench.checkpoints import Session
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.evals.assessment import Assessment, shown
from pytest_bench.evals.declared import Asked
from pytest_bench.evals.finishing import Scored
from pytest_bench.evals.gates import GateResult
from pytest_bench.evals.gating import Family
from pytest_bench.evals.results import Run, metadata
from pytest_bench.results.details import EvalDetail
from pytest_bench.results.layout import point_path
from pytest_bench.results.summary import NAME as SUMMARY
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.running.labels import labels_of
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Outcome


def run_of(
    plan: Plan, point: Point, asked: Asked, nonce: str, version: str = pytest_bench.__version__
) -> Run:
    """What the result files say about the run. `started` is set when they are written."""
    return Run(
        model=asked.generation.model,
        concurrency=asked.generation.concurrency,
        started=datetime.fromtimestamp(0, UTC),
        version=version,
        few_shots=len(asked.few_shots),
        dataset_items=asked.dataset_items,
        limit=point.options.get("limit"),
        labels=plan.deployment_of(point).labels,
        nonce=nonce,
        extra={"point": point.id, "point_digest": plan.point_digest(point)},
    )


def siblings(plan: Plan, point: Point) -> list[Point]:
    """The points of one sweep, this one included, in the plan's order."""
    declared = point.name.partition("/")[0]
    return [
        other
        for other in plan.points
        if (other.suite, other.kind, other.name.partition("/")[0]) == (point.suite, "eval", declared)
    ]


def concurrency_of(point: Point) -> int:
    """The concurrency of an eval point. Raises `UsageError` for a point without one."""
    if point.load is None or point.load.concurrency is None:
        raise UsageError(f"{point.origin}: an eval needs a concurrency")
    return point.load.concurrency


def detail_of(
    scored: Scored,
    assessment: Assessment,
    sessions: Sequence[Session],
    *,
    release: str,
    results: Mapping[str, str],
) -> EvalDetail:
    """What the summary of an eval states besides. `results`: sha256 of each result file by path."""
    return EvalDetail(
        shown=tuple(shown(scored.metrics, scored.account)),
        metrics=_plain(scored.metrics),
        account=_plain(scored.account),
        concurrency=_plain(assessment.proof),
        gates=tuple(map(_plain, assessment.gates.results)),
        pairs={str(number): _plain(pair) for number, pair in assessment.gates.pairs.items()},
        sessions=tuple(map(_plain, sessions)),
        release=release,
        results=dict(results),
    )


def _plain(value: object) -> dict[str, Any]:
    """A struct as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(value, str_keys=True)
    return found


def eval_labels(point: Point, *, simulated: bool) -> list[str]:
    """The labels of an eval point, without those that its answers give it."""
    return list(
        labels_of(point, (), simulated=simulated, simulator_bound=False, cache_shared=False, too_short=False)
    )


def metadata_of(plan: Plan, results: Path, point: Point, nonce: str) -> dict[str, Any]:
    """Content of the `meta_env.json` that the concurrencies of a sweep share: which of them were completed so far."""
    family = siblings(plan, point)
    asked = [concurrency_of(one) for one in family]
    completed = [concurrency_of(one) for one in family if _is_completed(results, one, nonce)]
    return metadata(
        plan.deployment_of(point).model,
        plan.deployment_of(point).labels,
        asked,
        completed,
        0 if completed == asked else 1,
        nonce=nonce,
        batched=bool(point.sweep),
    )


def _is_completed(results: Path, point: Point, nonce: str) -> bool:
    """Whether this session measured the point, well or badly."""
    try:
        summary = read_summary(results / point_path(point.id))
    except EvidenceError:
        return False
    return summary.nonce == nonce and summary.judgement.outcome is not Outcome.ERROR


def family_of(plan: Plan, results: Path, point: Point, nonce: str) -> Family:
    """The gates of the concurrencies that come before this one in the plan, as this session judged them.

    Raises `EvidenceError` for a damaged summary of one of them.
    """
    family = siblings(plan, point)
    earlier = []
    for other in family[: family.index(point)]:
        folder = results / point_path(other.id)
        if not (folder / SUMMARY).exists():
            continue
        summary = read_summary(folder)
        if summary.nonce == nonce:
            earlier.append(tuple(_gates_in(summary)))
    return Family(size=len(family), earlier=tuple(earlier))


def _gates_in(summary: Summary) -> list[GateResult]:
    try:
        return msgspec.convert(summary.detail_as(EvalDetail).gates, list[GateResult])
    except msgspec.ValidationError as error:
        raise EvidenceError(f"the summary of {summary.point}: detail.gates is not valid: {error}") from error
