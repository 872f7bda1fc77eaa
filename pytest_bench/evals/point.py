"""Runs one eval point: requests what its checkpoint lacks, scores every answer, judges, and writes the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest_bench
from pytest_bench.checkpoints import Session, open_checkpoint
from pytest_bench.datasets.rows import Dataset
from pytest_bench.errors import UsageError
from pytest_bench.evals.answers import requests_of
from pytest_bench.evals.assessment import Assessment, assess
from pytest_bench.evals.baseline import read_baseline
from pytest_bench.evals.command import run_command_eval
from pytest_bench.evals.declared import ask, baselines_of, few_shots_dataset, gates_of, judging_of
from pytest_bench.evals.evidence import FEW_SHOTS, ROWS, write_rows
from pytest_bench.evals.finishing import Finished, finish_point
from pytest_bench.evals.gating import BASELINES, Baseline, BaselinesFile
from pytest_bench.evals.results import write_metadata
from pytest_bench.evals.session import begin, read_phases, request
from pytest_bench.evals.sweeps import concurrency_of, detail_of, eval_labels, family_of, metadata_of, run_of
from pytest_bench.evals.table_point import run_table_eval
from pytest_bench.files import file_digest, write_json
from pytest_bench.results.layout import CHECKPOINT, eval_path
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.measuring import with_errors, write_point
from pytest_bench.running.resources import Resources
from pytest_bench.running.server_side import ServerSide
from pytest_bench.running.session import SILENT, Reporter, SessionFacts
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.command_evals import is_command
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.suite.table_evals import has_tables


def run_eval(
    session: SessionFacts,
    resources: Resources,
    point: Point,
    deployment: Deployment,
    reporter: Reporter = SILENT,
    *,
    scorings: Scorings = SCORINGS,
) -> MeasuredPoint:
    """Ask, score, judge, and write the evidence. A checkpoint of an earlier session is continued.

    Raises `UsageError`, `DatasetError`, `LoadError` or `EvidenceError` if the point cannot be judged; what was answered
    until then stays in the checkpoint.
    """
    if has_tables(point):
        return run_table_eval(session, point, deployment, reporter)
    if is_command(point):
        return run_command_eval(session, point, deployment, reporter)
    if point.dataset is None:
        raise UsageError(f"{point.origin}: an eval needs a dataset")
    dataset = resources.table(point.suite, point.dataset)
    shots = few_shots_dataset(point)
    examples = () if shots is None else resources.table(point.suite, shots).rows
    asked = ask(
        point,
        dataset.rows,
        examples,
        model=deployment.plan.model,
        revision=revision_of(deployment),
        scorings=scorings,
    )
    baselines = _baselines(session.plan, point, scorings)
    folder = session.folder(point)
    folder.mkdir(parents=True, exist_ok=True)
    _write_metadata(session.plan, session.results, point, session.nonce)
    with open_checkpoint(folder / CHECKPOINT) as checkpoint:
        decision = begin(checkpoint, session, point, asked)
        write_rows(folder / ROWS, [item.row for item in asked.items], nonce=session.nonce, point=point.id)
        write_rows(folder / FEW_SHOTS, asked.few_shots, nonce=session.nonce, point=point.id)
        if baselines:
            write_json(
                folder / BASELINES, BaselinesFile(nonce=session.nonce, baselines=tuple(baselines.items()))
            )
        sent = partial(requests_of, checkpoint.path, concurrency=concurrency_of(point))
        server_side = ServerSide(session, point, deployment, reporter, sent)
        issued = 0
        if decision.pending:
            issued = request(checkpoint, session, point, deployment, asked, decision.pending, reporter).issued
        server_side.finish(issued)
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
        sessions = list(checkpoint.contents.sessions)
        family = family_of(session.plan, session.results, point, session.nonce)
        assessment = assess(point, asked, finished.scored, checkpoint.path, baselines, family)
    measured = _finish(session, point, deployment, dataset, finished, assessment, sessions)
    _write_metadata(session.plan, session.results, point, session.nonce)
    return measured


def revision_of(deployment: Deployment) -> str | None:
    """What the server says about the version of what it serves; None if it says nothing."""
    versions = sorted({identity.version for identity in deployment.identities if identity.version})
    return ", ".join(versions) or None


def _baselines(plan: Plan, point: Point, scorings: Scorings) -> dict[int, Baseline]:
    """The baseline of each gate that has one, by position of the gate. Raises `EvidenceError` for one that does not
    verify."""
    gates = gates_of(point)
    here = Path(plan.folder(point.suite))
    return {
        number: read_baseline(
            here / declared, declared, baseline_point, gates[number].metric, scorings=scorings
        )
        for number, (declared, baseline_point) in baselines_of(point).items()
    }


def _finish(
    session: SessionFacts,
    point: Point,
    deployment: Deployment,
    dataset: Dataset,
    finished: Finished,
    assessment: Assessment,
    sessions: Sequence[Session],
) -> MeasuredPoint:
    return write_point(
        session,
        point,
        deployment,
        dataset,
        judgement=with_errors(assessment.judgement, (), eval_labels(point, simulated=deployment.simulated)),
        measurement=assessment.measurement,
        phases=list(read_phases(session.folder(point), len(sessions))),
        tokenizer=None,
        detail=detail_of(
            finished.scored,
            assessment,
            sessions,
            release=pytest_bench.__version__,
            results={
                path.relative_to(session.results).as_posix(): file_digest(path)
                for path in (finished.results, finished.samples)
            },
        ),
    )


def _write_metadata(plan: Plan, results: Path, point: Point, nonce: str) -> None:
    folder = results / eval_path(point)
    folder.mkdir(parents=True, exist_ok=True)
    write_metadata(folder, metadata_of(plan, results, point, nonce))
