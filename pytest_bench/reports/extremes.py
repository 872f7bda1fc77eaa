"""The best and the worst value of a metric in each sweep of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_bench.metrics.definitions import DEFINITIONS
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.verdict.judge import SHOWN_UNCERTAINTY

BEST, WORST = "▲", "▼"
LEGEND = f"{BEST} best and {WORST} worst of a sweep; of several values in a cell, the last is compared"
_LEAST_POINTS = 3
"""Of two points each would be one or the other."""


def extremes(measurements: Mapping[str, Measurement], metric: str) -> dict[str, str]:
    """`BEST` or `WORST` by point, of the sweeps among `measurements` (by point) that have at least three values.

    A sweep has neither if its best and worst value differ by no more than their uncertainties, or by a hundredth.
    """
    marked: dict[str, str] = {}
    for points in _sweeps(measurements):
        values = [
            (value, point) for point in points if (value := _value(measurements[point], metric)) is not None
        ]
        if len(values) < _LEAST_POINTS:
            continue
        low, high = min(values), max(values)
        noise = sum(measurements[point].uncertainty(metric) for _, point in (low, high))
        if high[0] - low[0] <= max(noise, SHOWN_UNCERTAINTY * abs(high[0])):
            continue
        lower_is_better = DEFINITIONS[metric.partition(".")[0]].better == "lower"
        marked |= {low[1]: BEST if lower_is_better else WORST, high[1]: WORST if lower_is_better else BEST}
    return marked


def _sweeps(points: Mapping[str, object]) -> Iterator[Sequence[str]]:
    """The points of each sweep: those whose ids differ after the name only, as in `chat/perf/steady/c0008`."""
    groups: dict[str, list[str]] = {}
    for point in points:
        groups.setdefault("/".join(point.split("/")[:3]), []).append(point)
    yield from groups.values()


def _value(measurement: Measurement, metric: str) -> float | None:
    return measurement.value(metric) if metric.partition(".")[0] in measurement.metrics else None
