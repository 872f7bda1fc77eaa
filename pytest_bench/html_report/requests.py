"""The requests of a performance point as curves: cumulative distributions of latency, and a time line."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pytest_bench.bounds import SCHEDULED
from pytest_bench.comparison.sessions import Session
from pytest_bench.endpoints.scrape import METRICS_LOG, read_readings
from pytest_bench.load.log import read_records
from pytest_bench.metrics.columns import read_columns
from pytest_bench.metrics.formulas import PER_REQUEST
from pytest_bench.metrics.observed import NotDefined, Observed
from pytest_bench.metrics.token_counts import ABSENT
from pytest_bench.metrics.token_source import choose
from pytest_bench.records import PhaseResult
from pytest_bench.results.summary import Summary
from pytest_bench.running.counting import read_counted
from pytest_bench.suite.plan import Point

Floats = NDArray[np.float64]

LATENCIES = {
    "time_to_first_token": "TTFT",
    "time_per_output_token": "TPOT",
    "request_latency": "latency",
}
"""Latencies that are drawn. Under open-loop load, those that count from the scheduled time take their place."""

_LEVELS = np.concatenate([np.linspace(0.0, 0.99, 100), [0.992, 0.994, 0.996, 0.998, 0.999, 1.0]])
_MOST_VALUES = 200
"""Values beyond which a distribution is drawn at `_LEVELS` only."""
_BINS, _FEWEST_BINS = 120, 20
_MOST_SERIES = 6
_GAUGE = re.compile(
    r"running|waiting|in_flight|queue|cache_usage|usage_perc|token_usage|swapped|utili[sz]ation"
)
_NO_GAUGE = re.compile(r"_(bucket|sum|count|total|created|peak)(\{|$)")
_SHORTEST_SERIES = 3
"""Readings of a server's metrics below which there is nothing to draw."""


class Bins(NamedTuple):
    """A time line of a point. Times are seconds from the start of the measured phase."""

    width_s: float
    rows: list[dict[str, Any]]
    """`t`, `in_flight`, `completed` and `failed` per second, `median_ms` and `largest_ms` of `latency`."""
    latency: str
    """TTFT, or the end-to-end latency of answers that are not streamed."""


def observe(session: Session, point: Point, phase: PhaseResult, scratch: Path) -> Observed:
    """One phase of a point from its logs. Raises `EvidenceError` for damaged logs."""
    if point.load is None:
        raise NotDefined("the point has no load")
    folder = session.point_folder(point.id) / phase.folder
    deployment = session.plan.deployments[point.suite]
    columns = read_columns(read_records(folder), scratch=scratch)
    counted = read_counted(folder)
    return Observed(
        columns=columns,
        phase=msgspec.structs.replace(phase, folder=str(folder)),
        load=point.load,
        tokens=choose(
            columns,
            counted.tokens,
            rule=deployment.tokens.count,
            ignore_eos=deployment.parameters.get("ignore_eos") is True,
            unfinished=counted.unfinished,
        ),
        no_steady_state="it is not drawn",
        slo=(),
        asked_output_tokens=None,
        video_seconds=None,
    )


def drawn_latencies(point: Point) -> dict[str, str]:
    """The latencies that are drawn of a point: metric and short name."""
    open_loop = point.load is not None and point.load.open_loop
    return {
        (SCHEDULED.get(name, name) if open_loop else name): (
            f"scheduled {short}" if open_loop and name in SCHEDULED else short
        )
        for name, short in LATENCIES.items()
    }


def distributions(point: Point, seen: Observed) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """Short name of each latency, and points of its cumulative distribution: `ms`, and `share` in percent."""
    for name, short in drawn_latencies(point).items():
        try:
            values = PER_REQUEST[name](seen)[seen.succeeded]
        except NotDefined:
            continue
        values = np.sort(values[~np.isnan(values)]) / 1e6
        places = np.arange(values.size)
        if values.size > _MOST_VALUES:
            places = np.unique(np.ceil(_LEVELS * values.size).astype(np.int64).clip(1) - 1)
        if values.size:
            yield (
                short,
                [
                    {"ms": shorter(float(values[place])), "share": shorter(100 * (place + 1) / values.size)}
                    for place in places.tolist()
                ],
            )


