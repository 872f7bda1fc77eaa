"""The events of a session: what its processes saw, and what the ledger is told.

Every process appends its events to a log of its own (`results/event_log.py`). They are JSON objects that a field
`type` tells apart.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_bench.leases import Lease, Scope
from pytest_bench.verdict.outcome import Judgement, Outcome

Stage = Literal["setup", "call", "teardown"]


class ExpectedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the plan, as the ledger needs it."""

    id: str
    digest: str
    """Of everything the point depends on; its evidence must carry the same."""
    leases: tuple[Scope, ...]
    """Scopes for which a passing run must have held a lease."""
    origin: str = ""


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What must have run, from another source than the session's own suites."""

    points: dict[str, str | None]
    """Point ids, each with its digest where the expectation knows it."""
    plan_digest: str | None = None
    digest: str
    """Of the expectation itself."""


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """The words that pytest was called with, by their source; later sources override earlier ones."""

    ini: tuple[str, ...] = ()
    """`addopts` of the configuration file."""
    environment: tuple[str, ...] = ()
    """`PYTEST_ADDOPTS`."""
    command_line: tuple[str, ...] = ()


class Called(msgspec.Struct, frozen=True, kw_only=True, tag="called"):
    """pytest was called to run points. The first event of a session."""

    invocation: Invocation = Invocation()
    started: str
    """ISO 8601, UTC."""
    results: str
    """The results folder, absolute, as the session knew it."""
    junit: str
    """The JUnit file: relative to the results folder if it is inside, otherwise absolute."""
    versions: dict[str, str] = {}


class Planned(msgspec.Struct, frozen=True, kw_only=True, tag="planned"):
    """The plan was made and written; nothing has been started yet."""

    plan_digest: str
    complete: bool = False
    """`--complete` was given."""
    expectation: Expectation | None = None
    accepted_labels: tuple[str, ...] = ()
    """Labels that the command line itself asks for, such as `simulator` by `--endpoint=simulator`."""
    files: dict[str, str] = {}
    """sha256 of the files that were written before anything was started, by name."""
    rerun: dict[str, str] = {}
    """For each point the command that runs it alone."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The call was refused: no test was started."""

    sentence: str


class WorkerBegan(msgspec.Struct, frozen=True, kw_only=True, tag="worker-began"):
    """Another process of the session was started; it must leave a log that ends with `Ended`."""

    worker: str


class WorkerCrashed(msgspec.Struct, frozen=True, kw_only=True, tag="worker-crashed"):
    """A process of the session died."""

    worker: str
    detail: str
    point: str | None = None
    """The point it was running, where that is known."""


class Collected(msgspec.Struct, frozen=True, kw_only=True, tag="collected"):
    """A process collected the judging item of a point."""

    point: str
    worker: str


class Selected(msgspec.Struct, frozen=True, kw_only=True, tag="selected"):
    """The item of the point was left to run after collection."""

    point: str


class Deselected(msgspec.Struct, frozen=True, kw_only=True, tag="deselected"):
    """The user's own selection (`-k`, `--deselect`, a path, ...) leaves the point out, as pytest's matcher confirms."""

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
    """Marked as expected to fail, whatever the result."""
    judgement: Judgement | None = None
    """The point's own judgement; on the call report, or on the set-up report if the point got no further."""
    detail: str = ""
    """First line of the failure."""
    duration_s: float = 0.0


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """Something that must not happen did."""

    code: str
    sentence: str
    point: str | None = None


class Interrupted(msgspec.Struct, frozen=True, kw_only=True, tag="interrupted"):
    """Ctrl-C or SIGTERM ended the session early."""


class JUnitCase(msgspec.Struct, frozen=True, kw_only=True, tag="case"):
    """A JUnit case as pytest's own writer made it."""

    xml: str
    """The element `testcase`, serialized."""
    point: str | None = None
    """The point that the item judges; None for other tests."""


class SuiteProperty(msgspec.Struct, frozen=True, kw_only=True, tag="suite-property"):
    """A property that a test recorded for the whole JUnit suite."""

    name: str
    value: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The process ended. The last event of a log."""

    status: int
    """Exit status; negative: the signal that killed it, as `subprocess` reports it."""
    at: str
    """ISO 8601, UTC."""


Event = (
    Called
    | Planned
    | Refused
    | WorkerBegan
    | WorkerCrashed
    | Collected
    | Selected
    | Deselected
    | Withheld
    | Lease
    | Report
    | Fault
    | Interrupted
    | JUnitCase
    | SuiteProperty
    | Ended
)


class EvidenceCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What re-reading a point's evidence found. Without `errors` the evidence is whole."""

    point: str
    path: str
    """The evidence folder, relative to the results folder."""
    nonce: str | None = None
    point_digest: str | None = None
    outcome: Outcome | None = None
    digest: str | None = None
    """sha256 of `evidence.json`."""
    errors: tuple[str, ...] = ()


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of the session as a whole, gathered from its events."""

    nonce: str
    pytest_exit_status: int | None
    """What pytest exited with; None if it has not ended."""
    plan_digest: str
    complete: bool = False
    expectation: Expectation | None = None
    accepted_labels: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    invocation: Invocation = Invocation()
    started: str | None = None
    finished: str | None = None
