"""Decides whether a silent load worker hangs, or only waits for a CPU.

A process that gets no CPU is slow, not broken: other processes use the machine, or the machine was suspended. So
silence alone does not count. It counts while the process neither runs nor waits for a CPU (it sleeps, waits for a disk,
or was stopped), and as far as it used CPU time without a heartbeat (an endless loop).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_LONGEST_STEP_S = 0.5
"""At most this much of the time between two looks counts, because the observer may have been suspended, too."""
_RUNNABLE = "R"
_STOPPED = frozenset({"T", "t"})


class Look(NamedTuple):
    """A process at one moment."""

    state: str
    """As `/proc` shows it. R: it runs or waits for a CPU."""
    cpu_s: float
    """CPU time that its main thread has used."""


class Watchdog:
    """The silence of one load worker."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._beat_ns = 0
        self._last: tuple[Look | None, float] | None = None
        self.silent_s = 0.0
        """For how long it has been silent although it did not wait for a CPU."""

    def watch(self, beat_ns: int) -> None:
        """Look at the process. `beat_ns`: its last heartbeat; in the future if it announced a silence until then."""
        if beat_ns != self._beat_ns or beat_ns > time.monotonic_ns():
            self._beat_ns, self._last, self.silent_s = beat_ns, None, 0.0
        else:
            self.add(look(self._pid), time.monotonic())

    def add(self, now: Look | None, at_s: float) -> None:
        """Count the time since the last look, in which there was no heartbeat. `now`: None if it is unknown."""
        before, self._last = self._last, (now, at_s)
        if before is None:
            return
        last, since_s = before
        elapsed_s = min(at_s - since_s, _LONGEST_STEP_S)
        if now is not None and last is not None and now.state == _RUNNABLE:
            elapsed_s = min(elapsed_s, now.cpu_s - last.cpu_s)
        self.silent_s += elapsed_s

    @property
    def reason(self) -> str:
        """What the process does instead of answering, and what to do about it."""
        now = None if self._last is None else self._last[0]
        if now is not None and now.state == _RUNNABLE:
            return "it runs without a heartbeat, as in an endless loop: look into the decoder of its API"
        if now is not None and now.state in _STOPPED:
            return "it was stopped (SIGSTOP, a debugger): let it run, and repeat the point"
        return "it sleeps, or waits for a disk: look into the decoder of its API, and into the disk of the results"


def look(pid: int) -> Look | None:
    """The main thread of a process; None if it has ended, or on a system without `/proc`."""
    try:
        fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])  # utime and stime of proc_pid_stat(5)
    return Look(fields[0], ticks / os.sysconf("SC_CLK_TCK"))
