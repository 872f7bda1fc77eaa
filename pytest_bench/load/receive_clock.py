"""Converts the kernel's receive stamps from CLOCK_REALTIME to CLOCK_MONOTONIC.

The kernel slews both clocks alike, so their difference changes only when CLOCK_REALTIME is set. A timer with
`TFD_TIMER_CANCEL_ON_SET` reports that, and every sample checks it.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
import time

from pytest_bench.load.timerfd import AVAILABLE, TimerFd

monotonic_ns = time.monotonic_ns

STAMP = struct.Struct("qq")
"""`struct timespec` of a 64-bit system: seconds and nanoseconds."""
ANCILLARY_BYTES = socket.CMSG_SPACE(STAMP.size)

_SO_TIMESTAMPNS = 35
_SAMPLES = 8
_STEP_NS = 20_000
"""Two samples of the same offset differ by less than this: each is accurate to a few hundred nanoseconds."""
_FAR_NS = 1 << 61
_ATTEMPTS = 200


class ReceiveClock:
    """The offset between the two clocks, sampled again at least once a second by its owner.

    `fd` becomes readable when CLOCK_REALTIME is set. It is None if the kernel cannot report that; stamps are then not
    requested, because an unnoticed clock step would falsify them.
    """

    def __init__(self) -> None:
        self.offset_ns = 0
        """CLOCK_REALTIME - CLOCK_MONOTONIC."""
        self.error_ns = 0
        """Upper bound on the error of any offset that was in use."""
        self.sampled_ns = 0
        """When `offset_ns` was last known to be right."""
        self.steps = 0
        self._timer = _cancelled_when_set()
        self._stamped = None if self._timer is None else _stamped_socket()
        self.fd = None if self._timer is None else self._timer.fd
        self._measure()

    def enable(self, receiver: socket.socket) -> None:
        """Request a stamp with every read of a socket. Without kernel support, reads have no stamps."""
        if self._stamped is not None:
            receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def sample(self) -> int | None:
        """Measure the offset again. If the clock was set, return when the offset was last known to be right."""
        before_ns, known_ns = self.offset_ns, self.sampled_ns
        self._measure()
        if abs(self.offset_ns - before_ns) < _STEP_NS:
            return None
        self.steps += 1
        return known_ns

    def agrees(self) -> bool:
        """Whether the clocks still differ by `offset_ns`. A quick check for use between samples."""
        return abs(time.time_ns() - monotonic_ns() - self.offset_ns) < _STEP_NS

    def acknowledge(self) -> None:
        """Clear the readiness of `fd` and arm it again. Call `sample` next."""
        if self._timer is None:
            return
        try:
            self._timer.acknowledge()
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
        self._timer.arm(_FAR_NS)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.close()
        if self._stamped is not None:
            self._stamped.close()

    def _measure(self) -> None:
        best_ns = _FAR_NS
        for _ in range(_SAMPLES):
            before_ns = monotonic_ns()
            real_ns = time.time_ns()
            after_ns = monotonic_ns()
            if after_ns - before_ns < best_ns:
                best_ns = after_ns - before_ns
                self.offset_ns = real_ns - (before_ns + after_ns) // 2
                self.sampled_ns = before_ns
        self.error_ns = max(self.error_ns, (best_ns + 1) // 2)


def _cancelled_when_set() -> TimerFd | None:
    """A timer that reports that CLOCK_REALTIME was set; None if stamps or such timers are not supported."""
    if not AVAILABLE or sys.maxsize < 1 << 32:
        return None
    try:
        timer = TimerFd(time.CLOCK_REALTIME, cancel_on_set=True)
    except OSError:
        return None
    try:
        timer.arm(_FAR_NS)
    except OSError:
        timer.close()
        return None
    return timer


def _stamped_socket() -> socket.socket | None:
    """A connected socket whose reads have stamps; None if no stamp arrives within a second.

    The kernel starts to stamp shortly after the first socket requests it and stops when the last such socket is
    closed. This socket keeps stamping active, so the first measured read has a stamp.
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as peer,
    ):
        stamped, _ = listener.accept()
        try:
            stamped.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            stamped.settimeout(1.0)
            for _ in range(_ATTEMPTS):
                peer.send(b"?")
                _, ancillary, _, _ = stamped.recvmsg(1, ANCILLARY_BYTES)
                if ancillary:
                    return stamped
                time.sleep(1.0 / _ATTEMPTS)
        except OSError:
            pass
        stamped.close()
        return None