def time_line(phases: Sequence[Observed]) -> Bins | None:
    """The time line over all phases of a point, of which the last is measured; None if no request was sent."""
    with_rows = [seen for seen in phases if len(seen.columns)]
    if not with_rows:
        return None
    zero = phases[-1].phase.start_ns

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(seen.columns, name) for seen in with_rows]).astype(np.float64)

    sent, ended = (joined("send_start_ns") - zero) / 1e9, (joined("end_ns") - zero) / 1e9
    first_ns = joined("first_content_ns")
    streamed = bool((first_ns != ABSENT).any())
    until = np.where(first_ns != ABSENT, (first_ns - zero) / 1e9, np.nan) if streamed else ended
    succeeded = np.concatenate([seen.succeeded for seen in with_rows])
    failed = np.concatenate([seen.columns.failed for seen in with_rows])
    edges = _edges(float(sent.min()), float(ended.max()), bins=min(_BINS, max(_FEWEST_BINS, sent.size // 4)))
    width = float(edges[1] - edges[0])
    in_flight = np.diff(_in_flight_integral(edges, sent, ended)) / width
    completed = np.histogram(ended[succeeded], edges)[0] / width
    failures = np.histogram(ended[failed], edges)[0] / width
    waited = (until - sent) * 1e3
    usable = succeeded & ~np.isnan(waited)
    place = np.digitize(sent[usable], edges) - 1
    rows = []
    for number, start in enumerate(edges[:-1]):
        own = waited[usable][place == number]
        rows.append(
            {
                "t": shorter(float(start) + width / 2),
                "in_flight": shorter(float(in_flight[number])),
                "completed": shorter(float(completed[number])),
                "failed": shorter(float(failures[number])),
                "median_ms": shorter(float(np.median(own))) if own.size else None,
                "largest_ms": shorter(float(own.max())) if own.size else None,
            }
        )
    return Bins(width, rows, "TTFT" if streamed else "latency")


def _edges(start: float, end: float, *, bins: int) -> Floats:
    """At most `bins` bins of a round width; one begins at 0, where the measured phase starts."""
    raw = max(end - start, 1e-6) / bins
    size = 10.0 ** math.floor(math.log10(raw))
    width = next(step * size for step in (1, 2, 5, 10) if step * size >= raw)
    return np.arange(math.floor(start / width), math.ceil(end / width) + 1, dtype=np.float64) * width


def _in_flight_integral(edges: Floats, sent: Floats, ended: Floats) -> Floats:
    """At each edge, the integral of the requests in flight until then."""
    integral = np.zeros(edges.size)
    for times, sign in ((np.sort(sent), 1.0), (np.sort(ended), -1.0)):
        sums = np.concatenate([[0.0], np.cumsum(times)])
        before = np.searchsorted(times, edges)
        integral += sign * (before * edges - sums[before])
    return integral


def server_series(session: Session, point: Point, summary: Summary) -> list[dict[str, Any]]:
    """Gauges that the servers report themselves, over time: `series`, `t`, `value`. Empty if they were not followed.

    Raises `EvidenceError` for damaged logs.
    """
    zero = summary.phases[-1].start_ns
    by_series: dict[str, list[tuple[float, float]]] = {}
    for phase in summary.phases:
        folder = session.point_folder(point.id) / phase.folder
        paths = sorted(folder.glob(f"{METRICS_LOG}.*.jsonl"))
        for number, path in enumerate(paths):
            for reading in read_readings(path):
                for name, value in _gauges(reading.samples or {}):
                    shown = f"{name} ({number})" if len(paths) > 1 else name
                    by_series.setdefault(shown, []).append(((reading.answered_ns - zero) / 1e9, value))
    long = {
        name: values
        for name, values in by_series.items()
        if len(values) >= max(_SHORTEST_SERIES, 2 * len(summary.phases) + 1)
    }
    bare = Counter(_without_labels(name) for name in long)
    return [
        {
            "series": _without_labels(name) if bare[_without_labels(name)] == 1 else name,
            "t": shorter(time),
            "value": shorter(value),
        }
        for name, values in list(long.items())[:_MOST_SERIES]
        for time, value in values[:: max(1, len(values) // (4 * _BINS))]
    ]


def _gauges(samples: Mapping[str, float | None]) -> Iterator[tuple[str, float]]:
    for series, value in samples.items():
        if value is not None and _GAUGE.search(series) and not _NO_GAUGE.search(series):
            yield series, value


def _without_labels(series: str) -> str:
    return series.partition("{")[0]


def shorter(value: float) -> float:
    """The number with five significant digits, which is more than a plot shows."""
    return float(f"{value:.5g}")
