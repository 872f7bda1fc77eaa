"""What the ledger is told: what was expected, and everything that happened.

All of it crosses processes as JSON primitives (`msgspec.to_builtins`, `msgspec.convert`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_bench.verdict.outcome import Judgement, Outcome

Stage = Literal["setup", "call", "teardown"]
Scope = Literal["endpoint", "host"]


class ExpectedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the plan, as the ledger needs it."""

    id: str
    digest: str
    """Of everything the point depends on; its evidence must carry the same."""
    leases: tuple[Scope, ...]
    """What a passing run of it must have held a lease for."""
    origin: str = ""


class Collected(msgspec.Struct, frozen=True, kw_only=True, tag="collected"):
    """A process collected the judging item of a point."""

    point: str
    worker: str


class Selected(msgspec.Struct, frozen=True, kw_only=True, tag="selected"):
    """The user's command line asks for the point."""

    point: str


class Deselected(msgspec.Struct, frozen=True, kw_only=True, tag="deselected"):
    """The user's own command line (`-k`, `--deselect`, a path, …) leaves the point out."""

    point: str


class Withheld(msgspec.Struct, frozen=True, kw_only=True, tag="withheld"):
    """The point was not run on purpose, because of what happened before it."""

    point: str
    sentence: str


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """pytest's report of one stage of a point's judging item."""

    point: str
    stage: Stage
    outcome: Literal["passed", "failed", "skipped"]
    worker: str
    attempt: int = 1
    """1 unless something ran the item again."""
    xfail: bool = False
    """Marked as expected to fail, whatever came of it."""
    judgement: Judgement | None = None
    """What the point says of itself; on the call report, or the set-up report of one that got no further."""
    detail: str = ""
    """First line of the failure."""


class WorkerCrashed(msgspec.Struct, frozen=True, kw_only=True, tag="worker-crashed"):
    """A process of the session died."""

    worker: str
    detail: str
    point: str | None = None
    """The point it was running, where that is known."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """Something that must not happen did, as the guard saw it."""

    code: str
    sentence: str
    point: str | None = None


Event = Collected | Selected | Deselected | Withheld | Report | WorkerCrashed | Fault


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time during which a point held an endpoint or a host for itself."""

    point: str
    worker: str
    scope: Scope
    resource: str
    """A server that the endpoint's URL leads to, as HOST:PORT; the host's name."""
    boot_id: str
    start_ns: int
    """CLOCK_BOOTTIME; comparable within one `boot_id` only."""
    end_ns: int | None
    """None: never given back."""


class EvidenceCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What re-reading a point's evidence found. Without `errors` it is whole and says what it says."""

    point: str
    path: str
    """The evidence folder, relative to the results folder."""
    nonce: str | None = None
    point_digest: str | None = None
    outcome: Outcome | None = None
    digest: str | None = None
    """sha256 of `evidence.json`."""
    errors: tuple[str, ...] = ()


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What must have run, from somewhere else than the session's own suites."""

    points: dict[str, str | None]
    """Point ids, each with its digest where the expectation knows it."""
    plan_digest: str | None = None
    digest: str
    """Of the expectation itself."""


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of the session as a whole."""

    nonce: str
    pytest_exit_status: int
    """What pytest would have exited with, before the ledger spoke."""
    plan_digest: str
    complete: bool = False
    """`--complete` was given."""
    expectation: Expectation | None = None
    simulator_asked_for: bool = False
    """The command line itself says `--endpoint=simulator`."""
    interrupted: bool = False
    versions: dict[str, str] = {}
    invocation: tuple[str, ...] = ()
    started: str | None = None
    finished: str | None = None
    files: dict[str, str] = {}
    """sha256 of what the session wrote before anything was started, by name: its plan and its environment."""
