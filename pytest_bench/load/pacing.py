"""Decides when a load worker issues its next request: on completions (closed loop) or by the clock (open loop).

A pacer runs one stage in one load worker. When it is done it sets `over` and calls `on_over`.
"""

from __future__ import annotations

import mmap
import os
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from pytest_bench.load.counters import SharedCounters
from pytest_bench.load.loop import Loop
from pytest_bench.load.messages import Stage

_OPEN_SPELL_NS = 1_000_000
"""Time limit for issuing in one turn of the loop, in open loop."""


class Place(NamedTuple):
    """One of `max_concurrency` places of an open loop."""

    free_ns: int
    """Since when it is free."""
    answered: bool
    """Whether the request that left it was answered."""


class Host(Protocol):
    """The requests of the load worker, as a pacer uses them."""

    in_flight: int

    def issue(self, stage: Stage, index: int, scheduled_ns: int | None, place: Place | None = None) -> None:
        """Issue the request of this index. `place`: the one that it takes, if places are limited."""


class Pacer(Protocol):
    over: bool

    def begin(self, start_ns: int) -> None:
        """Start the stage at `start_ns`, which may be slightly in the future."""

    def freed(self, end_ns: int, *, answered: bool) -> None:
        """A request has ended at `end_ns`, so another may be issued. `answered`: it did not fail."""

    def tick(self) -> None:
        """Called every few milliseconds."""

    def stop(self) -> None:
        """Issue nothing more."""


