"""The difference of one metric of one point, and whether it meets a condition."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_bench.comparison.conditions import Condition, better_of
from pytest_bench.comparison.evals import OfItems
from pytest_bench.comparison.points import Compared
from pytest_bench.comparison.result import Difference, Judged, Mark
from pytest_bench.comparison.values import may_be_zero, shift_of, uncertainty_of, values_of
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.paired import Paired
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.names import unit_of
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.metrics.shifts import ERROR, FIRST_STAGE, Shift, Tails, decide
from pytest_bench.reports.tables import quantity


def is_shown(point: Compared, metric: str) -> bool:
    """Whether a metric that nobody asked for is shown: if any session has a value, and any a count other than 0."""
    measurements = [*point.baseline.measurements, *point.candidate.measurements]
    values = {item.value(metric) for item in measurements}
    return values != {None} and not (may_be_zero(metric) and values == {0.0})


def difference(point: Compared, metric: str, shown: float, *, in_pairs: bool) -> Difference:
    """The difference of a metric of a performance point. It is marked if its interval of tail `shown` excludes none.

    Raises `EvidenceError` if a value is null or cannot be compared.
    """
    relative = not may_be_zero(metric)
    sides = point.baseline, point.candidate
    baseline, candidate = (_mean(values_of(side, metric), relative=relative) for side in sides)
    low = high = None
    method = reason = ""
    mark: Mark = ""
    try:
        shift = shift_of(*sides, metric, relative=relative, tail=ERROR, in_pairs=in_pairs)
        uncertainty = sum(uncertainty_of(side, metric, relative=relative) for side in sides)
        low, high = (_change(end, relative=relative) for end in _widened(shift.limits(ERROR), uncertainty))
        method = shift.method
        mark = _mark(shift, shown, uncertainty, metric)
    except NotDefined as why:
        reason = str(why)
    return Difference(
        point=point.id,
        metric=metric,
        unit=unit_of(metric),
        baseline=baseline,
        candidate=candidate,
        relative=relative,
        change=candidate / baseline - 1 if relative else candidate - baseline,
        low=low,
        high=high,
        method=method,
        reason=reason,
        mark=mark,
        incomparable=point.incomparable,
    )


def score_difference(point: Compared, metric: str, paired: Paired, shown: float) -> Difference:
    """The difference of a score of an eval, paired by item."""
    shift = OfItems(paired, 1, len(point.baseline.points))
    baseline, candidate = (_mean(_scores(side.measurements, metric), relative=False) for side in point[2:4])
    low, high = shift.limits(ERROR)
    return Difference(
        point=point.id,
        metric=metric,
        unit="fraction",
        baseline=baseline,
        candidate=candidate,
        relative=False,
        change=paired.difference,
        low=low,
        high=high,
        method="items",
        mark=_mark(shift, shown, 0.0, metric),
        flips=None if paired.won is None or paired.lost is None else (paired.won, paired.lost),
        mcnemar_p=paired.mcnemar_p,
        incomparable=point.incomparable,
    )


def judge(point: Compared, condition: Condition, metric: str, tails: Tails, *, in_pairs: bool) -> Judged:
    """Judge a condition on a metric of a performance point. Raises `EvidenceError` as `difference` does."""
    sides = point.baseline, point.candidate
    uncertainty = sum(uncertainty_of(side, metric, relative=condition.relative) for side in sides)
    try:
        shift = shift_of(
            *sides,
            metric,
            relative=condition.relative,
            tail=tails.last,
            in_pairs=in_pairs,
            worse=condition.worse,
        )
        return _judged(point, condition, metric, shift, tails, uncertainty)
    except NotDefined as why:
        repeats = min(len(side.points) for side in sides)
        more = FIRST_STAGE - repeats if repeats < FIRST_STAGE else None
        return Judged(
            condition=condition.text,
            point=point.id,
            answer="cannot tell",
            sentence=f"{metric}: {why}{_repeats(more)}",
            more=more,
            incomparable=point.incomparable,
        )


def judge_score(point: Compared, condition: Condition, paired: Paired, tails: Tails) -> Judged:
    """Judge a condition on a score of an eval."""
    shift = OfItems(paired, condition.worse, len(point.baseline.points))
    return _judged(point, condition, condition.metric, shift, tails, 0.0)


def _judged(
    point: Compared,
    condition: Condition,
    metric: str,
    shift: Shift,
    tails: Tails,
    uncertainty: float,
) -> Judged:
    limit, resolution = _on_scale(condition)
    decision = decide(shift, limit, resolution, tails, uncertainty)
    relative, worse = condition.relative, condition.worse
    ends = (_change(worse * end, relative=relative) for end in (decision.low, decision.high))
    low, high = sorted(ends)
    value = _change(worse * shift.value, relative=relative)
    unit = "" if relative else "fraction" if isinstance(shift, OfItems) else unit_of(metric)
    sentence = f"{metric}: {change_text(value, unit)} ({change_text(low, unit)} to {change_text(high, unit)})"
    more = None
    if decision.answer == "cannot tell":
        if decision.needed is None:
            sentence += (
                "; the measurement itself is less certain than the resolution, and no repeat changes that"
            )
        elif isinstance(shift, OfItems):
            items = shift.items_needed(tails.last, resolution)
            sentence += f"; {shift.paired.items:,} items, and about {items:,} decide"
        elif decision.needed > shift.repeats:
            more = decision.needed - shift.repeats
            sentence += _repeats(more)
        else:
            sentence += "; it is nearer to the limit than the resolution"
    return Judged(
        condition=condition.text,
        point=point.id,
        answer=decision.answer,
        sentence=sentence,
        more=more,
        incomparable=point.incomparable,
    )


def change_text(value: float, unit: str) -> str:
    """A difference with its sign: in percent if `unit` is empty, otherwise in that unit."""
    if not math.isfinite(value):
        return "unlimited"
    if not unit:
        return f"{value:+.1%}".replace("%", " %")
    return f"{'-' if value < 0 else '+'}{quantity(abs(value), unit)}"


def _on_scale(condition: Condition) -> tuple[float, float]:
    """Limit and resolution on the scale of the shift, on which larger is worse."""
    worse, limit = condition.worse, condition.limit
    if not condition.relative:
        return worse * limit, condition.resolution
    at_limit = math.log1p(limit)
    beyond = max(limit + worse * condition.resolution, -0.999)
    return worse * at_limit, abs(math.log1p(beyond) - at_limit)


def _repeats(more: int | None) -> str:
    if more is None:
        return ""
    return f"; {more} more session{'s' * (more > 1)} of each system decide"


def _mark(shift: Shift, tail: float, uncertainty: float, metric: str) -> Mark:
    try:
        low, high = _widened(shift.limits(tail), uncertainty)
    except NotDefined:
        return ""
    if low <= 0 <= high:
        return ""
    better = better_of(metric)
    if better == "neither":
        return "differs"
    return "better" if (low > 0) == (better == "higher") else "worse"


def _widened(pair: tuple[float, float], uncertainty: float) -> tuple[float, float]:
    return pair[0] - uncertainty, pair[1] + uncertainty


def _change(shift: float, *, relative: bool) -> float:
    if not relative:
        return shift
    return math.expm1(shift) if shift < 700 else math.inf


def _mean(values: list[float], *, relative: bool) -> float:
    if relative:
        return math.exp(math.fsum(map(math.log, values)) / len(values))
    return math.fsum(values) / len(values)


def _scores(measurements: Sequence[Measurement], metric: str) -> list[float]:
    """Raises `EvidenceError` for a score that is null."""
    values = [item.value(metric) for item in measurements]
    if None in values:
        raise EvidenceError(f"{metric} is null in one of the sessions")
    return [value for value in values if value is not None]
