"""The summary of a performance run in the form of mlcommons/endpoints (`metrics/report.py`)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_bench import __version__
from pytest_bench.bounds import SCHEDULED
from pytest_bench.errors import EvidenceError
from pytest_bench.metrics import early_stopping
from pytest_bench.metrics.definitions import EARLY_STOPPING, PERCENTILES
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.statistics import describe, loadgen_percentile
from pytest_bench.metrics.token_counts import ABSENT, TokenCounts, request_key
from pytest_bench.records import RequestRecord
from pytest_bench.workload import OPEN_LOOP, Load

Floats = NDArray[np.float64]
Series = dict[str, Any]


def result_summary(
    measurement: Measurement,
    load: Load,
    records: Iterable[RequestRecord],
    tokens: TokenCounts | None,
    labels: Iterable[str] = (),
) -> dict[str, Any]:
    """The content of `result_summary.json`. Times are in nanoseconds, rates per second.

    `tokens` are the counts of the records, or None if none were counted. Each series holds percentiles by our rule
    (the lower neighbour), `loadgen_percentiles` by LoadGen's (`sorted[int(n * p)]`) and early-stopping estimates.
    `tpot` divides by the tokens after the first chunk, as mlcommons/endpoints does; `tpot_loadgen` divides by all
    tokens but one, as LoadGen (`logging.cc`) and vLLM's benchmark do. In open loop, `qps` and `tps` are those of
    LoadGen's Server scenario, over one window: from the first issue to the completion of the last issued request.

    Raises `EvidenceError` if the records and the measurement disagree.
    """
    server = load.pattern in OPEN_LOOP
    seen = _Collected(records, server=server)
    window = measurement.phase
    lengths = None if tokens is None else tokens.of(np.asarray(seen.keys, dtype=np.int64))
    output = None if lengths is None else lengths.output[lengths.output != ABSENT]

    def series(name: str, values: Floats | None) -> Series:
        metric = measurement.metrics[SCHEDULED.get(name, name) if server else name]
        if metric.reason is not None or not metric.statistics or values is None or not values.size:
            return {}
        if metric.count is not None and metric.count != values.size:
            raise EvidenceError(
                f"{name}: the measurement holds {metric.count} values, the request log {values.size}; "
                "the evidence is inconsistent"
            )
        return _series(values)

    tpot: Series = {}
    tpot_loadgen: Series = {}
    if lengths is not None:
        counted = (lengths.output != ABSENT) & (lengths.first_event != ABSENT)
        after_chunk = np.where(counted, lengths.output - lengths.first_event, 0)
        tpot = series("time_per_output_token", _per_token(seen.streaming, after_chunk))
        if tpot:
            after_token = np.where(counted, lengths.output - 1, 0)
            tpot_loadgen = _series(_per_token(seen.streaming, after_token))
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
        "latency": series("request_latency", _floats(seen.latencies)),
        "ttft": series("time_to_first_token", _floats(seen.firsts)),
        "tpot": tpot,
        "tpot_loadgen": tpot_loadgen,
        "output_sequence_lengths": series("output_tokens", None if output is None else _floats(output)),
    }
    if server:
        summary["legacy_loadgen_window_duration_ns"] = seen.window_ns
        if summary["tps"] is not None and output is not None:
            summary["tps"] = int(output.sum()) / (seen.window_ns / 1e9)
    return summary


class _Collected:
    """What the summary needs of the records, in columns."""

    def __init__(self, records: Iterable[RequestRecord], *, server: bool) -> None:
        self.latencies = array("q")
        self.firsts = array("q")
        self.keys = array("q")
        """Of requests that succeeded."""
        self.streaming = array("q")
        """Time from first to last content of the same requests, `ABSENT` without a stream."""
        starts: list[int] = []
        last: tuple[int, int, int] = (0, -1, 0)
        for record in records:
            starts.append(record.send_start_ns)
            last = max(last, (record.send_start_ns, record.index, record.end_ns))
            if record.outcome != "succeeded":
                continue
            scheduled = record.scheduled_ns if server else None
            start_ns = record.send_start_ns if scheduled is None else scheduled
            first_ns, last_ns = record.first_content_ns, record.last_content_ns or record.end_ns
            self.latencies.append(last_ns - start_ns)
            self.keys.append(request_key(record.request_id))
            self.streaming.append(ABSENT if first_ns is None else last_ns - first_ns)
            if first_ns is not None:
                self.firsts.append(first_ns - start_ns)
        self.window_ns = last[2] - min(starts, default=0)
        """From the first issue to the completion of the last issued request."""


def _floats(values: array[int] | NDArray[np.int64]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _per_token(streaming: array[int], later: NDArray[np.int64]) -> Floats:
    """Time per token of the streams that have `later` tokens."""
    durations = np.asarray(streaming, dtype=np.int64)
    counted = (durations != ABSENT) & (later > 0)
    per_token: Floats = durations[counted] / later[counted]
    return per_token


def _key(name: str) -> str:
    """Percentile keys of mlcommons/endpoints: p99 is `99.0`."""
    return str(float(name[1:]))


def _series(values: Floats) -> Series:
    """The distribution of at least one value."""
    ascending = np.sort(values)
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
