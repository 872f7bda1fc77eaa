"""The verdict of a session: its wire format, its file, and the exit status it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json, write_json
from pytest_bench.verdict.outcome import JudgedBound, Outcome, Reason

VERDICT_VERSION = 1

NOT_ENDED = "not-ended"
"""Code of the fault that a verdict is born with."""

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
    """Refused at configure: nothing was started."""
    plan_digest: str | None = None
    """The nonce left out, so that an independent plan of the same suites is equal."""
    expectation_digest: str | None = None
    ledger_digest: str | None = None
    """sha256 of the `ledger.json` that it was settled from."""
    pytest_exit_status: int | None = None
    versions: dict[str, str] = {}
    invocation: tuple[str, ...] = ()
    """The command line."""
    started: str | None = None
    """ISO 8601, UTC."""
    finished: str | None = None


def born_red(
    *,
    nonce: str,
    point_ids: tuple[str, ...] = (),
    plan_digest: str | None = None,
    expectation_digest: str | None = None,
    complete_required: bool = False,
    versions: dict[str, str] | None = None,
    invocation: tuple[str, ...] = (),
    started: str | None = None,
) -> Verdict:
    """The verdict that stands until a session has ended: `incomplete`, every point missing."""
    unreported = (Reason("unreported", "the session has not ended: nothing was reported for this point yet"),)
    return Verdict(
        status="incomplete",
        coverage=Coverage(complete=False),
        nonce=nonce,
        points=tuple(
            PointVerdict(id=name, outcome=Outcome.MISSING, reasons=unreported) for name in point_ids
        ),
        faults=(
            Reason(NOT_ENDED, "the session has not ended: this file was written before anything started"),
        ),
        counts={Outcome.MISSING.value: len(point_ids)} if point_ids else {},
        complete_required=complete_required,
        plan_digest=plan_digest,
        expectation_digest=expectation_digest,
        versions=versions or {},
        invocation=invocation,
        started=started,
    )


def refusal(*, nonce: str, reasons: tuple[Reason, ...], invocation: tuple[str, ...] = ()) -> Verdict:
    """The verdict of a session that was refused at configure, for `reasons`."""
    return Verdict(
        status="error",
        coverage=Coverage(complete=False),
        nonce=nonce,
        faults=reasons,
        refused=True,
        invocation=invocation,
    )


def exit_status(verdict: Verdict, *, complete: bool = False) -> int:
    """Exit status for pytest: 0 for `pass` only, 2 interrupted, 4 refused at configure, else 1.

    With `complete`, or where the session itself was started with `--complete`, partial coverage is 1.
    """
    if verdict.refused:
        return 4
    if verdict.interrupted:
        return 2
    must_cover = complete or verdict.complete_required
    good = verdict.status == "pass" and (verdict.coverage.complete or not must_cover)
    return 0 if good else 1


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Replace the file at `path` atomically. Raises `OSError`."""
    write_json(path, verdict)


def read_verdict(path: Path) -> Verdict:
    """Read a verdict file. Raises `EvidenceError` for one that is damaged or of another version."""
    raw = read_json(path)
    version = raw.get("version") if isinstance(raw, dict) else None
    if version != VERDICT_VERSION or isinstance(version, bool):
        raise EvidenceError(
            f"{path}: expected a verdict of version {VERDICT_VERSION}, found version {version!r}; "
            "read it with the release that wrote it"
        )
    try:
        return msgspec.convert(raw, Verdict)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"{path}: is no verdict: {error}") from error


def json_schema() -> dict[str, Any]:
    """JSON Schema of `verdict.json`."""
    return msgspec.json.schema(Verdict)
