"""The places of a closed loop that wait for their next request."""

from __future__ import annotations

from collections import deque


class Places:
    """Since when each place is empty, the one that has waited longest first."""

    def __init__(self) -> None:
        self._empty: deque[tuple[int, bool]] = deque()

    def left(self, since_ns: int, *, answered: bool) -> None:
        """A request left its place. `answered`: it did not fail, so that what follows is the client's turnaround."""
        self._empty.append((since_ns, answered))

    def take(self) -> int | None:
        """Since when the place that the next request takes was empty because of the client; None where it was not."""
        if not self._empty:
            return None
        since_ns, answered = self._empty.popleft()
        return since_ns if answered else None

    def keep(self, count: int) -> None:
        """No more than `count` places will be taken: forget those that have waited longest."""
        while len(self._empty) > max(0, count):
            self._empty.popleft()
