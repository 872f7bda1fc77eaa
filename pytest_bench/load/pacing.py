"""When a load worker issues its next request: closed loop by completions, open loop by the clock.

A pacer drives one leg in one load worker. It ends itself (`over`) and tells its host; the host decides
what follows.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Protocol

from pytest_bench.load.board import Board
from pytest_bench.load.legs import Leg
from pytest_bench.load.loop import Loop

_OPEN_SPELL_NS = 1_000_000
"""How long an open-loop pacer may issue before it lets the loop go on."""


class Host(Protocol):
    """What a pacer needs of its load worker."""

    in_flight: int

    def issue(self, leg: Leg, index: int, scheduled_ns: int | None) -> None:
        """Issue the request of this index."""

    def pacer_over(self) -> None:
        """Every request of the leg has been issued, as far as this worker goes."""


class Pacer(Protocol):
    over: bool

    def begin(self, start_ns: int) -> None:
        """The leg starts at `start_ns`, which may lie a little ahead."""

    def freed(self) -> None:
        """A request has ended: another may go out."""

    def tick(self) -> None:
        """Called every few milliseconds."""

    def stop(self) -> None:
        """Issue nothing more."""


class ClosedLoop:
    """Keeps this worker's share of `concurrency` in flight, never one more.

    Every issue claims the next ticket from a cursor that all load workers share, so count, order and
    samples are the same for any number of them.
    """

    def __init__(
        self,
        host: Host,
        leg: Leg,
        number: int,
        *,
        cursor: int,
        indices: int | None,
        board: Board,
        worker: int,
    ) -> None:
        """`cursor` hands out tickets; `indices`, where there is one, the indices that go with them."""
        self.over = False
        self._host = host
        self._leg = leg
        self._number = number
        self._cursor = cursor
        self._indices = indices
        self._board = board
        self._worker = worker
        self._share = self._share_of(leg.concurrency)
        self._start_ns = 0
        self._begun = False

    def begin(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self.begin_after_previous()

    def begin_after_previous(self) -> None:
        """Take over from a closed-loop leg without a gap: whoever draws the first ticket sets the start."""
        self._begun = True
        self._fill()

    def freed(self) -> None:
        self._fill()

    def tick(self) -> None:
        # A ramp moves with time alone, and a leg may be over while all that is in flight hangs.
        if self._begun and not self.over and self._exhausted(time.monotonic_ns()):
            self._end()
        self._fill()

    def stop(self) -> None:
        self.over = True

    def _fill(self) -> None:
        """Issue until the share is in flight or the leg is over."""
        host = self._host
        while self._begun and not self.over:
            now_ns = time.monotonic_ns()
            if host.in_flight >= self._allowed(now_ns):
                break
            ticket = self._claim(now_ns)
            if ticket is None:
                self._end()
                break
            scheduled_ns = self._begun_at(ticket, now_ns) if self._start_ns == 0 else self._start_ns
            position = ticket if self._indices is None else _draw(self._indices)
            index = self._leg.first_index + position
            host.issue(self._leg, index, scheduled_ns if self._leg.at_once else None)

    def _begun_at(self, ticket: int, now_ns: int) -> int:
        """When the leg began, as far as is known: whoever has the first ticket may be about to tell."""
        if ticket == 0:
            self._start_ns = now_ns
            self._board.set_leg_start(self._number, now_ns)
        return now_ns - self._elapsed(now_ns)

    def _end(self) -> None:
        self.over = True
        self._host.pacer_over()

    def _exhausted(self, now_ns: int) -> bool:
        """Whether no ticket would be granted any more. Draws none."""
        leg = self._leg
        limits = []
        if leg.duration_ns is not None:
            limits.append(self._elapsed(now_ns) >= leg.duration_ns)
        if leg.requests is not None:
            limits.append(os.lseek(self._cursor, 0, os.SEEK_CUR) >= leg.requests)
        return all(limits) if leg.both else any(limits)

    def _claim(self, now_ns: int) -> int | None:
        leg = self._leg
        timed_out = leg.duration_ns is not None and self._elapsed(now_ns) >= leg.duration_ns
        if timed_out and (leg.requests is None or not leg.both):
            return None
        ticket = _draw(self._cursor)
        if leg.requests is None or ticket < leg.requests:
            return ticket
        # With `and`, the count is reached here and the duration decides.
        return ticket if leg.both and not timed_out else None

    def _elapsed(self, now_ns: int) -> int:
        if self._start_ns == 0:
            self._start_ns = self._board.leg_start(self._number)
        return now_ns - self._start_ns if self._start_ns else 0

    def _allowed(self, now_ns: int) -> int:
        ramp_ns = self._leg.ramp_ns
        if ramp_ns == 0:
            return self._share
        elapsed = self._elapsed(now_ns)
        if elapsed >= ramp_ns:
            return self._share
        return self._share_of(1 + (self._leg.concurrency - 1) * elapsed // ramp_ns)

    def _share_of(self, concurrency: int) -> int:
        workers = self._board.workers
        return concurrency // workers + (self._worker < concurrency % workers)


def _draw(cursor: int) -> int:
    """The next ticket of a cursor: the kernel hands out each once, to whichever load worker asks."""
    return os.lseek(cursor, 1, os.SEEK_CUR) - 1


class OpenLoop:
    """Issues this worker's arrivals when they are due, whatever the server does."""

    def __init__(self, host: Host, leg: Leg, *, loop: Loop, worker: int, workers: int) -> None:
        self.over = False
        self._host = host
        self._leg = leg
        self._next = worker
        self._step = workers
        self._arrivals = _map_arrivals(leg.arrivals)
        self._start_ns = 0
        self._timer = loop.timer(self._due)

    def begin(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._arm()

    def freed(self) -> None:
        """Nothing: arrivals do not wait for completions."""

    def tick(self) -> None:
        """Nothing: the timer is exact."""

    def stop(self) -> None:
        self.over = True
        self._timer.cancel()

    def _due(self) -> None:
        start_ns, arrivals = self._start_ns, self._arrivals
        begun_ns = now_ns = time.monotonic_ns()
        # A client that is behind must still read, or nothing of what it reports would be true.
        while self._next < len(arrivals) and now_ns - begun_ns < _OPEN_SPELL_NS:
            scheduled_ns = start_ns + arrivals[self._next]
            if scheduled_ns > now_ns:
                break
            self._host.issue(self._leg, self._leg.first_index + self._next, scheduled_ns)
            self._next += self._step
            now_ns = time.monotonic_ns()
        if self._next >= len(arrivals) and now_ns >= start_ns + self._leg.length_ns:
            self.stop()
            self._host.pacer_over()
        else:
            self._arm()

    def _arm(self) -> None:
        if self._next < len(self._arrivals):
            self._timer.arm(self._start_ns + self._arrivals[self._next])
        else:
            self._timer.arm(self._start_ns + self._leg.length_ns)


def _map_arrivals(fd: int | None) -> memoryview:
    if fd is None:
        raise ValueError("an open-loop leg needs its arrivals")
    if os.fstat(fd).st_size == 0:
        return memoryview(b"").cast("q")
    return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ)).cast("q")
