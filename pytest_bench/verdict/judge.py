"""Judges bounds against a measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from pytest_bench.bounds import SCHEDULED, Bound, parse_bound, split_inline
from pytest_bench.labels import Label
from pytest_bench.verdict.outcome import BoundState, JudgedBound, Judgement, Outcome, Reason, worst

NO_FAILED_REQUESTS = Bound(metric="failed_requests", comparison="==", limit=0.0, text="== 0")
"""Implied unless the point bounds one of `FAILURES`."""

NO_EMPTY_OUTPUTS = Bound(metric="empty_outputs", comparison="==", limit=0.0, text="== 0")
"""Implied unless the point bounds `empty_outputs`: an empty answer has no latency, but counts for throughput."""

FAILURES = frozenset({"failed_requests", "error_rate"})
"""Metrics with which a point declares how many failures it tolerates."""

_OUTCOMES: dict[BoundState, Outcome] = {
    "met": Outcome.PASS,
    "not-met": Outcome.FAIL,
    "inconclusive": Outcome.INCONCLUSIVE,
    "undefined": Outcome.ERROR,
}

_TIMES = (("s", 1e9), ("ms", 1e6), ("us", 1e3))
SHOWN_UNCERTAINTY = 0.01
"""An uncertainty is shown if it exceeds this fraction of the value."""
_LESS_CLIENT = (
    ": the limit lies within the uncertainty of the measurement; to decide, give the client more load workers or cores "
    "that nothing else uses, or bound a mean if the server sends several events at once"
)
_DECLARED = {judged: declared for declared, judged in SCHEDULED.items()}


class Measured(Protocol):
    """The interface that bounds are judged against; implemented by `Measurement`."""

    def value(self, name: str) -> float | None:
        """Return the value in its base unit; None if the metric is null."""

    def reason(self, name: str) -> str | None:
        """Return why the metric is null."""

    def unit(self, name: str) -> str:
        """Return the base unit."""

    def uncertainty(self, name: str) -> float:
        """Return the largest error of the measurement in either direction, in the base unit."""

    def interval(self, name: str, confidence: float) -> tuple[float, float] | None:
        """Return the two-sided confidence interval, or None if it is not defined."""

    def interval_reason(self, name: str, confidence: float) -> str | None:
        """Return why the interval is not defined, if that is known."""


def judge(
    bounds: Sequence[Bound],
    measured: Measured,
    *,
    implied: Sequence[Bound] = (NO_FAILED_REQUESTS, NO_EMPTY_OUTPUTS),
) -> Judgement:
    """Judge every bound of a point, and those of `implied` whose metric the point does not bound itself.

    A bound on a null metric is an `error`. A bound is met, or not met, if this holds for every value within the
    uncertainty of the measurement and the confidence interval that the bound declares; otherwise the point is
    `inconclusive`. A point without bounds of its own is labelled `unbounded`.
    Raises `UsageError` for a metric that the measurement does not contain.
    """
    judged = tuple(judge_bound(bound, measured) for bound in (*bounds, *implied_bounds(bounds, implied)))
    return Judgement(
        outcome=worst(_OUTCOMES[item.state] for item in judged),
        reasons=tuple(Reason(f"bound-{item.state}", item.sentence) for item in judged if item.state != "met"),
        bounds=judged,
        labels=() if bounds else (Label.UNBOUNDED,),
    )


def implied_bounds(
    bounds: Sequence[Bound], implied: Sequence[Bound] = (NO_FAILED_REQUESTS, NO_EMPTY_OUTPUTS)
) -> tuple[Bound, ...]:
    """Those of `implied` whose metric a point with these `bounds` does not bound itself."""
    bounded = {bound.metric for bound in bounds}
    if bounded & FAILURES:
        bounded |= FAILURES
    return tuple(bound for bound in implied if bound.metric not in bounded)


def judge_bound(bound: Bound, measured: Measured) -> JudgedBound:
    """Judge one bound. Raises `UsageError` for a metric that the measurement does not contain."""
    value, unit = measured.value(bound.metric), measured.unit(bound.metric)
    required = f"required {bound.text}{f' ({bound.origin})' if bound.origin else ''}"
    if value is None:
        why = measured.reason(bound.metric) or "no reason was given"
        return JudgedBound(
            bound=bound,
            measured=None,
            state="undefined",
            sentence=f"{_subject(bound)} is null: {why}; {required}",
        )
    uncertainty = measured.uncertainty(bound.metric)
    text = f"{_subject(bound)} is {_show_beside(value, bound.limit, unit)}"
    if uncertainty > SHOWN_UNCERTAINTY * abs(value) or _spans(
        bound, value - uncertainty, value + uncertainty
    ):
        text += f" ± {show(uncertainty, unit, 2)}"
    interval = None if bound.confidence is None else measured.interval(bound.metric, bound.confidence)
    if bound.confidence is None:
        low, high, within = value, value, ""
    elif interval is None:
        why = measured.interval_reason(bound.metric, bound.confidence) or "this statistic has none"
        return JudgedBound(
            bound=bound,
            measured=value,
            state="undefined",
            sentence=f"{text}, but there is no {bound.confidence:.4g} interval of it: {why}; {required}",
        )
    else:
        low, high = interval
        within = f", {bound.confidence:.4g} interval {show(low, unit)} to {show(high, unit)}"
    state = _state(bound, low - uncertainty, high + uncertainty)
    advice = ""
    if state == "inconclusive":
        decided = _state(bound, low, high) != "inconclusive"
        advice = _LESS_CLIENT if decided else ": measure more requests to decide"
    return JudgedBound(
        bound=bound,
        measured=value,
        state=state,
        sentence=f"{text}{within}, {required}{advice}",
        interval=(low - uncertainty, high + uncertainty) if interval or uncertainty else None,
    )


def _state(bound: Bound, low: float, high: float) -> BoundState:
    """Return the state of a bound on a value within [low, high]."""
    if bound.comparison == "==" and low < bound.limit < high:
        return "inconclusive"
    if bound.holds(low) and bound.holds(high):
        return "met"
    return "inconclusive" if bound.holds(low) or bound.holds(high) else "not-met"


def _spans(bound: Bound, low: float, high: float) -> bool:
    return _state(bound, low, high) == "inconclusive"


def _subject(bound: Bound) -> str:
    """Return the metric's name as declared in suites, with a note if latency is from the scheduled time."""
    metric, dot, statistic = bound.metric.partition(".")
    if metric not in _DECLARED:
        return bound.metric
    return f"{_DECLARED[metric]}{dot}{statistic}, from the scheduled time (open loop),"


