"""SIGTERM ends a session as Ctrl-C does: evidence is kept, the verdict is written, and child processes end."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

import pytest


class SigtermAsInterrupt:
    """Turns the first SIGTERM into an interrupt while the session runs; restores the old handler at the end."""

    def __init__(self) -> None:
        self._previous = signal.signal(signal.SIGTERM, self._interrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the shutdown
        raise KeyboardInterrupt("SIGTERM")

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Fill in missing line numbers: pytest cannot show a traceback without one, and would exit with 1."""
        error = excinfo.value.with_traceback(_on_lines(excinfo.value.__traceback__))
        excinfo.traceback = pytest.ExceptionInfo.from_exception(error).traceback

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        signal.signal(signal.SIGTERM, self._previous)


def _on_lines(entry: TracebackType | None) -> TracebackType | None:
    """Copy a traceback; an entry without a line number gets the first line of its function."""
    if entry is None:
        return None
    lineno: int | None = entry.tb_lineno
    if lineno is None:
        lineno = entry.tb_frame.f_code.co_firstlineno
    return TracebackType(_on_lines(entry.tb_next), entry.tb_frame, entry.tb_lasti, lineno)
