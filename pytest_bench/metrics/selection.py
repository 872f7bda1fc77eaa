"""Exact statistics of values that do not fit in memory. The values are read several times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pytest_bench.metrics.definitions import PERCENTILES
from pytest_bench.metrics.statistics import lower_rank

Chunks = Callable[[], Iterable[NDArray[np.int64]]]
"""Reads all values from the start in bounded chunks. Every call yields the same values."""

_BITS_A_PASS = 16


class Moments:
    """Count, extremes, mean and spread of values seen a part at a time (Chan, Golub and LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.low = 0
        self.high = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, values: NDArray[np.int64], times: NDArray[np.int64] | None = None) -> None:
        """Add values, each `times` times (positive integers), or once."""
        if not values.size:
            return
        low, high = int(values.min()), int(values.max())
        self.low = low if self.count == 0 else min(self.low, low)
        self.high = high if self.count == 0 else max(self.high, high)
        size = values.size if times is None else int(times.sum())
        mean = float(np.average(values, weights=times))
        deviations = values - mean
        squares = float(deviations @ (deviations if times is None else deviations * times))
        count = self.count + size
        shift = mean - self.mean
        self._squares += squares + shift * shift * self.count * size / count
        self.mean += shift * size / count
        self.count = count

    @property
    def stddev(self) -> float | None:
        """Sample standard deviation (n - 1); None for fewer than two values."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else None


Times = NDArray[np.int64] | None


def _parts(chunks: Chunks, times: Chunks | None) -> Iterator[tuple[NDArray[np.int64], Times]]:
    if times is None:
        return ((chunk, None) for chunk in chunks())
    return zip(chunks(), times(), strict=True)


def moments(chunks: Chunks, times: Chunks | None = None) -> Moments:
    """One pass over all values."""
    result = Moments()
    for chunk, repeats in _parts(chunks, times):
        result.add(chunk, repeats)
    return result


def select(
    chunks: Chunks, ranks: Iterable[int], low: int, high: int, times: Chunks | None = None
) -> dict[int, int]:
    """The values at `ranks` (from 0) of all values in ascending order, which lie within [low, high].

    Each pass settles 16 more bits of every answer by counting, so a range of 4 s in nanoseconds takes two;
    memory is 2**16 counts a rank, whatever the number of values.
    """
    bits = (high - low).bit_length()
    # An answer's leading bits, as an offset from `low`, and its rank among the values that share them.
    found = {rank: (0, rank) for rank in ranks}
    while bits > 0:
        step = max(bits - _BITS_A_PASS, 0)
        prefixes = np.unique(np.array([prefix for prefix, _ in found.values()], dtype=np.uint64))
        below = np.cumsum(_count(chunks, times, prefixes, low, bits, step), axis=1)
        for rank, (prefix, inner) in found.items():
            row = below[np.searchsorted(prefixes, np.uint64(prefix))]
            digit = int(np.searchsorted(row, inner, side="right"))
            before = int(row[digit - 1]) if digit else 0
            found[rank] = (prefix << (bits - step)) | digit, inner - before
        bits = step
    return {rank: low + offset for rank, (offset, _) in found.items()}


def _count(
    chunks: Chunks, times: Chunks | None, prefixes: NDArray[np.uint64], low: int, bits: int, step: int
) -> NDArray[np.int64]:
    """For each prefix, the number of values with each next digit."""
    width = bits - step
    counts = np.zeros(prefixes.size << width, dtype=np.int64)
    # Unsigned arithmetic wraps around, so that offsets are right even across the whole of int64.
    base = np.int64(low).view(np.uint64)
    digit_mask = np.uint64((1 << width) - 1)
    for chunk, repeats in _parts(chunks, times):
        offsets = chunk.view(np.uint64) - base
        # A shift by 64 is undefined, and every value shares the empty prefix.
        lead = offsets >> np.uint64(bits) if bits < 64 else np.zeros_like(offsets)
        place = np.minimum(np.searchsorted(prefixes, lead), prefixes.size - 1)
        match = prefixes[place] == lead
        digits = (offsets[match] >> np.uint64(step)) & digit_mask
        cells = (place[match].astype(np.int64) << width) | digits.astype(np.int64)
        found = np.bincount(cells, None if repeats is None else repeats[match], minlength=counts.size)
        counts += found.astype(np.int64)
    return counts.reshape(prefixes.size, 1 << width)


def describe(chunks: Chunks, times: Chunks | None = None) -> tuple[int, dict[str, float | None]]:
    """Count and statistics, equal to `statistics.describe` of all values at once; count 0 has none.

    `times` reads in parts of the same sizes how often each value counts; None: once.
    """
    seen = moments(chunks, times)
    if seen.count == 0:
        return 0, {}
    ranks = {name: lower_rank(seen.count, share) for name, share in PERCENTILES.items()}
    values = select(chunks, set(ranks.values()), seen.low, seen.high, times)
    return seen.count, {
        "min": float(seen.low),
        "max": float(seen.high),
        "mean": seen.mean,
        "stddev": seen.stddev,
        **{name: float(values[rank]) for name, rank in ranks.items()},
    }
