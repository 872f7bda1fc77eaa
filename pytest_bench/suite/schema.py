"""The suite language: the schema of a suite file, its points and their limits, with every default.

Deployments, datasets and loads have a schema in a module of their own. A schema covers shapes and types only. What
involves more than one mapping (references, names of APIs and metrics, the fields of a load pattern) is checked when the
plan is made.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from pytest_bench.suite.load_schema import (
    BudgetSection,
    LoadSection,
    OrderSection,
    TimeoutsSection,
    WarmupSection,
)
from pytest_bench.suite.plan import Kind
from pytest_bench.suite.section import (
    Count,
    Counts,
    Name,
    Rates,
    Seconds,
    Section,
    Seed,
    Share,
    SuiteName,
    Text,
    Texts,
    unique,
)
from pytest_bench.workload import MAX_RESPONSE_BYTES, TextPolicy


def _bare_bound(value: object) -> object:
    if isinstance(value, dict | LimitSection):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("shape", 'expected a limit in quotes, as in "<= 200ms"')
    return {"bound": value}


class LimitSection(Section):
    """A limit, as in "<= 200ms". With `confidence`, a confidence interval is compared with it instead of the value; the
    bound is inconclusive if the interval spans the limit."""

    bound: Text
    confidence: Share | None = None


Limit = Annotated[LimitSection, BeforeValidator(_bare_bound, json_schema_input_type=str | LimitSection)]


class LimitsSection(Section):
    """Limits by metric: `time_to_first_token.p99: "<= 200ms"`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Limit] = Field(init=False)


class BoundsSection(LimitsSection):
    """Limits by metric; `use` adds named sets of limits."""

    use: Texts | None = None
    """Names of sets in `named_bounds`."""


class SweepSection(Section):
    """Values to sweep over: one point for each combination."""

    concurrency: Counts | None = None
    rate: Rates | None = None
    max_concurrency: Counts | None = None
    requests: Counts | None = None
    isl: Counts | None = None
    """Input length of a synthetic dataset, in tokens."""
    osl: Counts | None = None
    """Output length of a synthetic dataset, in tokens."""


class DrivenSection(Section):
    """Settings of the load engine that points of every kind have."""

    timeouts: TimeoutsSection = TimeoutsSection()
    budget: BudgetSection = BudgetSection()
    max_response_bytes: Count = MAX_RESPONSE_BYTES
    """The longest response; a request with a longer one fails as `too_long`."""
    workers: Count | None = None
    """Number of load workers; left out, the engine chooses."""
    arrival_seed: Seed = 0
    """Seed of arrival times; the order of samples has its own."""
    minimum_duration_s: Seconds | None = None
    """Issue requests for at least this long. If the count is fixed (a burst, a trace, stages, an audit), it is only
    checked, and a shorter result is labelled `unofficial`."""
    unofficial: bool = False
    """Label the result `unofficial`: the load is not the one that the benchmark's rules ask for."""


class PerfSection(DrivenSection):
    """A performance point, or several if it has a sweep."""

    dataset: Name
    load: LoadSection
    order: OrderSection = OrderSection()
    warmup: WarmupSection | None = None
    bounds: BoundsSection = BoundsSection()
    slo: LimitsSection = LimitsSection()
    """Limits of each request; goodput counts the requests that meet them all."""
    texts: TextPolicy = "keep"
    """Whether delivered texts are kept, hashed or dropped after their tokens are counted."""
    sweep: SweepSection | None = None


class AuditSection(DrivenSection):
    """An audit point. Each audit adds fields of its own."""

    test: Text
    """Id of the audit."""
    of: Text | None = None
    """Perf point (with its sweep values, if it has a sweep) whose dataset, load and limits the audit uses."""
    dataset: Name | None = None
    load: LoadSection | None = None


class EvalSweepSection(Section):
    """Concurrencies to sweep over: one point for each."""

    concurrency: Counts


class FewShotsSection(Section):
    """Examples that every prompt of an eval shows before its own question."""

    dataset: Name
    """Dataset with the examples, which have the columns of the items."""
    count: Count | None = None
    """Show the first so many. Left out: as many as the preset shows, or all."""


class EvalSection(DrivenSection):
    """An accuracy eval with one point for each concurrency. Evals add fields of their own."""

    dataset: Name
    """Dataset with the items."""
    few_shots: FewShotsSection | None = None
    concurrency: Count | None = None
    """Requests in flight; `sweep` gives several values instead."""
    sweep: EvalSweepSection | None = None
    bounds: BoundsSection = BoundsSection()


Kinds = Annotated[list[Kind], Field(min_length=1), AfterValidator(unique)]


def _usual_order() -> list[Kind]:
    return ["audit", "eval", "perf"]


class SuiteSection(Section):
    """One suite file: a deployment, datasets, and the points to run."""

    suite: SuiteName
    """Name of the suite; unique in the session."""
    include: Texts | None = None
    """Files merged into this one, relative to it; no key may be given twice."""
    deployment: dict[str, Any]
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    named_bounds: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Sets of limits that points take in with `bounds: {use: [name]}`."""
    order: Kinds = Field(default_factory=_usual_order)
    """Order of execution of the kinds of points."""
    perf: dict[str, dict[str, Any]] = Field(default_factory=dict)
    audit: dict[str, dict[str, Any]] = Field(default_factory=dict)
    eval: dict[str, dict[str, Any]] = Field(default_factory=dict)
