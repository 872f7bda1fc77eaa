"""The parent of the load workers: starts them, gives the orders, watches, and never leaves one behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, NamedTuple, Self

import msgspec

from pytest_bench.errors import LoadError, WorkerDied
from pytest_bench.load.board import Board, Cell
from pytest_bench.load.legs import Notice, Order, WorkerSetup
from pytest_bench.records import WorkerReport

_POLL_S = 0.1
_PROGRESS_EVERY_S = 0.5
_START_DEADLINE_S = 60.0
_HUNG_AFTER_S = 5.0
_GRACE_S = 10.0
_LEAD_NS = 5_000_000
"""A leg starts this long after the order, so that every load worker has it in time."""


class Progress(NamedTuple):
    """How far a phase has come. `phase` is its position in the run: the one that is being issued, or one before it
    that has just ended."""

    phase: int
    elapsed_s: float
    issued: int
    succeeded: int
    failed: int
    in_flight: int
    events: int
    over: bool = False
    """Every request of the phase has ended: nothing more will be told of it."""


class Driven(NamedTuple):
    """How a run ended: per load worker one report a phase, and the failure that cut it short, if any."""

    reports: list[tuple[WorkerReport, ...]]
    failure: BaseException | None


class Watcher(NamedTuple):
    """Who is told how a run goes; see `engine.run`."""

    on_progress: Callable[[Progress], None] | None
    on_phase: Callable[[int], None] | None


class _Child:
    """One load worker, seen from its parent."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.number = setup.worker
        self.ready = False
        self.legs_over = 0
        self.reports: tuple[WorkerReport, ...] | None = None
        self.stderr: IO[bytes] = TemporaryFile()  # noqa: SIM115 # closed with the child
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pytest_bench.load.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            pass_fds=setup.descriptors,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(setup.import_path)},
            process_group=0,  # Ctrl-C is for the parent, which decides what it means
        )
        self._unread = bytearray()
        self.tell(setup)

    def tell(self, message: WorkerSetup | Order) -> None:
        stdin = self.process.stdin
        if stdin is not None:
            # A dead worker is noticed, and named, by the end of its output.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(msgspec.json.encode(message) + b"\n")
                stdin.flush()

    def fileno(self) -> int:
        if self.process.stdout is None:
            raise RuntimeError("a load worker's output is always a pipe")
        return self.process.stdout.fileno()

    def hear(self) -> list[Notice] | None:
        """What it has said since; None once it has ended."""
        received = os.read(self.fileno(), 1 << 16)
        if not received:
            return None
        self._unread += received
        *lines, rest = self._unread.split(b"\n")
        self._unread = bytearray(rest)
        return [msgspec.json.decode(line, type=Notice) for line in lines]

    def last_words(self) -> str:
        self.stderr.seek(0)
        tail = self.stderr.read()[-2000:].decode("utf-8", "replace").strip()
        return f":\n{tail}" if tail else ""

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Supervisor:
    """Context manager around the load workers of one run."""

    def __init__(self, setups: Sequence[WorkerSetup], board: Board, watcher: Watcher) -> None:
        self._setups = setups
        self._board = board
        self._watcher = watcher
        self._legs = setups[0].legs
        self._leg = -1
        self._phase = 0
        self._unfinished: list[int] = []
        """Phases that all was issued of, and that requests may yet be in flight of."""
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()
        self._started_s = time.monotonic()
        self._reported_s = 0.0

    def __enter__(self) -> Self:
        try:
            for setup in self._setups:
                child = _Child(setup)
                self._children.append(child)
                self._selector.register(child, selectors.EVENT_READ, child)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def drive(self) -> Driven:
        """Run every leg. A failure ends the run early and is returned, after what was complete is safe."""
        failure: BaseException | None = None
        try:
            self._watch()
        except (KeyboardInterrupt, SystemExit, LoadError) as error:
            failure = error
            self._wind_down()
        return Driven([child.reports or self._last_account(child) for child in self._children], failure)

    def _last_account(self, child: _Child) -> tuple[WorkerReport, ...]:
        """What a load worker that left no report had published: what it had not settled is interrupted."""
        accounts = []
        for phase in range(len(self._setups[0].run.phases)):
            issued, succeeded, failed = (
                self._board.get(child.number, phase, cell)
                for cell in (Cell.ISSUED, Cell.SUCCEEDED, Cell.FAILED)
            )
            accounts.append(
                WorkerReport(
                    worker=child.number,
                    issued=issued,
                    succeeded=succeeded,
                    failed=failed,
                    interrupted=issued - succeeded - failed,
                )
            )
        return tuple(accounts)

    def _watch(self) -> None:
        """Follow the run to its end. Raises `WorkerDied` and `LoadError`."""
        while not all(child.reports for child in self._children):
            for child in self._speaking():
                self._listen(child)
            self._check_deadlines()
            self._advance()
            self._enter_phases(self._phase_begun())
            self._report_progress()
        self._enter_phases(self._phase_begun())
        self._report_progress(last=True)

    def _listen(self, child: _Child) -> None:
        notices = child.hear()
        if notices is None:
            self._selector.unregister(child)
            if child.reports is None:
                status = child.process.wait()
                raise WorkerDied(
                    f"load worker {child.number} ended with status {status} before its phase was over"
                    f"{child.last_words()}"
                )
            return
        for notice in notices:
            if notice.fault is not None:
                raise LoadError(f"load worker {child.number} gave up: {notice.fault}")
            if notice.ready:
                child.ready = True
            elif notice.leg_over is not None:
                child.legs_over = notice.leg_over + 1
            elif notice.reports is not None:
                child.reports = notice.reports

    def _advance(self) -> None:
        """Order the next leg once every load worker is ready for it."""
        if self._leg < 0:
            go = all(child.ready for child in self._children)
        else:
            go = all(child.legs_over > self._leg for child in self._children)
            # Legs that follow without a pause are entered by the load workers themselves.
            self._leg = max(self._leg, *(child.legs_over - 1 for child in self._children))
        if go:
            if self._leg >= 0 and self._legs[self._leg].drain:
                self._enter_phases(self._legs[self._leg + 1].phase)
            self._leg += 1
            start_ns = time.monotonic_ns() + _LEAD_NS
            self._board.set_leg_start(self._leg, start_ns)
            for child in self._children:
                child.tell(Order(leg=self._leg, start_ns=start_ns))

    def _check_deadlines(self) -> None:
        now_s = time.monotonic()
        for child in self._children:
            beat_ns = self._board.last_beat(child.number)
            if not beat_ns and now_s - self._started_s > _START_DEADLINE_S:
                raise WorkerDied(
                    f"load worker {child.number} had not begun after {_START_DEADLINE_S:g} s{child.last_words()}"
                )
            if child.reports is None and beat_ns and now_s - beat_ns / 1e9 > _HUNG_AFTER_S:
                child.process.kill()  # the others alone are worth waiting for
                raise WorkerDied(
                    f"load worker {child.number} has not answered for {_HUNG_AFTER_S:g} s: it hangs or was stopped"
                )

    def _phase_begun(self) -> int:
        """The latest phase that has begun: load workers enter some without an order."""
        begun = [leg.phase for number, leg in enumerate(self._legs) if self._board.leg_start(number)]
        return max(begun, default=0)

    def _enter_phases(self, latest: int) -> None:
        while self._phase < latest:
            self._unfinished.append(self._phase)
            self._phase += 1
            self._report_ended()
            if self._watcher.on_phase is not None:
                self._watcher.on_phase(self._phase)

    def _report_progress(self, *, last: bool = False) -> None:
        if self._leg < 0:
            return
        self._report_ended()
        now_s = time.monotonic()
        if last or now_s - self._reported_s >= _PROGRESS_EVERY_S:
            self._reported_s = now_s
            self._tell(self._phase, over=last)

    def _report_ended(self) -> None:
        for phase in list(self._unfinished):
            if not self._board.total(phase, Cell.IN_FLIGHT):
                self._unfinished.remove(phase)
                self._tell(phase, over=True)

    def _tell(self, phase: int, *, over: bool) -> None:
        if self._watcher.on_progress is None:
            return
        board = self._board
        first = next(number for number, leg in enumerate(self._legs) if leg.phase == phase)
        self._watcher.on_progress(
            Progress(
                phase=phase,
                elapsed_s=time.monotonic() - board.leg_start(first) / 1e9,
                issued=board.total(phase, Cell.ISSUED),
                succeeded=board.total(phase, Cell.SUCCEEDED),
                failed=board.total(phase, Cell.FAILED),
                in_flight=board.total(phase, Cell.IN_FLIGHT),
                events=board.total(phase, Cell.EVENTS),
                over=over,
            )
        )

    def _wind_down(self) -> None:
        """Tell the load workers to stop, and give them a moment to write down what they have."""
        for child in self._children:
            child.tell(Order(stop=True))
        deadline_s = time.monotonic() + _GRACE_S
        while self._selector.get_map() and time.monotonic() < deadline_s:
            for child in self._speaking():
                notices = child.hear()
                if notices is None:
                    self._selector.unregister(child)
                for notice in notices or ():
                    child.reports = notice.reports or child.reports

    def _speaking(self) -> list[_Child]:
        """The load workers that have something to say, or have ended; waits a moment for one."""
        return [key.data for key, _ in self._selector.select(_POLL_S)]

    def _close(self) -> None:
        for child in self._children:
            child.close()
        self._selector.close()
