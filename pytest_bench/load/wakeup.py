"""Calls back in the event loop of a load worker on behalf of another thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from pytest_bench.load.loop import Loop


class Wakeup:
    """`notify` may be called in any thread; `callback` then runs in the loop's, once for one or more notifications."""

    def __init__(self, loop: Loop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._receiving, self._sending = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        loop.on_readable(self._receiving, self._wake)

    def notify(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes the loop as well
            os.write(self._sending, b"\0")

    def close(self) -> None:
        """Nothing may notify any more."""
        self._loop.remove(self._receiving)
        os.close(self._receiving)
        os.close(self._sending)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._receiving, 65_536)
        self._callback()
