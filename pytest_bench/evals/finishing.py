"""Finishes a point: scores the answers in its checkpoint, rebuilds its result files, and writes its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pytest_bench.checkpoints import Contents, Key, OpenCheckpoint
from pytest_bench.checkpoints.contents import End
from pytest_bench.checkpoints.line import Kind
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.answers import Account, ScoredItem, account, score_answers, unserialisable
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


class Scored(NamedTuple):
    """The scored answers of a checkpoint."""

    answers: list[ScoredItem]
    """One for each request, in order."""
    metrics: EvalMetrics
    account: Account
    unserialisable: tuple[Key, ...]
    """Requests whose answer could not be written, and that have no other."""

    def measure(self, task: Task, judging: Judging) -> EvalMetrics:
        """The metrics under another judging."""
        return _measure(task, self.answers, judging)


class Finished(NamedTuple):
    """A point whose requests are over."""

    scored: Scored
    results: Path
    samples: Path

    @property
    def metrics(self) -> EvalMetrics:
        return self.scored.metrics


def score(
    path: Path, contents: Contents, task: Task, items: Sequence[Item], keys: Sequence[Key], judging: Judging
) -> Scored:
    """Score every answer of a checkpoint. Raises `EvidenceError` for one that cannot be read."""
    answers = list(score_answers(task, items, keys, path, contents))
    return Scored(
        answers=answers,
        metrics=_measure(task, answers, judging),
        account=account(path),
        unserialisable=tuple(key for key in unserialisable(path) if key not in contents.results),
    )


def documents(
    task: Task, items: Sequence[Item], run: Run, scored: Scored, contents: Contents
) -> tuple[dict[str, Any], list[dict[str, Any]], Run]:
    """The result file, the lines of the samples file, and the run with the time that names both: that of the first
    session's start, so that the same files are made again at any time."""
    first_s = contents.sessions[0].started_ns / 1e9
    run = msgspec.structs.replace(run, started=datetime.fromtimestamp(first_s, UTC))
    document = results_document(task, scored.metrics, run, scored.account, len(items))
    return document, list(sample_lines(task, scored.metrics, scored.answers, run.nonce)), run


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
    scored = score(checkpoint.path, contents, task, items, keys, judging)
    if not contents.ended:
        _append_scores(checkpoint, task, scored.answers)
    document, samples, run = documents(task, items, run, scored, contents)
    paths = write_results(folder, document, samples, task, run, batched=batched)
    if not contents.ended and all(key in contents.results for key in keys):
        _append(checkpoint, [("end", End(results=len(contents.results)), None)])
    return Finished(scored, *paths)


def _measure(task: Task, answers: Sequence[ScoredItem], judging: Judging) -> EvalMetrics:
    return measure_eval(
        task.scorings,
        [one.answered for one in answers],
        allowance=judging.allowance,
        confidence=judging.confidence,
        spread=judging.spread,
        seed=judging.seed,
        pass_at=judging.pass_at,
    )


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
