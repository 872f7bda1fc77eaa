"""Whether outputs agree with what the server says about them (MLPerf's TEST06).

The rules of mlcommons/inference (`compliance/TEST06`): the first tokens that were reported separately are those of
the output; an output ends with at most one end-of-sequence token; it has as many tokens as the server says. A rule
of ours: an output is not empty and does not begin with an end-of-sequence token. In LoadGen the system reports its
first token beside the output. Over HTTP, the stream is that report, so each stream is compared with the same request
answered in one piece.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile
from typing import Annotated, ClassVar, final

from pydantic import AfterValidator, Field

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
    counts,
    distinct_samples,
    require_tokens,
    scalars,
)
from pytest_bench.labels import Label
from pytest_bench.results.details import AuditResult
from pytest_bench.suite.section import Count, unique

WHOLE = "whole"

TokenId = Annotated[int, Field(ge=0)]


class OutputConsistencyFields(AuditFields):
    """Whether first tokens, end-of-sequence tokens and lengths agree with the outputs."""

    eos_token_ids: Annotated[list[TokenId], Field(min_length=1), AfterValidator(unique)]
    """Ids of the model's end-of-sequence tokens."""
    samples: Count = 100
    """Requests, each with a sample of its own. MLPerf's TEST06 has 100."""
    compare_first_tokens: bool = True
    """Compare the first tokens of each stream with the same request answered in one piece. Requires greedy
    decoding. Without streams, or with `false`, the check is skipped, as MLPerf skips it in Offline."""
    allow_empty_outputs: bool = False
    """Accept outputs that are empty or begin with an end-of-sequence token, as MLPerf does. By default they make
    the point fail, even if MLPerf's own checks pass. With `true` such a point is labelled `empty-outputs-allowed`."""


@final
class OutputConsistency:
    """Compares outputs with what the server says about them."""

    id: ClassVar[str] = "output-consistency"
    artifact: ClassVar[str] = "consistency_output_test"
    fields: ClassVar[type[AuditFields]] = OutputConsistencyFields
    patterns: ClassVar[frozenset[str]] = PATTERNS

    def plan(self, setting: Setting) -> AuditPlan:
        requests = setting.fields(OutputConsistencyFields).samples
        whole = distinct_samples(setting, requests, WHOLE, mode="accuracy", concurrency=1, stream=False)
        performance = distinct_samples(setting, requests, mode="both")
        return AuditPlan(phases=(whole, performance) if _compares(setting) else (performance,))

    def validate(self, setting: Setting) -> None:
        require_tokens(setting)
        if _compares(setting) and setting.deployment.parameters.get("temperature") != 0:
            raise setting.refusal(
                "first tokens can be compared under greedy decoding only: set "
                "deployment.generation.temperature to 0, or compare_first_tokens to false"
            )

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(OutputConsistencyFields)
        return judge(
            findings.runs[PERFORMANCE],
            findings.runs.get(WHOLE),
            eos=frozenset(fields.eos_token_ids),
            allow_empty_outputs=fields.allow_empty_outputs,
        )


def _compares(setting: Setting) -> bool:
    return setting.deployment.stream and setting.fields(OutputConsistencyFields).compare_first_tokens


def ends_once(token_ids: tuple[int, ...], eos: Collection[int]) -> bool:
    """Whether an output ends with at most one end-of-sequence token.

    As `compliance/TEST06/run_verification.py`, which never examines the first token: it accepts `[2, 2]` with 2 as
    the end-of-sequence token.
    """
    return sum(1 for _ in takewhile(eos.__contains__, reversed(token_ids[1:]))) <= 1


def begins_empty(token_ids: tuple[int, ...], eos: Collection[int]) -> bool:
    """Whether an output is empty or begins with an end-of-sequence token."""
    return not token_ids or token_ids[0] in eos


def judge(
    performance: Run, whole: Run | None, *, eos: Collection[int], allow_empty_outputs: bool = False
) -> AuditResult:
    """Check every output. Raises `Undecided` for outputs without token ids or without the server's token count."""
    outputs = performance.outputs
    for output in outputs:
        _require_token_ids(output)
    runs = [performance] if whole is None else [whole, performance]
    short = [run for run in runs if not run.complete]
    checks = {
        "end with more than one end-of-sequence token": [
            output for output in outputs if not ends_once(output.token_ids, eos)
        ],
        "have a different number of tokens than the server says": [
            output for output in outputs if len(output.token_ids) != output.server_tokens
        ],
    }
    ends, lengths = (not wrong for wrong in checks.values())
    first_tokens: bool | None = None
    if whole is not None:
        answers = {output.sample: output.text for output in whole.outputs}
        different = [
            output for output in outputs if not answers.get(output.sample, "").startswith(output.first_event)
        ]
        checks["begin differently than the same request answered in one piece"] = different
        first_tokens = not different
    empty = [output for output in outputs if begins_empty(output.token_ids, eos)]
    passed = ends and lengths and first_tokens is not False and not short
    explanation = [f"{len(outputs)} outputs were checked token by token."]
    explanation += [_count(wrong, what) for what, wrong in checks.items() if wrong]
    explanation += [run.shortfall for run in short]
    if any(checks.values()):
        explanation.append(f"Next: look into phases/{PERFORMANCE}.")
    findings: tuple[str, ...] = ()
    if empty and not allow_empty_outputs:
        findings = (
            (
                f"{len(empty)} of {len(outputs)} outputs are empty or begin with an end-of-sequence token (for example "
                f"sample {empty[0].sample}). MLPerf's TEST06 accepts this. Next: look into phases/{PERFORMANCE}; if "
                "such answers are right for these samples, declare `allow_empty_outputs: true` on the audit."
            ),
        )
    return AuditResult(
        passed=passed,
        reason="; ".join(f"{len(wrong)} {what}" for what, wrong in checks.items()),
        explanation=" ".join(explanation),
        lines=(
            f"First token check pass: {'Skipped' if first_tokens is None else first_tokens}",
            f"EOS check pass: {ends}",
            f"Sample length check pass: {lengths}",
            f"TEST06 verification {'complete' if passed else 'failed'}",
        ),
        findings=findings,
        labels=(Label.EMPTY_OUTPUTS_ALLOWED,) if empty and allow_empty_outputs else (),
        details={
            "first_token_check": first_tokens,
            "eos_check": ends,
            "length_check": lengths,
            "empty_outputs": len(empty),
            **counts(performance),
        },
        metrics=scalars(
            "outputs",
            inconsistent_outputs=float(len({output.sample for wrong in checks.values() for output in wrong})),
            empty_outputs=float(len(empty)),
        ),
    )


def _count(wrong: list[Output], what: str) -> str:
    return f"{len(wrong)} of them {what} (for example sample {wrong[0].sample})."


def _require_token_ids(output: Output) -> None:
    if output.server_tokens is None:
        raise Undecided("the server does not report its output tokens: this audit needs usage in the answers")
    if output.text and not output.token_ids:
        raise Undecided(
            "the server gives no token ids, which this audit checks: use the API 'sglang', or request them "
            "(vLLM: return_token_ids: true in deployment.generation.extra_body)"
        )
