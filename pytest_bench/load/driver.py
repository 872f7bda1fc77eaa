"""A load worker runs its share of every stage, sends heartbeats, and reports."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import cast

from pytest_bench.load.bodies import Bodies
from pytest_bench.load.connecting import OutOfDescriptors
from pytest_bench.load.counters import SharedCounters
from pytest_bench.load.loop import Loop
from pytest_bench.load.messages import Command, Notice, Stage, WorkerSetup
from pytest_bench.load.pacing import CappedOpenLoop, ClosedLoop, OpenLoop, TimedLoop
from pytest_bench.load.phase import Phase
from pytest_bench.load.raw import RawLog
from pytest_bench.load.requests import Requests
from pytest_bench.load.tally import BEAT_NS
from pytest_bench.load.wakeup import Wakeup

_BEATS_PER_SWEEP = 5
_BEATS_PER_FLUSH = 50
_BEATS_PER_SAMPLE = 50
"""How often the offset between the clocks is measured again: twice a second."""
_OPEN_LOOP_CONNECTIONS = 64
_CLOSING_NS = 60_000_000_000
"""Time limit for syncing the logs or decoding one long response. No heartbeat is sent during that time."""


def _ignore() -> None:
    """For phases with logs of their own, whose slots do not wait for a line."""


class LoadWorker:
    """Connects, runs its share of every stage on command, and reports."""

    def __init__(self, setup: WorkerSetup, loop: Loop, notify: Callable[[Notice], None]) -> None:
        run = setup.run
        self._setup = setup
        self._notify = notify
        self._run = run
        self._loop = loop
        bodies = Bodies(setup.bodies)
        is_eval = run.checkpoint is not None
        self._raw = RawLog(run) if is_eval else None
        self._written = Wakeup(loop, self._free_written) if is_eval else None
        notify_written = _ignore if self._written is None else self._written.notify
        self._phases = [
            Phase(
                run,
                number,
                setup.worker,
                bodies,
                notify_written,
                capped=any(stage.max_concurrency for stage in setup.stages if stage.phase == number),
            )
            for number in range(len(run.phases))
        ]
        self._counters = SharedCounters(
            setup.counters, stages=len(setup.stages), workers=setup.workers, phases=len(run.phases)
        )
        self._requests = Requests(
            run,
            loop,
            self._phases,
            on_idle=self._idle,
            on_fault=self._abort,
            before_long=self._announce_silence,
            on_enough=self._stop_issuing,
            raw=self._raw,
        )
        self._stage = -1
        self._issuing_over_ns: int | None = None
        self._ready = False
        self._finished = False
        self._beats = 0
        self._beat_due_ns = 0
        self._beat_timer = loop.timer(self._beat)
        self._begin_at_ns = 0
        self._begin_timer = loop.timer(self._begin)

    # Lifetime

    def run(self) -> None:
        """Connect, wait for commands, run every stage, and report.

        An exception of an API's decoder other than `Malformed` is raised after the logs are closed, because a request
        may be lost and the phase cannot be trusted.
        """
        try:
            self._beat_due_ns = time.monotonic_ns()
            self._beat()
            if self._loop.clock.fd is not None:
                self._loop.on_readable(self._loop.clock.fd, self._clock_was_set)
            self._requests.pool.open_ahead(
                max(map(self._connections_for, self._setup.stages)), self._connected
            )
            self._loop.run()
        finally:
            self._requests.pool.close()
            self._announce_silence()
            for phase in self._phases:
                phase.close()
            if self._raw is not None:
                self._raw.close()
            if self._written is not None:
                self._written.close()
        faults = [phase.log.fault for phase in self._phases] + [self._raw.fault if self._raw else None]
        for fault in faults:
            if fault is not None:
                self._notify(Notice(fault=fault))
                return
        self._notify(Notice(reports=tuple(phase.tally.report for phase in self._phases)))

    def _connected(self, why_not: OutOfDescriptors | None) -> None:
        if self._ready or self._finished:
            return
        if why_not is not None:
            self._abort(str(why_not))
            return
        self._ready = True
        gc.collect()
        gc.freeze()
        gc.disable()
        self._notify(Notice(ready=True))

    def execute(self, command: Command) -> None:
        """Execute a command of the supervisor."""
        if command.stop:
            self._stop()
        elif command.stage is not None and command.start_ns is not None:
            self._begin_at_ns = command.start_ns
            self._requests.slots.limit(0)  # slots that became empty between stages do not count as turnaround
            self._enter(command.stage)
            if isinstance(self._requests.pacer, TimedLoop):
                self._begin()  # it schedules its arrivals itself
            else:
                self._begin_timer.arm(command.start_ns)

    def _connections_for(self, stage: Stage) -> int:
        """Number of connections to open in advance for this worker's share of a stage."""
        workers, worker = self._setup.workers, self._setup.worker
        places = stage.places(worker, workers)
        if stage.closed:
            return places
        most = min(_OPEN_LOOP_CONNECTIONS, -(-(stage.requests or 0) // workers))
        return min(most, places) if stage.max_concurrency else most

    def _begin(self) -> None:
        if self._requests.pacer is not None:
            self._requests.pacer.begin(self._begin_at_ns)

    def _enter(self, number: int) -> None:
        stage, requests = self._setup.stages[number], self._requests
        self._stage = number
        tally = requests.tally = self._phases[stage.phase].tally
        if not tally.begun:
            for phase in self._phases:
                phase.tally.end_timing()
            tally.begin()
        if stage.closed:
            share = self._connections_for(stage)
            tally.enter(share, requests.sent)
            requests.slots.limit(share - requests.in_flight)
            requests.pacer = ClosedLoop(
                requests,
                self._pacer_over,
                stage,
                number,
                cursor=self._setup.cursors[number],
                indices=self._setup.indices[stage.phase] if stage.draws_indices else None,
                counters=self._counters,
                worker=self._setup.worker,
            )
        elif stage.max_concurrency:
            tally.enter(None)
            requests.pacer = CappedOpenLoop(
                requests,
                self._pacer_over,
                stage,
                self._loop,
                cursor=self._setup.cursors[number],
                places=stage.places(self._setup.worker, self._setup.workers),
            )
        else:
            tally.enter(None)
            requests.pacer = OpenLoop(
                requests,
                self._pacer_over,
                stage,
                self._loop,
                worker=self._setup.worker,
                workers=self._setup.workers,
            )

    def _stop(self) -> None:
        """Issue nothing more, and interrupt everything in flight."""
        pacer = self._requests.pacer
        if pacer is not None and not pacer.over:
            pacer.stop()
        self._stage = len(self._setup.stages) - 1
        self._issuing_over_ns = time.monotonic_ns()
        self._requests.interrupt()
        self._finish_if_done()

    def _stop_issuing(self) -> None:
        """Issue nothing more, and let everything in flight end."""
        if self._requests.pacer is not None:
            self._requests.pacer.stop()
        self._issuing_over_ns = time.monotonic_ns()

    def _abort(self, reason: str) -> None:
        self._notify(Notice(fault=reason))
        self._stop()

    def _pacer_over(self) -> None:
        stages, number = self._setup.stages, self._stage
        last = number + 1 == len(stages)
        if last or stages[number + 1].phase != stages[number].phase:
            self._phases[stages[number].phase].tally.report.over = True
        if last:
            self._issuing_over_ns = time.monotonic_ns()
            self._finish_if_done()
        elif stages[number].drain:
            self._end_stage_if_drained()
        elif stages[number].closed and stages[number + 1].closed:
            self._enter(number + 1)
            cast("ClosedLoop", self._requests.pacer).begin_after_previous()
        else:
            self._notify(Notice(stage_over=number))

    def _free_written(self) -> None:
        """Lines of the checkpoint were written."""
        self._requests.free_written()

    def _idle(self) -> None:
        """No request is in flight."""
        self._end_stage_if_drained()
        self._finish_if_done()

    def _end_stage_if_drained(self) -> None:
        number, requests = self._stage, self._requests
        over = requests.pacer is not None and requests.pacer.over
        if over and requests.in_flight == 0 and number + 1 < len(self._setup.stages):
            requests.pacer = None
            self._notify(Notice(stage_over=number))

    def _finish_if_done(self) -> None:
        undecided = self._requests.in_flight > 0 or any(phase.tally.in_flight for phase in self._phases)
        if self._issuing_over_ns is None or undecided or self._finished:
            return
        self._finished = True
        self._requests.sample_clock()
        for phase in self._phases:
            phase.tally.report.clock_error_ns = self._loop.clock.error_ns
            phase.tally.close()
        self._publish()
        self._loop.stop()

    # The heartbeat

    def _clock_was_set(self) -> None:
        self._loop.clock.acknowledge()
        self._requests.sample_clock()

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        if self._stage >= 0:
            self._requests.tally.beat(now_ns)
        pacer = self._requests.pacer
        if pacer is not None and not pacer.over:
            pacer.tick()
        self._beats += 1
        if self._beats % _BEATS_PER_SWEEP == 0:
            self._sweep(now_ns)
        if self._beats % _BEATS_PER_FLUSH == 0:
            self._flush()
        if self._beats % _BEATS_PER_SAMPLE == 0:
            self._requests.sample_clock()
        self._loop.wake.without_cpu_ns()
        self._publish()
        # The next heartbeat is due one period after this one was due, or now if that time has passed.
        self._beat_due_ns = max(self._beat_due_ns + BEAT_NS, time.monotonic_ns())
        self._beat_timer.arm(self._beat_due_ns)

    def _sweep(self, now_ns: int) -> None:
        """End what exceeds a time limit."""
        self._requests.sweep(now_ns)
        drain_s, over_ns = self._run.timeouts.drain_s, self._issuing_over_ns
        if drain_s is not None and over_ns is not None and now_ns - over_ns > drain_s * 1e9:
            self._stop()

    def _flush(self) -> None:
        if self._raw is not None:
            self._raw.flush()
        for phase in self._phases:
            phase.log.flush()
            if phase.log.fault is not None and not self._finished:
                self._stop()

    def _announce_silence(self) -> None:
        """Send no heartbeat for a while, and say so."""
        self._counters.beat(self._setup.worker, time.monotonic_ns() + _CLOSING_NS)

    def _publish(self) -> None:
        counters, worker = self._counters, self._setup.worker
        counters.beat(worker, time.monotonic_ns())
        for number, phase in enumerate(self._phases):
            phase.tally.publish(counters, number)
