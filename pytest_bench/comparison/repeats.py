"""Repeated sessions of one or two systems: how much their values spread, and whether the spread is small enough."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

import msgspec

from pytest_bench.bounds import parse_bound
from pytest_bench.comparison.sessions import Session
from pytest_bench.comparison.values import may_be_zero, never_has
from pytest_bench.errors import UsageError
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.names import is_score_name, open_loop_name, unit_of
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.metrics.shifts import ERROR, Sampled, mean_of_sessions, of_pairs
from pytest_bench.reports.tables import NOTHING, PERF_METRICS, listing, quantity, render
from pytest_bench.verdict.points import MEASURED

PRECISION = "time_to_first_token.p99 2%"


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """The half-width that the 95 % interval of a metric must reach at every point."""

    text: str
    metric: str
    relative: bool
    half_width: float
    """A fraction of the metric, or in its base unit."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one point, over repeated sessions."""

    point: str
    metric: str
    unit: str
    sessions: int
    """Those that measured the point."""
    median: float
    smallest: float
    largest: float
    low: float | None = None
    high: float | None = None
    """95 % confidence interval of the mean over sessions, of logarithms if the metric cannot be 0."""
    reason: str = ""
    """Why there is no interval."""


def parse_precision(text: str) -> Precision:
    """Read a metric and a half-width, as in "time_to_first_token.p99 2%". Raises `UsageError`."""
    metric, _, width = text.strip().rpartition(" ")
    if not metric or is_score_name(metric):
        raise UsageError(
            f"--precision {text!r}: expected a metric of performance points and a half-width: {PRECISION!r}"
        )
    metric = metric.strip()
    unit, relative = unit_of(metric), width.endswith("%")
    if relative and may_be_zero(metric):
        raise UsageError(
            f"--precision {text!r}: {metric} may be 0, so its half-width is a number, as in 0.01"
        )
    half_width = parse_bound(metric, f"<= {width}", "fraction" if relative else unit).limit
    if not half_width > 0:
        raise UsageError(f"--precision {text!r}: expected a half-width above 0")
    return Precision(text=text, metric=metric, relative=relative, half_width=half_width)


def spreads(sessions: Sequence[Session]) -> Iterator[Spread]:
    """The metrics of the terminal's table and the scores of evals, of every point that a session measured."""
    for point_id, measurements in _measurements(sessions).items():
        first = measurements[0]
        shown = [name for name in PERF_METRICS if name.partition(".")[0] in first.metrics]
        for metric in shown or [name for name in first.metrics if is_score_name(name)]:
            values = [value for item in measurements if (value := item.value(metric)) is not None]
            if values:
                yield _spread(point_id, metric, first.unit(metric), values)


def _measurements(sessions: Sequence[Session]) -> dict[str, list[Measurement]]:
    """By point, those of the sessions that measured it, in the order of time."""
    found: dict[str, list[Measurement]] = {}
    for session in sessions:
        for point, verdict, summary in session.measured():
            if summary.measurement is not None and verdict.outcome in MEASURED and point.kind != "audit":
                found.setdefault(point.id, []).append(summary.measurement)
    return found


def _spread(point: str, metric: str, unit: str, values: Sequence[float]) -> Spread:
    scaled = min(values) > 0 and unit not in {"fraction", "requests"}
    low = high = None
    reason = ""
    try:
        shift = mean_of_sessions([math.log(value) for value in values] if scaled else values)
        ends = shift.limits(ERROR)
        low, high = (math.exp(ends[0]), math.exp(ends[1])) if scaled else ends
    except NotDefined as why:
        reason = str(why)
    return Spread(
        point=point,
        metric=metric,
        unit=unit,
        sessions=len(values),
        median=statistics.median(values),
        smallest=min(values),
        largest=max(values),
        low=low,
        high=high,
        reason=reason,
    )


def widest(sides: Sequence[Sequence[Session]], precision: Precision) -> float | None:
    """The largest half-width of all points; of the difference, if there are two sides of which the n-th are a pair.

    None if any point that has the metric has no interval yet. It depends on the spread of the first sessions and on the
    number of sessions alone, never on the means: stopping at a width does not favour any difference (Stein 1945).
    """
    measured = [_measurements(own) for own in sides]
    points = [
        point
        for session in sides[0][:1]
        for point in (session.plan.point(row.point.id) for row in session.rows)
        if point.kind == "perf" and not never_has(session, point, precision.metric)
    ]
    if not points:
        return None
    widths = []
    for point in points:
        open_loop = point.load is not None and point.load.open_loop
        metric = open_loop_name(precision.metric) if open_loop else precision.metric
        values = [[item.value(metric) for item in own.get(point.id, [])] for own in measured]
        shift = _shift(values, relative=precision.relative)
        if shift is None:
            return None
        low, high = shift.limits(ERROR)
        widths.append(math.expm1((high - low) / 2) if precision.relative else (high - low) / 2)
    return max(widths)


def _shift(values: Sequence[Sequence[float | None]], *, relative: bool) -> Sampled | None:
    scaled: list[list[float]] = []
    for own in values:
        known = [value for value in own if value is not None and (value > 0 or not relative)]
        if len(known) < len(own) or len(known) != len(values[0]):
            return None
        scaled.append([math.log(value) if relative else value for value in known])
    try:
        return mean_of_sessions(scaled[0]) if len(scaled) == 1 else of_pairs(scaled[0], scaled[1])
    except NotDefined:
        return None


def spread_lines(found: Sequence[Spread], width: int) -> Iterator[str]:
    """One table for each point."""
    headings = ("", "median", "95 % interval of the mean", "smallest to largest", "sessions")
    for point in dict.fromkeys(one.point for one in found):
        rows = [
            (
                one.metric,
                quantity(one.median, one.unit),
                NOTHING
                if one.low is None
                else f"{quantity(one.low, one.unit)} to {quantity(one.high, one.unit)}",
                f"{quantity(one.smallest, one.unit)} to {quantity(one.largest, one.unit)}",
                str(one.sessions),
            )
            for one in found
            if one.point == point
        ]
        yield from render(listing(point, headings, rows), colour=False, width=width)
        yield ""
    for reason in dict.fromkeys(one.reason for one in found if one.reason):
        yield f"no interval: {reason}"
