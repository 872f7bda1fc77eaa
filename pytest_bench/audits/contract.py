"""The contract of an audit: phases declared before anything runs, and a pure check of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import msgspec

from pytest_bench.errors import BenchError, UsageError
from pytest_bench.results.details import AuditResult
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.suite.section import Section
from pytest_bench.workload import Load, SampleOrder

S = TypeVar("S", bound=Section)

Mode = Literal["perf", "accuracy", "both"]
"""What a phase is for. Outputs are kept, and given to `verify`, only in `accuracy` and `both`."""


class Undecided(BenchError):
    """The findings do not allow a judgement. The point becomes an `error`, never a pass."""

    code = "undecided"


class FailedRequests(Undecided):
    """Requests failed in a phase whose rate is compared, so the rate is not that of the server at this load."""

    code = "failures-in-rate"


class AuditFields(Section):
    """Fields of every audit. Each audit adds its own."""

    reset_cache: bool = False
    """Empty the server's caches before every phase, as `deployment.cache_reset` says."""


@dataclass(frozen=True, kw_only=True)
class AuditPhase:
    """One phase of an audit. Only its request count ends it; it is never extended."""

    label: str
    """Name of its folder: lower-case letters, digits and `_`."""
    requests: int
    samples: SampleOrder
    mode: Mode = "perf"
    concurrency: int | None = None
    """Requests in flight, in a closed loop. None: requests are issued as the point's load says."""
    stream: bool = True
    """False: ask for complete answers, even if the deployment streams."""
    reset_cache: bool = False
    """Empty the server's caches before the phase."""
    count_tokens: bool = False
    """Count its outputs with the deployment's tokenizer, if the deployment names one."""


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """The phases and files that an audit needs."""

    phases: tuple[AuditPhase, ...]
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files made elsewhere that the audit judges, by the name under which they are stored as evidence."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The point under audit, as its audit sees it."""

    point: Point
    deployment: DeploymentPlan
    load: Load
    streaming: bool
    """Whether the API can stream."""
    rows: int
    """Number of samples in the point's dataset as loaded."""
    first: int = 0
    """Index of the first sample that is reserved for this point, so that it shares none with another point."""
    count: int = 0
    """Number of samples that are reserved for this point."""
    folder: Path = Path()
    """Folder of the suite file. Paths in the audit's fields are relative to it."""
    datasets: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows of every dataset of the suite, with all their columns. Each is loaded when it is first used."""

    def fields(self, kind: type[S]) -> S:
        """The audit's own fields, validated as `kind`."""
        options = self.point.options
        return kind.model_validate({name: options[name] for name in kind.model_fields if name in options})

    def requests(self, asked: int | None) -> int:
        """`asked`, or the request count of the load if it is None. Raises `UsageError` if neither is given."""
        if asked is not None:
            return asked
        if self.load.requests is None:
            raise self.refusal("its load has no number of requests: name 'samples'")
        return self.load.requests

    def require_full_load(self, *requests: int) -> None:
        """Check that phases with these request counts run at the same load, so that their rates compare.

        Raises `UsageError` if the load ramps up, because a faster phase would end during the ramp, and if some
        phases have fewer requests than the load's concurrency and others do not.
        """
        if self.load.ramp_s:
            raise self.refusal(
                "its load ramps up over 'ramp_s', so a faster phase would run at a lower load: use a load without it"
            )
        most = self.load.concurrency
        if most is not None and len({min(most, count) for count in requests}) > 1:
            raise self.refusal(
                f"has phases of {' and '.join(map(str, requests))} requests, and its load keeps {most} in flight: "
                f"expected at least {most} requests in each phase, so that all phases run at the same load"
            )

    def distinct(self, requests: int) -> SampleOrder:
        """An order without replacement over the reserved samples, or over all samples if those are too few."""
        first, count = (self.first, self.count) if requests <= self.count else (0, self.rows)
        order = self.point.samples
        return SampleOrder(first=first, count=count, seed=0 if order is None else order.seed)

    def refusal(self, what: str) -> UsageError:
        """An error about this point that names where the point is declared."""
        return UsageError(f"{self.point.origin}: {self.point.id}: {what}")


class Output(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The output of one request that succeeded."""

    sample: int
    text: str
    """Reasoning, content and tool calls, concatenated."""
    first_event: str = ""
    """Text of the first event of a stream."""
    token_ids: tuple[int, ...] = ()
    """Empty if the endpoint does not give them."""
    server_tokens: int | None = None
    """Output tokens, as counted by the server."""
    counted_tokens: int | None = None
    """Output tokens, as counted by the client's tokenizer."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of one phase. Only requests that succeeded are completed."""

    label: str
    requested: int
    completed: int
    failed: int = 0
    started_ns: int
    """Time of the first issue."""
    ended_ns: int
    """Time of the last completion, of a success or a failure."""
    completions_ns: tuple[int, ...] = ()
    """Times at which requests succeeded, ascending."""
    latencies_ns: tuple[int, ...] = ()
    """Latencies of requests that succeeded, ascending."""
    outputs: tuple[Output, ...] = ()
    """In the order of issue. Empty for a phase in `perf` mode."""

    @property
    def complete(self) -> bool:
        """Whether every request succeeded."""
        return self.completed == self.requested

    @property
    def shortfall(self) -> str:
        """A sentence for a phase in which every request must succeed, and did not."""
        return (
            f"Phase {self.label!r}: only {self.completed} of {self.requested} requests succeeded, and all must. "
            f"Next: look into the failures in phases/{self.label}."
        )

    @property
    def throughput(self) -> float:
        """Succeeded requests per second, from the first issue to the last completion.

        Computed in binary floating point, in the order of operations of mlcommons/endpoints (`metrics/report.py`).
        """
        return self.completed / ((self.ended_ns - self.started_ns) / 1e9)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What `verify` judges."""

    runs: Mapping[str, Run]
    """By the label of the phase."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """By the name in `AuditPlan.files`."""


class AuditTest(Protocol):
    """One audit. `plan` and `validate` run before the first request; `verify` is pure."""

    id: ClassVar[str]
    """Its name in suites."""
    artifact: ClassVar[str]
    """Its name in MLPerf's files: `audit_<artifact>.json` and `verify_<ARTIFACT>.txt`."""
    fields: ClassVar[type[AuditFields]]
    patterns: ClassVar[frozenset[str]]
    """Load patterns under which the effect is visible."""

    def plan(self, setting: Setting) -> AuditPlan:
        """The phases, in the order in which they run. Raises `UsageError`."""

    def validate(self, setting: Setting) -> None:
        """Check what this audit requires beyond the checks for every audit. Raises `UsageError`."""

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        """Judge the findings. Raises `Undecided` if they do not allow a judgement."""
