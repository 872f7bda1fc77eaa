"""Whoever watches, told what is waited for while an endpoint does not get ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SILENT_S = 2.0
"""Most servers answer sooner: nothing is said of those."""
_EVERY_S = 1.0


@dataclass(frozen=True)
class Waiting:
    """How long an endpoint has yet, and why it is not ready."""

    url: str
    left_s: float
    answer: str | None
    """What the last attempt came to; None while the first has not ended."""


@contextmanager
def told_while_waiting(
    url: str, timeout_s: float, tell: Callable[[Waiting], None]
) -> Iterator[Callable[[str], None]]:
    """Call `tell` every second of the block but for the first; yields what takes in what the last attempt came to.

    From a thread of its own: one attempt alone may wait as long as a model takes to compile.
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
            tell(Waiting(url, max(deadline_s - time.monotonic(), 0.0), latest))
            pause_s = _EVERY_S

    thread = threading.Thread(target=run, name=f"waiting for {url}", daemon=True)
    thread.start()
    try:
        yield note
    finally:
        over.set()
        thread.join()
