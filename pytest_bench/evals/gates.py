"""Gates: how good a score must be, and whether the evidence decides it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from pytest_bench.evals.estimates import Estimate, Statistic, share_test
from pytest_bench.evals.paired import Paired, bounds, statistic
from pytest_bench.metrics.distributions import normal_quantile, student_quantile
from pytest_bench.verdict.outcome import Outcome

GateKind = Literal["threshold", "lower_bound", "non_inferior"]

_LARGEST_SAMPLE = 10**9


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A declared gate on one metric.

    `threshold`: the value is at least `limit`. `lower_bound`: its one-sided confidence bound is. `non_inferior`: the
    lower confidence bound of candidate minus baseline is at least -`limit`, the margin.
    """

    kind: GateKind
    metric: str
    """`metric,filter`."""
    limit: float
    confidence: float = 0.95
    origin: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit) or not 0 <= self.limit <= 1:
            raise ValueError(f"the limit of a gate is {self.limit}; expected a number from 0 to 1")
        if not 0.5 < self.confidence < 1:
            raise ValueError(
                f"the confidence of a gate is {self.confidence}; expected more than 0.5 and less than 1"
            )


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """A judged gate."""

    gate: Gate
    outcome: Outcome
    """`PASS`, `FAIL`, or `INCONCLUSIVE`."""
    measured: float
    """The score, or the difference."""
    bound: float | None
    """The one-sided bound that was compared with the limit; None for a threshold."""
    p_pass: float | None
    """p-value against being just worse than the limit; None for a threshold."""
    p_fail: float | None
    """p-value against being just as good as the limit."""
    sentence: str
    needed: int | None = None
    """Items that would decide an inconclusive gate if the scores stayed as they are; None if none would."""


def judge_estimate(gate: Gate, estimate: Estimate) -> GateResult:
    """Judge a `threshold` or `lower_bound` gate.

    The bound is Wilson's for binary scores without repeats and Student's for others, a bootstrapped interval included.
    """
    if gate.kind == "threshold":
        met = estimate.value >= gate.limit
        return GateResult(
            gate=gate,
            outcome=Outcome.PASS if met else Outcome.FAIL,
            measured=estimate.value,
            bound=None,
            p_pass=None,
            p_fail=None,
            sentence=f"{gate.metric} is {estimate.value:.6g} over {estimate.n} responses; "
            f"expected at least {gate.limit:g}",
        )
    if gate.kind != "lower_bound":
        raise ValueError(f"a {gate.kind} gate needs a baseline")
    test = _test_of(estimate, gate.limit)
    low = _lower(estimate, gate.confidence)
    return _judged(gate, estimate.value, low, test, estimate.items, "score", gate.limit)


def judge_paired(gate: Gate, paired: Paired) -> GateResult:
    """Judge a `non_inferior` gate."""
    if gate.kind != "non_inferior":
        raise ValueError(f"a {gate.kind} gate takes no baseline")
    test = statistic(paired, -gate.limit)
    low, _ = bounds(paired, gate.confidence)
    return _judged(
        gate, paired.difference, low, test, paired.items, "difference from the baseline", -gate.limit
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979): each true hypothesis among them is rejected with at most the stated error."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def correct_sweep(results: Sequence[GateResult]) -> list[GateResult]:
    """Judge the same gate of several concurrencies again, with p-values adjusted over all of them.

    More comparisons make each decision harder, so that a pass or fail may become inconclusive, never the reverse.
    Thresholds compare without a test and stay as they are.
    """
    tested = [(place, result) for place, result in enumerate(results) if result.p_pass is not None]
    if len({(result.gate.kind, result.gate.metric, result.gate.confidence) for _, result in tested}) > 1:
        raise ValueError("the gates of a sweep differ in kind, metric or confidence")
    corrected = list(results)
    passing = holm([result.p_pass or 0.0 for _, result in tested])
    failing = holm([result.p_fail or 0.0 for _, result in tested])
    for (place, result), p_pass, p_fail in zip(tested, passing, failing, strict=True):
        alpha = 1 - result.gate.confidence
        still = (result.outcome is Outcome.PASS and p_pass <= alpha) or (
            result.outcome is Outcome.FAIL and p_fail <= alpha
        )
        changed = result.outcome is not Outcome.INCONCLUSIVE and not still
        corrected[place] = msgspec.structs.replace(
            result,
            p_pass=p_pass,
            p_fail=p_fail,
            outcome=Outcome.INCONCLUSIVE if changed else result.outcome,
            sentence=result.sentence
            + (f"; not decided after Holm's correction over {len(tested)} concurrencies" if changed else ""),
        )
    return corrected


def _judged(
    gate: Gate, measured: float, low: float, test: Statistic, items: int, what: str, limit: float
) -> GateResult:
    p_pass, p_fail = test.p_above, test.p_below
    needed: int | None = None
    wanted = f"expected at least {limit:g} with confidence {gate.confidence:g}"
    sentence = f"{gate.metric}: {what} is {measured:.6g}, at least {low:.6g} over {items} items; {wanted}"
    if low >= limit:
        outcome = Outcome.PASS
    elif p_fail <= 1 - gate.confidence:
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.INCONCLUSIVE
        needed = _needed(items, test.z, normal_quantile(gate.confidence))
        sentence += (
            f". This many items do not decide it; about {needed} would if the scores stayed as they are"
            if needed
            else ". It equals the limit, so no number of items would decide it"
        )
    return GateResult(
        gate=gate,
        outcome=outcome,
        measured=measured,
        bound=low,
        p_pass=p_pass,
        p_fail=p_fail,
        sentence=sentence,
        needed=needed,
    )


def _test_of(estimate: Estimate, limit: float) -> Statistic:
    if estimate.method == "wilson" or not estimate.stderr:
        return share_test(estimate.value, estimate.items, limit)
    return Statistic((estimate.value - limit) / estimate.stderr, estimate.items - 1)


def _lower(estimate: Estimate, confidence: float) -> float:
    """One-sided lower bound."""
    if estimate.method == "wilson" or not estimate.stderr:
        # without any spread, other scores from 0 to 1 vary at most as a share does
        return _wilson(estimate.value, estimate.items, confidence)
    half = student_quantile(confidence, estimate.items - 1) * estimate.stderr
    return max(0.0, estimate.value - half)


def _wilson(share: float, count: int, confidence: float) -> float:
    """Wilson's lower bound, of a share that need not be a whole number of successes."""
    z = normal_quantile(confidence)
    scale = 1 + z * z / count
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, (share + z * z / (2 * count) - half) / scale))


def _needed(items: int, z: float, decisive: float) -> int | None:
    """The statistic grows with the root of the sample size while the scores stay as they are."""
    if z == 0:
        return None
    needed = math.ceil(items * (decisive / z) ** 2)
    return max(items + 1, needed) if needed <= _LARGEST_SAMPLE else None
