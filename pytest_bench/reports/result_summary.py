"""The summary of a performance run in the form of mlcommons/endpoints (`metrics/report.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_bench import __version__
from pytest_bench.bounds import SCHEDULED
from pytest_bench.errors import EvidenceError
from pytest_bench.metrics import early_stopping
from pytest_bench.metrics.columns import Columns
from pytest_bench.metrics.definitions import EARLY_STOPPING, PERCENTILES
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.statistics import describe, loadgen_percentile
from pytest_bench.metrics.token_counts import ABSENT, Lengths
from pytest_bench.workload import OPEN_LOOP, Load

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Series = dict[str, Any]


def result_summary(
    measurement: Measurement,
    load: Load,
    columns: Columns,
    lengths: Lengths | None,
    labels: Iterable[str] = (),
) -> dict[str, Any]:
    """The content of `result_summary.json`. Times are in nanoseconds, rates per second.

    `columns` are the records of the measured phase, `lengths` their token counts, as `measurement` used them, or None.
    Each series holds percentiles by our rule (the lower neighbour), `loadgen_percentiles` by LoadGen's
    (`sorted[int(n * p)]`) and early-stopping estimates. `tpot` divides by the tokens after the first chunk, as
    mlcommons/endpoints does; `tpot_loadgen` divides the same time by all tokens but one, as LoadGen (`logging.cc`) and
    vLLM's benchmark do. In open loop, `qps` and `tps` are those of LoadGen's Server scenario, over one window: from the
    first issue to the completion of the last issued request.

    Raises `EvidenceError` if the records or token counts are not those of the measurement.
    """
    server = load.pattern in OPEN_LOOP
    done = columns.succeeded
    first_ns, last_ns = columns.first_content_ns[done], columns.last_content_ns[done]
    start_ns = (columns.scheduled_ns if server else columns.send_start_ns)[done]
    streamed, answered = first_ns != ABSENT, last_ns != ABSENT
    window = measurement.phase

    def series(name: str, values: Ints | Floats) -> Series:
        metric = measurement.metrics[SCHEDULED.get(name, name) if server else name]
        if metric.reason is not None or not metric.statistics:
            return {}
        found = _series(np.sort(values.astype(np.float64)))
        if (values.size, found["avg"]) != (metric.count, metric.statistics["mean"]):
            raise EvidenceError(
                f"{name}: {values.size} values with a mean of {found['avg']} in the request log, {metric.count} with "
                f"{metric.statistics['mean']} in the measurement; verify the results folder"
            )
        return found

    summary: dict[str, Any] = {
        "version": __version__,
        "labels": list(labels),
        "n_samples_issued": measurement.issued,
        "n_samples_completed": measurement.succeeded,
        "n_samples_failed": measurement.failed,
        "duration_ns": None if window is None else window.end_ns - window.start_ns,
        "state": "complete",
        "complete": True,
        "qps": measurement.value("server_scenario_throughput" if server else "request_throughput"),
        "tps": measurement.value("output_token_throughput"),
        "latency": series("request_latency", (last_ns - start_ns)[answered]),
        "ttft": series("time_to_first_token", (first_ns - start_ns)[streamed]),
        "tpot": {},
        "tpot_loadgen": {},
        "output_sequence_lengths": {},
    }
    if lengths is not None:
        output, first_event = lengths.output[done], lengths.first_event[done]
        # Content that arrived all at once has no measurable time per token.
        timed = streamed & (last_ns > first_ns) & (output != ABSENT) & (first_event != ABSENT)
        summary["output_sequence_lengths"] = series("output_tokens", output)
        summary["tpot"] = series(
            "time_per_output_token", _per(last_ns - first_ns, output - first_event, timed)
        )
        if summary["tpot"]:
            summary["tpot_loadgen"] = _series(np.sort(_per(last_ns - first_ns, output - 1, timed)))
    if server:
        window_ns = _loadgen_window_ns(columns)
        summary["legacy_loadgen_window_duration_ns"] = window_ns
        if summary["tps"] is not None:
            summary["tps"] = summary["output_sequence_lengths"]["total"] / (window_ns / 1e9)
    return summary


def _loadgen_window_ns(columns: Columns) -> int:
    """From the first issue to the completion of the last issued request (LoadGen, `results.cc`)."""
    last_issued = np.lexsort((columns.index, columns.send_start_ns))[-1]
    return int(columns.end_ns[last_issued] - columns.send_start_ns.min())


def _per(durations: Ints, tokens: Ints, timed: NDArray[np.bool_]) -> Floats:
    """Durations per token, where there is a token."""
    counted = timed & (tokens > 0)
    per_token: Floats = durations[counted] / tokens[counted]
    return per_token


def _key(name: str) -> str:
    """Percentile keys of mlcommons/endpoints: p99 is `99.0`."""
    return str(float(name[1:]))


def _series(ascending: Floats) -> Series:
    """The distribution of at least one value."""
    found = describe(ascending)
    return {
        "total": float(np.sum(ascending)),
        "min": found["min"],
        "max": found["max"],
        "avg": found["mean"],
        "median": found["p50"],
        "std_dev": found["stddev"],
        "percentiles": {_key(name): found[name] for name in PERCENTILES},
        "early_stopping_percentiles": {
            _key(name.removeprefix("early_stopping_")): early_stopping.estimate(ascending, share)
            for name, share in EARLY_STOPPING.items()
        },
        "loadgen_percentiles": {
            _key(name): loadgen_percentile(ascending, share) for name, share in PERCENTILES.items()
        },
    }
