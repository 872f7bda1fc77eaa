"""Signals that interrupt a run, of which none is lost.

A signal handler runs between any two instructions of the main thread. If these belong to a destructor or to a callback
of the garbage collector, Python prints the exception that the handler raises, and drops it. So the exception is also
kept, and the run asks for it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Context manager around the handlers of SIGINT and SIGTERM, which stay what they were. Outside the main thread it
    does nothing, because handlers do not run there."""

    def __init__(self) -> None:
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._raised: BaseException | None = None
        self._waiting: list[int] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handle:  # otherwise it was set to something else meanwhile
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Handle signals that arrive in this context at its end."""
        self._waiting = []
        try:
            yield
        finally:
            waiting, self._waiting = self._waiting, None
            for number in waiting:
                signal.raise_signal(number)

    def check(self) -> None:
        """Raise what a handler raised, if that was dropped."""
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._waiting is not None:
            self._waiting.append(number)
            return
        try:
            self._before[number](number, frame)
        except BaseException as error:
            self._raised = error
            raise
