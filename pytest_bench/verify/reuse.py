"""Uses evidence of an earlier session for points that did not run, if that evidence passes the current rules."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench.audits.registry import Registry
from pytest_bench.errors import UsageError
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.plan import Plan
from pytest_bench.verdict.events import Expectation
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import Coverage, PointVerdict, Verdict, status_of
from pytest_bench.verify.session import VerifiedSession, verify_session

_AGE = re.compile(r"([1-9][0-9]{0,5})(min|h|d)", re.ASCII)
_SECONDS = {"min": 60, "h": 3600, "d": 86400}


class Reuse(NamedTuple):
    """The result of reusing evidence."""

    verdict: Verdict
    """Reused points name the folder of their evidence."""
    refused: tuple[str, ...]
    """Why evidence of the earlier session was not used, for all points or for single points."""


def parse_age(text: str) -> int:
    """Seconds in "7d", "12h" or "30min". Raises `UsageError`."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(f"--max-age {text!r}: expected a number and a unit, as in 7d, 12h or 30min")
    return int(match[1]) * _SECONDS[match[2]]


def reuse(
    verdict: Verdict | None,
    old: Path,
    expectation: Expectation,
    *,
    max_age_s: float,
    now: datetime,
    audits: Registry | None = None,
    scorings: Scorings = SCORINGS,
) -> Reuse:
    """Use the results in `old` for points that are in `expectation` and missing in `verdict`.

    A point is reused only if the whole folder verifies, its session ended without a fault, the point and its whole
    sweep pass the current rules, its digest equals that of the expectation, and the session started within
    `max_age_s`. `audits` and `scorings` may contain more than the built-in ones.
    """
    own = {point.id: point for point in verdict.points} if verdict else {}
    wanted = [name for name in expectation.points if name not in own or own[name].outcome is Outcome.MISSING]
    known = {name: expectation.points[name] for name in wanted}
    earlier = verify_session(
        old,
        msgspec.structs.replace(expectation, points=known, plan_digest=None) if known else None,
        audits=audits,
        scorings=scorings,
    )
    refused = list(_unfit(earlier, old, max_age_s, now))
    taken: dict[str, PointVerdict] = {}
    if not refused and earlier.plan is not None:
        points = {point.id: point for point in earlier.verdict.points}
        whole = _whole_sweeps(earlier.plan, points)
        for name, digest in known.items():
            why = _why_not(points.get(name), digest, whole=name in whole)
            if why is None:
                taken[name] = msgspec.structs.replace(points[name], reused=str(old))
            else:
                refused.append(f"{old}: {name}: not reused: {why}")
    return Reuse(_with(verdict, expectation, own, taken), tuple(refused))


def _unfit(earlier: VerifiedSession, old: Path, max_age_s: float, now: datetime) -> Iterator[str]:
    yield from (f"{old}: {problem}" for problem in earlier.problems)
    verdict = earlier.verdict
    for fault in verdict.faults:
        yield f"{old}: its session had a fault: {fault.sentence}"
    yield from too_old(verdict, old, max_age_s, now)


def too_old(verdict: Verdict, folder: Path, max_age_s: float, now: datetime) -> Iterator[str]:
    """Yield why a session is too old or of unknown age; nothing if it is recent enough."""
    try:
        started = datetime.strptime(verdict.started or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        yield f"{folder}: contains no valid start time, so its age is unknown"
        return
    age_s = (now - started).total_seconds()
    if age_s > max_age_s:
        yield f"{folder}: is {age_s / 3600:.1f} h old; at most {max_age_s / 3600:.1f} h are allowed (--max-age)"
    elif age_s < 0:
        yield f"{folder}: was started in the future ({verdict.started}): check the clocks"


def _whole_sweeps(plan: Plan, points: dict[str, PointVerdict]) -> set[str]:
    """Points whose whole declaration passed: one point of a sweep never qualifies alone."""
    declared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for point in plan.points:
        declared[point.kind, point.origin].append(point.id)
    return {
        name
        for names in declared.values()
        if all(other in points and points[other].outcome is Outcome.PASS for other in names)
        for name in names
    }


def _why_not(point: PointVerdict | None, digest: str | None, *, whole: bool) -> str | None:
    if point is None or point.outcome is Outcome.MISSING:
        return "it did not run there"
    if digest is None:
        return "the expectation has no digest for it, so it may be a different point"
    if point.digest != digest:
        return (
            f"its digest is {point.digest}, expected {digest}: it is a different point or has different data"
        )
    if point.outcome is not Outcome.PASS:
        return f"it ended {point.outcome}"
    return (
        None
        if whole
        else "another point of its sweep did not pass there, and a sweep is reused only as a whole"
    )


def _with(
    verdict: Verdict | None,
    expectation: Expectation,
    own: dict[str, PointVerdict],
    taken: dict[str, PointVerdict],
) -> Verdict:
    missing = {
        name: PointVerdict(id=name, outcome=Outcome.MISSING, digest=digest)
        for name, digest in expectation.points.items()
    }
    points = tuple({**missing, **own, **taken}.values())
    if verdict is None:
        verdict = Verdict(status="incomplete", coverage=Coverage(complete=True), nonce="")
    left_out = tuple(name for name in verdict.coverage.left_out if name not in taken)
    return msgspec.structs.replace(
        verdict,
        status=status_of(points, verdict.faults),
        points=points,
        counts=dict(Counter(point.outcome.value for point in points)),
        coverage=Coverage.of(points, left_out),
        expectation_digest=expectation.digest,
    )
