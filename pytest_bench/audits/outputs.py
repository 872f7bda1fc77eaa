"""Read the logs of a phase as the run that an audit judges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytest_bench.audits.contract import AuditPhase, Output, Run
from pytest_bench.errors import EvidenceError
from pytest_bench.load.log import read_records, read_texts
from pytest_bench.metrics.token_counts import TokenCounts, request_key
from pytest_bench.records import PhaseResult, RequestRecord


def read_run(phase: AuditPhase, result: PhaseResult, tokens: TokenCounts | None) -> Run:
    """The run of `phase`, from its logs and the token counts of its outputs, if they were counted.

    Raises `EvidenceError` if the logs are damaged or disagree with the phase's counters.
    """
    folder = Path(result.folder)
    records = sorted(read_records(folder), key=lambda record: record.index)
    succeeded = [record for record in records if record.outcome == "succeeded"]
    failed = sum(record.outcome == "failed" for record in records)
    for outcome, found, counted in (
        ("succeeded", len(succeeded), result.succeeded),
        ("failed", failed, result.failed),
    ):
        if found != counted:
            raise EvidenceError(
                f"{folder}: the log holds {found} {outcome} requests, the counters say {counted}"
            )
    return Run(
        label=phase.label,
        requested=phase.requests,
        completed=result.succeeded,
        failed=result.failed,
        started_ns=result.first_issue_ns or 0,
        ended_ns=result.last_completion_ns or 0,
        completions_ns=tuple(sorted(record.end_ns for record in succeeded)),
        latencies_ns=tuple(
            sorted((record.last_content_ns or record.end_ns) - record.send_start_ns for record in succeeded)
        ),
        outputs=() if phase.mode == "perf" else tuple(_outputs(folder, succeeded, tokens)),
    )


def _outputs(folder: Path, succeeded: list[RequestRecord], tokens: TokenCounts | None) -> Iterator[Output]:
    texts = {text.request_id: text for text in read_texts(folder)}
    counted: list[int | None] = [None] * len(succeeded)
    if tokens is not None:
        keys = np.array([request_key(record.request_id) for record in succeeded], dtype=np.int64)
        counted = [int(count) if count >= 0 else None for count in tokens.of(keys).output]
    for record, count in zip(succeeded, counted, strict=True):
        text = texts.get(record.request_id)
        if text is None:
            raise EvidenceError(f"{folder}: request {record.request_id} succeeded, but its text was not kept")
        yield Output(
            sample=record.sample_index,
            text=text.reasoning + text.content + text.tool_calls,
            first_event=text.first_event_text,
            token_ids=tuple(text.token_ids),
            server_tokens=None if record.usage is None else record.usage.output_tokens,
            counted_tokens=count,
        )
