"""Whether a server gives the same answers under load as without (MLPerf's TEST01).

Three phases over the same samples: the load alone; every sample with few others in flight, where nothing is
gained by a cheaper answer; the load again, its outputs kept. The rules are those of mlcommons/inference
(`compliance/TEST01`), except that all elements of an output are compared, not only the first.
"""

from __future__ import annotations

from typing import ClassVar, final

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    AuditResult,
    Findings,
    Output,
    Run,
    Setting,
)
from pytest_bench.audits.output_caching import default_threshold
from pytest_bench.metrics.measurement import Metric
from pytest_bench.suite.section import Count, Share

PERFORMANCE = "performance"
ACCURACY = "accuracy"
SAMPLED = "sampled"


class AccuracyInPerformanceFields(AuditFields):
    """Whether outputs under load equal those of an accuracy run, sample by sample."""

    samples: Count | None = None
    """Samples that every phase goes through once; left out, as many as the load has requests."""
    accuracy_concurrency: Count = 1
    """Requests in flight in the accuracy phase."""
    threshold: Share | None = None
    """How far the throughput with outputs kept may be from that without, either way, as a share; left out,
    0.20 with one request in flight at a time and 0.10 otherwise."""


@final
class AccuracyInPerformance:
    """Outputs under load against outputs without, and the load's throughput with them kept and not."""

    id: ClassVar[str] = "accuracy-in-performance"
    artifact: ClassVar[str] = "accuracy_in_performance_test"
    fields: ClassVar[type[AuditFields]] = AccuracyInPerformanceFields
    patterns: ClassVar[frozenset[str]] = frozenset({"burst", "concurrency"})

    def plan(self, setting: Setting) -> AuditPlan:
        fields = setting.fields(AccuracyInPerformanceFields)
        requests = setting.requests(fields.samples)
        samples = setting.distinct(requests)
        return AuditPlan(
            phases=(
                AuditPhase(label=PERFORMANCE, requests=requests, samples=samples),
                AuditPhase(
                    label=ACCURACY,
                    requests=requests,
                    samples=samples,
                    mode="accuracy",
                    concurrency=fields.accuracy_concurrency,
                ),
                AuditPhase(label=SAMPLED, requests=requests, samples=samples, mode="both"),
            )
        )

    def validate(self, setting: Setting) -> None:
        setting.require_full_load()
        parameters = setting.deployment.parameters
        if setting.deployment.api == "videos" and parameters.get("response_format") != "video_bytes":
            raise setting.refusal(
                "compares what videos hold, and a path says nothing of that: set "
                "deployment.generation.extra_body.response_format to video_bytes"
            )

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(AccuracyInPerformanceFields)
        runs = findings.runs
        return judge(
            runs[PERFORMANCE],
            runs[ACCURACY],
            runs[SAMPLED],
            threshold=fields.threshold or default_threshold(setting.load),
        )


def same(one: Output, other: Output) -> bool:
    """Whether two outputs agree in every element: token ids where both have them, else text."""
    if one.token_ids and other.token_ids:
        return one.token_ids == other.token_ids
    return one.text == other.text


def judge(performance: Run, accuracy: Run, sampled: Run, *, threshold: float) -> AuditResult:
    """Every request succeeded, every output equals its counterpart, and throughput is within the band."""
    expected = {output.sample: output for output in accuracy.outputs}
    different = sorted(
        {
            output.sample
            for output in sampled.outputs
            if output.sample not in expected or not same(output, expected[output.sample])
        }
    )
    short = [run for run in (performance, accuracy, sampled) if not run.complete]
    outputs_agree = not different and not short
    low, high = performance.throughput * (1 - threshold), performance.throughput * (1 + threshold)
    within = low <= sampled.throughput <= high
    passed = outputs_agree and within
    compared = len(sampled.outputs)
    said = [
        (
            f"{compared - len(different)} of {compared} outputs under load equal those of the accuracy phase in "
            f"every element; throughput was {sampled.throughput:.4g} requests/s with outputs kept and "
            f"{performance.throughput:.4g} without, where {low:.4g} to {high:.4g} is allowed."
        )
    ]
    if different:
        shown = ", ".join(map(str, different[:10]))
        said.append(
            f"They differ for {'sample' if len(different) == 1 else 'samples'} {shown}"
            f"{' and others' if len(different) > 10 else ''}. Next: make sure that decoding is greedy, then look "
            f"for what the server does otherwise under load; compare phases/{ACCURACY} and phases/{SAMPLED}."
        )
    said += [run.shortfall for run in short]
    if not within:
        said.append("Next: see whether the machine was otherwise busy, and audit again.")
    return AuditResult(
        passed=passed,
        reason=(
            f"{len(different)} of {compared} outputs differ; test score {sampled.throughput:.4f} "
            f"{'within' if within else 'outside'} reference score {performance.throughput:.4f} "
            f"+- {threshold:.0%}"
        ),
        explanation=" ".join(said),
        lines=(
            f"Accuracy check pass: {outputs_agree}",
            f"Performance check pass: {within}",
            "TEST PASS" if passed else "TEST FAIL",
            "TEST01 verification complete",
        ),
        details={
            "ref_qps": performance.throughput,
            "test_qps": sampled.throughput,
            "threshold": threshold,
            "requested": sampled.requested,
            "completed": {run.label: run.completed for run in (performance, accuracy, sampled)},
            "compared": compared,
            "different_samples": different,
        },
        metrics={
            "different_outputs": Metric(unit="outputs", kind="scalar", value=float(len(different))),
            "reference_request_throughput": Metric(
                unit="requests/s", kind="scalar", value=performance.throughput
            ),
            "audit_request_throughput": Metric(unit="requests/s", kind="scalar", value=sampled.throughput),
        },
    )
