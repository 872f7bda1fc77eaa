"""Progress while a point runs: one line that is rewritten on a terminal, one every 30 s in a log."""

from __future__ import annotations

import shutil
import time

import pytest

from pytest_bench.load.supervisor import Progress
from pytest_bench.running.samples import request_count
from pytest_bench.suite.plan import Point
from pytest_bench.workload import PhaseSpec

_LOG_EVERY_S = 30.0


class ProgressLine:
    """Where a session shows how far it is. Silent with -q and in xdist workers."""

    def __init__(self, config: pytest.Config) -> None:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        quiet = config.get_verbosity() < 0 or hasattr(config, "workerinput")
        self._terminal = terminal if isinstance(terminal, pytest.TerminalReporter) and not quiet else None
        self._rewrites = self._terminal is not None and self._terminal.isatty
        self._shown = False
        self._logged_s = time.monotonic()

    def show(self, point: Point, phase: PhaseSpec, progress: Progress) -> None:
        """Show how far `phase` of `point` is."""
        if self._terminal is None:
            return
        text = describe(point, phase, progress)
        if self._rewrites:
            # A line that wraps could not be taken back.
            width = shutil.get_terminal_size().columns - 1
            self._terminal.write(f"\r\x1b[2K{text[:width]}", flush=True)
            self._shown = True
        elif time.monotonic() - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = time.monotonic()
            self._terminal.write_line(text)

    def say(self, sentence: str) -> None:
        """Show why nothing moves."""
        if self._terminal is not None:
            self.clear()
            self._terminal.write_line(sentence)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown and self._terminal is not None:
            self._terminal.write("\r\x1b[2K", flush=True)
            self._shown = False


def describe(point: Point, phase: PhaseSpec, progress: Progress) -> str:
    """One line: point, phase, done, in flight, failed, rate, time left."""
    done = progress.succeeded + progress.failed
    total = request_count(phase.load)
    elapsed_s = max(progress.elapsed_s, 1e-3)
    rate = done / elapsed_s
    parts = [
        f"{point.id} {phase.label}",
        f"{done}/{total} done" if total else f"{done} done",
        f"{progress.in_flight} in flight",
        f"{progress.failed} failed",
        f"{rate:.1f} req/s",
    ]
    if total and rate > 0 and done < total:
        parts.append(f"{_span((total - done) / rate)} left")
    elif phase.load.duration_s is not None and elapsed_s < phase.load.duration_s:
        parts.append(f"{_span(phase.load.duration_s - elapsed_s)} left")
    return " · ".join(parts)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
