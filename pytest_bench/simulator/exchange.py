"""One request for output: it waits for a slot, its script is played, and what happened is recorded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

from pytest_bench.clock import monotonic_ns
from pytest_bench.simulator.connection import Connection
from pytest_bench.simulator.script import MILLISECOND, Script
from pytest_bench.simulator.truth import TruthRecord


class Waiter(Protocol):
    """Waits for a slot."""

    def serve(self) -> None:
        """Use the slot, and free it when done."""


class Slots:
    """Counts requests in flight and serves them in order."""

    def __init__(self, limit: int) -> None:
        """Serve at most `limit` requests at once; 0 means all."""
        self.in_flight = 0
        self.peak = 0
        self._limit = limit
        self._serving = 0
        self._admitting = False
        self._waiting: deque[Waiter] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def arrive(self) -> int:
        """Count a request as in flight; return the number in flight, including this one."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        return self.in_flight

    def leave(self) -> None:
        """Count a request as finished."""
        self.in_flight -= 1

    def enter(self, waiter: Waiter) -> None:
        """Serve `waiter` now, or in turn."""
        self._waiting.append(waiter)
        self._admit()

    def withdraw(self, waiter: Waiter) -> None:
        """Remove `waiter` from the queue."""
        self._waiting.remove(waiter)

    def free(self) -> None:
        """Give a free slot to the next in the queue."""
        self._serving -= 1
        self._admit()

    def _admit(self) -> None:
        # A waiter that is done at once frees its slot within this loop, so that calls do not nest.
        if self._admitting:
            return
        self._admitting = True
        while self._waiting and not (self._limit and self._serving >= self._limit):
            self._serving += 1
            self._waiting.popleft().serve()
        self._admitting = False


class Exchange:
    """Answers one request by writing a script to its connection."""

    def __init__(
        self, connection: Connection, record: TruthRecord, slots: Slots, ended: Callable[[TruthRecord], None]
    ) -> None:
        self.record = record
        self._connection = connection
        self._slots = slots
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._compose: Callable[[], Script] | None = None
        self._script: Script | None = None
        self._position = 0
        self._start_ns = 0
        self._stamps: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight = True
        self._has_slot = False
        self._waited = False
        connection.answering = self

    def play_in_turn(self, compose: Callable[[], Script]) -> None:
        """Play the script that `compose` makes as soon as there is a slot.

        Due times count from the arrival of the request, or from the time of the slot if the request waited for it.
        """
        self._compose = compose
        self._slots.enter(self)
        self._waited = True

    def serve(self) -> None:
        """Play the script now."""
        compose = self._compose
        if compose is None:
            raise RuntimeError("a request that did not ask for a slot was given one")
        self._has_slot = True
        self.play(compose(), start_ns=monotonic_ns() if self._waited else self.record.last_request_byte_ns)

    def play(self, script: Script, *, start_ns: int) -> None:
        """Make every write of `script` when it is due, counted from `start_ns`, then end as it says."""
        self._script = script
        self._start_ns = self.record.start_ns = start_ns
        self.resume()

    def resume(self) -> None:
        """Make the writes that are due. Stops while the client does not read: stamps are those of the socket."""
        script = self._script
        if script is None or self._timer is not None:
            return
        connection, stamps = self._connection, self._stamps
        writes, due_ns, start_ns = script.writes, script.due_ns, self._start_ns
        last = len(writes) - 1
        while self._position <= last:
            if connection.paused:
                return
            position = self._position
            if self._wait_until(start_ns + due_ns[position]):
                return
            if position == last and script.ending in ("keep", "close"):
                self._leave()
            self._position += 1
            stamps.append(monotonic_ns())
            connection.write(writes[position])
            if not connection.open:
                return
        if script.ending == "hang" or self._wait_until(start_ns + script.ending_due_ns):
            return
        self._leave()
        self._finish()
        connection.end(script.ending)

    def abandon(self) -> None:
        """Stop: the client closed the connection."""
        self.record.aborted = True
        if self._timer is not None:
            self._timer.cancel()
        self._leave()
        self._finish()

    def _wait_until(self, target_ns: int) -> bool:
        """Whether `target_ns` is in the future; if so, a timer resumes then, never earlier.

        The loop's timers count whole milliseconds of the same clock. Rounding the target up and the present down
        gives the number of milliseconds after which the timer is not early.
        """
        now_ns = monotonic_ns()
        if target_ns <= now_ns:
            return False
        ticks = -(-target_ns // MILLISECOND) - now_ns // MILLISECOND
        self._timer = self._loop.call_later(ticks / 1000, self._wake)
        return True

    def _wake(self) -> None:
        self._timer = None
        self.resume()

    def _leave(self) -> None:
        if self._in_flight:
            self._in_flight = False
            self._slots.leave()

    def _finish(self) -> None:
        record, stamps, script = self.record, self._stamps, self._script
        if script is not None and stamps:
            written = script.tokens[: len(stamps)]
            content = [position for position, tokens in enumerate(written) if tokens]
            record.first_byte_ns = stamps[0]
            record.write_gaps_ns = [after - before for before, after in pairwise(stamps)]
            record.tokens = sum(written)
            if content:
                record.content_write, record.last_content_write = content[0], content[-1]
        self._script = None
        self._ended(record)
        if self._has_slot:
            self._slots.free()
        elif self._compose is not None:
            self._slots.withdraw(self)
