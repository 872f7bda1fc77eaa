"""Responses that are complete and wait to be settled: decoded and written down.

Settling one costs as much as a hundred reads, and the place of a stream that ends meanwhile would stay empty as long.
So it waits for turns of the loop that had little else to do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from pytest_bench.load.exchange import Exchange
from pytest_bench.load.loop import Loop

_IDLE_TURN_NS = 50_000
"""A turn of the loop that took longer had reads to do, and the next may have, too."""
_SPELL_NS = 100_000
"""How long a turn may go on settling."""
_OLD_NS = 1_000_000_000
"""Nothing waits longer for such a turn: on a machine that never has one, the phase would not end."""
_FEW = 32
"""As many may always wait."""


class Backlog:
    """Calls `settle(exchange)` for everything that it took on, oldest first, when there is time."""

    def __init__(self, loop: Loop, settle: Callable[[Exchange], None]) -> None:
        self._loop = loop
        self._settle = settle
        self._waiting: deque[Exchange] = deque()
        self._room = _FEW
        self._turn_over_ns = 0

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._waiting)

    def add(self, exchange: Exchange, peak_in_flight: int) -> None:
        """Take on a complete response. No more wait than `peak_in_flight`, or a few."""
        self._turn_over_ns = 0  # a turn that brings a response is not idle
        self._waiting.append(exchange)
        if len(self._waiting) == 1:
            self._loop.soon(self._settle_some)
        self._room = max(_FEW, peak_in_flight)

    def _settle_some(self) -> None:
        waiting = self._waiting
        while len(waiting) > self._room:
            # The loop has no idle time. What came last is still in the processor's cache.
            self._settle(waiting.pop())
        begun_ns = now_ns = time.monotonic_ns()
        old = begun_ns - waiting[0].end_ns > _OLD_NS
        if old or begun_ns - self._turn_over_ns < _IDLE_TURN_NS:
            while waiting and now_ns - begun_ns < _SPELL_NS:
                self._settle(waiting.popleft())
                now_ns = time.monotonic_ns()
        if waiting:
            self._turn_over_ns = now_ns
            self._loop.soon(self._settle_some)
