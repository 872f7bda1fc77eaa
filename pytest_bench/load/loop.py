"""The event loop of a load worker: it reads sockets with kernel stamps, runs timers, and runs deferred callbacks.

One turn polls, reads every socket that the poll lists, and runs the callbacks passed to `soon` meanwhile. An exception
of a callback ends the loop, because a load worker that lost a callback cannot be trusted.

Being woken costs more than a read. As the kernel stamps what arrives, many streams are read together: the loop sleeps
between two turns, but only so long that neither the next requests nor the times of events are affected.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from pytest_bench.load.receive_clock import ANCILLARY_BYTES, STAMP, ReceiveClock
from pytest_bench.load.timerfd import AVAILABLE, TimerFd
from pytest_bench.load.wake_delay import WakeDelay

monotonic_ns = time.monotonic_ns

READABLE = 1
WRITABLE = 4
_BUFFER_BYTES = 1 << 18
_NEVER_NS = 1 << 61
_LONGEST_SLEEP_NS = 250_000
_SHORTEST_SLEEP_NS = 100_000
"""A shorter one would end late: the kernel may delay the end of a sleep by 50 us."""
_SLEEPS_PER_REQUEST = 1000
_SLEEPS_PER_READ = 8
"""Requests and reads take at least so many times as long as a sleep: the request after one that ends during a sleep
leaves at most a thousandth of that one's duration late, and two events of a stream are rarely read together."""
_MOST_READY = 1023
"""Maximum number of sockets that `epoll.poll` lists."""

Receive = Callable[[Iterable[memoryview], int], tuple[int, list[tuple[int, int, bytes]], int, Any]]
"""`socket.recvmsg_into`."""


class Receiver(Protocol):
    """A socket whose bytes the loop reads. `__slots__` matter: every attribute here is read once a read."""

    receive: Receive
    drained_ns: int
    """When a read last left the socket empty; negative if a later one filled the buffer, so that more was left."""

    def received(self, data: memoryview, size: int, stamp_ns: int, now_ns: int, empty_ns: int) -> bool:
        """`data`, `size` bytes, was read at `now_ns`; it is valid during the call only. Returns whether it holds one
        event at most.

        `stamp_ns`: when the kernel had its last byte; `now_ns` if the kernel did not say. `empty_ns`: a time before
        which none of `data` was in the socket.
        """

    def ended(self, error: OSError | None, now_ns: int, empty_ns: int) -> None:
        """The peer closed the connection, or it broke."""

    def writable(self) -> None:
        """More can be sent. Called only after `Loop.watch(writing=True)`."""


