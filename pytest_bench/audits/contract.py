"""What an audit is: phases declared before anything runs, and a pure check of what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from pytest_bench.errors import BenchError, UsageError
from pytest_bench.metrics.measurement import Interval, Metric
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.suite.section import Section
from pytest_bench.workload import Load, SampleOrder

S = TypeVar("S", bound=Section)

Mode = Literal["perf", "accuracy", "both"]
"""What a phase is for. Outputs are kept, and handed to `verify`, in the latter two only."""


class Undecided(BenchError):
    """What the phases left behind cannot decide the audit. Makes the point an `error`, never a pass."""

    code = "undecided"


class AuditFields(Section):
    """Fields that every audit has; each adds its own."""

    reset_cache: bool = False
    """Empty the server's caches before every phase, as `deployment.cache_reset` says."""


@dataclass(frozen=True, kw_only=True)
class AuditPhase:
    """One phase that an audit asks for. Its count alone ends it; it is never extended."""

    label: str
    """Names its folder: lower-case letters, digits, `_`."""
    requests: int
    samples: SampleOrder
    mode: Mode = "perf"
    concurrency: int | None = None
    """Requests in flight, in a closed loop; None: issued as the point's own load says."""
    stream: bool = True
    """False: ask for answers in one piece, whatever the deployment does."""
    reset_cache: bool = False
    """Empty the server's caches before it."""
    count_tokens: bool = False
    """Count its outputs with the deployment's tokenizer, where it names one."""


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """All that an audit needs done."""

    phases: tuple[AuditPhase, ...]
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files made elsewhere that the audit judges, by the name under which they become evidence."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The point under audit, as an audit sees it."""

    point: Point
    deployment: DeploymentPlan
    load: Load
    streaming: bool
    """Whether the API can stream."""
    rows: int
    """Samples in the point's dataset as it was loaded."""
    first: int = 0
    """Of the samples set aside for this point, so that it shares none with another point."""
    count: int = 0
    """Of these, how many."""
    folder: Path = Path()
    """Where its suite is declared: what paths in its fields are relative to."""
    datasets: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows of all datasets of the suite, with whatever columns they have; loaded when asked for."""

    def fields(self, kind: type[S]) -> S:
        """The audit's own fields, as its `fields` declares them."""
        options = self.point.options
        return kind.model_validate({name: options[name] for name in kind.model_fields if name in options})

    def requests(self, asked: int | None) -> int:
        """The count that was asked for, else that of the load. Raises `UsageError` where neither is one."""
        if asked is not None:
            return asked
        if self.load.requests is None:
            raise self.refusal("its load has no number of requests: name 'samples'")
        return self.load.requests

    def require_full_load(self, *requests: int) -> None:
        """For audits that compare rates of phases with so many requests: all run at the same load.

        Raises `UsageError` where the load grows first, so that a faster phase would be over at less of it, and
        where one phase has too few requests for the load's concurrency, and another has enough.
        """
        if self.load.ramp_s:
            raise self.refusal(
                "its load grows over 'ramp_s', and a phase that is answered faster would be over at less load: "
                "name a load without it"
            )
        most = self.load.concurrency
        if most is not None and len({min(most, count) for count in requests}) > 1:
            raise self.refusal(
                f"has phases of {' and '.join(map(str, requests))} requests, and its load {most} in flight: expected "
                f"{most} requests or more, so that all phases run at the same load"
            )

    def distinct(self, requests: int) -> SampleOrder:
        """An order without replacement: out of the samples set aside where they suffice, else out of all."""
        first, count = (self.first, self.count) if requests <= self.count else (0, self.rows)
        order = self.point.samples
        return SampleOrder(first=first, count=count, seed=0 if order is None else order.seed)

    def refusal(self, what: str) -> UsageError:
        """An error about this point, which says where it is declared."""
        return UsageError(f"{self.point.origin}: {self.point.id}: {what}")


class Output(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one succeeded request delivered."""

    sample: int
    text: str
    """Reasoning, content and tool calls, one after the other."""
    first_event: str = ""
    """Of a stream: the text of its first event."""
    token_ids: tuple[int, ...] = ()
    """Where the endpoint gives them."""
    server_tokens: int | None = None
    """Output tokens as the server counted them."""
    counted_tokens: int | None = None
    """Output tokens by the client's tokenizer."""


class Flight(NamedTuple):
    """When one request was in flight."""

    start_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        return self.end_ns - self.start_ns


@dataclass(frozen=True, kw_only=True)
class Run:
    """One phase as it went. Only requests that succeeded are completed."""

    label: str
    requested: int
    completed: int
    started_ns: int
    """Its first issue."""
    ended_ns: int
    """Its last completion, whatever its outcome."""
    succeeded: tuple[Flight, ...] = ()
    """Requests that did, in the order of their ends."""
    failed: tuple[Flight, ...] = ()
    """Those that did not, likewise."""
    latencies_ns: tuple[int, ...] = ()
    """Of requests that succeeded, ascending."""
    outputs: tuple[Output, ...] = ()
    """In the order of issue; none of a phase in `perf` mode."""

    @property
    def complete(self) -> bool:
        """Whether every request succeeded."""
        return self.completed == self.requested

    @property
    def shortfall(self) -> str:
        """For people: what a phase lacks in which every request must succeed."""
        return (
            f"Phase {self.label!r}: only {self.completed} of {self.requested} requests succeeded, and all must. "
            f"Next: look into the failures in phases/{self.label}."
        )

    @property
    def throughput(self) -> float:
        """Succeeded requests per second, from the first issue to the last completion, failures' time included.

        In binary floating point, in the order of operations of mlcommons/endpoints (`metrics/report.py`). A rule
        that compares phases in which requests may fail takes `lower_rate` and `upper_rate` of `audits.rates`.
        """
        return self.completed / ((self.ended_ns - self.started_ns) / 1e9)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was left behind for `verify`."""

    runs: Mapping[str, Run]
    """By label."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """By the name in `AuditPlan.files`."""


class AuditResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found. Only a result that stands is made; everything else is `Undecided`."""

    passed: bool
    reason: str
    """The rule with its numbers, in one line."""
    explanation: str
    """The same in plain sentences: what was done, what came out, what to do about a failure."""
    lines: tuple[str, ...]
    """Of `verify_<TEST>.txt`, in the words that MLPerf's checkers look for."""
    details: dict[str, object] = {}
    """What else `audit_<test>.json` holds."""
    shown: tuple[tuple[str, str], ...] = ()
    """What a table shows of it: headings, each with a short text."""
    metrics: dict[str, Metric] = {}
    intervals: tuple[Interval, ...] = ()


class AuditTest(Protocol):
    """One audit. `plan` and `validate` run before the first request; `verify` is pure."""

    id: ClassVar[str]
    """What suites call it."""
    artifact: ClassVar[str]
    """What MLPerf calls it: names the files `audit_<artifact>.json` and `verify_<ARTIFACT>.txt`."""
    fields: ClassVar[type[AuditFields]]
    patterns: ClassVar[frozenset[str]]
    """Load patterns that can show what it looks for."""

    def plan(self, setting: Setting) -> AuditPlan:
        """The phases, in the order they run. Raises `UsageError`."""

    def validate(self, setting: Setting) -> None:
        """Whether the setting can show what the audit looks for, beyond what holds for every audit.

        Raises `UsageError`.
        """

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        """Judge. Raises `Undecided` where the findings allow no judgement."""
