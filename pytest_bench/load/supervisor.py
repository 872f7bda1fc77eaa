"""The parent process of the load workers: starts them, sends commands, monitors them, and always ends them."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from pytest_bench.child import Child, python
from pytest_bench.errors import LoadError, WorkerDied
from pytest_bench.load.counters import Cell, SharedCounters
from pytest_bench.load.interrupts import Interrupts
from pytest_bench.load.messages import Command, Notice, WorkerSetup
from pytest_bench.load.watchdog import Watchdog
from pytest_bench.records import WorkerReport

_POLL_S = 0.1
_PROGRESS_EVERY_S = 0.5
_UNSTARTED_AFTER_S = 60.0
_HUNG_AFTER_S = 5.0
"""How long a load worker may be silent, by its watchdog."""
_GRACE_S = 10.0
_LEAD_NS = 5_000_000
"""A stage starts this long after the command, so that every load worker receives it in time."""


class Progress(NamedTuple):
    """Progress of a phase. `phase` is its position in the run: the current phase, or an earlier one that has just
    ended."""

    phase: int
    elapsed_s: float
    issued: int
    succeeded: int
    failed: int
    in_flight: int
    events: int
    over: bool = False
    """Whether every request of the phase has ended. This is then the last report of the phase."""


class Driven(NamedTuple):
    """Outcome of a run: one report per load worker and phase, and the failure that ended the run early, if any."""

    reports: list[tuple[WorkerReport, ...]]
    failure: BaseException | None


class Watcher(NamedTuple):
    """Callbacks of `engine.run`."""

    on_progress: Callable[[Progress], None] | None
    on_phase: Callable[[int], None] | None


class _Worker:
    """One load worker."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.number = setup.worker
        self.ready = False
        self.stages_over = 0
        self.reports: tuple[WorkerReport, ...] | None = None
        self.child = Child(python("pytest_bench.load.worker"), descriptors=setup.descriptors)
        self.watchdog = Watchdog(self.child.pid)
        self._unread = bytearray()

    def send(self, message: WorkerSetup | Command) -> None:
        self.child.send(msgspec.json.encode(message) + b"\n")

    def fileno(self) -> int:
        return self.child.stdout.fileno()

    def receive(self) -> list[Notice] | None:
        """Read the notices that have arrived; None if the process has closed its output."""
        received = os.read(self.fileno(), 1 << 16)
        if not received:
            return None
        self._unread += received
        *lines, rest = self._unread.split(b"\n")
        self._unread = bytearray(rest)
        return [msgspec.json.decode(line, type=Notice) for line in lines]

    def stderr_suffix(self) -> str:
        """The end of its error output, as the end of a message."""
        tail = self.child.stderr_tail()
        return f":\n{tail}" if tail else ""


