"""Metrics of an eval: scores, rates, and every denominator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from pytest_bench.evals.estimates import Estimate, Spread, estimate, pass_at_k
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.scoring import CONDITIONS, Condition, Score, Scoring

Status = Literal["completed", "failed", "missing"]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one request of an eval, over all sessions."""

    item: str
    repeat: int
    status: Status
    """`failed`: every attempt ended in an infrastructure error. `missing`: no outcome was recorded."""
    attempts: int = 1
    scores: Mapping[str, Score] = {}
    """By `Scoring.key`; empty unless completed."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """How many unscored responses may count as wrong. By default none: a single one makes the point an error."""

    count: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.share is not None:
            raise ValueError("an allowance is either a count or a share")
        if (self.count or 0) < 0 or not 0 <= (self.share or 0) <= 1:
            raise ValueError("an allowance is a count of at least 0 or a share from 0 to 1")

    def covers(self, unscored: int, total: int) -> bool:
        if self.share is not None:
            return unscored <= Decimal(repr(self.share)) * total
        return unscored <= (self.count or 0)


class ScoringMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of one scoring. Rates are shares of the completed responses; None if there are none."""

    scored: int
    unscored: int
    """Requests without a score: failed, missing, or left by a scorer that failed. Never wrong answers."""
    scorer_failures: int
    counts: dict[Condition, int]
    rates: dict[Condition, float | None]
    sources: dict[str, int]
    """Scored responses by the part that was scored."""
    estimate: Estimate | None
    """Over all requests, unscored ones counted as wrong within the allowance; None with `undefined`."""
    without_retried: Estimate | None
    """Over requests that succeeded at the first attempt: retries shift the distribution. None if there are none."""
    pass_at: dict[int, Estimate | str] = {}
    """Mean pass@k of the items by k, or why it is not defined."""
    undefined: str | None = None
    """Why there is no estimate."""


class EvalMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of one point."""

    total: int
    """Requests that the eval asks for: items × repeats."""  # noqa: RUF001 # a product
    completed: int
    failed: int
    missing: int
    retried: int
    """Requests that were answered after an attempt had failed."""
    scorings: dict[str, ScoringMetrics]
    """By `metric,filter`."""

    @property
    def undefined(self) -> tuple[str, ...]:
        """Why the point is an error, one sentence for each scoring without an estimate."""
        return tuple(
            f"{key}: {metrics.undefined}" for key, metrics in self.scorings.items() if metrics.undefined
        )


def measure_eval(
    scorings: Iterable[Scoring],
    answers: Sequence[Answered],
    *,
    allowance: Allowance | None = None,
    confidence: float = 0.95,
    spread: Spread = "t",
    seed: int = 0,
    pass_at: Sequence[int] = (),
) -> EvalMetrics:
    """Metrics of all requests of a point, each given once. The order of `answers` does not matter."""
    statuses = Counter(answer.status for answer in answers)
    ordered = sorted(answers, key=lambda answer: (answer.item, answer.repeat))

    def of(scoring: Scoring) -> ScoringMetrics:
        return _measure(scoring, ordered, allowance or Allowance(), confidence, spread, seed, pass_at)

    return EvalMetrics(
        total=len(answers),
        completed=statuses["completed"],
        failed=statuses["failed"],
        missing=statuses["missing"],
        retried=sum(answer.attempts > 1 and answer.status == "completed" for answer in answers),
        scorings={scoring.key: of(scoring) for scoring in scorings},
    )


def values_by_item(
    key: str, answers: Iterable[Answered], *, unscored: float | None = None
) -> dict[str, list[float]]:
    """Scores of one scoring by item; what is unscored has the value `unscored`, or is left out if that is None."""
    values: dict[str, list[float]] = {}
    for answer in answers:
        score = answer.scores.get(key)
        value = unscored if score is None or score.value is None else score.value
        if value is not None:
            values.setdefault(answer.item, []).append(value)
    return values


def _measure(
    scoring: Scoring,
    answers: Sequence[Answered],
    allowance: Allowance,
    confidence: float,
    spread: Spread,
    seed: int,
    pass_at: Sequence[int],
) -> ScoringMetrics:
    completed = [answer for answer in answers if answer.status == "completed"]
    scores = [score for answer in completed if (score := answer.scores.get(scoring.key)) is not None]
    scored = [score for score in scores if score.value is not None]
    unscored = len(answers) - len(scored)
    counted = Counter(condition for score in scores for condition in score.conditions)

    def estimated(values: Mapping[str, Sequence[float]], *, binary: bool = scoring.is_binary) -> Estimate:
        return estimate(values, binary=binary, confidence=confidence, spread=spread, seed=seed)

    def passing(k: int) -> Estimate | str:
        if not scoring.is_binary:
            return f"pass@{k} needs scores that are right or wrong"
        try:
            return estimated(
                {item: [pass_at_k(round(sum(right)), len(right), k)] for item, right in values.items()},
                binary=False,
            )
        except NotDefined as error:
            return str(error)

    values = values_by_item(scoring.key, answers, unscored=0.0)
    overall = undefined = without_retried = None
    if not allowance.covers(unscored, len(answers)):
        undefined = f"{unscored} of {len(answers)} requests are unscored; {_allowed(allowance)}"
    else:
        try:
            overall = estimated(values)
        except NotDefined as error:
            undefined = str(error)
    first_attempts = [answer for answer in completed if answer.attempts == 1]
    try:
        without_retried = estimated(values_by_item(scoring.key, first_attempts))
    except NotDefined:
        without_retried = None
    return ScoringMetrics(
        scored=len(scored),
        unscored=unscored,
        scorer_failures=sum(score.error is not None for score in scores),
        counts={condition: counted[condition] for condition in CONDITIONS},
        rates={
            condition: counted[condition] / len(completed) if completed else None for condition in CONDITIONS
        },
        sources=dict(Counter(score.source for score in scored)),
        estimate=overall,
        without_retried=without_retried,
        pass_at={k: undefined or passing(k) for k in pass_at},
        undefined=undefined,
    )


def _allowed(allowance: Allowance) -> str:
    if allowance.share is not None:
        return f"a share of {allowance.share:g} is allowed"
    return f"{allowance.count} are allowed" if allowance.count else "none are allowed"
