"""Computes the measurement of one phase from its records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pytest_bench.bounds import Bound
from pytest_bench.errors import EvidenceError
from pytest_bench.metrics import early_stopping, intervals, statistics, uncertainties
from pytest_bench.metrics.columns import Columns
from pytest_bench.metrics.definitions import DEFINITIONS, EARLY_STOPPING, PERCENTILES, Definition
from pytest_bench.metrics.dependent import mean_interval, percentile_interval
from pytest_bench.metrics.formulas import PER_ISSUE, PER_REQUEST, SCALARS, good
from pytest_bench.metrics.gap_metrics import POOLED
from pytest_bench.metrics.measurement import EndpointMeasurement, Interval, Measurement, Metric, Window
from pytest_bench.metrics.names import IntervalMethod, interval_method
from pytest_bench.metrics.observed import NotDefined, Observed
from pytest_bench.metrics.token_counts import TokenCounts
from pytest_bench.metrics.token_source import CountRule, choose
from pytest_bench.records import PhaseResult
from pytest_bench.workload import Load

_BY_ENDPOINT = ("time_to_first_token", "time_per_output_token", "request_latency")
"""Metrics that are also computed per endpoint."""

_NOTHING_LATER = "no succeeded request delivered a token after its first content event"
_EMPTY = {
    "time_to_first_output_token": "succeeded requests delivered only reasoning",
    "time_per_output_token": _NOTHING_LATER,
    "output_token_throughput_per_user": _NOTHING_LATER,
    "connect_time": "no request opened a connection: all were open before the phase",
    "server_inference_time": "the server does not report the time of inference",
    "server_input_tokens": "the server reports no usage",
    "server_output_tokens": "the server reports no usage",
    "server_cached_tokens": "the server reports no cached tokens",
    "token_count_difference": "the server reports no usage",
    "input_tokens": "input tokens were not counted: there is no tokenizer, and not every request has usage",
}
"""Why a distribution has no value although requests succeeded."""


def steady_state_of(phase: PhaseResult, load: Load) -> Window | str:
    """The window of steady-state metrics, or the reason why there is none.

    Closed loop: from the first instant with the whole concurrency in flight and no warm-up request, to the last issue.
    Open loop: from ramp end to the last arrival.
    """
    if load.pattern == "burst":
        return "a burst has no steady state"
    if load.pattern == "stages":
        return "a load with stages has no single steady state"
    if phase.full_load_ns is None or phase.last_issue_ns is None:
        return "full load was never reached"
    if phase.last_issue_ns <= phase.full_load_ns:
        return "issuing ended as soon as full load was reached: ask for more requests or a longer duration"
    return Window(start_ns=phase.full_load_ns, end_ns=phase.last_issue_ns)


def measure(
    columns: Columns,
    phase: PhaseResult,
    load: Load,
    *,
    tokens: TokenCounts | None,
    count: CountRule = "auto",
    ignore_eos: bool = False,
    unfinished: str | None = None,
    slo: tuple[Bound, ...] = (),
    bounds: tuple[Bound, ...] = (),
    asked_output_tokens: int | Mapping[int, int] | None = None,
    video_seconds: float | Mapping[int, float] | None = None,
) -> Measurement:
    """Compute every metric of `definitions` for one phase. A metric that is not defined is null, with a reason.

    `columns` must come from the log of `phase`, read with the window of `steady_state_of`. `tokens` is None if
    the client counted nothing; `unfinished` is the reason if it should have. `count` and `ignore_eos` decide whose
    counts the metrics use (`token_source.choose`). Only the confidence of `bounds` is used. Raises `EvidenceError` if
    the log and the counters of the phase differ.
    """
    _require_agreement(columns, phase)
    steady_state = steady_state_of(phase, load)
    chosen = choose(columns, tokens, rule=count, ignore_eos=ignore_eos, unfinished=unfinished)
    seen = Observed(
        columns=columns,
        phase=phase,
        load=load,
        tokens=chosen,
        no_steady_state=steady_state
        if isinstance(steady_state, str)
        else "the log was read without its window",
        slo=slo,
        asked_output_tokens=asked_output_tokens,
        video_seconds=video_seconds,
    )
    metrics = {name: _metric(definition, seen) for name, definition in DEFINITIONS.items()}
    wanted = {(bound.metric, bound.confidence) for bound in bounds if bound.confidence is not None}
    found = [_interval(name, confidence, seen) for name, confidence in sorted(wanted)]
    return Measurement(
        metrics=metrics,
        issued=phase.issued,
        succeeded=phase.succeeded,
        failed=phase.failed,
        interrupted=phase.interrupted,
        failures=dict(columns.failures),
        phase=_or_none(seen),
        steady_state=columns.steady_state,
        intervals=tuple(interval for interval in found if interval is not None),
        endpoints=_by_endpoint(seen),
        token_source=None if chosen.source.output is None else chosen.source,
    )


def _require_agreement(columns: Columns, phase: PhaseResult) -> None:
    logged = (len(columns), int(columns.succeeded.sum()), int(columns.failed.sum()), dict(columns.failures))
    counted = (phase.issued, phase.succeeded, phase.failed, phase.failures)
    if logged != counted:
        raise EvidenceError(
            f"{phase.folder}: the log holds {logged[0]} records ({logged[1]} succeeded, {logged[2]} failed: "
            f"{logged[3]}), the load workers counted {counted[0]} ({counted[1]} succeeded, "
            f"{counted[2]} failed: {counted[3]}): records were lost; run the point again"
        )


def _or_none(seen: Observed) -> Window | None:
    try:
        return seen.whole
    except NotDefined:
        return None


def _metric(definition: Definition, seen: Observed) -> Metric:
    try:
        if definition.name in SCALARS:
            value = SCALARS[definition.name](seen)
            uncertainty = uncertainties.of_scalar(definition.name, value, seen)
            return Metric(unit=definition.unit, kind="scalar", value=value, uncertainty=uncertainty or None)
        if definition.name in POOLED:
            return POOLED[definition.name](definition, seen)
        return _of_requests(definition, seen)
    except NotDefined as why:
        return Metric(unit=definition.unit, kind=definition.kind, reason=str(why))


def _by_endpoint(seen: Observed) -> tuple[EndpointMeasurement, ...]:
    """The metrics of each endpoint; empty if there is only one."""
    columns = seen.columns
    endpoints = np.unique(columns.endpoint).tolist()
    if len(endpoints) < 2:
        return ()
    split = []
    for endpoint in endpoints:
        mine = columns.endpoint == endpoint
        metrics = {}
        for name in _BY_ENDPOINT:
            definition = DEFINITIONS[name]
            try:
                metrics[name] = _of_requests(definition, seen, mine)
            except NotDefined as why:
                metrics[name] = Metric(unit=definition.unit, kind=definition.kind, reason=str(why))
        split.append(
            EndpointMeasurement(
                endpoint=endpoint,
                issued=int(mine.sum()),
                succeeded=int((mine & seen.succeeded).sum()),
                failed=int((mine & columns.failed).sum()),
                metrics=metrics,
            )
        )
    return tuple(split)


def _values(name: str, seen: Observed, among: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """All values of a distribution (at least one), ascending. With `among`, only of these requests."""
    values, chosen = _rows(name, seen, among)
    values = values[chosen & ~np.isnan(values)]
    if not values.size:
        raise NotDefined(_EMPTY.get(name, "no request has a value for it"))
    values.sort()
    return values


def _rows(
    name: str, seen: Observed, among: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The value of each row, and which rows count. With `among`, only these requests."""
    if name in PER_ISSUE:
        return PER_ISSUE[name](seen), np.ones(len(seen.columns), dtype=np.bool_)
    chosen = seen.succeeded if among is None else seen.succeeded & among
    if not chosen.any():
        raise NotDefined("no request succeeded")
    return PER_REQUEST[name](seen), chosen


