"""Parts that the shipped audits have in common."""

from __future__ import annotations

from typing import Any

from pytest_bench.audits.contract import AuditFields, AuditPhase, Run, Setting
from pytest_bench.metrics.measurement import Metric
from pytest_bench.suite.section import Count

PERFORMANCE = "performance"
"""Label of the phase in which outputs are produced under the point's load."""

PATTERNS = frozenset({"burst", "concurrency", "constant", "poisson", "gamma"})
"""Loads for audits of outputs, which do not depend on how requests arrive."""


class SampledFields(AuditFields):
    """Fields of an audit that sends distinct samples."""

    samples: Count | None = None
    """Requests of each phase, each with a sample of its own. Default: the number of requests of the load."""


def distinct_samples(setting: Setting, requests: int, label: str = PERFORMANCE, **more: Any) -> AuditPhase:
    """A phase of distinct samples. `more` are further fields of `AuditPhase`."""
    return AuditPhase(label=label, requests=requests, samples=setting.distinct(requests), **more)


def require_tokens(setting: Setting) -> None:
    """Raises `UsageError` if the API has no tokens."""
    if not setting.streaming:
        raise setting.refusal(f"the API {setting.deployment.api!r} has no tokens, which this audit checks")


def counts(run: Run) -> dict[str, object]:
    """Entries of `AuditResult.details` about one phase."""
    return {"requested": run.requested, "completed": run.completed}


def scalars(unit: str, **values: float) -> dict[str, Metric]:
    """Metrics of one value each, by name."""
    return {name: Metric(unit=unit, kind="scalar", value=value) for name, value in values.items()}


def outcome_line(*, passed: bool) -> str:
    """The line of `verify_<TEST>.txt` that states the outcome, as MLPerf's scripts write it."""
    return "TEST PASS" if passed else "TEST FAIL"
