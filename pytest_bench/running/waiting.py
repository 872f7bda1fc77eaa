"""Reports progress while waiting for an endpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SILENT_S = 2.0
"""Most servers answer sooner: nothing is reported for those."""
_EVERY_S = 1.0


@dataclass(frozen=True)
class Waiting:
    """The time left for an endpoint, and why it is not ready."""

    url: str
    left_s: float
    answer: str | None
    """Result of the last attempt; None while the first has not ended."""


@contextmanager
def reporting_progress(
    url: str, timeout_s: float, report: Callable[[Waiting], None]
) -> Iterator[Callable[[str], None]]:
    """Call `report` every second while the block runs; yields the function that notes the result of an attempt.

    Runs in a thread: a single attempt may take as long as a model takes to compile.
    """
    latest: str | None = None
    over = threading.Event()
    deadline_s = time.monotonic() + timeout_s

    def note(answer: str) -> None:
        nonlocal latest
        latest = answer

    def run() -> None:
        pause_s = _SILENT_S
        while not over.wait(pause_s):
            report(Waiting(url, max(deadline_s - time.monotonic(), 0.0), latest))
            pause_s = _EVERY_S

    thread = threading.Thread(target=run, name=f"waiting for {url}", daemon=True)
    thread.start()
    try:
        yield note
    finally:
        over.set()
        thread.join()
