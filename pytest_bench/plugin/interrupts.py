"""SIGTERM ends a session as Ctrl-C does: evidence kept, verdict written, nothing left running."""

from __future__ import annotations

import signal
from types import FrameType

import pytest


class SigtermAsInterrupt:
    """Turns the first SIGTERM into an interrupt while the session runs, and gives the old handler back."""

    def __init__(self) -> None:
        self._previous = signal.signal(signal.SIGTERM, self._interrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # winding down must not be cut short by a second one
        raise KeyboardInterrupt("SIGTERM")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        signal.signal(signal.SIGTERM, self._previous)
