"""Reads the baseline of a paired gate from an earlier session's results, if its evidence holds."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from pytest_bench.checkpoints import read_checkpoint
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.declared import judging_of
from pytest_bench.evals.finishing import score
from pytest_bench.evals.gating import Baseline
from pytest_bench.evals.measure import values_by_item
from pytest_bench.evals.remeasure import asked_again, contradictions, phase_nonces, remeasure
from pytest_bench.results.differences import differences, plain
from pytest_bench.results.layout import CHECKPOINT, point_path
from pytest_bench.results.nonces import known_sessions, of_other_sessions
from pytest_bench.results.settle import settle
from pytest_bench.results.summary import read_summary
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.verdict.points import MEASURED


def read_baseline(
    results: Path, declared: str, point_id: str, metric: str, *, scorings: Scorings = SCORINGS
) -> Baseline:
    """The scores `metric` of a point in `results`, scored again from its checkpoint.

    `declared` is the folder's name for messages. Raises `EvidenceError` unless the session ended, the point was
    measured, its files are those that it wrote, and its scores are those that its answers give.
    """
    what = f"the baseline {declared}, point {point_id}"
    settled = settle(results)
    plan, check = settled.plan, settled.evidence.get(point_id)
    found = next((point for point in settled.verdict.points if point.id == point_id), None)
    if plan is None or check is None or found is None:
        raise EvidenceError(f"{what}: holds no such point; run the eval there first, or correct `baseline`")
    if found.outcome not in MEASURED:
        reasons = "; ".join(reason.sentence for reason in found.reasons)
        raise EvidenceError(f"{what}: its outcome is {found.outcome}, so it is not a measurement: {reasons}")
    folder, point = results / point_path(point_id), plan.point(point_id)
    summary = read_summary(folder)
    again = remeasure(plan, point, folder, summary, results, scorings)
    wrong = chain(
        check.errors,
        contradictions(point, folder, summary),
        of_other_sessions(
            folder,
            summary,
            sessions=known_sessions(results, settled.verdict.nonce),
            phases=phase_nonces(folder),
        ),
        differences(plain(summary.measurement), plain(again.measurement), "measurement", rounded=True),
    )
    if problem := next(wrong, None):
        raise EvidenceError(f"{what}: does not verify: {problem}")
    contents = read_checkpoint(folder / CHECKPOINT)
    asked = asked_again(plan, point, folder, summary, contents, scorings)
    scored = score(folder / CHECKPOINT, contents, asked.task, asked.items, asked.keys, judging_of(point))
    if metric not in scored.metrics.scorings or scored.metrics.scorings[metric].estimate is None:
        raise EvidenceError(f"{what}: has no score {metric!r}")
    return Baseline(
        results=declared,
        point=point_id,
        nonce=summary.nonce,
        evidence=check.digest or "",
        items={item.id: item.content for item in asked.items},
        values=values_by_item(metric, (one.answered for one in scored.answers), unscored=0.0),
    )
