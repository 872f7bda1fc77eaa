"""Whether outputs under load are as long as they should be (MLPerf's TEST09).

The rule is that of mlcommons/inference (`compliance/TEST09`): the mean length lies within bounds that the
reference implementation sets, and an output without tokens counts as one of length 0.
"""

from __future__ import annotations

from typing import ClassVar, Self, final

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    AuditResult,
    Findings,
    Output,
    Run,
    Setting,
    Undecided,
)
from pytest_bench.metrics.measurement import Metric
from pytest_bench.suite.section import Count
from pytest_bench.suite.section import SecondsOrNone as NotNegative

PERFORMANCE = "performance"


class OutputLengthFields(AuditFields):
    """Whether the mean output length lies within bounds."""

    minimum_tokens: NotNegative
    """Least mean output length; equal passes."""
    maximum_tokens: NotNegative
    """Greatest mean output length; equal passes."""
    samples: Count | None = None
    """Requests, each with a sample of its own; left out, as many as the load has."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum_tokens > self.maximum_tokens:
            raise PydanticCustomError("order", "'minimum_tokens' is more than 'maximum_tokens'")
        return self


@final
class OutputLength:
    """The mean length of outputs under load."""

    id: ClassVar[str] = "output-length"
    artifact: ClassVar[str] = "output_length_test"
    fields: ClassVar[type[AuditFields]] = OutputLengthFields
    patterns: ClassVar[frozenset[str]] = frozenset({"burst", "concurrency", "constant", "poisson", "gamma"})

    def plan(self, setting: Setting) -> AuditPlan:
        requests = setting.requests(setting.fields(OutputLengthFields).samples)
        return AuditPlan(
            phases=(
                AuditPhase(
                    label=PERFORMANCE,
                    requests=requests,
                    samples=setting.distinct(requests),
                    mode="both",
                    count_tokens=True,
                ),
            )
        )

    def validate(self, setting: Setting) -> None:
        if not setting.streaming:
            raise setting.refusal(
                f"the API {setting.deployment.api!r} has no tokens, and the audit is about their number"
            )

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(OutputLengthFields)
        return judge(findings.runs[PERFORMANCE], minimum=fields.minimum_tokens, maximum=fields.maximum_tokens)


def length(output: Output) -> int:
    """Output tokens: by the client's tokenizer, else as many as there are ids; the server's word is not taken.

    Raises `Undecided` where there is neither.
    """
    if output.counted_tokens is not None:
        return output.counted_tokens
    if output.token_ids or not output.text:
        return len(output.token_ids)
    raise Undecided(
        "the lengths of the outputs are not known: name deployment.tokens.tokenizer, or use an endpoint that "
        "gives token ids"
    )


def judge(run: Run, *, minimum: float, maximum: float) -> AuditResult:
    """Every request succeeded, and the mean length is within the bounds, both included."""
    lengths = [length(output) for output in run.outputs]
    mean = sum(lengths) / len(lengths)
    low, high = mean >= minimum, mean <= maximum
    passed = low and high and run.complete
    said = [
        (
            f"{len(lengths)} outputs were {mean:.2f} tokens long in the mean ({min(lengths)} to {max(lengths)}, "
            f"{lengths.count(0)} of them empty), where {minimum:g} to {maximum:g} is required."
        )
    ]
    if not run.complete:
        said.append(run.shortfall)
    if not low:
        said.append("Outputs are cut short. Next: check max_tokens, stop strings and the chat template.")
    if not high:
        said.append("Outputs run on. Next: check max_tokens, ignore_eos and the chat template.")
    return AuditResult(
        passed=passed,
        reason=f"{minimum:g} <= mean output tokens {mean:.2f} <= {maximum:g}: {low and high}",
        explanation=" ".join(said),
        lines=(
            f"Total samples: {len(lengths)}",
            f"Mean output tokens: {mean:.2f}",
            f"Min threshold: {minimum:g}",
            f"Max threshold: {maximum:g}",
            f"Min check pass: {low}",
            f"Max check pass: {high}",
            "TEST PASS" if passed else "TEST FAIL",
        ),
        details={
            "mean_output_tokens": mean,
            "minimum_tokens": minimum,
            "maximum_tokens": maximum,
            "empty_outputs": lengths.count(0),
            "counted_by": _rule(run.outputs),
            "requested": run.requested,
            "completed": run.completed,
        },
        metrics={"mean_output_tokens": Metric(unit="tokens", kind="scalar", value=mean)},
    )


def _rule(outputs: tuple[Output, ...]) -> str:
    counted = all(output.counted_tokens is not None for output in outputs)
    return "the client's tokenizer" if counted else "token ids"