class ClosedLoop:
    """Keeps exactly this worker's share of `concurrency` in flight.

    Every request takes the next ticket from a cursor that all load workers share, so count, order and samples do not
    depend on the number of workers.
    """

    def __init__(
        self,
        host: Host,
        on_over: Callable[[], None],
        stage: Stage,
        number: int,
        *,
        cursor: int,
        indices: int | None,
        counters: SharedCounters,
        worker: int,
    ) -> None:
        """`cursor` counts tickets. `indices`, if given, counts the request indices of the phase."""
        self.over = False
        self._host = host
        self._on_over = on_over
        self._stage = stage
        self._number = number
        self._cursor = cursor
        self._indices = indices
        self._counters = counters
        self._worker = worker
        self._share = self._share_of(stage.concurrency)
        self._start_ns = 0
        self._begun = False

    def begin(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self.begin_after_previous()

    def begin_after_previous(self) -> None:
        """Continue from a closed-loop stage without a gap. The worker with the first ticket sets the start time."""
        self._begun = True
        self._fill()

    def freed(self, end_ns: int, *, answered: bool) -> None:  # noqa: ARG002 # `Slots` keeps them
        self._fill()

    def tick(self) -> None:
        # A ramp advances with time alone, and a stage may end while every request in flight hangs.
        if self._begun and not self.over and self._exhausted(time.monotonic_ns()):
            self._end()
        self._fill()

    def stop(self) -> None:
        self.over = True

    def _fill(self) -> None:
        """Issue until the share is in flight or the stage is over."""
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
            index = self._stage.first_index + position
            host.issue(self._stage, index, scheduled_ns if self._stage.at_once else None)

    def _begun_at(self, ticket: int, now_ns: int) -> int:
        """Start time of the stage. The worker with the first ticket may not have published it yet."""
        if ticket == 0:
            self._start_ns = now_ns
            self._counters.set_stage_start(self._number, now_ns)
        return now_ns - self._elapsed(now_ns)

    def _end(self) -> None:
        self.over = True
        self._on_over()

    def _exhausted(self, now_ns: int) -> bool:
        """Whether no more tickets would be granted. Draws none."""
        stage = self._stage
        limits = []
        if stage.duration_ns is not None:
            limits.append(self._elapsed(now_ns) >= stage.duration_ns)
        if stage.requests is not None:
            limits.append(os.lseek(self._cursor, 0, os.SEEK_CUR) >= stage.requests)
        return all(limits) if stage.both else any(limits)

    def _claim(self, now_ns: int) -> int | None:
        stage = self._stage
        timed_out = stage.duration_ns is not None and self._elapsed(now_ns) >= stage.duration_ns
        if timed_out and (stage.requests is None or not stage.both):
            return None
        ticket = _draw(self._cursor)
        if stage.requests is None or ticket < stage.requests:
            return ticket
        # With `and`, the count is reached here and the duration decides.
        return ticket if stage.both and not timed_out else None

    def _elapsed(self, now_ns: int) -> int:
        if self._start_ns == 0:
            self._start_ns = self._counters.stage_start(self._number)
        return now_ns - self._start_ns if self._start_ns else 0

    def _allowed(self, now_ns: int) -> int:
        ramp_ns = self._stage.ramp_ns
        if ramp_ns == 0:
            return self._share
        elapsed = self._elapsed(now_ns)
        if elapsed >= ramp_ns:
            return self._share
        return self._share_of(1 + (self._stage.concurrency - 1) * elapsed // ramp_ns)

    def _share_of(self, concurrency: int) -> int:
        workers = self._counters.workers
        return concurrency // workers + (self._worker < concurrency % workers)


def _draw(cursor: int) -> int:
    """The next ticket of a cursor. The kernel gives each ticket to exactly one load worker."""
    return os.lseek(cursor, 1, os.SEEK_CUR) - 1


class TimedLoop(Pacer):
    """Common to the open loops: arrivals, and a timer that calls `_due`."""

    def __init__(self, host: Host, on_over: Callable[[], None], stage: Stage, loop: Loop) -> None:
        self.over = False
        self._host = host
        self._on_over = on_over
        self._stage = stage
        self._arrivals = _map_arrivals(stage.arrivals)
        self._start_ns = 0
        self._timer = loop.timer(self._due)

    def stop(self) -> None:
        self.over = True
        self._timer.cancel()

    @abstractmethod
    def _due(self) -> None:
        """Issue what is due, and arm the timer for the next arrival."""


class OpenLoop(TimedLoop):
    """Issues this worker's arrivals when they are due, independent of the server's responses."""

    def __init__(
        self,
        host: Host,
        on_over: Callable[[], None],
        stage: Stage,
        loop: Loop,
        *,
        worker: int,
        workers: int,
    ) -> None:
        super().__init__(host, on_over, stage, loop)
        self._next = worker
        self._step = workers

    def begin(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._arm()

    def freed(self, end_ns: int, *, answered: bool) -> None:
        """Do nothing: arrivals do not wait for completions."""

    def tick(self) -> None:
        """Do nothing: the timer is exact."""

    def _due(self) -> None:
        start_ns, arrivals = self._start_ns, self._arrivals
        begun_ns = now_ns = time.monotonic_ns()
        # A client that is behind schedule must still read responses.
        while self._next < len(arrivals) and now_ns - begun_ns < _OPEN_SPELL_NS:
            scheduled_ns = start_ns + arrivals[self._next]
            if scheduled_ns > now_ns:
                break
            self._host.issue(self._stage, self._stage.first_index + self._next, scheduled_ns)
            self._next += self._step
            now_ns = time.monotonic_ns()
        if self._next >= len(arrivals) and now_ns >= start_ns + self._stage.length_ns:
            self.stop()
            self._on_over()
        else:
            self._arm()

    def _arm(self) -> None:
        if self._next < len(self._arrivals):
            self._timer.arm(self._start_ns + self._arrivals[self._next])
        else:
            self._timer.arm(self._start_ns + self._stage.length_ns)


class CappedOpenLoop(TimedLoop):
    """Issues arrivals when they are due and a place is free, in their order.

    A load worker with a free place draws the next ticket from a cursor that all of them share, and holds it until the
    time of its arrival. So a request waits only while every place of every load worker is taken.
    """

    def __init__(
        self,
        host: Host,
        on_over: Callable[[], None],
        stage: Stage,
        loop: Loop,
        *,
        cursor: int,
        places: int,
    ) -> None:
        """`places`: this load worker's share of `max_concurrency`."""
        super().__init__(host, on_over, stage, loop)
        self._cursor = cursor
        self._places = places
        self._free: deque[Place] = deque()
        """The free places. The first is used next."""
        self._ticket: int | None = None
        self._begun = False

    def begin(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._begun = True
        self._free.extend([Place(start_ns, answered=False)] * (self._places - self._host.in_flight))
        self._due()

    def freed(self, end_ns: int, *, answered: bool) -> None:
        # Requests of an earlier stage may take more places than this one has.
        if self._begun and not self.over and len(self._free) < self._places - self._host.in_flight:
            self._free.append(Place(end_ns, answered))
            if self._ticket is None:
                self._due()

    def tick(self) -> None:
        # Other load workers may have drawn the last arrival while every place of this one was taken.
        if self._begun and not self.over and self._ticket is None:
            drawn = os.lseek(self._cursor, 0, os.SEEK_CUR)
            if drawn >= len(self._arrivals):
                self._ticket = drawn
                self._due()

    def _due(self) -> None:
        stage, free = self._stage, self._free
        begun_ns = now_ns = time.monotonic_ns()
        while not self.over and (self._ticket is not None or free):
            if self._ticket is None:
                self._ticket = _draw(self._cursor)
            all_issued = self._ticket >= len(self._arrivals)
            scheduled_ns = self._start_ns + (stage.length_ns if all_issued else self._arrivals[self._ticket])
            if scheduled_ns > now_ns or now_ns - begun_ns >= _OPEN_SPELL_NS:
                self._timer.arm(scheduled_ns)
                return
            if all_issued:
                self.stop()
                self._on_over()
                return
            index, self._ticket = stage.first_index + self._ticket, None
            self._host.issue(stage, index, scheduled_ns, free.popleft())
            now_ns = time.monotonic_ns()


def _map_arrivals(fd: int | None) -> memoryview:
    if fd is None:
        raise ValueError("an open-loop stage needs its arrivals")
    if os.fstat(fd).st_size == 0:
        return memoryview(b"").cast("q")
    return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ)).cast("q")
