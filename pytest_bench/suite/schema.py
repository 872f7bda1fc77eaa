"""The suite language: the schema of each mapping of a suite file, with every default.

It covers shapes and types only. What involves more than one mapping (references, names of APIs and metrics, the fields
of a load pattern) is checked when the plan is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pytest_bench.suite.load_patterns import TAKES
from pytest_bench.suite.plan import Kind
from pytest_bench.suite.section import (
    Count,
    Counts,
    Name,
    Positive,
    Rate,
    Rates,
    Seconds,
    SecondsOrNone,
    Section,
    Seed,
    Share,
    SuiteName,
    Text,
    Texts,
    unique,
)
from pytest_bench.workload import MAX_RESPONSE_BYTES, HealthBudget, Order, Pattern, TextPolicy, Timeouts


def _fixed_length(value: object) -> object:
    if isinstance(value, dict | LengthSection):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise PydanticCustomError("shape", "expected a whole number, or a mapping with a distribution")
    return {"mean": value}


def _bare_bound(value: object) -> object:
    if isinstance(value, dict | LimitSection):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("shape", 'expected a limit in quotes, as in "<= 200ms"')
    return {"bound": value}


_LENGTH_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fixed": (("mean",), ("stddev", "min", "max")),
    "uniform": (("min", "max"), ("mean", "stddev")),
    "normal": (("mean", "stddev"), ()),
    "lognormal": (("mean", "stddev"), ()),
}
"""Fields that each distribution requires, and those that it does not accept."""


class LengthSection(Section):
    """Length of texts: in tokens, or in words if there is no tokenizer. A plain number is a fixed length."""

    distribution: Literal["fixed", "uniform", "normal", "lognormal"] = "fixed"
    """`fixed` uses `mean`; `uniform` uses `min` and `max`; `normal` and `lognormal` use `mean` and `stddev`."""
    mean: Positive | None = None
    stddev: Positive | None = None
    min: Count | None = None
    """Lower limit of drawn lengths."""
    max: Count | None = None
    """Upper limit of drawn lengths."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        needs, refuses = _LENGTH_FIELDS[self.distribution]
        for name in needs:
            if getattr(self, name) is None:
                raise PydanticCustomError(
                    "length", "the distribution {d} needs '{name}'", {"d": self.distribution, "name": name}
                )
        for name in refuses:
            if getattr(self, name) is not None:
                raise PydanticCustomError(
                    "length",
                    "the distribution {d} does not accept '{name}'",
                    {"d": self.distribution, "name": name},
                )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("length", "'min' is more than 'max'")
        return self


Length = Annotated[
    LengthSection, BeforeValidator(_fixed_length, json_schema_input_type=Count | LengthSection)
]


class SharedPrefixSection(Section):
    """Texts that many prompts begin with, like system prompts."""

    tokens: Count
    """Length of each prefix, which is part of the prompt's length."""
    groups: Count = 1
    """Number of different prefixes; rows use them in turn."""


_OF_BLOCKS = {"hash_ids", "block_size"}


class SyntheticSection(Section):
    """Prompts generated from a seed, with the number and lengths given here or in a trace."""

    rows: Count | None = None
    """Number of rows."""
    input_tokens: Length | None = None
    """Length of each prompt."""
    output_tokens: Length | None = None
    """Output length that each row asks for; left out, the deployment's `max_tokens` applies."""
    range_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A fixed length L becomes uniform between ratio x L and L, as in SGLang's benchmark; 1 changes nothing."""
    shared_prefix: SharedPrefixSection | None = None
    trace: Text | None = None
    """Instead of the fields above: a trace file with `input_length` and `output_length`, one row for each arrival.
    Under a load that replays the same file, each arrival has its own lengths."""
    hash_ids: bool = True
    """If the trace has `hash_ids`, prompts share prefixes accordingly. False: no prompts share a prefix."""
    block_size: Count = 512
    """Number of tokens in the block of one of the `hash_ids`."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_kind_of_length(self) -> Self:
        if self.trace is None:
            for name in ("rows", "input_tokens"):
                if getattr(self, name) is None:
                    raise PydanticCustomError("length", "expected '{name}', or a 'trace'", {"name": name})
            if blocks := sorted(self.model_fields_set & _OF_BLOCKS):
                raise PydanticCustomError("length", "'{name}' is for a 'trace'", {"name": blocks[0]})
        elif drawn := sorted(self.model_fields_set - {"trace", "seed"} - _OF_BLOCKS):
            raise PydanticCustomError("length", "'{name}' and 'trace' exclude each other", {"name": drawn[0]})
        return self


class DatasetSection(Section):
    """The source of samples: a file, or synthetic."""

    path: Text | None = None
    """File, relative to the file that contains this."""
    format: Literal["jsonl", "json", "csv", "sharegpt", "parquet"] | None = None
    """Left out: determined by the file's suffix."""
    columns: Annotated[dict[str, Text], Field(min_length=1)] | None = None
    """Column of the API -> column of the file. Left out: the file has the API's columns."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, and count them in the evidence. False: a bad row is an error."""
    synthetic: SyntheticSection | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.synthetic is None):
            raise PydanticCustomError("source", "expected exactly one of 'path' and 'synthetic'")
        if self.synthetic is not None and (
            self.format is not None or self.columns is not None or self.skip_bad
        ):
            raise PydanticCustomError(
                "source", "'format', 'columns' and 'skip_bad' belong to 'path', not to 'synthetic'"
            )
        return self


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
