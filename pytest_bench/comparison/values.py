"""The values of one metric in the sessions of two sides, and the shift between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench.bounds import Bound
from pytest_bench.comparison.sessions import Session
from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.definitions import SHARES
from pytest_bench.metrics.intervals import Pair, wilson
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.names import interval_method, unit_of, why_always_null
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.metrics.shifts import FIRST_STAGE, Recovered, Shift, of_groups, of_pairs
from pytest_bench.results.summary import Summary
from pytest_bench.running.counting import read_counted
from pytest_bench.running.measuring import measure_phase
from pytest_bench.suite.plan import Point

Sign = Literal[1, -1]
_MOST_UNCERTAIN = 0.999


class Side(msgspec.Struct, frozen=True):
    """The sessions of one system, which ran the same points."""

    name: str
    sessions: tuple[Session, ...]
    """In the order of time."""


@dataclass(frozen=True)
class Measured:
    """A point in all sessions of a side."""

    points: Sequence[tuple[Session, Point, Summary]]
    intervals: dict[tuple[str, float], Pair | str] = field(default_factory=dict)
    """Of a single session, by metric and tail: limits, or why there are none."""

    @property
    def measurements(self) -> list[Measurement]:
        return [summary.measurement for _, _, summary in self.points if summary.measurement is not None]


def may_be_zero(metric: str) -> bool:
    """Whether 0 is a value like others. Such metrics have no relative difference."""
    return unit_of(metric) in {"fraction", "requests"}


def never_has(session: Session, point: Point, metric: str) -> bool:
    """Whether the metric is null at this point in every session, because of its API or because it does not stream."""
    deployment = session.plan.deployment_of(point)
    videos = deployment.video_seconds is not None
    return why_always_null(metric, streamed=deployment.stream, videos=videos) is not None


def alternate(baseline: Side, candidate: Side) -> bool:
    """Whether the sessions alternate in time, so that the n-th of either side are a pair.

    Each pair has one session of each side, in any order, and ends before the next one begins.
    """
    if len(baseline.sessions) != len(candidate.sessions) or len(baseline.sessions) < 2:
        return False
    begun = sorted(
        (session.verdict.started or "", number)
        for number, side in enumerate((baseline, candidate))
        for session in side.sessions
    )
    return all({begun[place][1], begun[place + 1][1]} == {0, 1} for place in range(0, len(begun), 2))


def with_intervals(
    measured: Measured, metrics: Sequence[str], tails: Sequence[float], scratch: Path
) -> Measured:
    """Add the intervals within a single session, measured again from its log. Raises `EvidenceError`."""
    if len(measured.points) != 1:
        return measured
    session, point, summary = measured.points[0]
    named = [name for name in dict.fromkeys(metrics) if interval_method(name) is not None]
    if not named or point.load is None:
        return measured
    bounds = tuple(
        Bound(metric=name, comparison=">", limit=0.0, text="", confidence=1 - 2 * tail)
        for name in named
        for tail in tails
    )
    phase = summary.phases[-1]
    folder = session.point_folder(point.id) / phase.folder
    again = measure_phase(
        session.plan.deployment_of(point),
        msgspec.structs.replace(phase, folder=str(folder)),
        point.load,
        read_counted(folder),
        (),
        slo=point.slo,
        bounds=bounds,
        scratch=scratch,
    )
    found: dict[tuple[str, float], Pair | str] = {}
    for name in named:
        for tail in tails:
            pair = again.interval(name, 1 - 2 * tail)
            why = again.interval_reason(name, 1 - 2 * tail) or "it has no interval"
            found[name, tail] = why if pair is None else pair
    return Measured(measured.points, found)


def values_of(measured: Measured, metric: str) -> list[float]:
    """The value of each session. Raises `EvidenceError` if one is null, or is no value that can be compared."""
    values = []
    for session, point, summary in measured.points:
        if summary.measurement is None:
            raise EvidenceError(f"{session.folder}: {point.id} was not measured")
        value = summary.measurement.value(metric)
        if value is None:
            raise EvidenceError(f"{metric} is null in {session.name}: {summary.measurement.reason(metric)}")
        if value < 0 or (value == 0 and not may_be_zero(metric)):
            raise EvidenceError(f"{metric} is {value:g} in {session.name}: a value to compare is above 0")
        values.append(value)
    return values


def uncertainty_of(measured: Measured, metric: str, *, relative: bool) -> float:
    """Mean uncertainty of the sessions' values, as the client caused it. If `relative`, of their logarithms."""
    found = []
    for item in measured.measurements:
        uncertainty, value = item.uncertainty(metric), item.value(metric)
        if not relative:
            found.append(uncertainty)
        else:
            found.append(-math.log1p(-min(uncertainty / value, _MOST_UNCERTAIN)) if value else 0.0)
    return math.fsum(found) / len(found)


