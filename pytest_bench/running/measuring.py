"""Measures phases, judges the point, and writes its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.bounds import Bound
from pytest_bench.datasets.rows import Dataset
from pytest_bench.files import write_json
from pytest_bench.load.log import read_records
from pytest_bench.metrics.columns import read_columns
from pytest_bench.metrics.measure import measure, steady_state_of
from pytest_bench.metrics.measurement import Measurement, Window
from pytest_bench.records import PhaseResult
from pytest_bench.results import summary as summaries
from pytest_bench.results.details import AnyDetail
from pytest_bench.results.evidence import write_evidence
from pytest_bench.results.nonces import foreign_files
from pytest_bench.results.summary import DatasetUsed, PointFile, Summary
from pytest_bench.running.capacity import too_many_workers
from pytest_bench.running.counting import Counted
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.server_log import with_log_budget
from pytest_bench.running.session import SessionFacts
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.verdict.judge import FAILURES
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason, worst
from pytest_bench.wording import one_line
from pytest_bench.workload import Load

_TYPES_SHOWN = 3
_LONGEST_DETAIL = 120


def measure_phase(
    deployment: DeploymentPlan,
    result: PhaseResult,
    load: Load,
    counted: Counted,
    rows: Sequence[Any],
    *,
    slo: tuple[Bound, ...] = (),
    bounds: tuple[Bound, ...] = (),
    scratch: Path | None = None,
) -> Measurement:
    """Compute every metric of one phase from its log. `scratch`: folder for temporary files; default: that of the log.

    Raises `EvidenceError` if log and counters differ.
    """
    folder = Path(result.folder)
    window = steady_state_of(result, load)
    columns = read_columns(
        read_records(folder),
        steady_state=window if isinstance(window, Window) else None,
        scratch=scratch or folder,
    )
    return measure(
        columns,
        result,
        load,
        tokens=counted.tokens,
        count=deployment.tokens.count,
        ignore_eos=deployment.parameters.get("ignore_eos") is True,
        unfinished=counted.unfinished,
        slo=slo,
        bounds=bounds,
        asked_output_tokens=_asked_output_tokens(deployment, rows),
        video_seconds=_video_seconds(deployment, rows),
    )


def untrustworthy(results: Sequence[PhaseResult]) -> Iterator[Reason]:
    """Why phases are not a valid measurement, whatever their numbers: interrupted, incomplete, or client-bound."""
    for result in results:
        yield from _cut_off(result)
        for sentence in result.health.violations:
            yield Reason("client-bound", f"client-bound in phase {result.label!r}: {sentence}")


def unwarmed(results: Sequence[PhaseResult]) -> Iterator[Reason]:
    """Why warm-ups may have left the server cold: interrupted, incomplete, or without a success.

    Raises `EvidenceError` for a damaged log.
    """
    for result in results:
        if result.issued:
            yield from _cut_off(result)
        if not result.succeeded and not result.interrupted:
            why = _failures(result) if result.failed else "it sent no request"
            yield Reason(
                "unwarmed",
                f"phase {result.label!r} had no success, so that what follows was measured cold: {why}. "
                f"Next: look into the failures in phases/{result.label}, or leave the warm-up out",
            )


def _cut_off(result: PhaseResult) -> Iterator[Reason]:
    if result.interrupted:
        yield Reason(
            "interrupted",
            f"phase {result.label!r}: {result.interrupted} of {result.issued} requests were still in flight "
            "when it was cut off",
        )
    elif not result.complete:
        yield Reason("incomplete", f"phase {result.label!r} did not run to its end")


def with_errors(judgement: Judgement, reasons: Sequence[Reason], labels: Sequence[str] = ()) -> Judgement:
    """`judgement` with `reasons` and `labels` in front; an error if there are any `reasons`."""
    outcome = worst([judgement.outcome, *(Outcome.ERROR for _ in reasons)])
    return msgspec.structs.replace(
        judgement,
        outcome=outcome,
        reasons=(*reasons, *judgement.reasons),
        labels=tuple(dict.fromkeys([*labels, *judgement.labels])),
    )


def with_failures(judgement: Judgement, result: PhaseResult) -> Judgement:
    """`judgement` with a reason that says which requests failed, if any did and the point does not pass.

    The reason comes first, because failures cause the others; it comes last if the bounds tolerate that many
    failures. Raises `EvidenceError` for a damaged log.
    """
    if not result.failed or judgement.outcome is Outcome.PASS:
        return judgement
    reason = Reason("failed-requests", _failures(result))
    limits = (item.state for item in judgement.bounds if item.bound.metric in FAILURES)
    tolerated = result.succeeded > 0 and all(state == "met" for state in limits)
    reasons = (*judgement.reasons, reason) if tolerated else (reason, *judgement.reasons)
    return msgspec.structs.replace(judgement, reasons=reasons)


def _failures(result: PhaseResult) -> str:
    """How many requests failed, by type, with the message of the first failure of the most frequent types."""
    by_type = sorted(result.failures.items(), key=lambda item: (-item[1], item[0]))
    details = _first_details(result, [name for name, _ in by_type[:_TYPES_SHOWN]])
    ways = [
        f"{count} x {name}" + (f' ("{details[name]}")' if details.get(name) else "")
        for name, count in by_type
    ]
    return f"{result.failed} of {result.issued} requests failed: {', '.join(ways)}"


def _first_details(result: PhaseResult, types: Sequence[str]) -> dict[str, str]:
    """The message of the first failure of each type. Reads no more of the log than needed."""
    found: dict[str, str] = {}
    for record in read_records(Path(result.folder)):
        kind = record.error
        if kind is not None and kind in types and kind not in found:
            found[kind] = one_line(record.error_detail or "", _LONGEST_DETAIL)
            if len(found) == len(types):
                break
    return found


def write_point(
    session: SessionFacts,
    point: Point,
    deployment: Deployment,
    dataset: Dataset | None,
    *,
    judgement: Judgement,
    measurement: Measurement | None,
    phases: Sequence[PhaseResult],
    tokenizer: Mapping[str, Any] | None,
    detail: AnyDetail,
) -> MeasuredPoint:
    """Write the summary and then the evidence; nothing may be written to the point's folder afterwards.

    `judgement` is worsened by what the servers logged. `detail` states what only this kind of point has; what it states
    about the client is added here.
    """
    folder = session.folder(point)
    folder.mkdir(parents=True, exist_ok=True)
    if point.texts != "keep":
        for texts in folder.glob("phases/*/texts.*.jsonl"):
            texts.unlink()
    judgement = with_log_budget(judgement, deployment.plan, folder)
    digest = session.plan.point_digest(point)
    summary = Summary(
        point=point.id,
        point_digest=digest,
        nonce=session.nonce,
        judgement=judgement,
        measurement=measurement,
        phases=tuple(_relative(phase, folder) for phase in phases),
        dataset=None
        if dataset is None
        else DatasetUsed(
            name=dataset.name, digest=dataset.digest, rows=len(dataset), skipped=dataset.skipped
        ),
        served=deployment.urls,
        identities=tuple(msgspec.to_builtins(identity) for identity in deployment.identities),
        tokenizer=None if tokenizer is None else dict(tokenizer),
        foreign_files=foreign_files(folder),
        detail=msgspec.structs.replace(
            detail,
            note=" ".join(filter(None, (detail.note, too_many_workers(point.workers)))),
            poll_interval_s=deployment.plan.poll_interval_s if deployment.api.polls else None,
        ),
    )
    write_json(folder / summaries.POINT, PointFile(point=point, digest=digest, nonce=session.nonce))
    write_json(folder / summaries.NAME, summary)
    write_evidence(
        folder, point=point.id, point_digest=digest, nonce=session.nonce, outcome=judgement.outcome
    )
    return MeasuredPoint(point=point, summary=summary, folder=folder, rerun=session.rerun(point))


def _relative(phase: PhaseResult, folder: Path) -> PhaseResult:
    """Make the phase's folder relative to the point's, so that the evidence can be moved."""
    return msgspec.structs.replace(phase, folder=str(Path(phase.folder).relative_to(folder)))


def _asked_output_tokens(deployment: DeploymentPlan, rows: Sequence[Any]) -> int | dict[int, int] | None:
    asked = deployment.parameters.get("max_tokens")
    by_row = {number: row["max_tokens"] for number, row in enumerate(rows) if "max_tokens" in row}
    if not by_row:
        return asked if isinstance(asked, int) else None
    if isinstance(asked, int):
        return {number: by_row.get(number, asked) for number in range(len(rows))}
    return by_row


def _video_seconds(deployment: DeploymentPlan, rows: Sequence[Any]) -> float | dict[int, float] | None:
    seconds = deployment.parameters.get("seconds", deployment.video_seconds)
    if deployment.video_seconds is None or not isinstance(seconds, int | float):
        return None
    if not any("seconds" in row for row in rows):
        return float(seconds)
    return {number: float(row.get("seconds", seconds)) for number, row in enumerate(rows)}
