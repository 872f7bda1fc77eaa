"""Tokens of a phase, counted when its load is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_bench.api import Chat
from pytest_bench.errors import TokensError
from pytest_bench.metrics.measure import NO_TOKENIZER
from pytest_bench.metrics.token_counts import TokenCount, TokenCounts
from pytest_bench.records import PhaseResult
from pytest_bench.running.bench import Bench, load_api
from pytest_bench.running.inputs import as_sent
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.tokens import counting
from pytest_bench.tokens.counts import COUNTS_LOG, read_inputs, read_outcome, read_outputs
from pytest_bench.tokens.live import LiveCounts
from pytest_bench.verdict.outcome import Reason
from pytest_bench.workload import TextPolicy

UNFINISHED = "counting did not finish"
NO_CHAT_TEMPLATE = "its tokenizer has no chat template: input tokens are those of the messages' texts alone"


@dataclass(frozen=True)
class Counted:
    """What counting came to."""

    tokens: TokenCounts | None
    absent: str
    """Why there are no counts, where there are none."""
    evidence: Mapping[str, Any] | None
    """Which tokenizer counted, by which back end, and how that was proven."""
    problems: tuple[Reason, ...] = ()
    """Why the counts are not all there."""


def count_phase(
    bench: Bench,
    point: Point,
    deployment: DeploymentPlan,
    result: PhaseResult,
    *,
    output: Path | None = None,
    live: LiveCounts | None = None,
) -> Counted:
    """Count what a phase sent and received with the deployment's tokenizer, where it names one.

    `output` is the counts log to write, where it is not the phase's own; `live` what was counted while the phase
    ran. Texts that stay uncounted, or that the authority counts differently, are a problem, and then there are no
    counts at all. Raises `TokensError` where the tokenizer cannot be loaded.
    """
    tokenizer = bench.tokenizer(deployment)
    if tokenizer is None or point.dataset is None:
        return Counted(tokens=None, absent=NO_TOKENIZER, evidence=None)
    folder = Path(result.folder)
    counts_log = output or folder / COUNTS_LOG
    api = load_api(deployment)
    rows = bench.dataset(point.suite, point.dataset).rows
    template = tokenizer.chat_template
    evidence = dict(tokenizer.evidence())
    if isinstance(api.prompt(rows[0]), Chat) and template is None:
        evidence["input_rule"] = NO_CHAT_TEMPLATE
    try:
        done = counting.count_phase(
            tokenizer,
            folder,
            inputs=lambda sample: as_sent(api, rows[sample], template, deployment.parameters),
            output=counts_log,
            live=live,
            timeout_s=deployment.tokens.counting_timeout_s,
        )
    except TokensError as error:
        problem = Reason("counting-failed", str(error))
        return Counted(tokens=None, absent=UNFINISHED, evidence=evidence, problems=(problem,))
    evidence |= {
        "outcome": done.outcome,
        "counted": done.counted,
        "counted_live": done.live,
        "elapsed_ns": done.elapsed_ns,
        "verified": done.verified,
        "verify_elapsed_ns": done.verify_elapsed_ns,
    }
    if not done.complete:
        return Counted(
            tokens=None, absent=UNFINISHED, evidence=evidence, problems=_problems(done, point.texts)
        )
    return Counted(tokens=TokenCounts(_joined(counts_log)), absent="", evidence=evidence)


def read_counted(folder: Path) -> Counted:
    """What the phase's own counts log says; nothing is counted. Raises `EvidenceError` for a damaged one."""
    path = folder / COUNTS_LOG
    if not path.exists():
        return Counted(tokens=None, absent=NO_TOKENIZER, evidence=None)
    if read_outcome(path) != "complete":
        return Counted(tokens=None, absent=UNFINISHED, evidence=None)
    return Counted(tokens=TokenCounts(_joined(path)), absent="", evidence=None)


def _joined(counts_log: Path) -> Iterator[TokenCount]:
    inputs = read_inputs(counts_log)
    for output in read_outputs(counts_log):
        yield TokenCount(
            request_id=output.request_id,
            input_tokens=inputs.get(output.sample_index),
            output_tokens=output.total,
            first_event_tokens=output.first_event,
        )


def _problems(done: counting.CountingResult, texts: TextPolicy) -> tuple[Reason, ...]:
    code = f"counting-{done.outcome}"
    first = f": {done.failures[0]}" if done.failures else ""
    remedy = (
        "count again with `pytest-bench recount`"
        if texts == "keep"
        else f"`texts: {texts}` leaves nothing to count again: measure again, with `texts: keep` or more time "
        "(`counting_timeout_s`)"
    )
    return (
        Reason(
            code,
            f"counting tokens ended {done.outcome}: {done.counted} requests counted, {done.pending} pending, "
            f"{done.inputs_pending} inputs pending{first}; {remedy}",
        ),
    )
