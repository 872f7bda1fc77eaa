"""Shares of a phase, window by window: seconds that were full, where the phase as a whole evens them out."""

from __future__ import annotations

from array import array
from itertools import pairwise

WINDOW_NS = 1_000_000_000
"""Long enough that streams which end together do not make one, short enough to show what lasted."""


class Windows:
    """A running total beside the most that it could have come to, cut each time the latter has grown by a window."""

    def __init__(self) -> None:
        self._marks = array("q", (0, 0))

    def due(self, most_ns: int) -> bool:
        """Whether a window is over when the most has come to this."""
        return most_ns - self._marks[-2] >= WINDOW_NS

    def mark(self, most_ns: int, total_ns: int) -> None:
        """A window ends here."""
        self._marks.extend((most_ns, total_ns))

    def shares(self, most_ns: int, total_ns: int) -> list[float]:
        """The share of each window, ascending, when all is over. What was left in the end joins the last window;
        what does not make two is not cut: the whole says it all."""
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
    """p99: what 99 % of windows do not exceed, and never the highest. None of nothing."""
    return ascending[_rank(ascending)] if ascending else None


def low(ascending: list[float]) -> float | None:
    """p1: what 99 % of windows reach, and never the lowest. None of nothing."""
    return ascending[-1 - _rank(ascending)] if ascending else None


def _rank(ascending: list[float]) -> int:
    return (len(ascending) - 1) * 99 // 100
