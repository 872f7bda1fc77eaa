"""The verdict of a session: its file format, the formula for its status, and its exit status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from pytest_bench.labels import Label
from pytest_bench.verdict.events import Invocation
from pytest_bench.verdict.outcome import JudgedBound, Outcome, Reason, worst

VERDICT_VERSION = 2

NOT_ENDED = "not-ended"
"""Fault code for a session that has not ended."""

Status = Literal["pass", "fail", "inconclusive", "error", "incomplete"]


class PointVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one point."""

    id: str
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    bounds: tuple[JudgedBound, ...] = ()
    labels: tuple[str, ...] = ()
    origin: str = ""
    """`file:line:column` of its declaration."""
    digest: str | None = None
    """Digest of everything the point depends on."""
    evidence: str | None = None
    """Its evidence folder, relative to the results folder."""
    evidence_digest: str | None = None
    """sha256 of its `evidence.json`."""
    reused: str | None = None
    """The results folder of an earlier session whose evidence is used instead."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the declared points were judged."""

    complete: bool
    left_out: tuple[str, ...] = ()
    """Points that the user's own selection excluded."""
    limited: tuple[str, ...] | UnsetType = UNSET
    """Points that judged a part of their items only (`--eval-limit`); unset: none."""

    @classmethod
    def of(cls, points: Iterable[PointVerdict], left_out: tuple[str, ...]) -> Coverage:
        """The coverage of a session that judged `points`."""
        judged = list(points)
        limited = tuple(point.id for point in judged if Label.LIMITED in point.labels)
        return cls(
            complete=not left_out and not limited and bool(judged),
            left_out=left_out,
            limited=limited or UNSET,
        )


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of a session. `status` judges the selected points; `coverage` says which points were selected."""

    version: int = VERDICT_VERSION
    status: Status
    coverage: Coverage
    nonce: str
    points: tuple[PointVerdict, ...] = ()
    faults: tuple[Reason, ...] = ()
    """Errors that belong to no single point. Any of them makes the status `error`; `not-ended` alone makes it
    `incomplete`."""
    counts: dict[str, int] = {}
    """Number of points by outcome."""
    complete_required: bool = False
    """`--complete` was given."""
    interrupted: bool = False
    refused: bool = False
    """The call was refused: no test was started."""
    plan_digest: str | None = None
    """Does not include the nonce, so that an independent plan of the same suites has the same digest."""
    expectation_digest: str | None = None
    pytest_exit_status: int | None = None
    versions: dict[str, str] = {}
    invocation: Invocation = Invocation()
    """The arguments of the pytest call, by source."""
    started: str | None = None
    """ISO 8601, UTC."""
    finished: str | None = None
    files: dict[str, str] = {}
    """sha256 of the session's files by path: plan, environment, nodes, events, deployments, evals, earlier sessions.
    The evidence of a point lists the point's files."""


_STATUS: dict[Outcome, Status] = {
    Outcome.PASS: "pass",
    Outcome.INCONCLUSIVE: "inconclusive",
    Outcome.FAIL: "fail",
    Outcome.MISSING: "incomplete",
    Outcome.ERROR: "error",
}


def status_of(points: Iterable[PointVerdict], faults: Sequence[Reason]) -> Status:
    """Return the status of a session with these points and faults.

    It is `incomplete` if the only fault is that the session has not ended, and `error` for any other fault. Without a
    fault the worst outcome decides.
    """
    if faults:
        return "incomplete" if all(fault.code == NOT_ENDED for fault in faults) else "error"
    return _STATUS[worst(point.outcome for point in points)]


def refusal(*, nonce: str, sentence: str, invocation: Invocation) -> Verdict:
    """Return the verdict of a refused call, which contains only the reason."""
    return Verdict(
        status="error",
        coverage=Coverage(complete=False),
        nonce=nonce,
        faults=(Reason("refused", sentence),),
        refused=True,
        invocation=invocation,
    )


def exit_status(verdict: Verdict) -> int:
    """Return the exit status for pytest: 0 for `pass`, 2 if interrupted, 4 if refused, otherwise 1.

    Partial coverage is 1 if the session was started with `--complete`.
    """
    if verdict.refused:
        return 4
    if verdict.interrupted:
        return 2
    good = verdict.status == "pass" and (verdict.coverage.complete or not verdict.complete_required)
    return 0 if good else 1


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `verdict.json`."""
    return msgspec.json.schema(Verdict)