def shift_of(
    baseline: Measured,
    candidate: Measured,
    metric: str,
    *,
    relative: bool,
    tail: float,
    in_pairs: bool,
    worse: Sign = 1,
) -> Shift:
    """The shift of a metric; of logarithms if `relative`. Larger is worse if `worse` is 1, smaller if it is -1.

    Raises `EvidenceError` if a value is null or cannot be compared, and `NotDefined` if there is no interval of `tail`.
    """
    sides = baseline, candidate
    raw = [values_of(side, metric) for side in sides]
    own, other = ([_scaled(value, worse, relative=relative) for value in side] for side in raw)
    if len(own) == len(other) == 1:
        if interval_method(metric) is None:
            raise NotDefined(
                f"only {FIRST_STAGE} or more sessions of each system give one (pytest-bench repeat)"
            )
        intervals = partial(_within_sessions, sides, metric, worse, relative=relative)
        intervals(tail)
        return Recovered(other[0] - own[0], own[0], other[0], intervals)
    if (
        metric in SHARES
        and len({*raw[0]}) == len({*raw[1]}) == 1
        and min(len(own), len(other)) >= FIRST_STAGE
    ):
        counts = [_counted(side, metric) for side in sides]
        return Recovered(
            other[0] - own[0],
            own[0],
            other[0],
            partial(_of_shares, (raw[0][0], raw[1][0]), counts, worse),
            "shares",
            min(len(own), len(other)),
        )
    return of_pairs(own, other) if in_pairs else of_groups(own, other)


def _within_sessions(
    sides: Sequence[Measured], metric: str, worse: Sign, tail: float, *, relative: bool
) -> tuple[Pair, Pair]:
    """The intervals of two single sessions, scaled as their values. Raises `NotDefined`."""
    pairs: list[Pair] = []
    for side in sides:
        found = side.intervals.get((metric, tail), "it was not measured")
        if isinstance(found, str):
            raise NotDefined(found)
        if relative and found[0] <= 0:
            raise NotDefined("an interval reaches 0, so that there is no relative difference")
        pairs.append(_ends(found, worse, relative=relative))
    return pairs[0], pairs[1]


def _of_shares(
    shares: tuple[float, float], counts: Sequence[int], worse: Sign, tail: float
) -> tuple[Pair, Pair]:
    baseline, candidate = (
        wilson(round(share * count), count, 1 - 2 * tail) for share, count in zip(shares, counts, strict=True)
    )
    if baseline is None or candidate is None:
        raise NotDefined("no request was counted")
    return _ends(baseline, worse, relative=False), _ends(candidate, worse, relative=False)


def _counted(measured: Measured, metric: str) -> int:
    """Requests of all sessions of which a share is one."""
    return sum(
        item.issued if metric == "good_request_fraction" else item.succeeded + item.failed
        for item in measured.measurements
    )


def _ends(pair: Pair, worse: Sign, *, relative: bool) -> Pair:
    low, high = (_scaled(end, worse, relative=relative) for end in pair)
    return min(low, high), max(low, high)


def _scaled(value: float, worse: Sign, *, relative: bool) -> float:
    return worse * (math.log(value) if relative else value)
