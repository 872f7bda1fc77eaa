"""Whether outputs under load have the expected length (MLPerf's TEST09).

The rule is that of mlcommons/inference (`compliance/TEST09`): the mean length lies within inclusive bounds that come
from the reference implementation, and an output without tokens has length 0.
"""

from __future__ import annotations

from typing import ClassVar, Self, final

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPlan,
    Findings,
    Output,
    Run,
    Setting,
    Undecided,
)
from pytest_bench.audits.shared import (
    PATTERNS,
    PERFORMANCE,
    SampledFields,
    counts,
    distinct_samples,
    outcome_line,
    require_tokens,
    scalars,
)
from pytest_bench.results.details import AuditResult
from pytest_bench.suite.section import SecondsOrNone as NotNegative


class OutputLengthFields(SampledFields):
    """Whether the mean output length lies within bounds."""

    minimum_tokens: NotNegative
    """Lower bound on the mean output length, inclusive."""
    maximum_tokens: NotNegative
    """Upper bound on the mean output length, inclusive."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum_tokens > self.maximum_tokens:
            raise PydanticCustomError("order", "'minimum_tokens' is greater than 'maximum_tokens'")
        return self


@final
class OutputLength:
    """Checks the mean length of outputs under load."""

    id: ClassVar[str] = "output-length"
    artifact: ClassVar[str] = "output_length_test"
    fields: ClassVar[type[AuditFields]] = OutputLengthFields
    patterns: ClassVar[frozenset[str]] = PATTERNS

    def plan(self, setting: Setting) -> AuditPlan:
        requests = setting.requests(setting.fields(OutputLengthFields).samples)
        return AuditPlan(phases=(distinct_samples(setting, requests, mode="both", count_tokens=True),))

    def validate(self, setting: Setting) -> None:
        require_tokens(setting)

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(OutputLengthFields)
        return judge(findings.runs[PERFORMANCE], minimum=fields.minimum_tokens, maximum=fields.maximum_tokens)


def length(output: Output) -> int:
    """Number of output tokens, by the client's tokenizer if it counted, otherwise by the token ids.

    The server's own count is not used. Raises `Undecided` if there are neither.
    """
    if output.counted_tokens is not None:
        return output.counted_tokens
    if output.token_ids or not output.text:
        return len(output.token_ids)
    raise Undecided(
        "the output lengths are unknown: name deployment.tokens.tokenizer, or use an endpoint that "
        "gives token ids"
    )


def judge(run: Run, *, minimum: float, maximum: float) -> AuditResult:
    """Every request succeeded, and the mean length is within the inclusive bounds."""
    lengths = [length(output) for output in run.outputs]
    mean = sum(lengths) / len(lengths)
    low, high = mean >= minimum, mean <= maximum
    passed = low and high and run.complete
    explanation = [
        (
            f"The mean length of {len(lengths)} outputs is {mean:.2f} tokens ({min(lengths)} to {max(lengths)}, "
            f"{lengths.count(0)} of them empty); {minimum:g} to {maximum:g} is required."
        )
    ]
    if not run.complete:
        explanation.append(run.shortfall)
    if not low:
        explanation.append(
            "Outputs are too short. Next: check max_tokens, stop strings and the chat template."
        )
    if not high:
        explanation.append("Outputs are too long. Next: check max_tokens, ignore_eos and the chat template.")
    return AuditResult(
        passed=passed,
        reason=f"{minimum:g} <= mean output tokens {mean:.2f} <= {maximum:g}: {low and high}",
        explanation=" ".join(explanation),
        lines=(
            f"Total samples: {len(lengths)}",
            f"Mean output tokens: {mean:.2f}",
            f"Min threshold: {minimum:g}",
            f"Max threshold: {maximum:g}",
            f"Min check pass: {low}",
            f"Max check pass: {high}",
            outcome_line(passed=passed),
        ),
        details={
            "mean_output_tokens": mean,
            "minimum_tokens": minimum,
            "maximum_tokens": maximum,
            "empty_outputs": lengths.count(0),
            "counted_by": _counted_by(run.outputs),
            **counts(run),
        },
        metrics=scalars("tokens", mean_output_tokens=mean),
    )


def _counted_by(outputs: tuple[Output, ...]) -> str:
    counted = all(output.counted_tokens is not None for output in outputs)
    return "the client's tokenizer" if counted else "token ids"
