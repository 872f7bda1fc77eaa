"""Checks of every audit before its first request."""

from __future__ import annotations

import re

import msgspec

from pytest_bench.audits.contract import AuditPhase, AuditPlan, AuditTest, Setting
from pytest_bench.wording import one_of
from pytest_bench.workload import Load

_LABEL = re.compile(r"[a-z][a-z0-9_]*")


def require_valid(audit: AuditTest, setting: Setting, plan: AuditPlan) -> None:
    """Raises `UsageError` if the plan needs something that is missing, or cannot show the effect."""
    if setting.load.pattern not in audit.patterns:
        raise setting.refusal(
            f"has the load pattern {setting.load.pattern!r}, under which {audit.id!r} cannot detect anything; "
            f"expected {one_of(sorted(audit.patterns))}"
        )
    labels = [phase.label for phase in plan.phases]
    if len(set(labels)) < len(labels) or not all(map(_LABEL.fullmatch, labels)):
        raise setting.refusal(f"{audit.id!r} labels its phases {labels}; expected distinct names of folders")
    for phase in plan.phases:
        _check_samples(setting, phase)
        if phase.reset_cache and setting.deployment.cache_reset is None:
            raise setting.refusal(
                "resets the server's caches between phases, and the deployment does not declare how: "
                "name deployment.cache_reset"
            )
    for name, path in plan.files.items():
        if not path.is_file():
            raise setting.refusal(f"needs {name}, and {path} is not a file")
    audit.validate(setting)


def _check_samples(setting: Setting, phase: AuditPhase) -> None:
    samples, dataset = phase.samples, setting.point.dataset
    if phase.requests < 1:
        raise setting.refusal(f"phase {phase.label!r} has {phase.requests} requests; expected 1 or more")
    if samples.order == "single":
        if samples.index is None or not 0 <= samples.index < setting.rows:
            raise setting.refusal(
                f"sample index {samples.index} is outside the dataset {dataset!r}, which has rows 0 to "
                f"{setting.rows - 1}"
            )
        return
    if samples.count < 1 or samples.first + samples.count > setting.rows:
        raise setting.refusal(
            f"phase {phase.label!r} takes rows {samples.first} to {samples.first + samples.count - 1}, and the "
            f"dataset {dataset!r} has {setting.rows}"
        )
    if samples.order == "without_replacement" and phase.requests > samples.count:
        raise setting.refusal(
            f"phase {phase.label!r} needs {phase.requests} distinct samples, and the dataset {dataset!r} has "
            f"{setting.rows}: name fewer, or a larger dataset"
        )


def phase_load(load: Load, phase: AuditPhase) -> Load:
    """The load of one phase. The count ends it; a duration beside a count stays as its maximum."""
    longest_s = load.duration_s if load.requests is not None and load.stop == "or" else None
    if phase.concurrency is not None:
        load = Load(pattern="concurrency", concurrency=phase.concurrency)
    concurrency = load.concurrency
    if load.pattern == "concurrency" and concurrency is not None:
        concurrency = min(concurrency, phase.requests)
    return msgspec.structs.replace(
        load, requests=phase.requests, duration_s=longest_s, stop="or", concurrency=concurrency
    )