class Timer:
    """Calls back once after each `arm`; arming it again moves it."""

    __slots__ = ("_callback", "_loop", "at_ns")

    def __init__(self, loop: Loop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self.at_ns: int | None = None

    def arm(self, at_ns: int) -> None:
        """Fire at this CLOCK_MONOTONIC instant, or in the next turn if it has passed."""
        self.at_ns = at_ns
        self._loop.schedule(at_ns, self)

    def cancel(self) -> None:
        self.at_ns = None

    def fire_if_due(self, now_ns: int) -> None:
        if self.at_ns is not None and self.at_ns <= now_ns:
            self.at_ns = None
            self._callback()


class Loop:
    """The event loop. `stop` ends `run` after the current turn."""

    def __init__(self, clock: ReceiveClock) -> None:
        self.clock = clock
        self.wake = WakeDelay()
        self._poller = select.epoll() if AVAILABLE else select.poll()
        self._receivers: dict[int, Receiver] = {}
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._soon: list[Callable[[], None]] = []
        self._timers: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count()
        self._alarm = TimerFd() if AVAILABLE else None
        self._alarm_fd = -1
        self.sleep_ns = 0
        """How long to sleep while many sockets are readable; 0: not at all."""
        self._running = False
        if self._alarm is not None:
            self._alarm_fd = self._alarm.fd
            self.on_readable(
                self._alarm_fd, _pass
            )  # every turn that finds it expired arms it again, which clears it

    # Registration

    def add(self, fd: int, receiver: Receiver) -> None:
        """Read a socket from now on."""
        self._receivers[fd] = receiver
        self._poller.register(fd, READABLE)

    def watch(self, fd: int, *, writing: bool) -> None:
        """Also report whether a receiver's socket takes more bytes, or stop that."""
        self._poller.modify(fd, READABLE | WRITABLE if writing else READABLE)

    def remove(self, fd: int) -> None:
        """Remove a receiver or callback. Call this before its descriptor is closed."""
        if self._receivers.pop(fd, None) is not None or self._callbacks.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def on_readable(self, fd: int, callback: Callable[[], None]) -> None:
        self._callbacks[fd] = callback
        self._poller.register(fd, READABLE)

    def on_writable(self, fd: int, callback: Callable[[], None]) -> None:
        self._callbacks[fd] = callback
        self._poller.register(fd, WRITABLE)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back at the end of this turn, after all readable sockets were read. A callback that calls `soon` defers
        to the end of the next turn."""
        self._soon.append(callback)

    def timer(self, callback: Callable[[], None]) -> Timer:
        return Timer(self, callback)

    def schedule(self, at_ns: int, timer: Timer) -> None:
        heapq.heappush(self._timers, (at_ns, next(self._numbers), timer))
        if self._alarm is not None and at_ns <= self._timers[0][0]:
            self._alarm.arm(at_ns)

    def answered(self, duration_ns: int, reads: int) -> None:
        """A request took `duration_ns` and `reads` reads. Adjusts the sleep: at once to shorter ones, slowly to longer
        ones."""
        sleep_ns = duration_ns // max(_SLEEPS_PER_REQUEST, _SLEEPS_PER_READ * reads)
        if sleep_ns > self.sleep_ns:
            sleep_ns = self.sleep_ns + (min(sleep_ns, _LONGEST_SLEEP_NS) - self.sleep_ns + 15) // 16
        self.sleep_ns = sleep_ns

    # Running

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        """Close the clock and the timer. Sockets are closed by their owners."""
        self.clock.close()
        self.wake.close()
        if self._alarm is not None:
            self._alarm.close()

    def run(self) -> None:  # noqa: C901, PLR0912, PLR0915 # the hot path: every call costs
        """Run turns until `stop`. Exceptions of callbacks propagate."""
        self._running = True
        self.wake.open()
        # Local names are faster than attributes.
        poll, receivers, clock, now = self._poller.poll, self._receivers, self.clock, monotonic_ns
        wake = self.wake
        sleep, shortest_ns = time.sleep, _SHORTEST_SLEEP_NS
        timers, soon, unpack = self._timers, self._soon, STAMP.unpack_from
        readable, full_bytes, ancillary_bytes = READABLE, _BUFFER_BYTES, ANCILLARY_BYTES
        timeout = None if self._alarm is not None else self._poll_timeout
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        buffers = [buffer]
        empty_since_ns = 0
        """Sockets that the previous poll did not list were empty at this time."""
        many = False
        """Whether another socket will probably be readable soon."""
        now_ns = now()
        while self._running:
            if many and not soon and (sleep_ns := self.sleep_ns) >= shortest_ns:
                if not timers or timers[0][0] > now_ns + 2 * sleep_ns:
                    sleep(sleep_ns / 1e9)
                now_ns = now()
            # A socket that this poll does not list was empty when the poll began and at the last read before it. If
            # the poll blocked, the socket was still empty when the poll was woken: by an expired timer, or by the
            # arrival of a single event.
            begun_ns = polled_ns = now_ns
            ready = poll(0 if soon else timeout(now()) if timeout else None)
            now_ns = now()
            waited = now_ns - begun_ns >= shortest_ns
            many = len(ready) > 1 or not waited
            wake.begun_ns, wake.woken_ns, wake.due_ns = begun_ns, now_ns if waited else 0, now_ns
            if timers and timers[0][0] <= now_ns:
                wake.due_ns = timers[0][0]
                if len(ready) == 1 and ready[0][0] == self._alarm_fd:
                    polled_ns = max(polled_ns, timers[0][0])
                self._fire(now_ns)
                now_ns = now()
            for fd, mask in ready:
                try:
                    receiver = receivers[fd]
                except KeyError:
                    self._call(fd)
                    continue
                if mask != readable and mask & WRITABLE:
                    receiver.writable()
                    if mask == WRITABLE or fd not in receivers:
                        continue
                empty_ns = receiver.drained_ns
                if empty_ns < empty_since_ns:
                    empty_ns = empty_since_ns if empty_ns >= 0 else -empty_ns
                drained_ns = now_ns
                try:
                    size, ancillary, _, _ = receiver.receive(buffers, ancillary_bytes)
                except (BlockingIOError, InterruptedError):
                    continue
                except OSError as error:
                    receiver.ended(error, now(), empty_ns)
                    continue
                now_ns = stamp_ns = now()
                if not size:
                    receiver.ended(None, now_ns, empty_ns)
                    continue
                if ancillary:
                    seconds, nanoseconds = unpack(ancillary[0][2])
                    stamp_ns = seconds * 1_000_000_000 + nanoseconds - clock.offset_ns
                    if stamp_ns > now_ns:  # noqa: PLR1730 # `min` costs a call; the clock was set and its timer is about to fire
                        stamp_ns = now_ns
                receiver.drained_ns = drained_ns if size < full_bytes else -empty_ns
                if (
                    receiver.received(buffer[:size], size, stamp_ns, now_ns, empty_ns)
                    and stamp_ns > polled_ns
                ):
                    polled_ns = stamp_ns
                    if wake.woken_ns:
                        wake.arrived(stamp_ns)
            if len(ready) < _MOST_READY:  # otherwise the poll may have omitted some
                empty_since_ns = polled_ns
            if soon:
                callbacks = soon[:]
                soon.clear()
                for callback in callbacks:
                    callback()
                now_ns = now()

    def _call(self, fd: int) -> None:
        callback = self._callbacks.get(fd)
        if callback is not None:  # otherwise removed since the poll
            callback()

    def _fire(self, now_ns: int) -> None:
        """Call back every timer that is due."""
        timers, due = self._timers, []
        while timers and timers[0][0] <= now_ns:
            at_ns, _, timer = heapq.heappop(timers)
            if timer.at_ns == at_ns:  # otherwise cancelled or moved
                due.append(timer)
        for timer in due:
            timer.fire_if_due(now_ns)
        if self._alarm is not None:
            self._alarm.arm(timers[0][0] if timers else _NEVER_NS)

    def _poll_timeout(self, now_ns: int) -> float | None:
        """Timeout of the next poll, in the poller's unit; None: no timeout."""
        if not self._timers:
            return None
        return max(0.0, (self._timers[0][0] - now_ns) / 1e6)  # milliseconds, as `select.poll` takes them


def _pass() -> None:
    pass
