"""Measures how late the simulator's own event loop is, so that its limits are not mistaken for those of a model."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator

from pytest_bench.clock import monotonic_ns
from pytest_bench.simulator.script import MILLISECOND

SERIES = "simulator_loop_lag_seconds"
LIMITS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_BEAT_NS = 10 * MILLISECOND


def bucket(limit_ms: int) -> str:
    """Name in `/metrics` of the series that counts checks at most `limit_ms` late, one of `LIMITS_MS`."""
    return f'{SERIES}_bucket{{le="{limit_ms / 1000:g}"}}'


class LoopLag:
    """Checks the loop every 10 ms while it is busy; has no cost while it is idle.

    A late check also counts the checks that were due meanwhile, each with its own delay, so that a share of checks is a
    share of time.
    """

    def __init__(self, busy: Callable[[], bool]) -> None:
        """`busy` returns whether requests are in flight."""
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        self._counts = [0] * (len(LIMITS_MS) + 1)
        self._sum_ns = 0
        self._due_ns = 0
        self._beating = False
        self._arrived = False

    def note_request(self) -> None:
        """Note that a request has arrived, so that the loop counts as busy at least until the next check."""
        self._arrived = True
        if not self._beating:
            self._beating = True
            self._arm()

    def lines(self) -> Iterator[str]:
        """The histogram `SERIES` in the Prometheus text format."""
        yield f"# HELP {SERIES} how late the event loop was, checked every 10 ms while it was busy"
        yield f"# TYPE {SERIES} histogram"
        total = 0
        for limit_ms, count in zip(LIMITS_MS, self._counts, strict=False):
            total += count
            yield f"{bucket(limit_ms)} {total}"
        total += self._counts[-1]
        yield f'{SERIES}_bucket{{le="+Inf"}} {total}'
        yield f"{SERIES}_sum {self._sum_ns / 1e9:.6f}"
        yield f"{SERIES}_count {total}"

    def _arm(self) -> None:
        self._due_ns = monotonic_ns() + _BEAT_NS
        self._loop.call_later(_BEAT_NS / 1e9, self._beat)

    def _beat(self) -> None:
        # The loop's timers count whole milliseconds and may be early by a part of one.
        late_ns = max(0, monotonic_ns() - self._due_ns)
        for missed_ns in range(late_ns, -1, -_BEAT_NS):
            self._counts[bisect_left(LIMITS_MS, missed_ns / MILLISECOND)] += 1
            self._sum_ns += missed_ns
        self._beating = self._arrived or self._busy()
        self._arrived = False
        if self._beating:
            self._arm()
