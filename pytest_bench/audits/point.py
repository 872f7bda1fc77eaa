"""Run one audit point, from its phases to its judgement."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_bench.audits.artifacts import write_artifacts
from pytest_bench.audits.checking import require_valid
from pytest_bench.audits.contract import (
    AuditFields,
    AuditPlan,
    AuditTest,
    Findings,
    Setting,
    Undecided,
)
from pytest_bench.audits.driving import Driven, drive_phases
from pytest_bench.audits.order import find_earlier_points, order_of, primed_by, require_in_order
from pytest_bench.audits.registry import Registry
from pytest_bench.datasets.rows import load_dataset
from pytest_bench.errors import UsageError
from pytest_bench.labels import Label
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.records import PhaseResult
from pytest_bench.results.details import AuditDetail, AuditResult
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.labels import labels_of
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.measuring import with_errors, write_point
from pytest_bench.running.resources import Resources
from pytest_bench.running.server_side import ServerSide
from pytest_bench.running.session import SILENT, Reporter, SessionFacts
from pytest_bench.running.sharing import shares_beside
from pytest_bench.running.simulator_bound import simulator_bound
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason


def run_audit(
    session: SessionFacts,
    resources: Resources,
    point: Point,
    deployment: Deployment,
    reporter: Reporter = SILENT,
    *,
    registry: Registry,
) -> MeasuredPoint:
    """Validate the audit, drive its phases back to back, judge the results, write the evidence.

    Raises `UsageError` and `DatasetError` before the first request, `OutOfOrder` if earlier points sent the audit's
    samples against the plan, and what `drive` raises.
    """
    audit = registry.find(str(point.options["test"]))
    dataset = resources.dataset(point.suite, str(point.dataset))
    rows = len(dataset)
    setting = setting_of(session.plan, point, rows, streaming=deployment.api.streaming)
    plan = _planned(audit, setting)
    files = {name: path.read_bytes() for name, path in plan.files.items()}
    before = find_earlier_points(session, resources, point, deployment)
    order = order_of(session.plan, before)
    first = plan.phases[0] if plan.phases else None
    primed = primed_by(first, shares_beside(session.plan, point, rows), before)
    require_in_order(session.plan, point, primed)
    # Loaded before the load starts, so that a tokenizer that cannot be loaded costs no measurement.
    tokenizer = resources.tokenizer(deployment.plan) if plan.phases else None
    server_side = ServerSide(session, point, deployment, reporter)
    driven = drive_phases(session, point, deployment, tokenizer, dataset.rows, setting, plan.phases, reporter)
    server_side.finish(sum(phase.issued for phase in driven.results))
    result = _verified(audit, setting, driven, files)
    late = simulator_bound(driven.results) if deployment.simulated else []
    folder = session.folder(point)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if result is not None:
        write_artifacts(folder, audit, result, order=order)
    return write_point(
        session,
        point,
        deployment,
        dataset,
        judgement=with_errors(
            judgement_of(result),
            driven.problems,
            [
                *_ORDER_LABELS.get(order, ()),
                *labels_of(
                    point,
                    driven.results,
                    simulated=deployment.simulated,
                    simulator_bound=bool(late),
                    cache_shared=bool(primed),
                    too_short=_too_short(point, driven),
                ),
            ],
        ),
        measurement=None if result is None else measurement_of(result, driven.results),
        phases=driven.results,
        tokenizer=driven.tokenizer,
        detail=AuditDetail(
            order=order,
            before=before,
            explanation=" ".join(
                late if result is None else [result.explanation, *_cache_warning(primed), *late]
            ),
            result=result,
            cache_resets=tuple(driven.resets),
        ),
    )


_ORDER_LABELS = {
    "before the benchmark": (Label.BEFORE_BENCHMARK,),
    "between benchmarks": (Label.BETWEEN_BENCHMARKS,),
    "after the benchmark": (Label.AFTER_BENCHMARK,),
}
"""Labels by which the session's verdict states the order."""


