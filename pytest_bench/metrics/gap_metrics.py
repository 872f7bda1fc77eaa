"""Metrics of the gaps between events and between tokens, pooled over all streams of a phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics import selection, uncertainties
from pytest_bench.metrics.columns import Columns, gaps_of
from pytest_bench.metrics.definitions import Definition
from pytest_bench.metrics.gaps import End, Ints
from pytest_bench.metrics.measurement import Metric
from pytest_bench.metrics.observed import NotDefined, Observed
from pytest_bench.metrics.statistics import SINGLE_VALUE
from pytest_bench.metrics.token_counts import ABSENT

LEAST_PROVEN = 0.9
"""Share of streams whose tokens per event must be known for `inter_token_latency`."""


def _pool(
    definition: Definition,
    gaps: Callable[[End], Iterator[Ints]],
    note: str | None = None,
    *,
    times: selection.Chunks | None = None,
    certain: bool,
    most: float | None = None,
) -> Metric:
    """A distribution of gaps. `gaps` reads them, or their limits, and `times` how often each counts. `certain`: no gap
    has limits. `most`: uncertainty of the mean, if it is known to be smaller than that of its gaps."""
    count, values = selection.describe(lambda: gaps("value"), times)
    if not count:
        raise NotDefined("no succeeded request delivered content in more than one event")
    metric = Metric(
        unit=definition.unit,
        kind="distribution",
        statistics=values,
        count=count,
        reasons={"stddev": SINGLE_VALUE} if count == 1 else {},
        note=note,
    )
    if certain:
        return uncertainties.of_statistics(metric, values, values, squares=0.0)
    _, low = selection.describe(lambda: gaps("low"), times)
    _, high = selection.describe(lambda: gaps("high"), times)
    found = uncertainties.of_statistics(metric, low, high, squares=_squares(gaps, times))
    if most is not None:
        found.uncertainties["mean"] = most
    return found


def _squares(gaps: Callable[[End], Iterator[Ints]], times: selection.Chunks | None) -> float:
    """Sum of the squares of the largest error of every gap."""
    total = 0.0
    repeated = times() if times is not None else map(np.ones_like, gaps("value"))
    for low, value, high, repeats in zip(gaps("low"), gaps("value"), gaps("high"), repeated, strict=True):
        widths = np.maximum(value - low, high - value).astype(np.float64)
        total += float(widths @ (widths * repeats))
    return total


def _inter_chunk_latency(definition: Definition, seen: Observed) -> Metric:
    columns = seen.columns
    pooled = columns.gap_count > 0
    return _pool(
        definition,
        columns.gaps.chunks,
        seen.buffered_note,
        certain=columns.gaps.certain,
        most=_of_sums(columns, pooled) / max(1, int(columns.gap_count.sum())),
    )


def _of_sums(columns: Columns, streams: NDArray[np.bool_]) -> float:
    """Uncertainty of the sum of all gaps of `streams`: those of one stream end with its last event and begin with its
    first, whatever lies between."""
    return float(
        max(
            columns.first_content_uncertainty_ns[streams].sum(),
            columns.last_content_uncertainty_ns[streams].sum(),
        )
    )


def _inter_token_latency(definition: Definition, seen: Observed) -> Metric:
    columns = seen.columns
    left_out = seen.buffered_note
    streams = columns.gap_count > 0
    reported = streams & (columns.first_event_tokens != ABSENT)
    single = streams & ~reported & seen.one_token_per_event
    total, known = int(streams.sum()), int((reported | single).sum())
    if known < LEAST_PROVEN * total:
        if seen.uncounted is not None and not known:
            raise NotDefined(seen.uncounted)
        raise NotDefined(
            f"the tokens of single events are known for {known} of {total} streams, {LEAST_PROVEN:.0%} are needed: "
            "the server reports no usage with every event, and one token per event is not proven"
        )

    def gaps(end: End) -> Iterator[Ints]:
        yield from columns.token_gaps.chunks(end)
        yield from gaps_of(columns, single, end)

    def times() -> Iterator[Ints]:
        yield from columns.token_gap_times.chunks()
        yield from map(np.ones_like, gaps_of(columns, single))

    rules = [
        f"in {int(reported.sum())} of {total} streams the server reports the tokens of every event"
        if reported.any()
        else "",
        f"in {int(single.sum())} of {total} streams one token per event is proven" if single.any() else "",
        left_out or "",
    ]
    return _pool(
        definition,
        gaps,
        "; ".join(filter(None, rules)),
        times=times,
        certain=not (columns.limited & (reported | single)).any(),
        most=None
        if reported.any()
        else _of_sums(columns, single) / max(1, int(columns.gap_count[single].sum())),
    )


POOLED: dict[str, Callable[[Definition, Observed], Metric]] = {
    "inter_chunk_latency": _inter_chunk_latency,
    "inter_token_latency": _inter_token_latency,
}
"""Distributions over the gaps of all streams. The functions raise `NotDefined`."""
