"""Progress while a point runs, or while its endpoint is not ready yet.

On a terminal one line is rewritten; in a log a line is written every 30 s (10 s while waiting). Under xdist pytest does
not show what a worker is doing, so each worker sends lines to the controller: when a point begins, when each of its
phases ends, its outcome, and the lines that a log gets.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from pytest_bench.load.supervisor import Progress
from pytest_bench.running.waiting import Waiting
from pytest_bench.suite.plan import Point
from pytest_bench.workload import PhaseSpec

RELAY_KEY = "inference_bench_relay"
"""Key in `workerinput` of the channel to the controller: text goes to its terminal, bytes to its event logs."""

_LOG_EVERY_S = 30.0
_LOG_WAITS_EVERY_S = 10.0
_ERASE_LINE = "\r\x1b[2K"


class ProgressLine:
    """Shows the progress of a session. Silent with -q, unless `--show-progress` is given.

    On a terminal it is a line below pytest's own line, which stays unchanged and continues afterwards.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._quiet = config.get_verbosity() < 0 and not config.getoption("--show-progress")
        self._relay = getattr(config, "workerinput", {}).get(RELAY_KEY)
        self._shown = False
        self._logged_s = time.monotonic()
        self._waiting_for = ""

    def begins(self, point: Point) -> None:
        """Announce a point that runs in a worker."""
        self._send(f"{point.id}: begins")

    def ends(self, point: Point, outcome: str) -> None:
        """Show the outcome of a point that ran in a worker."""
        self._send(f"{point.id}: {outcome}")

    def show(self, point: Point, phase: PhaseSpec, progress: Progress, tokens: int | None) -> None:
        """Show the progress of `phase` of `point`; `tokens` is the live token count, or None."""
        if progress.over and self._relay is not None:
            self._send(describe(point, phase, progress, tokens))
        else:
            self._show(partial(describe, point, phase, progress, tokens), _LOG_EVERY_S)

    def wait(self, waiting: Waiting) -> None:
        """Show which endpoint is not ready and the time left; a log gets a line at once and every 10 s."""
        every_s = _LOG_WAITS_EVERY_S if waiting.url == self._waiting_for else 0.0
        self._waiting_for = waiting.url
        self._show(partial(describe_wait, waiting), every_s)

    def _show(self, line: Callable[[int | None], str], every_s: float) -> None:
        """Replace the last line by `line`, made for a width; in a log, write it if `every_s` have passed."""
        if self._relay is not None:
            if self._is_time_for_a_line(every_s):
                self._send(line(None))
            return
        with self._terminal() as terminal:
            if terminal is None:
                return
            if terminal.isatty and os.environ.get("TERM") != "dumb":
                # A line that wraps could not be erased.
                width = shutil.get_terminal_size().columns - 1
                text = line(width)[:width]
                self._write(f"{_ERASE_LINE if self._shown else chr(10)}{text}")
                self._shown = True
            elif self._is_time_for_a_line(every_s):
                terminal.write_line(line(None))
                terminal.flush()

    def waits(self, sentence: str) -> None:
        """Show what the session is waiting for."""
        self.note(f"waiting: {sentence}")

    def note(self, sentence: str) -> None:
        """Show a sentence that should be read before the next point runs."""
        self._send(sentence)
        self.clear()
        with self._terminal() as terminal:
            if terminal is not None:
                terminal.write_line(sentence)
                terminal.flush()

    def clear(self) -> None:
        """Remove the line and return the cursor to the end of pytest's own line."""
        if not self._shown:
            return
        with self._terminal():
            width = shutil.get_terminal_size().columns
            column = self._config.get_terminal_writer().width_of_current_line % width
            self._write(f"{_ERASE_LINE}\x1b[A\x1b[{column + 1}G")
        self._shown = False

    def _is_time_for_a_line(self, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._logged_s < every_s:
            return False
        self._logged_s = now
        return True

    def _send(self, line: str) -> None:
        """Send a line to the controller, if this is an xdist worker."""
        if self._relay is not None and not self._quiet:
            with suppress(OSError):
                self._relay.send(line)

    @contextmanager
    def _terminal(self) -> Iterator[pytest.TerminalReporter | None]:
        """The terminal, with pytest's capturing suspended: otherwise the text would count as the test's output.

        Looked up late: pytest has no terminal reporter yet when the session is prepared.
        """
        terminal = None if self._quiet else self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if not isinstance(terminal, pytest.TerminalReporter):
            yield None
        elif capture is None:
            yield terminal
        else:
            with capture.global_and_fixture_disabled():
                yield terminal

    def _write(self, text: str) -> None:
        """Write directly: pytest's writer counts columns to align its percentages."""
        print(text, end="", flush=True)


def describe(
    point: Point, phase: PhaseSpec, progress: Progress, tokens: int | None = None, width: int | None = None
) -> str:
    """One line: point, phase, done, in flight, failed, rate, tokens (otherwise events), time left.

    Fields that do not fit into `width` columns are left out, the least important first; no number is cut off. Plain
    ASCII, because pytest's writer, which replaces what a terminal cannot show, is not used.
    """
    done = progress.succeeded + progress.failed
    total = phase.load.most_requests
    elapsed_s = max(progress.elapsed_s, 1e-3)
    rate = done / elapsed_s
    fields = {
        "done": f"{done}/{total} done" if total else f"{done} done",
        "in flight": f"{progress.in_flight} in flight",
        "failed": f"{progress.failed} failed",
        "rate": f"{rate:.1f} req/s",
    }
    if tokens is not None:
        fields["output"] = f"{tokens} tokens counted"
    elif progress.events:
        fields["output"] = f"{progress.events} events"
    if total and rate > 0 and done < total:
        fields["left"] = f"{_span((total - done) / rate)} left"
    elif phase.load.duration_s is not None and elapsed_s < phase.load.duration_s:
        fields["left"] = f"{_span(phase.load.duration_s - elapsed_s)} left"
    name = f"{point.id} {phase.label}"
    for dispensable in _DISPENSABLE:
        if width is None or len(f"{name}: {', '.join(fields.values())}") <= width:
            break
        fields.pop(dispensable, None)
    text = ", ".join(fields.values())
    room = None if width is None else width - len(f": {text}")
    return text if room is not None and room < _SHORTEST_NAME else f"{_end_of(name, room)}: {text}"


_DISPENSABLE = ("output", "in flight", "rate", "left", "failed")
"""Fields of a line of progress, the least important first."""
_SHORTEST_NAME = len("...c0001")


def _end_of(name: str, room: int | None) -> str:
    """`name`, or as much of its end as fits into `room` columns."""
    return name if room is None or len(name) <= room else f"...{name[len(name) - room + 3 :]}"


def describe_wait(waiting: Waiting, width: int | None = None) -> str:
    """One line: the endpoint that is not ready, the time left, and the result of the last attempt. Plain ASCII.

    An answer that does not fit into `width` columns ends in `...`.
    """
    answer = waiting.answer or "no answer yet"
    line = f"waiting for {waiting.url}: {_span(waiting.left_s)} left; {answer}"
    line = line.encode("ascii", "replace").decode()
    return line if width is None or len(line) <= width else f"{line[: max(0, width - 3)]}..."


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