class _Datasets(Mapping[str, Sequence[Mapping[str, Any]]]):
    """Rows of a suite's datasets. Each dataset is read when it is first used."""

    def __init__(self, plan: Plan, suite: str) -> None:
        self._plans = plan.datasets[suite]
        self._rows: dict[str, Sequence[Mapping[str, Any]]] = {}

    def __getitem__(self, name: str) -> Sequence[Mapping[str, Any]]:
        if name not in self._rows:
            dataset = load_dataset(self._plans[name], columns=None, required=frozenset(), tokenizer=None)
            self._rows[name] = dataset.rows
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)


def setting_of(plan: Plan, point: Point, rows: int, *, streaming: bool) -> Setting:
    """The point as its audit sees it; its dataset has `rows` rows. Raises `UsageError` without load or dataset."""
    if point.load is None or point.dataset is None:
        raise UsageError(f"{point.origin}: an audit needs a load and a dataset")
    share = shares_beside(plan, point, rows)[point.id]
    return Setting(
        point=point,
        deployment=plan.deployment_of(point),
        load=point.load,
        streaming=streaming,
        rows=rows,
        first=share.first,
        count=share.measured,
        folder=Path(plan.folder(point.suite)),
        datasets=_Datasets(plan, point.suite),
    )


def _planned(audit: AuditTest, setting: Setting) -> AuditPlan:
    """The audit's validated plan, with the cache resets that the suite declares."""
    plan = audit.plan(setting)
    if setting.fields(AuditFields).reset_cache:
        phases = tuple(dataclasses.replace(phase, reset_cache=True) for phase in plan.phases)
        plan = dataclasses.replace(plan, phases=phases)
    require_valid(audit, setting, plan)
    return plan


def _verified(
    audit: AuditTest, setting: Setting, driven: Driven, files: Mapping[str, bytes]
) -> AuditResult | None:
    """The audit's result. None if it cannot be judged; the reason is then one of `driven.problems`."""
    if driven.problems:
        return None
    try:
        return audit.verify(setting, Findings(runs=driven.runs, files=files))
    except Undecided as error:
        driven.problems.append(Reason(error.code, str(error)))
        return None


def judgement_of(result: AuditResult | None) -> Judgement:
    """The judgement of a point with this result. None: the audit could not be judged."""
    if result is None:
        return Judgement(outcome=Outcome.ERROR)
    reasons = [Reason("audit-finding", sentence) for sentence in result.findings]
    if not result.passed:
        reasons.insert(0, Reason("audit-failed", result.explanation))
    return Judgement(
        outcome=Outcome.FAIL if reasons else Outcome.PASS, reasons=tuple(reasons), labels=result.labels
    )


def measurement_of(result: AuditResult, phases: Sequence[PhaseResult]) -> Measurement:
    """The metrics of the result, and the request counts of all phases."""
    return Measurement(
        metrics=result.metrics,
        intervals=result.intervals,
        issued=sum(phase.issued for phase in phases),
        succeeded=sum(phase.succeeded for phase in phases),
        failed=sum(phase.failed for phase in phases),
        interrupted=sum(phase.interrupted for phase in phases),
        failures=dict(sum((Counter(phase.failures) for phase in phases), Counter())),
    )


def _cache_warning(primed: Sequence[str]) -> Iterator[str]:
    if primed:
        yield (
            f"Before this audit, {', '.join(primed)} may have sent the same samples to the same server, and the cache "
            "was not reset. If its first phase was answered from a cache, the audit cannot detect the cache."
        )


def _too_short(point: Point, driven: Driven) -> bool:
    """Whether a phase is shorter than the point's minimum duration; a duration beside a count (`stop: and`) is one."""
    minimum_s = point.minimum_duration_s
    if minimum_s is None and point.load is not None and point.load.stop == "and":
        minimum_s = point.load.duration_s
    return minimum_s is not None and driven.shorter_than(minimum_s)
