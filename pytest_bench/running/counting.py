"""Counts the tokens of a phase: after its load has ended, and while it runs if the suite asks for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_bench.api import Chat, import_api
from pytest_bench.errors import TokensError
from pytest_bench.metrics.token_counts import TokenCount, TokenCounts
from pytest_bench.records import PhaseResult
from pytest_bench.running.inputs import as_sent
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.tokens import counting
from pytest_bench.tokens.counts import (
    COUNTS_LOG,
    SERVER,
    read_header,
    read_inputs,
    read_outcome,
    read_outputs,
)
from pytest_bench.tokens.live import LiveCounts, LiveLane, lane_beside
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.verdict.outcome import Reason
from pytest_bench.workload import TextPolicy

UNFINISHED = "counting did not finish"
NO_CHAT_TEMPLATE = "its tokenizer has no chat template: input tokens are those of the messages' texts alone"


@dataclass(frozen=True)
class Counted:
    """The result of counting the tokens of a phase."""

    tokens: TokenCounts | None = None
    """None if there is no tokenizer, or counting did not finish."""
    unfinished: str | None = None
    """Why counting did not finish, if it did not."""
    evidence: Mapping[str, Any] | None = None
    """Which tokenizer and back end counted, and how the back end was verified."""
    problems: tuple[Reason, ...] = ()
    """Why counts are missing."""


def count_phase(
    tokenizer: Tokenizer | None,
    deployment: DeploymentPlan,
    result: PhaseResult,
    rows: Sequence[Mapping[str, Any]],
    *,
    texts: TextPolicy,
    output: Path | None = None,
    live: LiveCounts | None = None,
) -> Counted:
    """Count the tokens of a phase's inputs and outputs; without a tokenizer, count nothing.

    `rows` are those of the dataset; `texts` says whether output texts are kept after the point. `output` is the counts
    log to write, if not the phase's own. `live` holds what was counted while the phase ran. If a text stays uncounted,
    or if the verifying back end counts differently, the result has problems and no counts.
    """
    if tokenizer is None:
        return Counted()
    folder = Path(result.folder)
    counts_log = output or folder / COUNTS_LOG
    api = import_api(deployment.api, deployment.api_reference)
    template = tokenizer.chat_template
    evidence = dict(tokenizer.evidence())
    bare = isinstance(api.prompt(rows[0]), Chat) and template is None
    if bare:
        evidence["input_rule"] = NO_CHAT_TEMPLATE
    try:
        done = counting.count_phase(
            tokenizer,
            folder,
            inputs=lambda sample: as_sent(api, rows[sample], template, deployment.parameters),
            output=counts_log,
            live=live,
            template=not bare,
            timeout_s=deployment.tokens.counting_timeout_s,
        )
    except TokensError as error:
        problem = Reason("counting-failed", str(error))
        return Counted(unfinished=UNFINISHED, evidence=evidence, problems=(problem,))
    evidence |= {
        "outcome": done.outcome,
        "counted": done.counted,
        "counted_live": done.live,
        "elapsed_ns": done.elapsed_ns,
        "verified": done.verified,
        "verify_elapsed_ns": done.verify_elapsed_ns,
    }
    if not done.complete:
        return Counted(unfinished=UNFINISHED, evidence=evidence, problems=_problems(done, texts))
    return Counted(tokens=_read(counts_log), evidence=evidence)


def live_lane(
    tokenizer: Tokenizer | None, deployment: DeploymentPlan, point: Point, folder: Path
) -> AbstractContextManager[LiveLane | None]:
    """Count the outputs of the phase that logs into `folder` while it runs; None if the suite does not ask for it.

    Outputs that are not counted when the phase ends are counted afterwards.
    """
    workers = deployment.tokens.live_workers
    if tokenizer is None or not workers:
        return nullcontext()
    return lane_beside(
        tokenizer,
        folder,
        workers=workers,
        load_workers=point.workers,
        warmup_timeout_s=deployment.tokens.warmup_timeout_s,
    )


def read_counted(folder: Path) -> Counted:
    """Read the counts log of a phase, without counting. Raises `EvidenceError` if it is damaged."""
    path = folder / COUNTS_LOG
    if not path.exists():
        return Counted()
    if read_outcome(path) != "complete":
        return Counted(unfinished=UNFINISHED)
    return Counted(tokens=_read(path))


def _read(counts_log: Path) -> TokenCounts:
    header = read_header(counts_log)
    return TokenCounts(
        _joined(counts_log),
        by="tokenize" if header["backend"] == SERVER else "tokenizer",
        template=header.get("template", True),
    )


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
