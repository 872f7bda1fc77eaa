"""Runs one eval point: requests what its checkpoint lacks, scores every answer, judges, and writes the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

import pytest_bench
from pytest_bench.checkpoints import open_checkpoint
from pytest_bench.datasets.rows import Dataset
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.evals.assessment import Assessment, assess, shown
from pytest_bench.evals.command import run_command_eval
from pytest_bench.evals.declared import Asked, ask, few_shots_dataset, judging_of
from pytest_bench.evals.evidence import FEW_SHOTS, ROWS, write_rows
from pytest_bench.evals.finishing import Finished, Scored, finish_point
from pytest_bench.evals.results import Run, metadata, write_metadata
from pytest_bench.evals.session import begin, read_phases, request
from pytest_bench.files import file_digest
from pytest_bench.results.layout import CHECKPOINT, eval_path, point_path
from pytest_bench.results.summary import read_summary
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.labels import labels_of
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.measuring import conclude, with_errors
from pytest_bench.running.resources import Resources
from pytest_bench.running.session import SILENT, Reporter, SessionFacts
from pytest_bench.suite.command_evals import is_command
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Outcome


def run_eval(
    session: SessionFacts,
    resources: Resources,
    point: Point,
    deployment: Deployment,
    reporter: Reporter = SILENT,
) -> MeasuredPoint:
    """Ask, score, judge, and write the evidence. A checkpoint of an earlier session is continued.

    Raises `UsageError`, `DatasetError`, `LoadError` or `EvidenceError` if the point cannot be judged; what was answered
    until then stays in the checkpoint.
    """
    if is_command(point):
        return run_command_eval(session, point, deployment, reporter)
    if point.dataset is None:
        raise UsageError(f"{point.origin}: an eval needs a dataset")
    dataset = resources.table(point.suite, point.dataset)
    shots = few_shots_dataset(point)
    examples = () if shots is None else resources.table(point.suite, shots).rows
    asked = ask(point, dataset.rows, examples, model=deployment.plan.model, revision=revision_of(deployment))
    folder = session.folder(point)
    folder.mkdir(parents=True, exist_ok=True)
    _write_metadata(session.plan, session.results, point, session.nonce)
    with open_checkpoint(folder / CHECKPOINT) as checkpoint:
        decision = begin(checkpoint, session, point, asked)
        write_rows(folder / ROWS, [item.row for item in asked.items])
        write_rows(folder / FEW_SHOTS, asked.few_shots)
        if decision.pending:
            request(checkpoint, session, point, deployment, asked, decision.pending, reporter)
        finished = finish_point(
            checkpoint,
            asked.task,
            asked.items,
            asked.keys,
            run_of(session.plan, point, asked, session.nonce),
            session.results / eval_path(point),
            judging=judging_of(point),
            batched=bool(point.sweep),
        )
        sessions = [msgspec.to_builtins(one) for one in checkpoint.contents.sessions]
        assessment = assess(point, asked, finished.scored, checkpoint.path)
    measured = _conclude(session, point, deployment, dataset, finished, assessment, sessions)
    _write_metadata(session.plan, session.results, point, session.nonce)
    return measured


def revision_of(deployment: Deployment) -> str | None:
    """What the server says about the version of what it serves; None if it says nothing."""
    versions = sorted({identity.version for identity in deployment.identities if identity.version})
    return ", ".join(versions) or None


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
        extra={"nonce": nonce, "point": point.id, "point_digest": plan.point_digest(point)},
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


def _conclude(
    session: SessionFacts,
    point: Point,
    deployment: Deployment,
    dataset: Dataset,
    finished: Finished,
    assessment: Assessment,
    sessions: Sequence[dict[str, Any]],
) -> MeasuredPoint:
    folder = session.folder(point)
    phases = list(read_phases(folder, len(sessions)))
    labels = list(eval_labels(point, simulated=deployment.simulated))
    return conclude(
        session,
        point,
        deployment,
        dataset,
        judgement=with_errors(assessment.judgement, (), labels),
        measurement=assessment.measurement,
        phases=phases,
        tokenizer=None,
        detail={
            **detail_of(finished.scored, assessment),
            "sessions": sessions,
            "version": pytest_bench.__version__,
            "results": {
                path.relative_to(session.results).as_posix(): file_digest(path)
                for path in (finished.results, finished.samples)
            },
        },
    )


def detail_of(scored: Scored, assessment: Assessment) -> dict[str, Any]:
    """The parts of a summary's detail that follow from the checkpoint."""
    return {
        "shown": shown(scored.metrics),
        "eval": msgspec.to_builtins(scored.metrics),
        "account": msgspec.to_builtins(scored.account),
        "concurrency": msgspec.to_builtins(assessment.proof),
        "gates": msgspec.to_builtins(assessment.gates),
    }


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
        plan.deployments[point.suite].model,
        {},
        asked,
        completed,
        0 if completed == asked else 1,
        batched=bool(point.sweep),
    )


def _write_metadata(plan: Plan, results: Path, point: Point, nonce: str) -> None:
    folder = results / eval_path(point)
    folder.mkdir(parents=True, exist_ok=True)
    write_metadata(folder, metadata_of(plan, results, point, nonce))


def _is_completed(results: Path, point: Point, nonce: str) -> bool:
    """Whether this session measured the point, well or badly."""
    try:
        summary = read_summary(results / point_path(point.id))
    except EvidenceError:
        return False
    return summary.nonce == nonce and summary.judgement.outcome is not Outcome.ERROR
