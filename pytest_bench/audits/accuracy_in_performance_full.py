"""Whether answers under load are good enough, over the whole dataset (MLPerf's TEST07).

For models whose outputs vary from run to run, so that TEST01's comparison says nothing: every sample goes
through the load once, and the score of the answers must reach a minimum. The rule is that of
mlcommons/inference (`compliance/TEST07`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar, final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    AuditResult,
    Findings,
    Run,
    Setting,
)
from pytest_bench.metrics.intervals import wilson
from pytest_bench.metrics.measurement import Interval, Metric
from pytest_bench.suite.section import Name, Text
from pytest_bench.wording import did_you_mean, one_of
from pytest_bench.workload import SampleOrder

PERFORMANCE = "performance"
CONFIDENCE = 0.95


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise PydanticCustomError(
            "pattern", "expected a regular expression: {why}", {"why": str(error)}
        ) from error
    return text


class AccuracyInPerformanceFullFields(AuditFields):
    """Whether the answers to all samples, given under load, score high enough."""

    answers: Name
    """Dataset of this suite with the expected answers: one row for each sample, in the same order."""
    answer_column: Text = "answer"
    """Its column that holds them."""
    extract: Annotated[str, AfterValidator(_pattern)] | None = None
    """Regular expression whose last match is the answer in an output, or its first group where it has one;
    left out, the whole output is."""
    minimum: Annotated[float, Field(ge=0, le=1)]
    """Least share of answers that equal the expected ones; equal passes."""


@final
class AccuracyInPerformanceFull:
    """Every sample once under load, scored by exact match."""

    id: ClassVar[str] = "accuracy-in-performance-full"
    artifact: ClassVar[str] = "accuracy_in_performance_full_test"
    fields: ClassVar[type[AuditFields]] = AccuracyInPerformanceFullFields
    patterns: ClassVar[frozenset[str]] = frozenset({"burst", "concurrency", "constant", "poisson", "gamma"})

    def plan(self, setting: Setting) -> AuditPlan:
        everything = SampleOrder(
            count=setting.rows, seed=0 if setting.point.samples is None else setting.point.samples.seed
        )
        return AuditPlan(
            phases=(AuditPhase(label=PERFORMANCE, requests=setting.rows, samples=everything, mode="both"),)
        )

    def validate(self, setting: Setting) -> None:
        fields = setting.fields(AccuracyInPerformanceFullFields)
        if fields.answers not in setting.datasets:
            known = sorted(setting.datasets)
            raise setting.refusal(
                f"answers is {fields.answers!r}, no dataset of this suite; expected one of "
                f"{one_of(known)}{did_you_mean(fields.answers, known)}"
            )
        rows = setting.datasets[fields.answers]
        if len(rows) != setting.rows:
            raise setting.refusal(
                f"dataset {fields.answers!r} has {len(rows)} answers for {setting.rows} samples; "
                "expected one for each, in the same order"
            )
        for number, row in enumerate(rows):
            if not isinstance(row.get(fields.answer_column), str | int | float):
                raise setting.refusal(
                    f"row {number} of dataset {fields.answers!r} has no text or number in column "
                    f"{fields.answer_column!r}; expected the answer"
                )

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(AccuracyInPerformanceFullFields)
        expected = [str(row[fields.answer_column]) for row in setting.datasets[fields.answers]]
        return judge(findings.runs[PERFORMANCE], expected, extract=fields.extract, minimum=fields.minimum)


def answer_of(text: str, extract: str | None) -> str:
    """The answer in an output; empty where the expression finds none."""
    if extract is None:
        return text.strip()
    found = list(re.finditer(extract, text))
    if not found:
        return ""
    last = found[-1]
    return (last[1] if last.re.groups else last[0] or "").strip()


def judge(run: Run, expected: Sequence[str], *, extract: str | None, minimum: float) -> AuditResult:
    """Every sample answered once, and the share of answers that are right is at least `minimum`.

    A request that failed is a wrong answer, and fails the audit for itself.
    """
    times = Counter(output.sample for output in run.outputs)
    once = len(times) == len(expected) and all(count == 1 for count in times.values())
    right = sum(answer_of(output.text, extract) == expected[output.sample].strip() for output in run.outputs)
    score = right / len(expected)
    good = score >= minimum
    passed = good and once
    interval = wilson(right, len(expected), CONFIDENCE)
    said = [
        (
            f"{right} of {len(expected)} answers under load are right, {score:.2%}, where at least {minimum:.2%} "
            "is required."
        )
    ]
    if not once:
        said.append(
            f"Only {len(times)} of {len(expected)} samples were answered, and all must be, once. Next: look "
            f"into the failures in phases/{run.label}."
        )
    if not good:
        said.append(
            f"Next: compare texts in phases/{run.label} with the expected answers, the expression 'extract' "
            "included."
        )
    return AuditResult(
        passed=passed,
        reason=f"score {score:.6g} {'>=' if good else '<'} {minimum:g}; {len(times)}/{len(expected)} samples",
        explanation=" ".join(said),
        lines=(
            f"Accuracy score: {score}",
            f"Accuracy threshold: {minimum}",
            f"Accuracy check pass: {passed}",
            "TEST PASS" if passed else "TEST FAIL",
        ),
        details={
            "score": score,
            "minimum": minimum,
            "right": right,
            "samples": len(expected),
            "requested": run.requested,
            "completed": run.completed,
        },
        metrics={"accuracy_score": Metric(unit="fraction", kind="scalar", value=score)},
        intervals=()
        if interval is None
        else (
            Interval(
                metric="accuracy_score",
                confidence=CONFIDENCE,
                low=interval[0],
                high=interval[1],
                method="Wilson",
            ),
        ),
    )
