"""The schema of a load: how requests are issued, on which samples, and within which limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pytest_bench.suite.load_patterns import TAKES
from pytest_bench.suite.section import Count, Positive, Rate, Seconds, SecondsOrNone, Section, Seed, Text
from pytest_bench.workload import HealthBudget, Order, Pattern, Timeouts


class LoadSection(Section):
    """How requests are issued. The table of patterns shows the fields that each pattern accepts."""

    pattern: Pattern
    requests: Count | None = None
    """Stop after this many requests."""
    duration_s: Seconds | None = None
    """Stop issuing after this many seconds."""
    stop: Literal["and", "or"] = "or"
    """With both limits: stop when both are reached (`and`), or when one is (`or`)."""
    concurrency: Count | None = None
    """`concurrency`: requests in flight. `burst`: the cap on connections."""
    rate: Rate | None = None
    """Mean arrivals per second."""
    burstiness: Positive = 1.0
    """`gamma`: shape of the gaps; 1 is Poisson, below 1 is burstier."""
    max_concurrency: Count | None = None
    """Open loop: most requests in flight. A request whose time has come waits until one of them ends. Left out: no
    limit."""
    ramp_s: SecondsOrNone = 0.0
    """Seconds over which concurrency or rate grows to its full value."""
    trace: Text | None = None
    """`trace`: JSONL or CSV file with ascending times: `timestamp` or `timestamp_ms` (milliseconds), or
    `timestamp_s`. If it also has `input_length` and `output_length`, the dataset must be made of the same trace."""
    stages: Annotated[list[LoadSection], Field(min_length=1)] | None = None
    """`stages`: loads run one after the other."""
    handover: Literal["drain", "overlap"] = "drain"
    """`stages`: wait for requests in flight between stages, or let them overlap."""

    @classmethod
    def keys_beside(cls, given: Mapping[str, Any]) -> Iterable[str]:
        return {"pattern", *TAKES.get(str(given.get("pattern")), cls.model_fields)}


class OrderSection(Section):
    """Which sample each request uses."""

    order: Order = "without_replacement"
    index: Annotated[int, Field(ge=0)] | None = None
    """`single`: the index of the sample."""
    seed: Seed = 0


class WarmupSection(Section):
    """Load before the measured phase, of the same pattern as the point's own load. Never part of a metric."""

    requests: Count | None = None
    duration_s: Seconds | None = None
    samples: Literal["own", "salted"] = "own"
    """Samples that no measured phase uses (`own`), or salted copies, so that no cache is primed."""
    handover: Literal["overlap", "drain"] = "overlap"
    """Continue without a gap, or wait for requests in flight first."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.requests is None and self.duration_s is None:
            raise PydanticCustomError("endless", "expected 'requests', 'duration_s', or both")
        return self


_TIMEOUTS = Timeouts()
_BUDGET = HealthBudget()


class TimeoutsSection(Section):
    """Limits of one request, in seconds."""

    connect_s: Seconds = _TIMEOUTS.connect_s
    request_s: Seconds = _TIMEOUTS.request_s
    no_progress_s: Seconds | None = _TIMEOUTS.no_progress_s
    """Longest silence inside a stream."""
    drain_s: Seconds | None = _TIMEOUTS.drain_s
    """How long requests in flight may take after the last issue; null means `request_s`."""


class BudgetSection(Section):
    """How large the client's own part in a phase's numbers may be before the phase is client-bound. Times are judged
    at p99; shares over the whole phase, and at p99 of its seconds (the achieved share at p1). A wider limit than the
    default labels the point `budget-relaxed`."""

    vacancy: Annotated[float, Field(gt=0, le=1)] = _BUDGET.vacancy
    """Closed loop, and open loop while `max_concurrency` holds requests back: most of the concurrency that may be
    missing while the client has not sent the next request."""
    vacancy_p99: Annotated[float, Field(gt=0, le=1)] = _BUDGET.vacancy_p99
    """The same at p99 of the phase's seconds; never less than `vacancy`."""
    schedule_lateness_ms: Positive = _BUDGET.schedule_lateness_ms
    """Open loop: delay of sent requests."""
    cpu_share: Annotated[float, Field(gt=0, le=1)] = _BUDGET.cpu_share
    """Most CPU time a load worker may use, of one core."""
    achieved_share: Annotated[float, Field(gt=0, le=1)] = _BUDGET.achieved_share
    """Open loop: least share of the asked rate that must be achieved. In a second, of what the schedule asked for then:
    random arrivals, ramps and stages are not a shortfall."""
