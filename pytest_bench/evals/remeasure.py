"""Measures and judges an eval point again from its evidence alone, without sending or writing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench.checkpoints import Contents, read_checkpoint
from pytest_bench.checkpoints.contents import read_lines
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.assessment import assess
from pytest_bench.evals.declared import Asked, ask, judging_of
from pytest_bench.evals.evidence import FEW_SHOTS, ROWS, read_rows
from pytest_bench.evals.finishing import documents, score
from pytest_bench.evals.gating import read_baselines
from pytest_bench.evals.results import encoded_results, results_names
from pytest_bench.evals.session import PHASES, session_label
from pytest_bench.evals.sweeps import detail_of, eval_labels, family_of, run_of
from pytest_bench.evals.tasks import scoring_of
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.records import RequestRecord
from pytest_bench.results.details import EvalDetail
from pytest_bench.results.layout import CHECKPOINT, eval_path
from pytest_bench.results.summary import Summary
from pytest_bench.running.deployment import is_simulated
from pytest_bench.running.measuring import with_errors
from pytest_bench.running.server_log import with_log_budget
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Judgement


class Remeasured(NamedTuple):
    """The result of measuring an eval point again."""

    measurement: Measurement
    judgement: Judgement
    detail: EvalDetail
    files: dict[str, bytes]
    """The result files, by path in the results folder."""


def remeasure(
    plan: Plan, point: Point, folder: Path, summary: Summary, results: Path, scorings: Scorings = SCORINGS
) -> Remeasured:
    """Score every answer in the checkpoint again. `folder` holds the evidence, below `results`.

    Raises `EvidenceError` if files are damaged or missing, or if the checkpoint has other items, prompts or
    parameters than the plan and the rows in the evidence.
    """
    path = folder / CHECKPOINT
    contents = read_checkpoint(path)
    asked = asked_again(plan, point, folder, summary, contents, scorings)
    scored = score(path, contents, asked.task, asked.items, asked.keys, judging_of(point))
    baselines = read_baselines(folder)
    assessment = assess(point, asked, scored, path, baselines, family_of(plan, results, point, summary.nonce))
    release = summary.detail_as(EvalDetail).release
    run = run_of(plan, point, asked, summary.nonce, release)
    document, samples, run = documents(asked.task, asked.items, run, scored, contents)
    here = eval_path(point)
    names = results_names(asked.task, run, batched=bool(point.sweep))
    files = {
        f"{here}/{name}": data for name, data in zip(names, encoded_results(document, samples), strict=True)
    }
    servers = (identity.get("server") for identity in summary.identities)
    labels = eval_labels(point, simulated=is_simulated(plan.deployment_of(point), servers))
    return Remeasured(
        measurement=assessment.measurement,
        judgement=with_log_budget(
            with_errors(assessment.judgement, (), labels), plan.deployment_of(point), folder
        ),
        detail=detail_of(
            scored,
            assessment,
            contents.sessions,
            release=release,
            results={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        ),
        files=files,
    )


def contradictions(point: Point, folder: Path, summary: Summary) -> Iterator[str]:
    """Yield contradictions within the checkpoint, and between it and the engine's counters."""
    contents = read_checkpoint(folder / CHECKPOINT)
    if contents.tail != "whole":
        yield f"{CHECKPOINT}: its last line is not whole: its writer did not finish"
    counted = _attempts(folder / CHECKPOINT)
    ids = [record.request_id for records in counted for record in records]
    if len(set(ids)) != len(ids):
        yield f"{CHECKPOINT}: two attempts have one request id"
    yield from _counters(point, folder, summary, counted)


