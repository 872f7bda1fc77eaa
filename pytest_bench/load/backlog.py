"""Responses that are complete and wait to be settled: decoded and written down.

Settling one costs as much as a hundred reads, and streams that end together would hold up the stamps of those
that go on. So it waits for turns of the event loop that had little else to do.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from pytest_bench.load.exchange import Exchange

_IDLE_TURN_NS = 50_000
"""A turn of the loop that took longer had reads to do, and the next may have, too."""
_SPELL_NS = 100_000
"""How long a turn may go on settling."""
_OLD_NS = 1_000_000_000
"""Nothing waits longer for such a turn: on a machine that never has one, the phase would not end."""
_FEW = 32
"""As many may always wait."""
_SHARE_AT_ONCE = 16
"""One of so many of the places in flight may be free until the next requests go out together: each that goes alone
wakes the server."""


class Backlog:
    """Calls `settle(exchange, end_ns)` for everything that it took on, oldest first, when there is time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settle: Callable[[Exchange, int], None]) -> None:
        self._loop = loop
        self._settle = settle
        self._waiting: deque[tuple[Exchange, int]] = deque()
        self._room = _FEW
        self._turn_over_ns = 0

    def add(self, exchange: Exchange, end_ns: int, peak_in_flight: int) -> bool:
        """Take on a response. True where more wait than there ever were in flight: then the loop has no idle time,
        and whoever adds should let the next requests go out, and `make_room`."""
        self._turn_over_ns = 0  # a turn that brings a response is not idle: the next request goes first
        self._waiting.append((exchange, end_ns))
        if len(self._waiting) == 1:
            self._loop.call_soon(self._settle_some)
        self._room = max(_FEW, peak_in_flight)
        return len(self._waiting) >= self._room + max(1, peak_in_flight // _SHARE_AT_ONCE)

    def make_room(self) -> None:
        """Settle what came last, while its bytes are in the processor's cache."""
        while len(self._waiting) > self._room:
            self._settle(*self._waiting.pop())

    def _settle_some(self) -> None:
        begun_ns = now_ns = time.monotonic_ns()
        old = begun_ns - self._waiting[0][1] > _OLD_NS
        if old or begun_ns - self._turn_over_ns < _IDLE_TURN_NS:
            while self._waiting and now_ns - begun_ns < _SPELL_NS:
                self._settle(*self._waiting.popleft())
                now_ns = time.monotonic_ns()
        if self._waiting:
            self._turn_over_ns = now_ns
            self._loop.call_soon(self._settle_some)
