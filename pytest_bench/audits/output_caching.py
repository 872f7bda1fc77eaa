"""Whether a server answers repeated requests from a cache (MLPerf's TEST04).

Two phases, back to back: distinct samples, then one sample for every request. A server that caches answers
the second faster. The rule is that of mlcommons/endpoints (`compliance/audit_test/output_caching_test.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    Undecided,
)
from pytest_bench.audits.rates import ceiling_rate, lower_rate, upper_rate
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
        setting.require_full_load(*(phase.requests for phase in self.plan(setting).phases))

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
    """The rule: enough requests of each phase succeeded, and the audit phase was not too fast.

    Raises `Undecided` where it would pass, and might not have, had the server not worked on requests that failed.
    """
    ref_qps, audit_qps = lower_rate(reference), upper_rate(audit, beside=reference)
    # In binary floating point, as upstream: 110 against 100 at 0.10 passes.
    limit = ref_qps * (1.0 + threshold)
    fast = not audit_qps < limit
    short = [run for run in (reference, audit) if not enough(run, threshold)]
    passed = not (fast or short)
    ceiling = ceiling_rate(audit) if passed and audit.failed else None
    if ceiling is not None and not ceiling < limit:
        raise Undecided(_open(audit, ceiling, limit))
    ratio = audit_qps / ref_qps
    interval = _interval(reference, audit, ratio)
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
    if reference.failed or audit.failed:
        details["literal_ref_qps"], details["literal_audit_qps"] = reference.throughput, audit.throughput
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
                f"That is {ratio:.4g} times the rate ({_sure(interval)}); it must be less than {1 + threshold:.4g}.",
                _meaning(fast=fast, short=bool(short), unsure=_holds(interval, 1 + threshold)),
                *(_shortfall(run, threshold) for run in short),
                *_without_failures(reference, audit, ceiling),
            ]
        ),
        lines=(f"Performance check pass: {passed}",),
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
            "reference_request_throughput": _scalar("requests/s", ref_qps),
            "audit_request_throughput": _scalar("requests/s", audit_qps),
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


def _open(audit: Run, ceiling: float, limit: float) -> str:
    """Why the rate does not pass although it is below the limit."""
    most = "any rate" if ceiling == math.inf else f"up to {ceiling:.4g} requests/s"
    return (
        f"phase {audit.label!r}: {len(audit.failed)} of {audit.requested} requests failed, and how long the server "
        f"worked on them, while others waited, cannot be told: without them {most} may have been answered, and less "
        f"than {limit:.4g} requests/s must. Next: get the requests to succeed (phases/{audit.label}), or keep fewer "
        "in flight (the load's 'concurrency'), and audit again"
    )


def _early_stopping_p90(run: Run) -> float | None:
    return early_stopping.estimate(np.asarray(run.latencies_ns, dtype=np.float64), 0.90)


def _scalar(unit: str, value: float) -> Metric:
    return Metric(unit=unit, kind="scalar", value=value)


def _interval(reference: Run, audit: Run, ratio: float) -> tuple[float, float] | None:
    """Of the ratio of MLPerf's rates, moved to the ratio that decides, where failures make the two differ."""
    ends = [[flight.end_ns for flight in run.succeeded] for run in (reference, audit)]
    interval = ratio_interval(audit.started_ns, ends[1], (reference.started_ns, ends[0]), CONFIDENCE)
    if interval is None:
        return None
    moved = ratio / (audit.throughput / reference.throughput)
    return interval[0] * moved, interval[1] * moved


def _sure(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "no interval: too few requests, or all of them at once"
    return f"{CONFIDENCE:.0%} interval {interval[0]:.4g} to {interval[1]:.4g}"


def _holds(interval: tuple[float, float] | None, limit: float) -> bool:
    return interval is not None and interval[0] < limit <= interval[1]


def _meaning(*, fast: bool, short: bool, unsure: bool) -> str:
    if fast:
        seen = "So the server answers a repeated request faster than a new one, as a cache of responses does."
        if unsure:
            return (
                f"{seen} But the interval reaches below the limit: it may be chance, and another run may pass; what "
                "decides is the ratio. Next: turn response caching off, or audit again with more `samples`."
            )
        return f"{seen} Next: turn response caching off and audit again."
    if unsure:
        return (
            "The ratio, which decides, is under the limit, but its interval reaches above it: a cache is not ruled "
            "out, and another run may fail. To be surer, audit again with more `samples`."
        )
    if short:
        return "The rates alone would pass."
    return "So nothing shows that repeated requests are answered from a cache."


def _shortfall(run: Run, threshold: float) -> str:
    return (
        f"Phase {run.label!r}: {run.completed} of {run.requested} requests succeeded, and at least "
        f"{float(needed(run, threshold)):g} must. Next: look into the failures in phases/{run.label}."
    )


def _without_failures(reference: Run, audit: Run, ceiling: float | None) -> Iterator[str]:
    """How the rates differ from MLPerf's, where requests failed. `ceiling`: of an audit that passes."""
    if reference.failed:
        yield (
            f"Failures among the distinct samples: {len(reference.failed)}. Each counts as long as the mean "
            f"success, if it was not longer; MLPerf's arithmetic has {reference.throughput:.4g} requests/s."
        )
    if audit.failed:
        yield (
            f"Failures among the repeated requests: {len(audit.failed)}. The time they took is left out; MLPerf's "
            f"arithmetic, which counts it, has {audit.throughput:.4g} requests/s."
        )
        if ceiling is not None:
            yield f"However long the server worked on them, it was at most {ceiling:.4g} requests/s without."
