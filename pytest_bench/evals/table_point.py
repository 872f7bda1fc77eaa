"""Runs a point whose results are tables that a tool leaves on one or several nodes, and judges what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pytest_bench.cluster.combining import Judged, judge
from pytest_bench.cluster.tables import Candidate, pick
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.evals.command import Rejudged, declared_environment, redact
from pytest_bench.evals.harness import STDERR, STDOUT, inherited
from pytest_bench.evals.node_files import Reported, read_nodes
from pytest_bench.evals.node_task import NodeOrder
from pytest_bench.evals.node_tasks import LOG, run_tasks
from pytest_bench.evals.nodes import nodes_for
from pytest_bench.evals.sweeps import eval_labels
from pytest_bench.metrics.measurement import Measurement, Metric
from pytest_bench.results.details import TablesDetail
from pytest_bench.results.layout import NODES
from pytest_bench.results.summary import Summary
from pytest_bench.running.deployment import Deployment, is_simulated
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.measuring import with_errors, write_point
from pytest_bench.running.server_log import with_log_budget
from pytest_bench.running.server_side import ServerSide
from pytest_bench.running.session import SILENT, Reporter, SessionFacts
from pytest_bench.suite.command_evals import filled_in
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict import judge as bounds
from pytest_bench.verdict.outcome import Judgement, worst


def run_table_eval(
    session: SessionFacts, point: Point, deployment: Deployment, reporter: Reporter = SILENT
) -> MeasuredPoint:
    """Run the point's command once on each of its nodes, judge what they left, and write the evidence.

    Raises `UsageError` if the nodes are not there, or cannot run it, and `EvidenceError` if the point's folder holds
    files of an earlier run, or what the nodes left is damaged.
    """
    folder = session.folder(point)
    if (folder / NODES).exists():
        raise EvidenceError(
            f"{folder / NODES}: holds files of an earlier run; a command is never resumed: run it in a new session"
        )
    (folder / NODES).mkdir(parents=True)
    place = nodes_for(session, point)
    orders = [
        _order(session, point, deployment, folder, place.job, place.names, rank)
        for rank in range(_size(point))
    ]
    for order in orders:
        Path(order.folder).mkdir()
    reporter.note(f"{point.id}: its command writes to {folder / NODES}/<rank>/{STDERR} and {STDOUT}")
    server_side = ServerSide(session, point, deployment, reporter)
    try:
        run_tasks(orders, place.allocation)
    finally:
        for order in orders:
            for name in (STDOUT, STDERR, LOG):
                redact(Path(order.folder) / name)
    deployment.require_running()
    server_side.finish(0)
    found = _judge(point, folder, session.nonce, place.job)
    return write_point(
        session,
        point,
        deployment,
        None,
        judgement=_judgement(point, found, simulated=deployment.simulated),
        measurement=found.measurement,
        phases=(),
        tokenizer=None,
        detail=TablesDetail(
            commands=tuple(order.command for order in orders),
            environment=tuple(sorted({*inherited(os.environ), *orders[0].environment})),
            job=place.job,
            **_found_detail(found),
        ),
    )


def rejudge_tables(plan: Plan, point: Point, folder: Path, summary: Summary) -> Rejudged[TablesDetail]:
    """Judge the files that nodes left again. `folder` holds the evidence. Raises `EvidenceError`."""
    detail = summary.detail_as(TablesDetail)
    found = _judge(point, folder, summary.nonce, detail.job)
    deployment = plan.deployment_of(point)
    simulated = is_simulated(deployment, (identity.get("server") for identity in summary.identities))
    return Rejudged(
        measurement=found.measurement,
        judgement=with_log_budget(_judgement(point, found, simulated=simulated), deployment, folder),
        detail=msgspec.structs.replace(detail, note="", **_found_detail(found)),
    )


def _size(point: Point) -> int:
    return int(point.options["nodes"])


def _order(
    session: SessionFacts,
    point: Point,
    deployment: Deployment,
    folder: Path,
    job: str,
    names: tuple[str, ...],
    rank: int,
) -> NodeOrder:
    own = (folder / NODES / str(rank)).absolute()
    options = point.options
    values = {
        "model": deployment.plan.model,
        "output": str(own / "output"),
        "rank": str(rank),
        "nodes": str(len(names)),
        "first_node": names[0],
        "job": job,
    }
    if point.needs_endpoint:
        if len(deployment.urls) != 1:
            raise UsageError(
                f"{point.origin}: {point.id} runs a command, which takes one endpoint; the deployment has "
                f"{len(deployment.urls)}"
            )
        values["endpoint"] = deployment.urls[0]
    return NodeOrder(
        nonce=session.nonce,
        rank=rank,
        job=job,
        is_alone=len(names) == 1,
        command=tuple(filled_in(word, values) for word in options["command"]),
        environment=declared_environment(point, values),
        working_folder=session.plan.folder(point.suite),
        folder=str(own),
        time_limit_s=options["time_limit_s"],
        paths=tuple(path.replace("{job}", job) for path in options["tables"]["paths"]),
        wait_s=options["tables"]["wait_s"],
    )


class _Found(NamedTuple):
    """What the files of the nodes come to."""

    reported: Reported
    picked: Candidate | None
    scores: tuple[Any, ...]
    judged: Judged
    measurement: Measurement


def _judge(point: Point, folder: Path, nonce: str, job: str) -> _Found:
    options, size = point.options["tables"], _size(point)
    reported = read_nodes(folder / NODES, size, nonce)
    picked = pick(reported.candidates, job=job, started_ns=reported.started_ns)
    judged = judge(
        size,
        reported.statuses,
        reported.tables(job),
        picked=None if picked.chosen is None else picked.chosen.rank,
        combine=options["combine"],
        expect_rows=[(row["model"], row["metric"]) for row in options["expect_rows"]],
        is_over=True,
    )
    metrics = {f"{row.model} {row.metric}": _metric(row.value) for row in judged.rows}
    if len(metrics) < len(judged.rows):
        raise EvidenceError(
            f"{folder / NODES}: two rows of the tables have the same model and metric, joined by a space"
        )
    for bound in point.bounds:
        metrics.setdefault(bound.metric, _metric(None, "no table that counts has this row"))
    return _Found(reported, picked.chosen, picked.scores, judged, Measurement(metrics=metrics))


def _metric(value: float | None, why_null: str = "not measured, or the nodes disagree") -> Metric:
    """A value of a table, whose unit is not known."""
    return Metric(unit="", kind="scalar", value=value, reason=why_null if value is None else None)


def _judgement(point: Point, found: _Found, *, simulated: bool) -> Judgement:
    """That of the nodes, and that of the bounds. Without any row, no bound adds a reason of its own."""
    limits = bounds.judge(point.bounds, found.measurement, implied=())
    reasons = (*found.judged.reasons, *(limits.reasons if found.judged.rows else ()))
    outcomes = filter(None, (found.judged.outcome, limits.outcome))
    return with_errors(
        msgspec.structs.replace(limits, outcome=worst(outcomes), reasons=reasons),
        (),
        eval_labels(point, simulated=simulated),
    )


def _found_detail(found: _Found) -> dict[str, Any]:
    """The parts of the detail that follow from the files of the nodes."""
    statuses = [status for _, status in sorted(found.reported.statuses.items())]
    return {
        "shown": tuple(_shown(found.judged)),
        "statuses": tuple(map(_plain, statuses)),
        "picked": None if found.picked is None else f"{NODES}/{found.picked.path}",
        "scores": tuple(map(_plain, found.scores)),
        "rows": tuple(map(_plain, found.judged.rows)),
    }


def _shown(judged: Judged) -> Iterator[tuple[str, str]]:
    for row in judged.rows:
        if row.value is not None:
            yield f"{row.model}\n{row.metric}", f"{row.value:.4g}"


def _plain(value: object) -> dict[str, Any]:
    found: Mapping[str, Any] = msgspec.to_builtins(value, str_keys=True)
    return dict(found)
