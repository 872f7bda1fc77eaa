"""Compares two sides: the differences of all points, and whether conditions on them hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pytest_bench.bounds import SCHEDULED
from pytest_bench.comparison import evals, judging
from pytest_bench.comparison.conditions import Condition
from pytest_bench.comparison.points import Compared, compared_points
from pytest_bench.comparison.result import Comparison, Difference, Judged
from pytest_bench.comparison.values import Side, alternate, never_has, with_intervals
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.metrics.names import is_score_name, open_loop_name, unit_of
from pytest_bench.metrics.shifts import ERROR, Tails
from pytest_bench.reports.tables import PERF_METRICS
from pytest_bench.scoring import SCORINGS, Scorings

_SHOWN = tuple(name for name in PERF_METRICS if name.partition(".")[0] not in SCHEDULED.values())


class Wanted(NamedTuple):
    """What to compare."""

    conditions: Sequence[Condition] = ()
    metrics: Sequence[str] = ()
    """Of performance points, instead of those that are shown by default."""
    points: Sequence[str] = ()
    """Instead of all."""
    incomparable: bool = False
    """Compare also what is not comparable, and say so on every line."""
    lenient: bool = False
    """Compare also points that did not pass, as a report does."""
    scorings: Scorings = SCORINGS


def compare(baseline: Side, candidate: Side, wanted: Wanted, scratch: Path) -> Comparison:
    """Compare two sides whose folders were verified. `scratch`: folder for temporary files.

    Raises `UsageError` if a named point or metric does not exist, or if one side has one session and the other several;
    and `EvidenceError` for damaged files.
    """
    counts = len(baseline.sessions), len(candidate.sessions)
    if 1 in counts and counts[0] != counts[1]:
        raise UsageError(
            f"{baseline.name} has {counts[0]} and {candidate.name} has {counts[1]} sessions: the spread of a single "
            "session is not known; repeat it, too: pytest-bench repeat"
        )
    for metric in wanted.metrics:
        unit_of(metric)
    problems: list[str] = []
    points = list(
        compared_points(
            baseline,
            candidate,
            wanted.points,
            problems,
            incomparable=wanted.incomparable,
            lenient=wanted.lenient,
        )
    )
    conditions = {point.id: [one for one in wanted.conditions if _applies(one, point)] for point in points}
    problems += (
        f"--fail-on {condition.text!r}: no compared point has this metric"
        for condition in wanted.conditions
        if not any(condition in own for own in conditions.values())
    )
    if not (points or problems or wanted.lenient):
        problems.append("neither side has a performance point or an eval: nothing was compared")
    comparing = _Comparing(
        wanted,
        scratch,
        problems,
        in_pairs=alternate(baseline, candidate),
        shown=ERROR / max(1, len(_SHOWN if not wanted.metrics else wanted.metrics) * len(points)),
        tails=Tails.of(max(1, sum(map(len, conditions.values())))),
    )
    differences: list[Difference] = []
    judged: list[Judged] = []
    for point in points:
        compare_one = _compare_eval if point.kind == "eval" else _compare_perf
        with _as_problem(point, comparing):
            found, answers = compare_one(point, conditions[point.id], comparing)
            differences += found
            judged += answers
    return Comparison(
        baseline=baseline.name,
        candidate=candidate.name,
        sessions=counts,
        differences=tuple(differences),
        judged=tuple(judged),
        problems=tuple(problems),
    )


class _Comparing(NamedTuple):
    wanted: Wanted
    scratch: Path
    problems: list[str]
    in_pairs: bool
    shown: float
    """Tail of a difference that is marked: ERROR, divided among all that are shown."""
    tails: Tails


def _applies(condition: Condition, point: Compared) -> bool:
    """Whether the point has the metric on both sides. It has none that its API never has."""
    if is_score_name(condition.metric) != (point.kind == "eval"):
        return False
    if all(never_has(*side.points[0][:2], condition.metric) for side in point[2:4]):
        return False
    stem = condition.metric if point.kind == "eval" else condition.metric.partition(".")[0]
    return all(stem in item.metrics for side in point[2:4] for item in side.measurements)


def _judged_name(point: Compared, metric: str) -> str:
    """As for bounds: in open loop, latencies count from the scheduled time."""
    load = point.baseline.points[0][1].load
    return open_loop_name(metric) if load is not None and load.open_loop else metric


def _compare_perf(
    point: Compared, conditions: Sequence[Condition], comparing: _Comparing
) -> tuple[list[Difference], list[Judged]]:
    shown = [_judged_name(point, name) for name in comparing.wanted.metrics or _SHOWN]
    named = [_judged_name(point, condition.metric) for condition in conditions]
    tails = [ERROR, comparing.shown, *comparing.tails]
    sides = [
        with_intervals(side, [*shown, *named], tails, comparing.scratch)
        for side in (point.baseline, point.candidate)
    ]
    point = point._replace(baseline=sides[0], candidate=sides[1])
    differences: list[Difference] = []
    judged: list[Judged] = []
    for name in shown:
        if comparing.wanted.metrics or judging.is_shown(point, name):
            with _as_problem(point, comparing):
                differences.append(
                    judging.difference(point, name, comparing.shown, in_pairs=comparing.in_pairs)
                )
    for condition, name in zip(conditions, named, strict=True):
        with _as_problem(point, comparing):
            judged.append(judging.judge(point, condition, name, comparing.tails, in_pairs=comparing.in_pairs))
    return differences, judged


def _compare_eval(
    point: Compared, conditions: Sequence[Condition], comparing: _Comparing
) -> tuple[list[Difference], list[Judged]]:
    sides = [evals.read_items(side, comparing.wanted.scorings) for side in (point.baseline, point.candidate)]
    scores = dict(evals.pair_up(*sides))
    differences: list[Difference] = []
    judged: list[Judged] = []
    for name, paired in scores.items():
        with _as_problem(point, comparing):
            differences.append(judging.score_difference(point, name, paired, comparing.shown))
    for condition in conditions:
        with _as_problem(point, comparing):
            if condition.metric not in scores:
                raise EvidenceError(f"no answer has the score {condition.metric}")
            judged.append(judging.judge_score(point, condition, scores[condition.metric], comparing.tails))
    return differences, judged


@contextmanager
def _as_problem(point: Compared, comparing: _Comparing) -> Iterator[None]:
    try:
        yield
    except EvidenceError as error:
        comparing.problems.append(f"{point.id}: {error}")