_BETWEEN_EVENTS = frozenset({"time_per_output_token", "output_token_throughput_per_user"})
"""Distributions that need a time between two content events."""


def _distribution(definition: Definition, ascending: NDArray[np.float64], note: str | None = None) -> Metric:
    values = statistics.describe(ascending)
    if definition.early_stopping:
        values |= {name: early_stopping.estimate(ascending, share) for name, share in EARLY_STOPPING.items()}
    return Metric(
        unit=definition.unit,
        kind="distribution",
        statistics=values,
        count=ascending.size,
        reasons={name: _too_few(name, ascending.size) for name, value in values.items() if value is None},
        note=note,
    )


def _of_requests(definition: Definition, seen: Observed, among: NDArray[np.bool_] | None = None) -> Metric:
    """A distribution over requests, with its uncertainties. With `among`, only of these requests."""
    note = seen.buffered_note if definition.name in _BETWEEN_EVENTS else None
    metric = _distribution(definition, _values(definition.name, seen, among), note)
    widths_of = uncertainties.OF_REQUESTS.get(definition.name) or uncertainties.OF_ISSUES.get(definition.name)
    if widths_of is None:
        return metric
    values, chosen = _rows(definition.name, seen, among)
    chosen = chosen & ~np.isnan(values)
    values, widths = values[chosen], widths_of(seen)[chosen]
    low, high = (
        _distribution(definition, np.sort(ends)).statistics for ends in (values - widths, values + widths)
    )
    return uncertainties.of_statistics(metric, low, high, squares=float(widths @ widths))


