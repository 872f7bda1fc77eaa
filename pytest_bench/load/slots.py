"""The concurrency slots of a closed loop that wait for their next request."""

from __future__ import annotations

from collections import deque


class Slots:
    """The time since which each empty slot has been empty, oldest first."""

    def __init__(self) -> None:
        self._empty: deque[tuple[int, bool]] = deque()

    def release(self, since_ns: int, *, answered: bool) -> None:
        """A request ended and left its slot. `answered`: it did not fail, so the wait is client turnaround."""
        self._empty.append((since_ns, answered))

    def take(self) -> int | None:
        """Take a slot. Returns the time since which the client has left it empty, None if the client did not."""
        if not self._empty:
            return None
        since_ns, answered = self._empty.popleft()
        return since_ns if answered else None

    def limit(self, count: int) -> None:
        """Keep at most `count` empty slots, dropping those that have waited longest."""
        while len(self._empty) > max(0, count):
            self._empty.popleft()
