"""Paired comparison of two evals of the same items: difference, its bounds, McNemar's test, flipped items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from pytest_bench.errors import EvidenceError
from pytest_bench.evals.estimates import Statistic
from pytest_bench.metrics.distributions import binomial_cdf, normal_quantile, student_quantile
from pytest_bench.metrics.observed import NotDefined


class Flip(msgspec.Struct, frozen=True):
    """An item whose score changed."""

    item: str
    baseline: float
    candidate: float


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """Candidate minus baseline, item by item."""

    items: int
    difference: float
    stderr: float | None
    """Standard error of the mean difference; None for a single item."""
    won: int | None
    """Items that only the candidate has right; None if scores are not binary."""
    lost: int | None
    """Items that only the baseline has right."""
    mcnemar_p: float | None
    """Two-sided exact p-value of no difference (McNemar 1947, binomial); None if scores are not binary."""
    flips: tuple[Flip, ...]
    """Every item whose mean score differs, in the order of the items."""


def require_same_items(baseline: Mapping[str, str], candidate: Mapping[str, str]) -> None:
    """Raises `EvidenceError` unless both evals have the same items: ids with the same content hashes."""
    if baseline == candidate:
        return
    missing, added = baseline.keys() - candidate.keys(), candidate.keys() - baseline.keys()
    changed = {item for item in baseline.keys() & candidate.keys() if baseline[item] != candidate[item]}
    differences = [
        f"{len(items)} {what}, such as {min(items)!r}"
        for items, what in (
            (missing, "only in the baseline"),
            (added, "not in the baseline"),
            (changed, "changed since the baseline"),
        )
        if items
    ]
    raise EvidenceError(
        f"the baseline has other items ({'; '.join(differences)}): run the baseline again on this dataset"
    )


def compare(baseline: Mapping[str, Sequence[float]], candidate: Mapping[str, Sequence[float]]) -> Paired:
    """Compare scores given by item. Raises `NotDefined` if the items differ or there are none."""
    if baseline.keys() != candidate.keys() or not baseline:
        raise NotDefined("the two evals do not have the same scored items")
    pairs = [(item, _mean(baseline[item]), _mean(scores)) for item, scores in candidate.items()]
    differences = np.array([after - before for _, before, after in pairs])
    won = lost = p_value = None
    if _is_binary(baseline) and _is_binary(candidate):
        won, lost = int((differences > 0).sum()), int((differences < 0).sum())
        p_value = exact_mcnemar(won, lost)
    return Paired(
        items=len(pairs),
        difference=math.fsum(differences) / len(pairs),
        stderr=float(np.std(differences, ddof=1)) / math.sqrt(len(pairs)) if len(pairs) > 1 else None,
        won=won,
        lost=lost,
        mcnemar_p=p_value,
        flips=tuple(Flip(item, before, after) for item, before, after in pairs if before != after),
    )


def exact_mcnemar(won: int, lost: int) -> float:
    """Two-sided exact p-value: under no difference each flip is as likely one way as the other."""
    flips = won + lost
    return min(1.0, 2 * binomial_cdf(min(won, lost), flips, 0.5)) if flips else 1.0


def statistic(paired: Paired, limit: float) -> Statistic:
    """Standard score of the true difference being `limit`.

    Binary scores: the score statistic of Tango (1998, Statistics in Medicine 17), which is defined without flips,
    too. Others: the mean difference over its standard error; if all differences are equal, Tango's without flips,
    because a sample without spread does not show that there is none.
    """
    if paired.won is not None and paired.lost is not None:
        return Statistic(_tango(paired.won, paired.lost, paired.items, limit))
    if not paired.stderr:
        shifted = limit - paired.difference
        return Statistic(_tango(0, 0, paired.items, max(-1.0, min(1.0, shifted))))
    return Statistic((paired.difference - limit) / paired.stderr, paired.items - 1)


def bounds(paired: Paired, confidence: float) -> tuple[float, float]:
    """One-sided lower and upper bounds of the difference, each with `confidence`."""
    if paired.won is None and paired.stderr:
        half = student_quantile(confidence, paired.items - 1) * paired.stderr
        return max(-1.0, paired.difference - half), min(1.0, paired.difference + half)
    limit = normal_quantile(confidence)
    return (
        _crossing(paired, limit, -1.0, paired.difference),
        _crossing(paired, -limit, paired.difference, 1.0),
    )


def _crossing(paired: Paired, z: float, low: float, high: float) -> float:
    """The difference at which the statistic, which falls as the limit rises, equals `z`."""
    for _ in range(100):
        middle = (low + high) / 2
        if statistic(paired, middle).z > z:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _tango(won: int, lost: int, items: int, limit: float) -> float:
    gap = won - lost - items * limit
    if abs(limit) >= 1:
        return math.copysign(math.inf, gap) if gap else 0.0
    a = 2 * items
    b = -won - lost + (2 * items - won + lost) * limit
    c = -lost * limit * (1 - limit)
    # maximum-likelihood probability of a loss, given the difference
    loss = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = items * (2 * loss + limit * (1 - limit))
    return gap / math.sqrt(variance) if variance > 0 else (math.copysign(math.inf, gap) if gap else 0.0)


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores)


def _is_binary(values: Mapping[str, Sequence[float]]) -> bool:
    return all(len(scores) == 1 and scores[0] in {0.0, 1.0} for scores in values.values())
