"""SIGTERM ends a session as Ctrl-C does: evidence is kept, the verdict is written, nothing keeps running."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

import pytest


class SigtermAsInterrupt:
    """Turns the first SIGTERM into an interrupt while the session runs; restores the old handler at the end."""

    def __init__(self) -> None:
        self._previous = signal.signal(signal.SIGTERM, self._interrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # winding down must not be cut short by a second one
        raise KeyboardInterrupt("SIGTERM")

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """An interrupt may hit an instruction without a line number; pytest fails to show that, and exits with 1."""
        error = excinfo.value.with_traceback(_on_lines(excinfo.value.__traceback__))
        excinfo.traceback = pytest.ExceptionInfo.from_exception(error).traceback

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        signal.signal(signal.SIGTERM, self._previous)


def _on_lines(entry: TracebackType | None) -> TracebackType | None:
    """The same traceback; an entry without a line number gets the first line of its function."""
    if entry is None:
        return None
    lineno: int | None = entry.tb_lineno
    if lineno is None:
        lineno = entry.tb_frame.f_code.co_firstlineno
    return TracebackType(_on_lines(entry.tb_next), entry.tb_frame, entry.tb_lasti, lineno)
