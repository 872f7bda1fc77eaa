"""The metrics of evals that suites may bound, with their units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pytest_bench.errors import UsageError
from pytest_bench.scoring import CONDITIONS, SCORINGS, Scorings
from pytest_bench.wording import did_you_mean


class EvalMetric(NamedTuple):
    """Unit and meaning of one metric."""

    unit: str
    meaning: str


COUNTS: dict[str, EvalMetric] = {
    "eval_requests": EvalMetric("requests", "requests that the eval asks for: items times repeats"),
    "completed_requests": EvalMetric("requests", "requests with an answer"),
    "failed_requests": EvalMetric(
        "requests", "requests whose every attempt ended in an infrastructure error"
    ),
    "missing_requests": EvalMetric("requests", "requests without any outcome"),
    "unscored_requests": EvalMetric(
        "requests", "requests without a score: failed, missing, or left by a scorer that failed"
    ),
    "retried_requests": EvalMetric(
        "requests", "requests answered after an attempt had failed, in any session"
    ),
}

RATES: dict[str, EvalMetric] = {
    f"{condition}_rate": EvalMetric("fraction", f"share of the answers of which this is true: {meaning}")
    for condition, meaning in CONDITIONS.items()
}
"""If several scorers read different texts of an answer, the largest of their rates."""

TAIL = EvalMetric(
    "fraction",
    "share of the time, over all sessions, after the last request was sent: fewer requests are in flight then",
)

SCORE = EvalMetric("fraction", "mean score over all requests, unscored ones as wrong within the allowance")


def metrics(scores: Iterable[str]) -> dict[str, EvalMetric]:
    """All metrics of an eval that reports `scores` (`metric,filter`)."""
    return {**dict.fromkeys(scores, SCORE), **COUNTS, **RATES, "tail_share": TAIL}


def names(scorings: Scorings = SCORINGS) -> tuple[str, ...]:
    """Everything that a bound of an eval may name."""
    return tuple(metrics(scoring.key for scoring in scorings.values()))


def meaning_of(name: str) -> str:
    """What a metric of evals is, in words."""
    return metrics(()).get(name, SCORE).meaning


def unit_of(name: str, scorings: Scorings = SCORINGS) -> str:
    """Base unit of a metric. Raises `UsageError`, with the nearest name, for one that no eval has."""
    known = metrics(scoring.key for scoring in scorings.values())
    if name not in known:
        raise UsageError(f"there is no metric {name!r} of evals{did_you_mean(name, known)}")
    return known[name].unit