class Violations(tuple[JudgedBound, ...]):
    """The requirements that are not met; equal to `()` if all are met."""

    __slots__ = ()

    def lines(self) -> list[str]:
        """Return one sentence per violation: the measured value, the requirement, and its origin."""
        return [judged.sentence for judged in self]


def violations(measured: Measured, *requirements: str, origin: str = "") -> Violations:
    """Return the `requirements` ("time_to_first_token.p99 <= 200ms") that a measurement does not meet.

    A null metric meets no requirement. `origin` is the `file:line` of the requirements. Raises `UsageError` for a
    malformed requirement, and for a metric that the measurement does not contain.
    """

    def judged() -> Iterator[JudgedBound]:
        for text in requirements:
            name, limit = split_inline(text)
            yield judge_bound(parse_bound(name, limit, measured.unit(name), origin=origin), measured)

    return Violations(item for item in judged() if item.state != "met")


def show(value: float, unit: str, digits: int = 4) -> str:
    """Format a number: times in s, ms or us, fractions in percent, integers without decimals."""
    if unit == "ns":
        for name, size in _TIMES:
            if abs(value) >= size:
                return f"{value / size:.{digits}g} {name}"
        return f"{value:.{digits}g} ns"
    if unit == "fraction":
        return f"{value * 100:.{digits}g}%"
    number = f"{value:.0f}" if float(value).is_integer() else f"{value:.{digits}g}"
    return f"{number} {unit}".rstrip()


def _show_beside(value: float, limit: float, unit: str) -> str:
    """Format `value` with enough digits to distinguish it from `limit`."""
    for digits in (4, 6, 9, 17):
        text = show(value, unit, digits)
        if value == limit or text != show(limit, unit, digits):
            break
    return text
