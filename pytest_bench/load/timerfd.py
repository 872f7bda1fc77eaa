"""Linux timerfd through ctypes, because Python supports it only from 3.13 on."""

from __future__ import annotations

import ctypes
import os
import sys
import time

AVAILABLE = sys.platform == "linux"

_NONBLOCK = 0o4000
_CLOEXEC = 0o2000000
_ABSTIME = 1
_CANCEL_ON_SET = 2


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class TimerFd:
    """One kernel timer. Its descriptor becomes readable when it expires."""

    __slots__ = ("_flags", "_libc", "_reference", "_spec", "fd")

    def __init__(self, clock: int = time.CLOCK_MONOTONIC, *, cancel_on_set: bool = False) -> None:
        """`cancel_on_set`: a CLOCK_REALTIME timer that also becomes readable when that clock is set.

        Raises `OSError` if the kernel refuses.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._flags = _ABSTIME | (_CANCEL_ON_SET if cancel_on_set else 0)
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)
        self.fd = self._libc.timerfd_create(clock, _NONBLOCK | _CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def arm(self, at_ns: int) -> None:
        """Expire at this instant of the timer's clock, or at once if it has passed. Raises `OSError`."""
        value = self._spec.value
        # Zero would disarm the timer.
        value.seconds, value.nanoseconds = divmod(max(at_ns, 1), 1_000_000_000)
        if self._libc.timerfd_settime(self.fd, self._flags, self._reference, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def acknowledge(self) -> None:
        """Make the descriptor unreadable again. Raises `OSError` (ECANCELED) if the clock was set."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return  # armed again after the poll had reported it

    def close(self) -> None:
        os.close(self.fd)
