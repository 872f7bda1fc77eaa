"""Whether a server answers repeated requests from a cache (MLPerf's TEST04).

Two phases run back to back: distinct samples, then one sample for every request. A server that caches responses
answers the second phase faster. The rule is that of mlcommons/endpoints
(`compliance/audit_test/output_caching_test.py`): enough requests of each phase completed, and
`audit_qps < ref_qps * (1 + threshold)`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, final

import numpy as np
from pydantic import Field

from pytest_bench.audits import rates
from pytest_bench.audits.contract import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    Findings,
    Run,
    Setting,
)
from pytest_bench.audits.ratio import METHOD, ratio_interval
from pytest_bench.audits.shared import distinct_samples, scalars
from pytest_bench.metrics import early_stopping
from pytest_bench.metrics.measurement import Interval
from pytest_bench.results.details import AuditResult
from pytest_bench.suite.section import Count
from pytest_bench.workload import SampleOrder

REFERENCE = "reference"
AUDIT = "output_caching"

DEFAULT_THRESHOLD = 0.10
"""mlcommons/endpoints, `OutputCachingTestConfig`."""

CONFIDENCE = 0.95
"""Of the interval of the ratio, which is shown and decides nothing."""


class OutputCachingFields(rates.RateFields):
    """Whether repeated requests are answered faster than distinct ones."""

    audit_samples: Count | None = None
    """Requests of the audit phase. Default: as many as the reference phase."""
    sample_index: Annotated[int, Field(ge=0)] = 3
    """The sample that the audit phase repeats."""


@final
class OutputCaching:
    """Compares distinct samples with one sample repeated."""

    id: ClassVar[str] = "output-caching"
    artifact: ClassVar[str] = "output_caching_test"
    fields: ClassVar[type[AuditFields]] = OutputCachingFields
    patterns: ClassVar[frozenset[str]] = rates.PATTERNS

    def plan(self, setting: Setting) -> AuditPlan:
        fields = setting.fields(OutputCachingFields)
        samples = setting.requests(fields.samples)
        return AuditPlan(
            phases=(
                # The reference phase runs first, so that warming up can only push towards a failure.
                distinct_samples(setting, samples, REFERENCE),
                AuditPhase(
                    label=AUDIT,
                    requests=fields.audit_samples or samples,
                    samples=SampleOrder(order="single", count=setting.rows, index=fields.sample_index),
                ),
            )
        )

    def validate(self, setting: Setting) -> None:
        setting.require_full_load(*(phase.requests for phase in self.plan(setting).phases))

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(OutputCachingFields)
        return judge(
            findings.runs[REFERENCE],
            findings.runs[AUDIT],
            threshold=fields.threshold or DEFAULT_THRESHOLD,
            sample_index=fields.sample_index,
            single_stream=rates.is_single_stream(setting.load),
            tolerate_failures=fields.tolerate_failures,
        )


def judge(
    reference: Run,
    audit: Run,
    *,
    threshold: float,
    sample_index: int,
    single_stream: bool = False,
    tolerate_failures: bool = False,
) -> AuditResult:
    """Apply the rule. Raises `FailedRequests` if requests failed and failures are not tolerated."""
    labels = rates.failure_labels(reference, audit, tolerated=tolerate_failures)
    ref_qps, audit_qps = reference.throughput, audit.throughput
    # In binary floating point, as upstream: 110 against 100 at 0.10 passes.
    limit = ref_qps * (1.0 + threshold)
    fast = not audit_qps < limit
    short = [run for run in (reference, audit) if not rates.enough(run, threshold)]
    passed = not (fast or short)
    ratio = audit_qps / ref_qps
    interval = ratio_interval(
        audit.started_ns, audit.completions_ns, (reference.started_ns, reference.completions_ns), CONFIDENCE
    )
    if short:
        reason = (
            f"Phase incomplete: reference {reference.completed}/{reference.requested}, "
            f"audit {audit.completed}/{audit.requested} (threshold {threshold:.0%})"
        )
    else:
        reason = (
            f"audit_qps={audit_qps:.4f} {'>=' if fast else '<'} ref_qps * (1 + {threshold:.0%}) = {limit:.4f}"
        )
    details: dict[str, object] = {
        "ref_qps": ref_qps,
        "audit_qps": audit_qps,
        "threshold": threshold,
        "ref_completed": reference.completed,
        "ref_requested": reference.requested,
        "audit_completed": audit.completed,
        "audit_requested": audit.requested,
        "sample_index": sample_index,
        "ratio": ratio,
        "ratio_interval": None
        if interval is None
        else {"confidence": CONFIDENCE, "low": interval[0], "high": interval[1], "method": METHOD},
    }
    if single_stream:
        details["early_stopping_p90_ns"] = {run.label: _early_stopping_p90(run) for run in (reference, audit)}
    return AuditResult(
        passed=passed,
        reason=reason,
        explanation=" ".join(
            [
                (
                    f"First {reference.completed} distinct samples were answered at {ref_qps:.4g} requests/s, "
                    f"then sample {sample_index} alone, {audit.completed} times, at {audit_qps:.4g} requests/s."
                ),
                f"The ratio is {ratio:.4g} ({_certainty(interval)}); it must be less than {1 + threshold:.4g}.",
                _meaning(fast=fast, short=bool(short), unsure=_contains(interval, 1 + threshold)),
                *(rates.shortfall(run, threshold) for run in short),
                *(_failures(run) for run in (reference, audit) if run.failed),
            ]
        ),
        lines=(f"Performance check pass: {passed}",),
        labels=labels,
        details=details,
        shown=(
            ("reference\nreq/s", f"{ref_qps:.4g}"),
            ("one sample\nreq/s", f"{audit_qps:.4g}"),
            ("ratio", f"{ratio:.4g}"),
            (
                f"{CONFIDENCE:.0%}\ninterval",
                "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
            ),
            ("limit", f"< {1 + threshold:.4g}"),
        ),
        metrics={
            **scalars("requests/s", reference_request_throughput=ref_qps, audit_request_throughput=audit_qps),
            **scalars("ratio", throughput_ratio=ratio),
        },
        intervals=()
        if interval is None
        else (
            Interval(
                metric="throughput_ratio",
                confidence=CONFIDENCE,
                low=interval[0],
                high=interval[1],
                method=METHOD,
            ),
        ),
    )


def _early_stopping_p90(run: Run) -> float | None:
    return early_stopping.estimate(np.asarray(run.latencies_ns, dtype=np.float64), 0.90)


def _certainty(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "no interval: too few requests, or all of them at once"
    return f"{CONFIDENCE:.0%} interval {interval[0]:.4g} to {interval[1]:.4g}"


def _contains(interval: tuple[float, float] | None, limit: float) -> bool:
    return interval is not None and interval[0] < limit <= interval[1]


def _meaning(*, fast: bool, short: bool, unsure: bool) -> str:
    if fast:
        seen = "The server answers a repeated request faster than a new one, as a response cache does."
        if unsure:
            return (
                f"{seen} But the interval reaches below the limit, so this may be chance, and another run may pass; "
                "the ratio decides. Next: turn response caching off, or audit again with more `samples`."
            )
        return f"{seen} Next: turn response caching off and audit again."
    if unsure:
        return (
            "The ratio, which decides, is below the limit, but its interval reaches above it: a cache is not ruled "
            "out, and another run may fail. To be more certain, audit again with more `samples`."
        )
    if short:
        return "The rates alone would pass."
    return "Nothing indicates that repeated requests are answered from a cache."


def _failures(run: Run) -> str:
    return (
        f"Phase {run.label!r}: {run.failed} requests failed, which `tolerate_failures` allows; their time is part "
        "of the rate, so slow failures can hide a cache."
    )
