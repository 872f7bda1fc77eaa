"""A measurement: the values of a point's metrics, as they are judged, stored and shown."""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.metrics.definitions import Kind
from pytest_bench.wording import did_you_mean

MEASUREMENT_VERSION = 2

OutputBy = Literal["tokenizer", "usage"]
InputBy = Literal["tokenizer", "usage", "tokenize"]


class Metric(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One metric, or the reason why it is null. Values are in `unit`, and finite."""

    unit: str
    kind: Kind
    value: float | None = None
    """Value of a scalar."""
    statistics: dict[str, float | None] = {}
    """Statistics of a distribution, by name; None if there are too few values."""
    uncertainty: float | None = None
    """Uncertainty of a scalar, in both directions."""
    uncertainties: dict[str, float] = {}
    """Uncertainties of a distribution's statistics."""
    count: int | None = None
    """Number of values of a distribution."""
    reason: str | None = None
    """Why the whole metric is null."""
    reasons: dict[str, str] = {}
    """Why single statistics are null."""
    note: str | None = None
    """The rule that was used, if there are several."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A two-sided confidence interval of one statistic, in its metric's unit."""

    metric: str
    """As a bound names it, statistic included."""
    confidence: float
    low: float | None
    high: float | None
    """Both are None if the interval is not defined."""
    method: str
    reason: str = ""
    """Why it is not defined; begins with `too-short` if the run was too short for it."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """An interval of a phase (CLOCK_MONOTONIC)."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


class TokenSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the token counts of a measurement come from, and whether the two counts of output agree."""

    output: OutputBy | None = None
    """Whose count of output tokens the metrics use; None: not counted."""
    input: InputBy | None = None
    """Whose count of input tokens the metrics use. `tokenize` is the server's `/tokenize`."""
    reason: str = ""
    """Why: the rule that applied."""
    template: bool = True
    """False if chat inputs were counted without the model's chat template."""
    compared: int = 0
    """Succeeded requests with both counts of output."""
    difference: float | None = None
    """Mean over compared requests of tokens by the tokenizer - tokens by usage."""
    usage_mean: float | None = None
    """Mean output tokens by usage, over compared requests."""
    tolerance: tuple[float, float] | None = None
    """Interval of `difference` that retokenization and end-of-sequence tokens explain."""

    @property
    def agree(self) -> bool | None:
        """Whether the two counts agree within the tolerance; None if there is only one."""
        if self.difference is None or self.tolerance is None:
            return None
        return self.tolerance[0] <= self.difference <= self.tolerance[1]

    @property
    def mismatch(self) -> bool:
        """Whether the counts differ so that the point needs a label.

        If usage decides, hidden special tokens explain a lower count by the tokenizer.
        """
        if self.agree is not False or self.difference is None:
            return False
        return self.output == "tokenizer" or self.difference > 0

    @property
    def shown(self) -> str:
        """Source of the counts, for a table. `both` if the two agree; otherwise with the difference in percent."""
        if self.output is None:
            return "-"
        if self.agree is None or self.difference is None or not self.usage_mean:
            return self.output
        if self.agree:
            return "both"
        ours = self.usage_mean + self.difference
        if self.output == "usage":
            return f"usage (tokenizer {self.difference / self.usage_mean:+.0%})"
        return f"tokenizer (usage {-self.difference / ours:+.0%})" if ours else "tokenizer (usage differs)"


class EndpointMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """Requests and latencies of one of several endpoints in a phase."""

    endpoint: int
    """Position in the deployment's list."""
    issued: int
    succeeded: int
    failed: int
    metrics: dict[str, Metric]
    """Latencies of its succeeded requests."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics of one phase. A null metric has a reason.

    Evals and audits build measurements with their own metrics; the methods use only `metrics`.
    """

    version: int = MEASUREMENT_VERSION
    metrics: dict[str, Metric]
    issued: int = 0
    succeeded: int = 0
    failed: int = 0
    interrupted: int = 0
    failures: dict[str, int] = {}
    """Failed requests by type (`records.ERROR_TYPES`)."""
    phase: Window | None = None
    """First issue to last completion."""
    steady_state: Window | None = None
    intervals: tuple[Interval, ...] = ()
    """Confidence intervals that bounds asked for."""
    endpoints: tuple[EndpointMeasurement, ...] = ()
    """Endpoint by endpoint; empty if there is only one."""
    token_source: TokenSource | None = None
    """Source of the token counts; None if the metrics use none."""

    def value(self, name: str) -> float | None:
        """Value of `name` (such as `time_to_first_token.p99`); None if it is null.

        Raises `UsageError` for a name that this measurement does not have.
        """
        metric, statistic = self._find(name)
        return metric.value if statistic is None else metric.statistics.get(statistic)

    def reason(self, name: str) -> str | None:
        """Why `name` is null; None if it is not null. Raises `UsageError` as `value` does."""
        metric, statistic = self._find(name)
        if self.value(name) is not None:
            return None
        return metric.reason or metric.reasons.get(statistic or "") or "it was not computed"

    def unit(self, name: str) -> str:
        """Base unit of `name`. Raises `UsageError` as `value` does."""
        return self._find(name)[0].unit

    def uncertainty(self, name: str) -> float:
        """Uncertainty of `name` in both directions, in its unit; 0 if the client does not affect it.

        Raises `UsageError` as `value` does.
        """
        return self.known_uncertainty(name) or 0.0

    def known_uncertainty(self, name: str) -> float | None:
        """As `uncertainty`; None, not 0, if the client does not affect `name`."""
        metric, statistic = self._find(name)
        return metric.uncertainty if statistic is None else metric.uncertainties.get(statistic)

    def interval(self, name: str, confidence: float) -> tuple[float, float] | None:
        """Confidence interval of `name`; None if none was requested or it is not defined."""
        found = self._interval(name, confidence)
        if found is None or found.low is None or found.high is None:
            return None
        return found.low, found.high

    def interval_reason(self, name: str, confidence: float) -> str | None:
        """Why a requested interval is not defined; None if it is defined, or was not requested."""
        found = self._interval(name, confidence)
        return None if found is None else found.reason or None

    def _interval(self, name: str, confidence: float) -> Interval | None:
        same = (each for each in self.intervals if (each.metric, each.confidence) == (name, confidence))
        return next(same, None)

    def _find(self, name: str) -> tuple[Metric, str | None]:
        if name in self.metrics and self.metrics[name].kind == "scalar":
            return self.metrics[name], None
        stem, _, statistic = name.partition(".")
        metric = self.metrics.get(stem)
        if metric is None:
            raise UsageError(f"this measurement has no metric {stem!r}{did_you_mean(stem, self.metrics)}")
        if metric.kind == "scalar":
            raise UsageError(f"{stem} is a single number: write it without {'.' + statistic!r}")
        if not statistic or (metric.statistics and statistic not in metric.statistics):
            known = ", ".join(metric.statistics)
            raise UsageError(
                f"{stem} is a distribution: expected one of {known} after a dot, got {statistic!r}"
            )
        return metric, statistic
