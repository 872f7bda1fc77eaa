"""Finishing a point: its checkpoint's answers scored, its result files rebuilt, its end written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench.checkpoints import Key, OpenCheckpoint
from pytest_bench.checkpoints.contents import End
from pytest_bench.checkpoints.line import Kind
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.answers import Account, ScoredItem, account, score_answers
from pytest_bench.evals.estimates import Spread
from pytest_bench.evals.measure import Allowance, EvalMetrics, measure_eval
from pytest_bench.evals.results import Run, results_document, sample_lines, write_results
from pytest_bench.evals.tasks import Item, Task, scoring_of


class Judging(msgspec.Struct, frozen=True, kw_only=True):
    """How scores become metrics."""

    allowance: Allowance = Allowance()
    confidence: float = 0.95
    spread: Spread = "t"
    seed: int = 0
    pass_at: tuple[int, ...] = ()


class Finished(NamedTuple):
    """A point whose requests are over."""

    metrics: EvalMetrics
    account: Account
    scored: list[ScoredItem]
    results: Path
    samples: Path


def finish_point(
    checkpoint: OpenCheckpoint,
    task: Task,
    items: Sequence[Item],
    keys: Sequence[Key],
    run: Run,
    folder: Path,
    *,
    judging: Judging,
    batched: bool,
) -> Finished:
    """Score every answer, write the result files, and end the checkpoint if every request has its answer.

    May be called again at any time, after a kill, too: file names follow from the first session's start, so that the
    same files are written again. Without an answer for every request the files are written all the same, and the
    checkpoint stays open for a later session. `run.started` is replaced. Raises `EvidenceError` if the checkpoint
    cannot be written.
    """
    contents = checkpoint.contents
    if not contents.sessions:
        raise EvidenceError(f"{checkpoint.path}: holds no session; nothing was requested")
    first_s = contents.sessions[0].started_ns / 1e9
    run = msgspec.structs.replace(run, started=datetime.fromtimestamp(first_s, UTC))
    scored = list(score_answers(task, items, keys, checkpoint.path, contents))
    metrics = measure_eval(
        task.scorings,
        [one.answered for one in scored],
        allowance=judging.allowance,
        confidence=judging.confidence,
        spread=judging.spread,
        seed=judging.seed,
        pass_at=judging.pass_at,
    )
    if not contents.ended:
        _append_scores(checkpoint, task, scored)
    spent = account(checkpoint.path)
    document = results_document(task, metrics, run, spent, len(items))
    samples = list(sample_lines(task, metrics, scored))
    paths = write_results(folder, document, samples, task, run, batched=batched)
    if not contents.ended and all(key in contents.results for key in keys):
        _append(checkpoint, [("end", End(results=len(contents.results)), None)])
    return Finished(metrics, spent, scored, *paths)


def _append_scores(checkpoint: OpenCheckpoint, task: Task, scored: Sequence[ScoredItem]) -> None:
    """Log the scores that the checkpoint does not hold yet."""
    digests = scoring_of(task)
    known = checkpoint.contents.scores
    by_request = {(key.item, key.repeat): key for key in checkpoint.contents.results}
    lines: list[tuple[Kind, object, Key | None]] = [
        ("score", {"scoring": digests[name], "name": name, "score": score}, key)
        for one in scored
        if (key := by_request.get((one.item.id, one.repeat))) is not None
        for name, score in one.answered.scores.items()
        if digests[name] not in known.get(key, {})
    ]
    _append(checkpoint, lines)


def _append(checkpoint: OpenCheckpoint, lines: Sequence[tuple[Kind, object, Key | None]]) -> None:
    writer = checkpoint.writer()
    for kind, payload, key in lines:
        writer.append(kind, payload, key)
    writer.close()
    if writer.fault is not None:
        raise EvidenceError(writer.fault)
    checkpoint.reread()
