"""Measures and judges an eval point from its checkpoint.

The result depends on the checkpoint and the declaration alone, so a verification on another machine gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench.bounds import Bound
from pytest_bench.checkpoints.contents import read_lines
from pytest_bench.evals.answers import Account
from pytest_bench.evals.concurrency import ConcurrencyProof, prove_concurrency
from pytest_bench.evals.declared import Asked, gates_of, judging_of
from pytest_bench.evals.definitions import COUNTS, RATES, SCORE, TAIL
from pytest_bench.evals.finishing import Scored
from pytest_bench.evals.gates import GateResult
from pytest_bench.evals.gating import Baseline, Family, JudgedGates, judge_gates
from pytest_bench.evals.measure import EvalMetrics
from pytest_bench.labels import Label
from pytest_bench.metrics.measurement import Interval, Measurement, Metric
from pytest_bench.records import Places
from pytest_bench.scoring import CONDITIONS
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.judge import judge
from pytest_bench.verdict.outcome import BoundState, JudgedBound, Judgement, Outcome, Reason, worst

_STATES: dict[Outcome, BoundState] = {
    Outcome.PASS: "met",
    Outcome.FAIL: "not-met",
    Outcome.INCONCLUSIVE: "inconclusive",
}


class Assessment(NamedTuple):
    """The result of an eval point."""

    measurement: Measurement
    judgement: Judgement
    """Without the labels that depend on the deployment."""
    proof: ConcurrencyProof
    gates: JudgedGates


def assess(
    point: Point,
    asked: Asked,
    scored: Scored,
    path: Path,
    baselines: Mapping[int, Baseline],
    family: Family,
) -> Assessment:
    """Measure and judge the answers `scored`, whose checkpoint is at `path`."""
    proof = _prove(asked, path, point.budget.vacancy)
    measurement = measurement_of(scored.metrics, scored.account, tuple(_intervals(point, asked, scored)))
    declared = gates_of(point)
    gates = judge_gates(declared, scored.metrics, scored.answers, asked.items, baselines, family)
    judged = judge(point.bounds, measurement, implied=())
    bounds = (*judged.bounds, *map(_as_bound, gates.corrected))
    errors = [*_errors(scored, proof), *(Reason("gate", sentence) for sentence in gates.problems)]
    reasons = [
        *errors,
        *judged.reasons,
        *(
            Reason(f"bound-{bound.state}", bound.sentence)
            for bound in bounds[len(judged.bounds) :]
            if bound.state != "met"
        ),
    ]
    outcome = worst(
        [judged.outcome, *(gate.outcome for gate in gates.corrected), *([Outcome.ERROR] if errors else [])]
    )
    labels = tuple(label for label in judged.labels if label != Label.UNBOUNDED or not declared)
    return Assessment(
        measurement=measurement,
        judgement=Judgement(
            outcome=outcome,
            reasons=tuple(reasons),
            bounds=bounds,
            labels=(*labels, *([Label.SHORT] if proof.short else [])),
        ),
        proof=proof,
        gates=gates,
    )


def measurement_of(metrics: EvalMetrics, account: Account, intervals: Sequence[Interval] = ()) -> Measurement:
    """The metrics of an eval under the names that bounds use."""
    counts = {
        "eval_requests": metrics.total,
        "completed_requests": metrics.completed,
        "failed_requests": metrics.failed,
        "missing_requests": metrics.missing,
        "unscored_requests": max(one.unscored for one in metrics.scorings.values()),
        "retried_requests": metrics.retried,
    }
    found = {
        name: Metric(unit=COUNTS[name].unit, kind="scalar", value=float(value))
        for name, value in counts.items()
    }
    for condition in CONDITIONS:
        rates = [one.rates[condition] for one in metrics.scorings.values()]
        known = [rate for rate in rates if rate is not None]
        name = f"{condition}_rate"
        found[name] = Metric(
            unit=RATES[name].unit,
            kind="scalar",
            value=max(known, default=None),
            reason=None if known else "no request was answered",
        )
    tail = account.tail_share
    found["tail_share"] = Metric(
        unit=TAIL.unit, kind="scalar", value=tail, reason="no time has passed" if tail is None else None
    )
    for key, one in metrics.scorings.items():
        value = None if one.estimate is None else one.estimate.value
        found[key] = Metric(unit=SCORE.unit, kind="scalar", value=value, reason=one.undefined)
    return Measurement(
        metrics=found,
        issued=account.attempts,
        succeeded=metrics.completed,
        failed=account.failed,
        intervals=tuple(intervals),
    )


def _intervals(point: Point, asked: Asked, scored: Scored) -> Iterator[Interval]:
    """The interval of each score with the declared confidence, and with that of each bound on it."""
    judging = judging_of(point)
    wanted = {(key, judging.confidence): None for key in scored.metrics.scorings}
    wanted |= {
        (bound.metric, bound.confidence): None
        for bound in point.bounds
        if bound.confidence is not None and bound.metric in scored.metrics.scorings
    }
    by_confidence = {
        confidence: scored.measure(asked.task, msgspec.structs.replace(judging, confidence=confidence))
        for confidence in dict.fromkeys(confidence for _, confidence in wanted)
    }
    for key, confidence in wanted:
        found = by_confidence[confidence].scorings[key].estimate
        if found is not None and found.interval is not None:
            low, high = found.interval
            yield Interval(metric=key, confidence=confidence, low=low, high=high, method=found.method)


def _errors(scored: Scored, proof: ConcurrencyProof) -> Iterator[Reason]:
    """Why the scores are not trustworthy, whatever they are."""
    metrics = scored.metrics
    if metrics.missing:
        yield Reason(
            "missing-answers",
            f"{metrics.missing} of {metrics.total} requests have no outcome: the session was stopped before they were "
            "issued",
        )
    yield from (Reason("unscored", sentence) for sentence in metrics.undefined)
    if scored.unserialisable:
        yield Reason(
            "unserialisable",
            f"{len(scored.unserialisable)} answers could not be written to the checkpoint, such as that of "
            f"{scored.unserialisable[0]}; its line holds the traceback",
        )
    if proof.problem is not None:
        yield Reason("concurrency", f"the concurrency is not proven: {proof.problem}")


def _prove(asked: Asked, path: Path, vacancy: float) -> ConcurrencyProof:
    """Judge the first session that could reach the concurrency."""
    concurrency = asked.generation.concurrency
    sessions: list[tuple[int, Places | None]] = []
    decode = msgspec.json.Decoder(_Reached).decode
    for line in read_lines(path):
        if line.kind == "session":
            sessions.append((0, None))
        elif line.kind in {"result", "error"}:
            attempts, places = sessions[-1]
            sessions[-1] = (attempts + 1, decode(line.payload).places or places)
    proving = next((one for one in sessions if one[0] >= concurrency), sessions[0] if sessions else (0, None))
    attempts, places = proving
    return prove_concurrency(
        concurrency,
        min(attempts, len(asked.keys)),
        0 if places is None else places.peak,
        None if places is None else places.achieved,
        vacancy=vacancy,
    )


class _Reached(msgspec.Struct, frozen=True):
    places: Places | None = None


def _as_bound(result: GateResult) -> JudgedBound:
    """A judged gate as a judged bound, which the ledger checks again."""
    gate = result.gate
    limit = -gate.limit if gate.kind == "non_inferior" else gate.limit
    name = f"{gate.metric} minus baseline" if gate.kind == "non_inferior" else gate.metric
    confidence = None if result.bound is None else gate.confidence
    return JudgedBound(
        bound=Bound(
            metric=name,
            comparison=">=",
            limit=limit,
            text=f">= {limit:g}",
            origin=gate.origin,
            confidence=confidence,
        ),
        measured=result.measured,
        state=_STATES[result.outcome],
        sentence=f"{result.sentence} ({gate.origin})" if gate.origin else result.sentence,
        interval=None if result.bound is None else (result.bound, max(result.measured, result.bound)),
    )


def shown(metrics: EvalMetrics, account: Account) -> list[tuple[str, str]]:
    """Headings and cells of the table of evals."""
    cells = [("requests", str(metrics.total)), ("answered", str(metrics.completed))]
    for key, one in metrics.scorings.items():
        heading = key.replace(",", "\n")
        if one.estimate is None:
            cells.append((heading, "-"))
            continue
        text = f"{one.estimate.value:.1%}"
        if one.estimate.interval is not None:
            low, high = one.estimate.interval
            text += f" ({low:.1%} to {high:.1%})"
        cells.append((heading, text))
    cells += (
        (condition.replace("_", " "), str(largest))
        for condition in CONDITIONS
        if (largest := max((one.counts[condition] for one in metrics.scorings.values()), default=0))
    )
    if metrics.retried:
        cells.append(("retried", str(metrics.retried)))
        for key, one in metrics.scorings.items():
            without = "-" if one.without_retried is None else f"{one.without_retried.value:.1%}"
            cells.append((f"{key.replace(',', chr(10))}{chr(10)}without retried", without))
    unscored = max((one.unscored for one in metrics.scorings.values()), default=0)
    if unscored:
        cells.append(("unscored", str(unscored)))
    cells.append(("tail", "-" if account.tail_share is None else f"{account.tail_share:.0%}"))
    return cells
