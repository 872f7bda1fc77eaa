"""Shares over windows of one second, which reveal a short saturation that the phase as a whole averages out."""

from __future__ import annotations

from array import array
from itertools import pairwise

WINDOW_NS = 1_000_000_000
"""Long enough to average over streams that end together, short enough to show a sustained problem."""


class Windows:
    """A running total and its possible maximum, divided into windows of `WINDOW_NS` of the maximum."""

    def __init__(self) -> None:
        self._marks = array("q", (0, 0))

    def due(self, most_ns: int) -> bool:
        """Whether the current window is complete when the maximum is `most_ns`."""
        return most_ns - self._marks[-2] >= WINDOW_NS

    def mark(self, most_ns: int, total_ns: int) -> None:
        """End the current window."""
        self._marks.extend((most_ns, total_ns))

    def shares(self, most_ns: int, total_ns: int) -> list[float]:
        """Share of each window, ascending, at the end.

        An incomplete window is merged into the last one. Empty if there are fewer than two windows, because the share
        of the whole phase is then sufficient.
        """
        marks = self._marks.tolist()
        if not self.due(most_ns):
            del marks[-2:]
        most, total = [*marks[::2], most_ns], [*marks[1::2], total_ns]
        shares = [
            (later - earlier) / (until - since)
            for (since, until), (earlier, later) in zip(pairwise(most), pairwise(total), strict=True)
        ]
        return sorted(shares) if len(shares) > 1 else []


def high(ascending: list[float]) -> float | None:
    """p99: the value that 99 % of windows do not exceed. Never the maximum of several. None for an empty list."""
    return ascending[_rank(ascending)] if ascending else None


def low(ascending: list[float]) -> float | None:
    """p1: the value that 99 % of windows reach. Never the minimum of several. None for an empty list."""
    return ascending[-1 - _rank(ascending)] if ascending else None


def _rank(ascending: list[float]) -> int:
    return (len(ascending) - 1) * 99 // 100