def _counters(
    point: Point, folder: Path, summary: Summary, counted: list[list[RequestRecord]]
) -> Iterator[str]:
    """Yield contradictions between the engine's counters of each session and its attempts."""
    results = {phase.label: phase for phase in summary.phases}
    for number, records in enumerate(counted, start=1):
        result = results.get(session_label(number))
        if result is None:
            if (folder / PHASES / session_label(number) / "phase.json").exists():
                yield f"summary.json: phases lacks {session_label(number)}"
            continue
        found = {
            outcome: sum(record.outcome == outcome for record in records)
            for outcome in ("succeeded", "failed")
        }
        for outcome, count in found.items():
            counter = getattr(result, outcome)
            if counter != count and not (outcome == "succeeded" and counter > count):
                yield f"phases/{result.label}: {outcome} is {counter}; the checkpoint holds {count} such attempts"
        if point.load is not None and result.peak_in_flight > (point.load.concurrency or 0):
            yield (
                f"phases/{result.label}: peak_in_flight is {result.peak_in_flight}, and a concurrency of "
                f"{point.load.concurrency} was asked for"
            )
        at_once = _most_at_once(records)
        if at_once > result.peak_in_flight:
            yield f"phases/{result.label}: {at_once} requests were in flight at once, more than its peak_in_flight"


def phase_nonces(folder: Path) -> dict[str, str]:
    """The nonce of the session that drove each phase of a point, by the phase's label. Raises `EvidenceError`."""
    sessions = read_checkpoint(folder / CHECKPOINT).sessions
    return {session_label(number): session.nonce for number, session in enumerate(sessions, start=1)}


def asked_again(
    plan: Plan,
    point: Point,
    folder: Path,
    summary: Summary,
    contents: Contents,
    scorings: Scorings = SCORINGS,
) -> Asked:
    """What the point asked, made again from the plan and the rows in its evidence. Raises `EvidenceError`."""
    if contents.header is None or not contents.sessions:
        raise EvidenceError(f"{folder / CHECKPOINT}: holds no session")
    if contents.header.point != point.id:
        raise EvidenceError(f"{folder / CHECKPOINT}: is the checkpoint of {contents.header.point!r}")
    recorded = contents.header.generation
    rows = read_rows(folder / ROWS)
    asked = ask(
        point,
        rows,
        read_rows(folder / FEW_SHOTS),
        model=plan.deployment_of(point).model,
        revision=recorded.revision,
        scorings=scorings,
    )
    if summary.dataset is not None:
        limit = point.options.get("limit")
        expected = summary.dataset.rows if limit is None else min(limit, summary.dataset.rows)
        if len(rows) != expected:
            raise EvidenceError(f"{folder / ROWS}: holds {len(rows)} rows; the eval asked {expected}")
        asked = asked._replace(dataset_items=summary.dataset.rows)
    wanted = msgspec.structs.replace(asked.generation, repeats=recorded.repeats)
    if wanted != recorded:
        fields = [
            name for name in recorded.__struct_fields__ if getattr(wanted, name) != getattr(recorded, name)
        ]
        raise EvidenceError(
            f"{folder / CHECKPOINT}: its answers were generated from other {', '.join(fields)} than those of the plan "
            "and of the rows in the evidence"
        )
    scored, scoring = contents.sessions[-1].scoring, scoring_of(asked.task)
    if scored != scoring:
        names = sorted(key for key in scored.keys() | scoring if scored.get(key) != scoring.get(key))
        raise EvidenceError(
            f"{folder / CHECKPOINT}: its answers were scored otherwise than the plan says: {', '.join(names)} "
            "has another configuration, version or code than the session's. Next: install the scorers of that session, "
            "or resume it with --resume to score its answers again"
        )
    return asked


class _Attempt(msgspec.Struct, frozen=True):
    request: RequestRecord | None = None


def _attempts(path: Path) -> list[list[RequestRecord]]:
    """The records of each session."""
    decode = msgspec.json.Decoder(_Attempt).decode
    sessions: list[list[RequestRecord]] = []
    for line in read_lines(path):
        if line.kind == "session":
            sessions.append([])
        elif line.kind in {"result", "error"} and (record := decode(line.payload).request) is not None:
            sessions[-1].append(record)
    return sessions


def _most_at_once(records: list[RequestRecord]) -> int:
    """Most requests between their first byte sent and their end at one time."""
    moments = sorted(
        moment for record in records for moment in ((record.send_start_ns, 1), (record.end_ns, -1))
    )
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most