def _too_few(statistic: str, count: int) -> str:
    if statistic in EARLY_STOPPING:
        floor = early_stopping.minimum_requests(EARLY_STOPPING[statistic])
        return f"{count} succeeded requests have a value: the estimate needs {floor}"
    return statistics.SINGLE_VALUE


def _interval(name: str, confidence: float, seen: Observed) -> Interval | None:
    """The confidence interval of a metric as a bound names it; None if the metric has none."""
    method = interval_method(name)
    if method is None:
        return None
    try:
        low, high = _limits(method, name, confidence, seen)
    except NotDefined as why:
        return Interval(
            metric=name, confidence=confidence, low=None, high=None, method=method, reason=str(why)
        )
    return Interval(metric=name, confidence=confidence, low=low, high=high, method=method)


def _limits(method: IntervalMethod, name: str, confidence: float, seen: Observed) -> tuple[float, float]:
    """Lower and upper limit of the interval. Raises `NotDefined` if the requests are too few."""
    metric, _, statistic = name.partition(".")
    match method:
        case "order statistics":
            return percentile_interval(_in_order(metric, seen), PERCENTILES[statistic], confidence)
        case "batch means":
            return mean_interval(_in_order(metric, seen), confidence)
        case "Wilson":
            ended = seen.phase.succeeded + seen.phase.failed
            count = len(seen.columns) if metric == "good_request_fraction" else ended
            return _enough(intervals.wilson(round(SCALARS[metric](seen) * count), count, confidence))
        case "batch means of counts":
            chosen = good(seen) if metric == "goodput" else seen.succeeded
            window = seen.whole
            ends_ns = seen.columns.end_ns[chosen]
            return _enough(intervals.of_rate(ends_ns, window.start_ns, window.end_ns, confidence))


def _enough(pair: tuple[float, float] | None) -> tuple[float, float]:
    if pair is None:
        raise NotDefined("too few requests")
    return pair


def _in_order(name: str, seen: Observed) -> NDArray[np.float64]:
    """All values of a distribution (at least one), in the order of issue."""
    values, chosen = _rows(name, seen, None)
    chosen = chosen & ~np.isnan(values)
    if not chosen.any():
        raise NotDefined(_EMPTY.get(name, "no request has a value for it"))
    return values[chosen][np.argsort(seen.columns.send_start_ns[chosen], kind="stable")]
