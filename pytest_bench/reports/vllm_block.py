"""Results of performance points in the shape of `vllm bench serve` (vllm/benchmarks/serve.py), with uncertainties."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_bench.metrics.measurement import Measurement
from pytest_bench.reports.tables import NOTHING, Row
from pytest_bench.results.summary import Summary

_WIDTH = 50
_LATENCIES = (
    ("Time to First Token", "TTFT", "time_to_first_token"),
    ("Time per Output Token (excl. 1st token)", "TPOT", "time_per_output_token"),
    ("Inter-token Latency", "ITL", "inter_token_latency"),
    ("End-to-end Latency", "E2EL", "request_latency"),
)
_STATISTICS = (("Mean", "mean"), ("Median", "p50"), ("P99", "p99"))


def vllm_blocks(rows: Sequence[Row]) -> Iterator[str]:
    """One block for each performance point that was measured. Latencies count from sending, as vLLM's do."""
    for point, summary in rows:
        if summary is not None and summary.detail.kind() == "perf" and summary.measurement is not None:
            yield f"{point.id}: {point.outcome.value}"
            yield from _block(summary, summary.measurement)
            yield ""


def _block(summary: Summary, measurement: Measurement) -> Iterator[str]:
    health = summary.phases[-1].health
    is_closed = health.achieved_share_p1 is None  # which only open-loop loads have
    yield " Serving Benchmark Result ".center(_WIDTH, "=")
    yield _line("Successful requests:", str(measurement.succeeded))
    yield _line("Failed requests:", str(measurement.failed))
    if health.asked is not None:
        name = "Maximum request concurrency:" if is_closed else "Request rate configured (RPS):"
        yield _line(name, f"{health.asked:g}" if is_closed else f"{health.asked:.2f}")
    duration = None if measurement.phase is None else measurement.phase.seconds
    yield _line("Benchmark duration (s):", NOTHING if duration is None else f"{duration:.2f}")
    yield _line("Total input tokens:", _total(measurement, "input_tokens"))
    yield _line("Total generated tokens:", _total(measurement, "output_tokens"))
    for title, name in (
        ("Request throughput (req/s):", "request_throughput"),
        ("Output token throughput (tok/s):", "output_token_throughput"),
        ("Total token throughput (tok/s):", "total_token_throughput"),
        ("Request goodput (req/s):", "goodput"),
    ):
        if name != "goodput" or measurement.value(name) is not None:
            yield _line(title, _number(measurement, name, 1.0))
    yield _line("Peak concurrent requests:", str(summary.phases[-1].peak_in_flight))
    for title, short, metric in _LATENCIES:
        if measurement.metrics[metric].reason is None:
            yield title.center(_WIDTH, "-")
            for word, statistic in _STATISTICS:
                yield _line(f"{word} {short} (ms):", _number(measurement, f"{metric}.{statistic}", 1e-6))
    yield "=" * _WIDTH


def _line(name: str, value: str) -> str:
    return f"{name:<40} {value:<10}".rstrip()


def _number(measurement: Measurement, name: str, factor: float) -> str:
    value, uncertainty = measurement.value(name), measurement.known_uncertainty(name)
    if value is None:
        return NOTHING
    return f"{value * factor:.2f}" + (f" ± {uncertainty * factor:.2f}" if uncertainty else "")


def _total(measurement: Measurement, name: str) -> str:
    mean, count = measurement.value(f"{name}.mean"), measurement.metrics[name].count
    return NOTHING if mean is None or count is None else str(round(mean * count))
