"""A timer that fires when it says.

libuv rounds timers to milliseconds, which is the size of the lateness we must stay under, so on Linux the
kernel's timerfd wakes the loop. Elsewhere the loop's own timer stands in, and the lateness it costs shows
in `schedule_lateness`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = 0o4000
_TFD_CLOEXEC = 0o2000000
_TFD_TIMER_ABSTIME = 1


class Timer(Protocol):
    """Calls back once after each `arm`; arming again moves it."""

    def arm(self, at_ns: int) -> None:
        """Fire at this CLOCK_MONOTONIC instant, or at once if it has passed."""

    def close(self) -> None:
        """Never fire again."""


def precise_timer(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Timer:
    """The most precise timer of this platform."""
    return _TimerFd(loop, callback) if sys.platform == "linux" else _LoopTimer(loop, callback)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class _TimerFd:
    __slots__ = ("_callback", "_fd", "_libc", "_loop", "_spec")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop, self._callback, self._spec = loop, callback, _Itimerspec()
        loop.add_reader(self._fd, self._fired)

    def arm(self, at_ns: int) -> None:
        value = self._spec.value
        # Zero would disarm; an instant in the past fires at once.
        value.seconds, value.nanoseconds = divmod(max(at_ns, 1), 1_000_000_000)
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # moved to a later instant after the loop had seen it fire
        self._callback()


class _LoopTimer:
    __slots__ = ("_callback", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop, self._callback = loop, callback
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, at_ns: int) -> None:
        self.close()
        self._handle = self._loop.call_later(max(0, at_ns - time.monotonic_ns()) / 1e9, self._callback)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
