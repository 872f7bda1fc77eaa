"""Queue of complete responses that are still to be decoded and logged.

Decoding one response costs as much as a hundred reads, and during that time the slot of a stream that ends would stay
empty. So responses are decoded in turns of the loop that have little else to do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from pytest_bench.load.exchange import Exchange
from pytest_bench.load.loop import Loop

_IDLE_TURN_NS = 50_000
"""A turn that took longer had sockets to read, and the next turn may have some, too."""
_SPELL_NS = 100_000
"""Time limit for decoding in one turn."""
_OLD_NS = 1_000_000_000
"""A response that has waited longer is decoded even if no turn is idle; otherwise the phase might never end."""
_FEW = 32
"""This many responses may always wait."""


class DecodeQueue:
    """Calls `decode(exchange)` for every response added, oldest first, when the loop is idle."""

    def __init__(self, loop: Loop, decode: Callable[[Exchange], None]) -> None:
        self._loop = loop
        self._decode = decode
        self._waiting: deque[Exchange] = deque()
        self._room = _FEW
        self._turn_over_ns = 0

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._waiting)

    def add(self, exchange: Exchange, peak_in_flight: int) -> None:
        """Add a complete response. At most `peak_in_flight` responses wait, or `_FEW` if that is more."""
        self._turn_over_ns = 0  # a turn in which a response completes is not idle
        self._waiting.append(exchange)
        if len(self._waiting) == 1:
            self._loop.soon(self._decode_some)
        self._room = max(_FEW, peak_in_flight)

    def _decode_some(self) -> None:
        waiting = self._waiting
        while len(waiting) > self._room:
            # The loop has no idle time. The newest response is still in the processor's cache.
            self._decode(waiting.pop())
        begun_ns = now_ns = time.monotonic_ns()
        old = begun_ns - waiting[0].end_ns > _OLD_NS
        if old or begun_ns - self._turn_over_ns < _IDLE_TURN_NS:
            while waiting and now_ns - begun_ns < _SPELL_NS:
                self._decode(waiting.popleft())
                now_ns = time.monotonic_ns()
        if waiting:
            self._turn_over_ns = now_ns
            self._loop.soon(self._decode_some)
