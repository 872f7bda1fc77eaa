"""Whether answers under load are good enough, over the whole dataset (MLPerf's TEST07).

For models whose outputs vary from run to run, so that TEST01 cannot compare them: the load sends every sample once,
and the score of the answers must reach a minimum. The rule is that of mlcommons/inference (`compliance/TEST07`).
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
    Findings,
    Run,
    Setting,
)
from pytest_bench.audits.shared import PATTERNS, PERFORMANCE, counts, outcome_line, scalars
from pytest_bench.metrics.intervals import wilson
from pytest_bench.metrics.measurement import Interval
from pytest_bench.results.details import AuditResult
from pytest_bench.suite.section import Name, Text
from pytest_bench.wording import did_you_mean, one_of
from pytest_bench.workload import SampleOrder

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
    """Whether the answers to all samples under load score high enough."""

    answers: Name
    """Dataset of this suite with the expected answers: one row per sample, in the same order."""
    answer_column: Text = "answer"
    """Column of `answers` that holds the expected answer."""
    extract: Annotated[str, AfterValidator(_pattern)] | None = None
    """Regular expression whose last match in an output is the answer; its first group, if it has one. Default: the
    whole output is the answer."""
    minimum: Annotated[float, Field(ge=0, le=1)]
    """Lower bound on the share of correct answers, inclusive."""


@final
class AccuracyInPerformanceFull:
    """Sends every sample once under load and scores the answers by exact match."""

    id: ClassVar[str] = "accuracy-in-performance-full"
    artifact: ClassVar[str] = "accuracy_in_performance_full_test"
    fields: ClassVar[type[AuditFields]] = AccuracyInPerformanceFullFields
    patterns: ClassVar[frozenset[str]] = PATTERNS

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
                f"answers is {fields.answers!r}, which is not a dataset of this suite; expected one of "
                f"{one_of(known)}{did_you_mean(fields.answers, known)}"
            )
        rows = setting.datasets[fields.answers]
        if len(rows) != setting.rows:
            raise setting.refusal(
                f"dataset {fields.answers!r} has {len(rows)} answers for {setting.rows} samples; "
                "expected one per sample, in the same order"
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
    """The answer in an output; empty if the expression does not match."""
    if extract is None:
        return text.strip()
    found = list(re.finditer(extract, text))
    if not found:
        return ""
    last = found[-1]
    return (last[1] if last.re.groups else last[0] or "").strip()


def judge(run: Run, expected: Sequence[str], *, extract: str | None, minimum: float) -> AuditResult:
    """Every sample was answered exactly once, and the share of correct answers is at least `minimum`.

    A failed request is a wrong answer; it also leaves its sample unanswered, which fails the audit.
    """
    times = Counter(output.sample for output in run.outputs)
    once = len(times) == len(expected) and all(count == 1 for count in times.values())
    right = sum(answer_of(output.text, extract) == expected[output.sample].strip() for output in run.outputs)
    score = right / len(expected)
    good = score >= minimum
    passed = good and once
    interval = wilson(right, len(expected), CONFIDENCE)
    explanation = [
        (
            f"{right} of {len(expected)} answers under load are correct: {score:.2%}; at least {minimum:.2%} "
            "is required."
        )
    ]
    if not once:
        explanation.append(
            f"{len(times)} of {len(expected)} samples were answered, and each must be answered exactly once. "
            f"Next: look into the failures in phases/{run.label}."
        )
    if not good:
        explanation.append(
            f"Next: compare the texts in phases/{run.label} with the expected answers, and check the expression "
            "'extract'."
        )
    return AuditResult(
        passed=passed,
        reason=f"score {score:.6g} {'>=' if good else '<'} {minimum:g}; {len(times)}/{len(expected)} samples",
        explanation=" ".join(explanation),
        lines=(
            f"Accuracy score: {score}",
            f"Accuracy threshold: {minimum}",
            f"Accuracy check pass: {passed}",
            outcome_line(passed=passed),
        ),
        details={
            "score": score,
            "minimum": minimum,
            "right": right,
            "samples": len(expected),
            **counts(run),
        },
        metrics=scalars("fraction", accuracy_score=score),
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
