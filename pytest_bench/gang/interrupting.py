"""How an agent of a gang is ended from outside, wherever it is."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop(BaseException):
    """Something outside of this rank ends it. Not an `Exception`, so that nothing on the way handles it."""

    def __init__(self, reason: str, because_of: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.because_of = because_of
        """The rank that failed."""


class Interrupter:
    """Raises the first `Stop` in the main thread, while that allows it and has not begun to end by itself.

    Elsewhere, `on_stop`, which is called in another thread, must wake the main thread.
    """

    def __init__(self, on_stop: Callable[[Stop], None]) -> None:
        self.stop: Stop | None = None
        """The first that was requested."""
        self._on_stop = on_stop
        self._is_allowed = False
        self._is_ending = False
        # Its `put` may be called by a signal handler.
        self._requests: queue.SimpleQueue[Stop] = queue.SimpleQueue()
        signal.signal(signal.SIGUSR1, self._interrupt)
        signal.signal(signal.SIGTERM, self._terminate)
        threading.Thread(target=self._deliver, name="interrupter", daemon=True).start()

    def request(self, stop: Stop) -> None:
        """Ask the main thread to end. Called by any thread."""
        self._requests.put(stop)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """The main thread may be interrupted in the block."""
        with self._set(to=True):
            yield

    @contextmanager
    def refused(self) -> Iterator[None]:
        """The main thread is not interrupted in the block, which is part of one where it may be."""
        with self._set(to=False):
            yield

    def end(self) -> None:
        """Refuse interruptions from here on. Called by the main thread, before it cleans up."""
        self._is_ending = True

    def check(self) -> None:
        """Raise what was requested, if the main thread is not ending."""
        if self.stop is not None and not self._is_ending:
            self._is_ending = True
            raise self.stop

    @contextmanager
    def _set(self, *, to: bool) -> Iterator[None]:
        before, self._is_allowed = self._is_allowed, to
        if to:
            self.check()
        try:
            yield
        finally:
            self._is_allowed = before
        if before:
            self.check()

    def _deliver(self) -> None:
        self.stop = self._requests.get()
        self._on_stop(self.stop)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _interrupt(self, _number: int, _frame: object) -> None:
        if self._is_allowed:
            self.check()

    def _terminate(self, _number: int, _frame: object) -> None:
        self._requests.put(Stop("SIGTERM: the job was cancelled, or its time is over"))
