"""Whether a server answers repeated requests from a cache (MLPerf's TEST04).

Two phases, back to back: distinct samples, then one sample for every request. A server that caches answers
the second faster. The rule is that of mlcommons/endpoints (`compliance/audit_test/output_caching_test.py`).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar, final

import numpy as np
from pydantic import Field

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    AuditResult,
    Findings,
    Run,
    Setting,
)
from pytest_bench.audits.ratio import METHOD, ratio_interval
from pytest_bench.metrics import early_stopping
from pytest_bench.metrics.measurement import Interval, Metric
from pytest_bench.suite.section import Count, Share
from pytest_bench.workload import Load, SampleOrder

REFERENCE = "reference"
AUDIT = "output_caching"

CONFIDENCE = 0.95
"""Of the interval of the ratio, which is shown and decides nothing."""


class OutputCachingFields(AuditFields):
    """Whether repeated requests are answered faster than new ones."""

    samples: Count | None = None
    """Requests of the reference phase, each with a sample of its own; left out, as many as the load has."""
    audit_samples: Count | None = None
    """Requests of the audit phase; left out, as many as the reference phase."""
    sample_index: Annotated[int, Field(ge=0)] = 3
    """The sample that the audit phase repeats."""
    threshold: Share | None = None
    """How much faster the audit phase may be, as a share; left out, 0.20 with one request in flight at a
    time, where the noise of a single request counts, and 0.10 otherwise."""


@final
class OutputCaching:
    """Distinct samples against one sample repeated."""

    id: ClassVar[str] = "output-caching"
    artifact: ClassVar[str] = "output_caching_test"
    fields: ClassVar[type[AuditFields]] = OutputCachingFields
    patterns: ClassVar[frozenset[str]] = frozenset({"burst", "concurrency"})
    """A paced load hides a cache: requests leave no sooner because answers come sooner."""

    def plan(self, setting: Setting) -> AuditPlan:
        fields = setting.fields(OutputCachingFields)
        samples = setting.requests(fields.samples)
        return AuditPlan(
            phases=(
                # First, so that warming up can only push towards a failure.
                AuditPhase(label=REFERENCE, requests=samples, samples=setting.distinct(samples)),
                AuditPhase(
                    label=AUDIT,
                    requests=fields.audit_samples or samples,
                    samples=SampleOrder(order="single", count=setting.rows, index=fields.sample_index),
                ),
            )
        )

    def validate(self, setting: Setting) -> None:
        """Nothing beyond what holds for every audit."""

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(OutputCachingFields)
        threshold = fields.threshold or default_threshold(setting.load)
        return judge(
            findings.runs[REFERENCE],
            findings.runs[AUDIT],
            threshold=threshold,
            sample_index=fields.sample_index,
            single_stream=is_single_stream(setting.load),
        )


def is_single_stream(load: Load) -> bool:
    """Whether one request is in flight at a time: MLPerf's SingleStream."""
    return load.pattern == "concurrency" and load.concurrency == 1


def default_threshold(load: Load) -> float:
    return 0.20 if is_single_stream(load) else 0.10


def enough(run: Run, threshold: float) -> bool:
    """Whether at least `1 - threshold` of the requests succeeded, in exact arithmetic: 0.18 of 150 is 27."""
    return run.completed >= needed(run, threshold)


def needed(run: Run, threshold: float) -> Fraction:
    return run.requested * (1 - Fraction(repr(threshold)))


def judge(
    reference: Run, audit: Run, *, threshold: float, sample_index: int, single_stream: bool = False
) -> AuditResult:
    """The rule: enough requests of each phase succeeded, and the audit phase was not too fast."""
    # In binary floating point, as upstream: 110 against 100 at 0.10 passes.
    limit = reference.throughput * (1.0 + threshold)
    fast = not audit.throughput < limit
    short = [run for run in (reference, audit) if not enough(run, threshold)]
    passed = not (fast or short)
    ratio = audit.throughput / reference.throughput
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
            f"audit_qps={audit.throughput:.4f} {'>=' if fast else '<'} "
            f"ref_qps * (1 + {threshold:.0%}) = {limit:.4f}"
        )
    details: dict[str, object] = {
        "ref_qps": reference.throughput,
        "audit_qps": audit.throughput,
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
                _rates(reference, audit, sample_index, ratio, interval),
                *(_shortfall(run, threshold) for run in short),
                _meaning(fast=fast, threshold=threshold, cause=not short),
            ]
        ),
        lines=(f"Performance check pass: {passed}",),
        details=details,
        shown=(
            ("reference\nreq/s", f"{reference.throughput:.4g}"),
            ("one sample\nreq/s", f"{audit.throughput:.4g}"),
            ("ratio", f"{ratio:.4g}"),
            (
                f"{CONFIDENCE:.0%}\ninterval",
                "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
            ),
            ("limit", f"< {1 + threshold:.4g}"),
        ),
        metrics={
            "reference_request_throughput": _scalar("requests/s", reference.throughput),
            "audit_request_throughput": _scalar("requests/s", audit.throughput),
            "throughput_ratio": _scalar("ratio", ratio),
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


def _scalar(unit: str, value: float) -> Metric:
    return Metric(unit=unit, kind="scalar", value=value)


def _rates(
    reference: Run, audit: Run, sample_index: int, ratio: float, interval: tuple[float, float] | None
) -> str:
    sure = (
        "no interval: too few requests, or all of them at once"
        if interval is None
        else f"{CONFIDENCE:.0%} interval {interval[0]:.4g} to {interval[1]:.4g}"
    )
    return (
        f"{reference.completed} distinct samples were answered at {reference.throughput:.4g} requests/s, then "
        f"sample {sample_index} alone, {audit.completed} times, at {audit.throughput:.4g} requests/s: "
        f"{ratio:.4g} times the rate ({sure})."
    )


def _shortfall(run: Run, threshold: float) -> str:
    return (
        f"Phase {run.label!r}: {run.completed} of {run.requested} requests succeeded, and at least "
        f"{float(needed(run, threshold)):g} must. Next: look into the failures in phases/{run.label}."
    )


def _meaning(*, fast: bool, threshold: float, cause: bool) -> str:
    limit = f"{1 + threshold:.4g} times"
    if fast:
        return (
            f"It must stay below {limit}: the server answers a repeated request faster than a new one, as a "
            "cache of responses does. Next: turn response caching off and audit again."
        )
    if cause:
        return f"That is below {limit}: nothing shows that repeated requests are answered from a cache."
    return f"The rate itself is below {limit}."
