"""Tokens of a phase, counted when its load is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_bench.api import Api, Chat
from pytest_bench.load.log import read_records
from pytest_bench.metrics.measure import NO_TOKENIZER
from pytest_bench.metrics.token_counts import TokenCount, TokenCounts
from pytest_bench.records import PhaseResult
from pytest_bench.running.bench import Bench, load_api
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.tokens import counting
from pytest_bench.tokens.counts import COUNTS_LOG, read_counts
from pytest_bench.tokens.live import LiveCounts
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.verdict.outcome import Reason

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
    ran. Texts that stay uncounted are a
    problem, and then there are no counts at all. Raises `TokensError` where the tokenizer cannot be loaded or
    its back end proves wrong.
    """
    tokenizer = bench.tokenizer(deployment)
    if tokenizer is None or point.dataset is None:
        return Counted(tokens=None, absent=NO_TOKENIZER, evidence=None)
    folder = Path(result.folder)
    counts_log = output or folder / COUNTS_LOG
    api = load_api(deployment)
    rows = bench.dataset(point.suite, point.dataset).rows
    used = {record.sample_index for record in read_records(folder, torn=not result.complete)}
    done = counting.count_phase(
        tokenizer,
        folder,
        inputs={sample: _input(api, tokenizer, rows[sample]) for sample in sorted(used)},
        output=counts_log,
        live=live,
        timeout_s=deployment.tokens.counting_timeout_s,
    )
    evidence = dict(tokenizer.evidence())
    evidence |= {"verified": done.verified, "elapsed_ns": done.elapsed_ns, "outcome": done.outcome}
    if isinstance(api.prompt(rows[0]), Chat) and tokenizer.chat_template is None:
        evidence["input_rule"] = NO_CHAT_TEMPLATE
    if not done.complete:
        return Counted(tokens=None, absent=UNFINISHED, evidence=evidence, problems=_problems(done))
    return Counted(tokens=TokenCounts(_joined(folder, counts_log)), absent="", evidence=evidence)


def read_counted(folder: Path) -> Counted:
    """What the phase's own counts log says; nothing is counted. Raises `EvidenceError` for a damaged one."""
    path = folder / COUNTS_LOG
    if not path.exists():
        return Counted(tokens=None, absent=NO_TOKENIZER, evidence=None)
    if read_counts(path).outcome != "complete":
        return Counted(tokens=None, absent=UNFINISHED, evidence=None)
    return Counted(tokens=TokenCounts(_joined(folder, path)), absent="", evidence=None)


def _joined(folder: Path, counts_log: Path) -> Iterator[TokenCount]:
    counts = read_counts(counts_log)
    for record in read_records(folder, torn=True):
        output = counts.outputs.get(record.request_id)
        yield TokenCount(
            request_id=record.request_id,
            input_tokens=counts.inputs.get(record.sample_index),
            output_tokens=None if output is None else output.total,
            first_event_tokens=None if output is None else output.first_event,
        )


def _problems(done: counting.CountingResult) -> tuple[Reason, ...]:
    code = f"counting-{done.outcome}"
    first = f": {done.failures[0]}" if done.failures else ""
    return (
        Reason(
            code,
            f"counting tokens ended {done.outcome}: {done.counted} requests counted, {done.pending} pending, "
            f"{done.inputs_pending} inputs pending{first}; count again with `pytest-bench recount`",
        ),
    )


def _input(api: Api, tokenizer: Tokenizer, row: Mapping[str, Any]) -> str | Sequence[int]:
    """What a row sends, as the server's tokenizer sees it."""
    prompt = api.prompt(row)
    if not isinstance(prompt, Chat):
        return prompt
    template = tokenizer.chat_template
    if template is not None:
        return template.render(prompt.messages)
    return "\n".join(str(message.get("content", "")) for message in prompt.messages)
