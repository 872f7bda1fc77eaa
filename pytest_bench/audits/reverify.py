"""Judge an audit again from its logs alone, by the same pure check."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_bench.api import BUILTIN, import_api
from pytest_bench.audits.artifacts import artifacts
from pytest_bench.audits.checking import phase_load
from pytest_bench.audits.contract import Findings, Setting
from pytest_bench.audits.outputs import read_run
from pytest_bench.audits.point import setting_of
from pytest_bench.audits.registry import Registry
from pytest_bench.errors import EvidenceError
from pytest_bench.results.details import AuditDetail, AuditResult
from pytest_bench.results.summary import Summary
from pytest_bench.running.counting import read_counted
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point
from pytest_bench.workload import Load


def reverify(
    plan: Plan, point: Point, folder: Path, summary: Summary, registry: Registry
) -> tuple[AuditResult, dict[str, bytes]]:
    """The audit's result and the bytes of its artifacts. `folder` holds its evidence.

    Raises `EvidenceError` if the logs are damaged or lack a phase, `UsageError` for an unknown audit, `Undecided`,
    and what reading the datasets raises.
    """
    audit = registry.find(str(point.options.get("test")))
    setting = _setting(plan, point, summary)
    asked = audit.plan(setting)
    labels = [phase.label for phase in asked.phases]
    if labels != [phase.label for phase in summary.phases]:
        raise EvidenceError(
            f"{folder}: its phases are {[phase.label for phase in summary.phases]}; the audit has {labels}"
        )
    runs = {}
    for phase, result in zip(asked.phases, summary.phases, strict=True):
        here = msgspec.structs.replace(result, folder=str(folder / result.folder))
        tokens = read_counted(Path(here.folder)).tokens if phase.count_tokens else None
        runs[phase.label] = read_run(phase, here, tokens)
    files = {name: (folder / name).read_bytes() for name in asked.files}
    found = audit.verify(setting, Findings(runs=runs, files=files))
    return found, artifacts(audit, found, order=summary.detail_as(AuditDetail).order)


def loads_of(plan: Plan, point: Point, summary: Summary, registry: Registry) -> dict[str, Load]:
    """The load of each phase of an audit, by label. Raises as `reverify` does."""
    setting = _setting(plan, point, summary)
    asked = registry.find(str(point.options.get("test"))).plan(setting)
    return {phase.label: phase_load(setting.load, phase) for phase in asked.phases}


def _setting(plan: Plan, point: Point, summary: Summary) -> Setting:
    if summary.dataset is None:
        raise EvidenceError("summary.json names no dataset, so the audit cannot be judged")
    streaming = _streams(plan.deployment_of(point))
    return setting_of(plan, point, summary.dataset.rows, streaming=streaming)


def _streams(deployment: DeploymentPlan) -> bool:
    """Whether the API can stream. For an API that is not shipped, the plan decides; it is never imported."""
    if BUILTIN.get(deployment.api) == deployment.api_reference:
        return import_api(deployment.api, deployment.api_reference).streaming
    return deployment.stream
