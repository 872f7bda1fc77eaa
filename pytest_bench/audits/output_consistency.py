"""Whether outputs are what they claim to be (MLPerf's TEST06).

The first tokens that were streamed are those of the answer; the answer does not begin with an end-of-sequence
token and ends with at most one; it has as many tokens as the server says. The rules are those of
mlcommons/inference (`compliance/TEST06`). There the system reports its first token beside the answer; over
HTTP a stream is its own report, so each is compared with the same request answered in one piece.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile
from typing import Annotated, ClassVar, final

from pydantic import AfterValidator, Field

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
from pytest_bench.suite.section import Count, unique

WHOLE = "whole"
PERFORMANCE = "performance"

TokenId = Annotated[int, Field(ge=0)]


class OutputConsistencyFields(AuditFields):
    """Whether first tokens, ends of sequence and lengths agree with the outputs themselves."""

    eos_token_ids: Annotated[list[TokenId], Field(min_length=1), AfterValidator(unique)]
    """Ids of the model's end-of-sequence tokens."""
    samples: Count = 100
    """Requests, each with a sample of its own."""
    compare_first_tokens: bool = True
    """Compare the first tokens of each stream with the same request answered in one piece; needs greedy
    decoding. Without streams there is nothing to compare, and MLPerf's word for it is Skipped."""


@final
class OutputConsistency:
    """Outputs against what was said of them."""

    id: ClassVar[str] = "output-consistency"
    artifact: ClassVar[str] = "consistency_output_test"
    fields: ClassVar[type[AuditFields]] = OutputConsistencyFields
    patterns: ClassVar[frozenset[str]] = frozenset({"burst", "concurrency", "constant", "poisson", "gamma"})

    def plan(self, setting: Setting) -> AuditPlan:
        requests = setting.fields(OutputConsistencyFields).samples
        samples = setting.distinct(requests)
        whole = AuditPhase(
            label=WHOLE, requests=requests, samples=samples, mode="accuracy", concurrency=1, stream=False
        )
        performance = AuditPhase(label=PERFORMANCE, requests=requests, samples=samples, mode="both")
        return AuditPlan(phases=(whole, performance) if _compares(setting) else (performance,))

    def validate(self, setting: Setting) -> None:
        if not setting.streaming:
            raise setting.refusal(
                f"the API {setting.deployment.api!r} has no tokens, and the audit is about them"
            )
        if _compares(setting) and setting.deployment.parameters.get("temperature") != 0:
            raise setting.refusal(
                "first tokens can be compared under greedy decoding only: set "
                "deployment.generation.temperature to 0, or compare_first_tokens to false"
            )

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        eos = frozenset(setting.fields(OutputConsistencyFields).eos_token_ids)
        return judge(findings.runs[PERFORMANCE], findings.runs.get(WHOLE), eos=eos)


def _compares(setting: Setting) -> bool:
    return setting.deployment.stream and setting.fields(OutputConsistencyFields).compare_first_tokens


def trailing(token_ids: tuple[int, ...], eos: Collection[int]) -> int:
    """How many end-of-sequence tokens an output ends with."""
    return sum(1 for _ in takewhile(eos.__contains__, reversed(token_ids)))


def judge(performance: Run, whole: Run | None, *, eos: Collection[int]) -> AuditResult:
    """Check every output. Raises `Undecided` for outputs without token ids, or without a count to compare."""
    outputs = performance.outputs
    for output in outputs:
        _require_tokens(output)
    runs = [performance] if whole is None else [whole, performance]
    short = [run for run in runs if not run.complete]
    checks = {
        "begin with an end-of-sequence token, or are empty": [
            output for output in outputs if not output.token_ids or output.token_ids[0] in eos
        ],
        "end with more than one end-of-sequence token": [
            output for output in outputs if trailing(output.token_ids, eos) > 1
        ],
        "have another number of tokens than the server says": [
            output for output in outputs if len(output.token_ids) != output.server_tokens
        ],
    }
    begins, ends, lengths = (not wrong for wrong in checks.values())
    first_tokens: bool | None = None
    if whole is not None:
        answers = {output.sample: output.text for output in whole.outputs}
        checks[
            "were streamed with first tokens that the same request answered in one piece does not have"
        ] = (
            wrong := [
                output
                for output in outputs
                if not answers.get(output.sample, "").startswith(output.first_event)
            ]
        )
        first_tokens = not wrong
    passed = begins and ends and lengths and first_tokens is not False and not short
    said = [f"{len(outputs)} outputs were checked token by token."]
    said += [
        f"{len(wrong)} of them {what} (sample {wrong[0].sample}, for one)."
        for what, wrong in checks.items()
        if wrong
    ]
    said += [run.shortfall for run in short]
    if any(checks.values()):
        said.append(f"Next: look into phases/{PERFORMANCE}.")
    return AuditResult(
        passed=passed,
        reason="; ".join(f"{len(wrong)} {what}" for what, wrong in checks.items()),
        explanation=" ".join(said),
        lines=(
            f"First token check pass: {'Skipped' if first_tokens is None else first_tokens}",
            f"EOS check pass: {begins and ends}",
            f"Sample length check pass: {lengths}",
            f"TEST06 verification {'complete' if passed else 'failed'}",
        ),
        details={
            "first_token_check": first_tokens,
            "first_token_is_not_eos": begins,
            "eos_check": ends,
            "length_check": lengths,
            "requested": performance.requested,
            "completed": performance.completed,
        },
        metrics={
            "inconsistent_outputs": Metric(
                unit="outputs",
                kind="scalar",
                value=float(len({output.sample for wrong in checks.values() for output in wrong})),
            )
        },
    )


def _require_tokens(output: Output) -> None:
    if output.server_tokens is None:
        raise Undecided(
            "the server does not say how many tokens it put out: the audit needs usage in its answers"
        )
    if output.text and not output.token_ids:
        raise Undecided(
            "the server gives no token ids, which the audit looks at: use the API 'sglang', or ask for them "
            "(vLLM: return_token_ids: true in deployment.generation.extra_body)"
        )