class Supervisor:
    """Context manager around the load workers of one run."""

    def __init__(self, setups: Sequence[WorkerSetup], counters: SharedCounters, watcher: Watcher) -> None:
        self._setups = setups
        self._counters = counters
        self._watcher = watcher
        self._stages = setups[0].stages
        self._stage = -1
        self._phase = 0
        self._unfinished: list[int] = []
        """Phases whose requests have all been issued and may still be in flight."""
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._reported_s = 0.0
        self._interrupts = Interrupts()

    def __enter__(self) -> Self:
        try:
            self._interrupts.__enter__()
            # An interrupt between the start of a process and its registration would leave it running.
            with self._interrupts.deferred():
                for setup in self._setups:
                    worker = _Worker(setup)
                    self._workers.append(worker)
                    worker.send(setup)
                    self._selector.register(worker, selectors.EVENT_READ, worker)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def drive(self) -> Driven:
        """Run every stage. A failure ends the run early and is returned, after logs are written."""
        failure: BaseException | None = None
        try:
            self._watch()
        except (KeyboardInterrupt, SystemExit, LoadError) as error:
            failure = error
            self._stop_workers()
        return Driven(
            [worker.reports or self._report_from_counters(worker) for worker in self._workers], failure
        )

    def _report_from_counters(self, worker: _Worker) -> tuple[WorkerReport, ...]:
        """Reports for a load worker that sent none, from the shared counters. Unfinished requests are interrupted."""
        accounts = []
        for phase in range(len(self._setups[0].run.phases)):
            issued, succeeded, failed = (
                self._counters.get(worker.number, phase, cell)
                for cell in (Cell.ISSUED, Cell.SUCCEEDED, Cell.FAILED)
            )
            accounts.append(
                WorkerReport(
                    worker=worker.number,
                    issued=issued,
                    succeeded=succeeded,
                    failed=failed,
                    interrupted=issued - succeeded - failed,
                )
            )
        return tuple(accounts)

    def _watch(self) -> None:
        """Monitor the run until it ends. Raises `WorkerDied` and `LoadError`."""
        while not all(worker.reports for worker in self._workers):
            for worker in self._readable():
                self._handle_notices(worker)
            self._interrupts.check()
            self._check_deadlines()
            self._start_next_stage()
            self._enter_phases(self._phase_begun())
            self._report_progress()
        self._enter_phases(self._phase_begun())
        self._report_progress(last=True)

    def _handle_notices(self, worker: _Worker) -> None:
        notices = worker.receive()
        if notices is None:
            self._selector.unregister(worker)
            if worker.reports is None:
                # It may need a moment to end after its output.
                status = worker.child.wait(_GRACE_S) or worker.child.stop()
                raise WorkerDied(
                    f"load worker {worker.number} ended with status {status} before its phase was over"
                    f"{worker.stderr_suffix()}"
                )
            return
        for notice in notices:
            if notice.fault is not None:
                raise LoadError(f"load worker {worker.number} cannot continue: {notice.fault}")
            if notice.ready:
                worker.ready = True
            elif notice.stage_over is not None:
                worker.stages_over = notice.stage_over + 1
            elif notice.reports is not None:
                worker.reports = notice.reports

    def _start_next_stage(self) -> None:
        """Start the next stage once every load worker is ready for it."""
        if self._stage < 0:
            go = all(worker.ready for worker in self._workers)
        else:
            go = all(worker.stages_over > self._stage for worker in self._workers)
            # Load workers enter stages that follow without a pause on their own.
            self._stage = max(self._stage, *(worker.stages_over - 1 for worker in self._workers))
        if go:
            if self._stage >= 0 and self._stages[self._stage].drain:
                self._enter_phases(self._stages[self._stage + 1].phase)
            self._stage += 1
            start_ns = time.monotonic_ns() + _LEAD_NS
            self._counters.set_stage_start(self._stage, start_ns)
            for worker in self._workers:
                worker.send(Command(stage=self._stage, start_ns=start_ns))

    def _check_deadlines(self) -> None:
        for worker in self._workers:
            if worker.reports is not None:
                continue
            beat_ns, watchdog = self._counters.last_beat(worker.number), worker.watchdog
            watchdog.watch(beat_ns)
            limit_s = _HUNG_AFTER_S if beat_ns else _UNSTARTED_AFTER_S
            if watchdog.silent_s > limit_s:
                worker.child.kill()  # only the others are waited for
                what = "has not answered" if beat_ns else "has not started"
                raise WorkerDied(
                    f"load worker {worker.number} {what} for {limit_s:g} s: {watchdog.reason}{worker.stderr_suffix()}"
                )

    def _phase_begun(self) -> int:
        """The latest phase that has started. Load workers enter some phases without a command."""
        begun = [
            stage.phase for number, stage in enumerate(self._stages) if self._counters.stage_start(number)
        ]
        return max(begun, default=0)

    def _enter_phases(self, latest: int) -> None:
        while self._phase < latest:
            self._unfinished.append(self._phase)
            self._phase += 1
            self._report_ended()
            if self._watcher.on_phase is not None:
                self._watcher.on_phase(self._phase)

    def _report_progress(self, *, last: bool = False) -> None:
        if self._stage < 0:
            return
        self._report_ended()
        now_s = time.monotonic()
        if last or now_s - self._reported_s >= _PROGRESS_EVERY_S:
            self._reported_s = now_s
            self._report(self._phase, over=last)

    def _report_ended(self) -> None:
        for phase in list(self._unfinished):
            if not self._counters.total(phase, Cell.IN_FLIGHT):
                self._unfinished.remove(phase)
                self._report(phase, over=True)

    def _report(self, phase: int, *, over: bool) -> None:
        if self._watcher.on_progress is None:
            return
        counters = self._counters
        first = next(number for number, stage in enumerate(self._stages) if stage.phase == phase)
        self._watcher.on_progress(
            Progress(
                phase=phase,
                elapsed_s=time.monotonic() - counters.stage_start(first) / 1e9,
                issued=counters.total(phase, Cell.ISSUED),
                succeeded=counters.total(phase, Cell.SUCCEEDED),
                failed=counters.total(phase, Cell.FAILED),
                in_flight=counters.total(phase, Cell.IN_FLIGHT),
                events=counters.total(phase, Cell.EVENTS),
                over=over,
            )
        )

    def _stop_workers(self) -> None:
        """Tell the load workers to stop, and wait a limited time for them to write their logs."""
        for worker in self._workers:
            worker.send(Command(stop=True))
        deadline_s = time.monotonic() + _GRACE_S
        while self._selector.get_map() and time.monotonic() < deadline_s:
            for worker in self._readable():
                notices = worker.receive()
                if notices is None:
                    self._selector.unregister(worker)
                for notice in notices or ():
                    worker.reports = notice.reports or worker.reports

    def _readable(self) -> list[_Worker]:
        """Load workers whose output is readable or closed. Waits for up to `_POLL_S`."""
        return [key.data for key, _ in self._selector.select(_POLL_S)]

    def _close(self) -> None:
        for worker in self._workers:
            worker.child.stop()
        self._selector.close()
        self._interrupts.__exit__()
