"""Which points of two sides can be compared, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pytest_bench.comparison.comparable import mismatches, point_digests
from pytest_bench.comparison.sessions import Session
from pytest_bench.comparison.values import Measured, Side
from pytest_bench.errors import UsageError
from pytest_bench.results.summary import Summary
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.points import MEASURED
from pytest_bench.wording import did_you_mean

_COMPARED = frozenset({"perf", "eval"})
"""Kinds of point. Audits compare what they measure themselves."""


class Compared(NamedTuple):
    """A point that both sides measured."""

    id: str
    kind: str
    baseline: Measured
    candidate: Measured
    incomparable: tuple[str, ...]
    """Why the two are not comparable; empty unless that was asked for."""


def compared_points(
    baseline: Side,
    candidate: Side,
    named: Sequence[str],
    problems: list[str],
    *,
    incomparable: bool = False,
    lenient: bool = False,
) -> Iterator[Compared]:
    """Yield the points that can be compared, and add to `problems` why others cannot.

    `named`: these points only. `incomparable`: also points that are not comparable. `lenient`: also points that did not
    pass, and without a problem for those that are missing. Raises `UsageError` for a named point that neither side has.
    """
    ids = list(dict.fromkeys(_ids(baseline) + _ids(candidate)))
    for name in named:
        if name not in ids:
            raise UsageError(f"--point {name}: neither side has this point{did_you_mean(name, ids)}")
    found = problems if not lenient else []
    if not lenient:
        problems += (problem for side in (baseline, candidate) for problem in _faults(side))
    for point_id in named or ids:
        sides = [
            _measured(side, point_id, what, found, lenient=lenient)
            for side, what in ((baseline, "baseline"), (candidate, "candidate"))
        ]
        own, other = sides
        if own is None or other is None:
            continue
        kind = own.points[0][1].kind
        reasons = _reasons(own, other, point_id)
        if reasons and not incomparable:
            found.append(
                f"{point_id}: is not comparable: {'; '.join(reasons)}; --incomparable compares it all the same"
            )
        elif kind in _COMPARED:
            yield Compared(point_id, kind, own, other, reasons)


def _ids(side: Side) -> list[str]:
    """Points in any session; those that were left out by a selection are not among them."""
    return [row.point.id for session in side.sessions for row in session.rows]


def _faults(side: Side) -> Iterator[str]:
    for session in side.sessions:
        for fault in session.verdict.faults:
            yield f"{session.folder}: did not pass: {fault.sentence}"


def _measured(side: Side, point_id: str, what: str, problems: list[str], *, lenient: bool) -> Measured | None:
    """The point in all sessions of a side; None, with a problem, if it cannot be compared."""
    points = []
    usable = True
    for session in side.sessions:
        summary, problem = _summary(session, point_id)
        outcome = next((row.point.outcome for row in session.rows if row.point.id == point_id), None)
        if not problem and outcome is not Outcome.PASS:
            problem = f"its outcome is {outcome}, and only a pass counts"
            usable = usable and (what == "candidate" or lenient)
        elif problem:
            usable = False
        if problem:
            problems.append(f"{point_id}: {what} {session.folder}: {problem}")
        if summary is not None:
            points.append((session, session.plan.point(point_id), summary))
    if not usable or not points:
        return None
    if len(point_digests(side.sessions, point_id)) > 1:
        problems.append(
            f"{point_id}: the sessions of the {what} {side.name} have different point digests, so they are not repeats"
        )
        return None
    return Measured(points)


def _summary(session: Session, point_id: str) -> tuple[Summary | None, str]:
    """The summary of a point that was measured; otherwise why there is none."""
    row = next((row for row in session.rows if row.point.id == point_id), None)
    if row is None:
        return None, "has no such point; run it there"
    if row.point.reused:
        return None, f"its evidence was reused from {row.point.reused}; compare that session"
    if row.summary is None or row.summary.measurement is None or row.point.outcome not in MEASURED:
        return None, f"its outcome is {row.point.outcome}, so it was not measured"
    return row.summary, ""


def _reasons(baseline: Measured, candidate: Measured, point_id: str) -> tuple[str, ...]:
    (own, _, summary), (other, _, new_summary) = baseline.points[0], candidate.points[0]
    return tuple(mismatches((own.plan, other.plan), (summary, new_summary), point_id))
