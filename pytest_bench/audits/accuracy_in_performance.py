"""Whether a server gives the same answers under load as without (MLPerf's TEST01).

Three phases over the same samples: the load alone; every sample with few requests in flight, when a cheaper answer
gains nothing; the load again, with its outputs kept. The rules are those of mlcommons/inference
(`compliance/TEST01`), except that all elements of an output are compared, not only the first.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, final

import numpy as np

from pytest_bench.audits import rates
from pytest_bench.audits.contract import (
    AuditFields,
    AuditPlan,
    Findings,
    Output,
    Run,
    Setting,
)
from pytest_bench.audits.shared import PERFORMANCE, distinct_samples, outcome_line, scalars
from pytest_bench.metrics import early_stopping
from pytest_bench.results.details import AuditResult
from pytest_bench.suite.section import Count

ACCURACY = "accuracy"
SAMPLED = "sampled"

DEFAULT_THRESHOLD = 0.10
SHORT_LATENCY_THRESHOLD = 0.20
SHORT_LATENCY_NS = 200_000
"""A SingleStream latency up to this has the wider threshold (`compliance/TEST01/verify_performance.py`)."""


class AccuracyInPerformanceFields(rates.RateFields):
    """Whether outputs under load equal those of an accuracy run, sample by sample."""

    accuracy_concurrency: Count = 1
    """Requests in flight in the accuracy phase."""


@final
class AccuracyInPerformance:
    """Compares outputs under load with outputs without, and performance with outputs kept and not kept."""

    id: ClassVar[str] = "accuracy-in-performance"
    artifact: ClassVar[str] = "accuracy_in_performance_test"
    fields: ClassVar[type[AuditFields]] = AccuracyInPerformanceFields
    patterns: ClassVar[frozenset[str]] = rates.PATTERNS

    def plan(self, setting: Setting) -> AuditPlan:
        fields = setting.fields(AccuracyInPerformanceFields)
        requests = setting.requests(fields.samples)
        few = fields.accuracy_concurrency
        return AuditPlan(
            phases=(
                distinct_samples(setting, requests),
                distinct_samples(setting, requests, ACCURACY, mode="accuracy", concurrency=few),
                distinct_samples(setting, requests, SAMPLED, mode="both"),
            )
        )

    def validate(self, setting: Setting) -> None:
        setting.require_full_load()
        parameters = setting.deployment.parameters
        if setting.deployment.api == "videos" and parameters.get("response_format") != "video_bytes":
            raise setting.refusal(
                "compares the content of videos, which a path does not give: set "
                "deployment.generation.extra_body.response_format to video_bytes"
            )

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(AccuracyInPerformanceFields)
        runs = findings.runs
        return judge(
            runs[PERFORMANCE],
            runs[ACCURACY],
            runs[SAMPLED],
            threshold=fields.threshold,
            single_stream=rates.is_single_stream(setting.load),
            tolerate_failures=fields.tolerate_failures,
        )


class Scores(NamedTuple):
    """The performance of two phases by the metric of their scenario."""

    reference: float
    test: float
    metric: str
    """Name and unit."""


def scores_of(reference: Run, test: Run, *, single_stream: bool) -> Scores:
    """The scores that MLPerf compares: of SingleStream a latency, of other scenarios the throughput.

    The latency is LoadGen's early-stopping estimate of the p90. LoadGen rejects a run of fewer than 64 requests,
    which has no estimate; here its mean latency is compared, which is one over its throughput.
    """
    runs = (reference, test)
    if not single_stream:
        return Scores(reference.throughput, test.throughput, "requests/s")
    ascending = [np.asarray(run.latencies_ns, dtype=np.float64) for run in runs]
    first, second = (early_stopping.estimate(latencies, 0.90) for latencies in ascending)
    if first is not None and second is not None:
        return Scores(first, second, "ns early-stopping p90 latency")
    return Scores(1e9 / reference.throughput, 1e9 / test.throughput, "ns mean latency")


def same(one: Output, other: Output) -> bool:
    """Whether two outputs agree in every element: token ids if both have them, otherwise text."""
    if one.token_ids and other.token_ids:
        return one.token_ids == other.token_ids
    return one.text == other.text


def judge(
    performance: Run,
    accuracy: Run,
    sampled: Run,
    *,
    threshold: float | None = None,
    single_stream: bool = False,
    tolerate_failures: bool = False,
) -> AuditResult:
    """Every output equals its counterpart, and the scores differ by no more than the threshold, either way.

    `threshold` None: MLPerf's. Every request of the accuracy phase must succeed. Raises `FailedRequests` if requests
    failed in the other phases and failures are not tolerated.
    """
    labels = rates.failure_labels(performance, sampled, tolerated=tolerate_failures)
    scores = scores_of(performance, sampled, single_stream=single_stream)
    if threshold is None:
        short_latency = single_stream and scores.reference <= SHORT_LATENCY_NS
        threshold = SHORT_LATENCY_THRESHOLD if short_latency else DEFAULT_THRESHOLD
    expected = {output.sample: output for output in accuracy.outputs}
    different = sorted(
        {
            output.sample
            for output in sampled.outputs
            if output.sample not in expected or not same(output, expected[output.sample])
        }
    )
    shortfalls = [run.shortfall for run in (performance, accuracy, sampled) if not run.complete]
    if tolerate_failures:
        shortfalls = [] if accuracy.complete else [accuracy.shortfall]
        compared_rates = (performance, sampled)
        shortfalls += [
            rates.shortfall(run, threshold) for run in compared_rates if not rates.enough(run, threshold)
        ]
    outputs_agree = not different and not shortfalls
    low, high = scores.reference * (1 - threshold), scores.reference * (1 + threshold)
    within = low <= scores.test <= high
    passed = outputs_agree and within
    compared = len(sampled.outputs)
    explanation = [
        (
            f"{compared - len(different)} of {compared} outputs under load equal those of the accuracy phase in "
            f"every element; the score was {scores.test:.4g} {scores.metric} with outputs kept and "
            f"{scores.reference:.4g} without, where {low:.4g} to {high:.4g} is allowed."
        )
    ]
    if different:
        shown = ", ".join(map(str, different[:10]))
        explanation.append(
            f"They differ for {'sample' if len(different) == 1 else 'samples'} {shown}"
            f"{' and others' if len(different) > 10 else ''}. Next: check that decoding is greedy, then find out "
            f"what the server does differently under load; compare phases/{ACCURACY} and phases/{SAMPLED}."
        )
    explanation += shortfalls
    if not within:
        explanation.append("Next: check that nothing else used the machine, and audit again.")
    return AuditResult(
        passed=passed,
        reason=(
            f"{len(different)} of {compared} outputs differ; test score {scores.test:.4f} "
            f"{'within' if within else 'outside'} reference score {scores.reference:.4f} "
            f"+- {threshold:.0%}"
        ),
        explanation=" ".join(explanation),
        lines=(
            f"Accuracy check pass: {outputs_agree}",
            f"Performance check pass: {within}",
            outcome_line(passed=passed),
            "TEST01 verification complete",
        ),
        labels=labels,
        details={
            "ref_qps": performance.throughput,
            "test_qps": sampled.throughput,
            "ref_score": scores.reference,
            "test_score": scores.test,
            "score_metric": scores.metric,
            "threshold": threshold,
            "requested": sampled.requested,
            "completed": {run.label: run.completed for run in (performance, accuracy, sampled)},
            "compared": compared,
            "different_samples": different,
        },
        metrics={
            **scalars("outputs", different_outputs=float(len(different))),
            **scalars(
                "requests/s",
                reference_request_throughput=performance.throughput,
                audit_request_throughput=sampled.throughput,
            ),
        },
    )
