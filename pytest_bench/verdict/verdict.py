"""The verdict of a session: its wire format, the one formula for its status, and the exit status it asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from pytest_bench.verdict.events import Invocation
from pytest_bench.verdict.outcome import JudgedBound, Outcome, Reason, worst

VERDICT_VERSION = 2

NOT_ENDED = "not-ended"
"""Code of the fault of a session that has not ended."""

Status = Literal["pass", "fail", "inconclusive", "error", "incomplete"]


class PointVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the session."""

    id: str
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    bounds: tuple[JudgedBound, ...] = ()
    labels: tuple[str, ...] = ()
    origin: str = ""
    """`file:line:column` of its declaration."""
    digest: str | None = None
    """Of everything the point depends on."""
    evidence: str | None = None
    """Its evidence folder, relative to the results folder."""
    evidence_digest: str | None = None
    """sha256 of its `evidence.json`."""
    reused: str | None = None
    """Where its evidence was taken from, when an earlier run's stands in."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what the suites declare was judged."""

    complete: bool
    left_out: tuple[str, ...] = ()
    """Points that the user's own selection left out."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session amounts to. `status` judges the selected points, `coverage` says how many those are."""

    version: int = VERDICT_VERSION
    status: Status
    coverage: Coverage
    nonce: str
    points: tuple[PointVerdict, ...] = ()
    faults: tuple[Reason, ...] = ()
    """What went wrong without belonging to a point; any of them makes the status `error`."""
    counts: dict[str, int] = {}
    """Points by outcome."""
    complete_required: bool = False
    """`--complete` was given."""
    interrupted: bool = False
    refused: bool = False
    """The call was refused: no test was started."""
    plan_digest: str | None = None
    """The nonce left out, so that an independent plan of the same suites is equal."""
    expectation_digest: str | None = None
    pytest_exit_status: int | None = None
    versions: dict[str, str] = {}
    invocation: Invocation = Invocation()
    """The words that pytest was called with, by their source."""
    started: str | None = None
    """ISO 8601, UTC."""
    finished: str | None = None
    files: dict[str, str] = {}
    """sha256 of every file of the results folder, by path. Left out are the verdict itself, the JUnit file, which
    is rendered from the verdict and the events, and the points' own files, which their evidence lists."""


_STATUS: dict[Outcome, Status] = {
    Outcome.PASS: "pass",
    Outcome.INCONCLUSIVE: "inconclusive",
    Outcome.FAIL: "fail",
    Outcome.MISSING: "incomplete",
    Outcome.ERROR: "error",
}


def status_of(points: Iterable[PointVerdict], faults: Sequence[Reason]) -> Status:
    """The status of a session with these points and faults.

    Any fault makes it `error`; if the only fault is that the session has not ended, `incomplete`. Otherwise the
    worst outcome decides.
    """
    if faults:
        return "incomplete" if all(fault.code == NOT_ENDED for fault in faults) else "error"
    return _STATUS[worst(point.outcome for point in points)]


def refusal(*, nonce: str, sentence: str, invocation: Invocation) -> Verdict:
    """The verdict of a call that was refused, with nothing but the reason."""
    return Verdict(
        status="error",
        coverage=Coverage(complete=False),
        nonce=nonce,
        faults=(Reason("refused", sentence),),
        refused=True,
        invocation=invocation,
    )


def exit_status(verdict: Verdict, *, complete: bool = False) -> int:
    """Exit status for pytest: 0 for `pass` only, 2 interrupted, 4 refused, else 1.

    With `complete`, or if the session itself was started with `--complete`, partial coverage is 1.
    """
    if verdict.refused:
        return 4
    if verdict.interrupted:
        return 2
    must_cover = complete or verdict.complete_required
    good = verdict.status == "pass" and (verdict.coverage.complete or not must_cover)
    return 0 if good else 1


def json_schema() -> dict[str, Any]:
    """JSON Schema of `verdict.json`."""
    return msgspec.json.schema(Verdict)
