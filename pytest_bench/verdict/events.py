"""The events of a session, which its processes record and the ledger reads.

Every process appends its events to its own log (`results/event_log.py`). They are JSON objects with a field `type`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_bench.leases import Lease, Scope
from pytest_bench.verdict.outcome import Judgement, Outcome

Stage = Literal["setup", "call", "teardown"]


class ExpectedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the plan, reduced to what the ledger needs."""

    id: str
    digest: str
    """Digest of everything the point depends on. Its evidence must contain the same digest."""
    leases: tuple[Scope, ...]
    """Scopes for which a passing point must have held a lease."""
    origin: str = ""


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """The points that must have run, from a source other than the session's own suites."""

    points: dict[str, str | None]
    """Point ids, each with its digest, or None if the expectation does not contain one."""
    plan_digest: str | None = None
    digest: str
    """Digest of the expectation itself."""


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of the pytest call, by source. Later sources override earlier ones."""

    ini: tuple[str, ...] = ()
    """`addopts` of the configuration file."""
    environment: tuple[str, ...] = ()
    """`PYTEST_ADDOPTS`."""
    command_line: tuple[str, ...] = ()


class Called(msgspec.Struct, frozen=True, kw_only=True, tag="called"):
    """First event of a session: pytest was called to run points."""

    invocation: Invocation = Invocation()
    started: str
    """ISO 8601, UTC."""
    results: str
    """Absolute path of the results folder during the session."""
    junit: str
    """The JUnit file: relative to the results folder if it is inside, otherwise absolute."""
    versions: dict[str, str] = {}


class Planned(msgspec.Struct, frozen=True, kw_only=True, tag="planned"):
    """The plan was written. Nothing has been started yet."""

    plan_digest: str
    complete: bool = False
    """`--complete` was given."""
    expectation: Expectation | None = None
    accepted_labels: tuple[str, ...] = ()
    """Labels that the command line itself accepts, such as `simulator` with `--endpoint=simulator`."""
    files: dict[str, str] = {}
    """sha256 of the files written before anything was started, by name."""
    rerun: dict[str, str] = {}
    """For each point, the command that runs only this point."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The call was refused: no test was started."""

    sentence: str


class WorkerBegan(msgspec.Struct, frozen=True, kw_only=True, tag="worker-began"):
    """Another process of the session was started. Its log must end with `Ended`."""

    worker: str


class WorkerCrashed(msgspec.Struct, frozen=True, kw_only=True, tag="worker-crashed"):
    """A process of the session died."""

    worker: str
    detail: str
    point: str | None = None
    """The point that it was running, if known."""


class Collected(msgspec.Struct, frozen=True, kw_only=True, tag="collected"):
    """A process collected the judging item of a point."""

    point: str
    worker: str


class Selected(msgspec.Struct, frozen=True, kw_only=True, tag="selected"):
    """The item of the point was selected to run after collection."""

    point: str


class Deselected(msgspec.Struct, frozen=True, kw_only=True, tag="deselected"):
    """The user's own selection (`-k`, `--deselect`, a path, ...) excludes the point, confirmed by pytest's matcher."""

    point: str


class Withheld(msgspec.Struct, frozen=True, kw_only=True, tag="withheld"):
    """The point was deliberately not run: an earlier audit could not be completed, or its node was lost."""

    point: str
    sentence: str


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """pytest's report of one stage of a point's judging item."""

    point: str
    stage: Stage
    outcome: Literal["passed", "failed", "skipped"]
    worker: str
    attempt: int = 1
    """1 unless the item was run again."""
    xfail: bool = False
    """Whether the item is marked as expected to fail, independent of the result and of the mark's condition, or called
    `pytest.xfail()`."""
    judgement: Judgement | None = None
    """The point's judgement: on the call report, or on the report of the set-up or teardown that failed."""
    detail: str = ""
    """First line of the failure."""
    duration_s: float = 0.0


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """An error that makes the session or a point red."""

    code: str
    sentence: str
    point: str | None = None


class Interrupted(msgspec.Struct, frozen=True, kw_only=True, tag="interrupted"):
    """Ctrl-C or SIGTERM ended the session early."""


class JUnitCase(msgspec.Struct, frozen=True, kw_only=True, tag="case"):
    """A JUnit case, as created by pytest's own writer."""

    xml: str
    """The serialized `testcase` element."""
    point: str | None = None
    """The point that the item judges; None for other tests."""


class SuiteProperty(msgspec.Struct, frozen=True, kw_only=True, tag="suite-property"):
    """A property that a test recorded for the whole JUnit suite."""

    name: str
    value: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The process ended. The last event of a log."""

    status: int
    """Exit status; if negative, the number of the signal that killed the process, as in `subprocess`."""
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
    """The result of reading a point's evidence again. The evidence is intact if `errors` is empty."""

    point: str
    path: str
    """The evidence folder, relative to the results folder."""
    nonce: str | None = None
    point_digest: str | None = None
    outcome: Outcome | None = None
    requests_ns: tuple[int, int] | None = None
    """When the session sent the first request of the point, and when the last one ended (CLOCK_MONOTONIC); None if it
    sent none."""
    digest: str | None = None
    """sha256 of `evidence.json`."""
    errors: tuple[str, ...] = ()


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The session as a whole, as its events record it."""

    nonce: str
    pytest_exit_status: int | None
    """Exit status of pytest; None if it has not ended."""
    plan_digest: str
    complete: bool = False
    expectation: Expectation | None = None
    accepted_labels: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    invocation: Invocation = Invocation()
    started: str | None = None
    finished: str | None = None
