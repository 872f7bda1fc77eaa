"""A load worker issues its share of every stage and records the result of each request."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import cast

from pytest_bench.api import Malformed, import_api
from pytest_bench.load.attempts import Attempts
from pytest_bench.load.bodies import Bodies
from pytest_bench.load.checkpointed import CheckpointLog
from pytest_bench.load.connecting import OutOfDescriptors
from pytest_bench.load.connection import Connection
from pytest_bench.load.counters import SharedCounters
from pytest_bench.load.decode_queue import DecodeQueue
from pytest_bench.load.exchange import Exchange, ExchangeResult, Failure, abandoned, decode_response
from pytest_bench.load.limits import overdue
from pytest_bench.load.loop import Loop
from pytest_bench.load.messages import Command, Notice, Stage, WorkerSetup
from pytest_bench.load.pacing import ClosedLoop, OpenLoop, Pacer
from pytest_bench.load.phase import Phase
from pytest_bench.load.pool import ConnectionPool
from pytest_bench.load.slots import Slots
from pytest_bench.load.tally import BEAT_NS, Tally
from pytest_bench.load.wakeup import Wakeup

_BEATS_PER_SWEEP = 5
_BEATS_PER_FLUSH = 50
_BEATS_PER_SAMPLE = 50
"""How often the offset between the clocks is measured again: twice a second."""
_PAUSE_AFTER_REFUSAL_NS = 50_000_000
_OK = 200
_ACCEPTED = frozenset({200, 201, 202})
_OPEN_LOOP_CONNECTIONS = 64
_CLOSING_NS = 60_000_000_000
"""Time limit for syncing the logs or decoding one long response. No heartbeat is sent during that time."""


_LONG_BYTES = 4 << 20


def _ignore() -> None:
    """For phases with logs of their own, whose slots do not wait for a line."""


class LoadWorker:
    """Runs its share of every stage and counts requests."""

    def __init__(self, setup: WorkerSetup, loop: Loop, notify: Callable[[Notice], None]) -> None:
        run = setup.run
        self.in_flight = 0
        self._sent = 0
        """Requests in flight that have been sent, which excludes those that wait for a connection."""
        self._setup = setup
        self._notify = notify
        self._run = run
        self._loop = loop
        self._clock = loop.clock
        self._api = import_api(run.api, run.api)
        bodies = Bodies(setup.bodies)
        self._attempts = None if run.checkpoint is None else Attempts(self, run.checkpoint)
        """None unless an eval runs."""
        self._written = None if run.checkpoint is None else Wakeup(loop, self._free_places)
        notify_written = _ignore if self._written is None else self._written.notify
        self._phases = [
            Phase(run, number, setup.worker, bodies, notify_written) for number in range(len(run.phases))
        ]
        self._counters = SharedCounters(
            setup.counters, stages=len(setup.stages), workers=setup.workers, phases=len(run.phases)
        )
        self._pool = ConnectionPool(
            self,
            loop,
            run.targets,
            connect_timeout_s=run.timeouts.connect_s,
            limit_bytes=run.max_response_bytes,
        )
        self._live: dict[Exchange, None] = {}
        self._decode_queue = DecodeQueue(loop, self._decode)
        self._slots = Slots()
        self._stage = -1
        self._pacer: Pacer | None = None
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
            if self._clock.fd is not None:
                self._loop.on_readable(self._clock.fd, self._clock_was_set)
            self._pool.open_ahead(max(map(self._connections_for, self._setup.stages)), self._connected)
            self._loop.run()
        finally:
            self._pool.close()
            self._counters.beat(self._setup.worker, time.monotonic_ns() + _CLOSING_NS)
            for phase in self._phases:
                phase.log.close()
            if self._written is not None:
                self._written.close()
        for phase in self._phases:
            if phase.log.fault is not None:
                self._notify(Notice(fault=phase.log.fault))
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
            self._slots.limit(0)  # slots that became empty between stages do not count as turnaround
            self._enter(command.stage)
            if isinstance(self._pacer, OpenLoop):
                self._begin()  # it schedules its arrivals itself
            else:
                self._begin_timer.arm(command.start_ns)

    def _connections_for(self, stage: Stage) -> int:
        """Number of connections to open in advance for this worker's share of a stage."""
        workers, worker = self._setup.workers, self._setup.worker
        if stage.closed:
            return stage.concurrency // workers + (worker < stage.concurrency % workers)
        return min(_OPEN_LOOP_CONNECTIONS, -(-(stage.requests or 0) // workers))

    def _begin(self) -> None:
        if self._pacer is not None:
            self._pacer.begin(self._begin_at_ns)

    def _enter(self, number: int) -> None:
        stage = self._setup.stages[number]
        self._stage = number
        tally = self._phases[stage.phase].tally
        if not tally.begun:
            for phase in self._phases:
                phase.tally.end_timing()
            tally.begin()
        if stage.closed:
            share = self._connections_for(stage)
            tally.enter(share=share, sent=self._sent)
            self._slots.limit(share - self.in_flight)
            self._pacer = ClosedLoop(
                self,
                stage,
                number,
                cursor=self._setup.cursors[number],
                indices=self._setup.indices[stage.phase] if stage.draws_indices else None,
                counters=self._counters,
                worker=self._setup.worker,
            )
        else:
            tally.enter(start_ns=self._begin_at_ns)
            self._pacer = OpenLoop(
                self, stage, loop=self._loop, worker=self._setup.worker, workers=self._setup.workers
            )

    def _stop(self) -> None:
        """Issue nothing more, and interrupt everything in flight."""
        if self._pacer is not None and not self._pacer.over:
            self._pacer.stop()
        self._stage = len(self._setup.stages) - 1
        self._issuing_over_ns = time.monotonic_ns()
        if self._attempts is not None:
            self._attempts.stop()
        for exchange in list(self._live):
            self._abandon(exchange, None)
        self._free_places()  # those of interrupted requests wait for no line
        self._finish_if_done()

    def _abort(self, reason: str) -> None:
        self._notify(Notice(fault=reason))
        self._stop()

    # Called by pacers

    def issue(self, stage: Stage, index: int, scheduled_ns: int | None) -> None:
        now_ns = time.monotonic_ns()
        phase = self._phases[stage.phase]
        exchange = phase.exchange(index)
        exchange.started_ns = now_ns
        exchange.scheduled_ns = scheduled_ns
        if stage.closed:
            exchange.vacant_since_ns = self._slots.take()
        self.in_flight += 1
        self._live[exchange] = None
        phase.tally.issued(now_ns, self.in_flight, self._sent)
        self._transmit(exchange)
        if not stage.closed and scheduled_ns is not None:
            phase.tally.lateness_ns.append(now_ns - scheduled_ns)

    def pacer_over(self) -> None:
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
            cast("ClosedLoop", self._pacer).begin_after_previous()
        else:
            self._notify(Notice(stage_over=number))

    # Called by connections

    def completed(self, connection: Connection, exchange: Exchange) -> None:
        self._pool.give_back(connection)
        if self._api.polls and self._is_pending(exchange):
            return
        # First, so that what the next request costs does not delay anything that is measured.
        self._decode_queue.add(exchange, self._phases[exchange.phase].tally.report.peak_in_flight)
        self._end(exchange, exchange.end_ns, answered=exchange.status == _OK)

    def _is_pending(self, exchange: Exchange) -> bool:
        """Whether the response describes a job that still runs. Such a request stays in flight and polls later."""
        if exchange.status not in _ACCEPTED:
            return False
        try:
            path = self._api.pending(b"".join(exchange.body))
        except Malformed:
            return False  # decoding the response reports the failure
        if path is None:
            return False
        exchange.restart()
        exchange.polls += 1
        exchange.request = self._phases[exchange.phase].poll(exchange, path)
        self.after(round(self._run.poll_interval_s * 1e9), lambda: self._poll(exchange))
        return True

    def _poll(self, exchange: Exchange) -> None:
        if exchange in self._live:
            self._transmit(exchange)

    def after(self, wait_ns: int, callback: Callable[[], None]) -> None:
        self._loop.timer(callback).arm(time.monotonic_ns() + wait_ns)

    def _decode(self, exchange: Exchange) -> None:
        if not self._clock.agrees():
            self._sample_clock()  # before a time that a clock step has moved is recorded
        if exchange.response_bytes > _LONG_BYTES:
            # Decoding a response of this size may take longer than the limit between heartbeats.
            self._counters.beat(self._setup.worker, time.monotonic_ns() + _CLOSING_NS)
        phase = self._phases[exchange.phase]
        result = decode_response(
            exchange,
            seq=phase.seq,
            api=self._api,
            streaming=self._run.streaming,
            texts=self._run.texts,
        )
        self._write_down(exchange, result, exchange.lags_ns)

    def broken(self, connection: Connection, exchange: Exchange, failure: Failure, *, resend: bool) -> None:
        connection.reusable = False
        if resend and exchange in self._live:
            exchange.resent = True
            exchange.restart()
            self._transmit(exchange, fresh=True)
        else:
            self._abandon(exchange, failure)

    def idle_closed(self, connection: Connection) -> None:
        self._pool.forget(connection)

    # Sending and ending requests

    def _transmit(self, exchange: Exchange, *, fresh: bool = False) -> None:
        connection = None if fresh else self._pool.take(exchange.endpoint)
        if connection is not None:
            self._send(connection, exchange)
        else:
            self._pool.open(exchange.endpoint, lambda outcome: self._opened(exchange, outcome))

    def _send(self, connection: Connection, exchange: Exchange) -> None:
        again = exchange.send_start_ns is not None or exchange.counted
        connection.send(exchange)
        if not again and exchange.send_start_ns is not None:
            self._sent += 1
            self._current_tally.sent(exchange.send_start_ns, exchange.vacant_since_ns)

    def _opened(self, exchange: Exchange, outcome: Connection | Failure | OutOfDescriptors) -> None:
        if isinstance(outcome, OutOfDescriptors):
            self._abort(str(outcome))
        elif isinstance(outcome, Failure):
            # A refused connection fails within microseconds. Without a pause, a closed loop would spin.
            self.after(_PAUSE_AFTER_REFUSAL_NS, lambda: self._abandon(exchange, outcome))
        elif exchange in self._live:
            self._send(outcome, exchange)
        else:
            self._pool.give_back(outcome)

    def _abandon(self, exchange: Exchange, failure: Failure | None) -> None:
        if exchange not in self._live:
            return
        connection = exchange.connection
        if connection is not None and connection.exchange is exchange:
            connection.discard()
        end_ns = time.monotonic_ns()
        self._end(exchange, end_ns, answered=False)
        seq = self._phases[exchange.phase].seq
        self._write_down(exchange, abandoned(exchange, seq=seq, end_ns=end_ns, failure=failure))

    def _end(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """A request has ended. Its slot is free at once, so that the next request is sent before this one is decoded;
        that of an eval's request is not free yet."""
        del self._live[exchange]
        if self._attempts is None:
            self.vacate(exchange, end_ns, answered=answered)

    def vacate(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """Free the slot of a request that ended at `end_ns`."""
        self.in_flight -= 1
        if exchange.send_start_ns is not None or exchange.counted:
            self._sent -= 1
            self._current_tally.vacated(end_ns if self._attempts is None else time.monotonic_ns())
            if answered and exchange.send_start_ns is not None:
                self._phases[exchange.phase].tally.report.busy_ns += end_ns - exchange.send_start_ns
        self._phases[exchange.phase].tally.awaited -= 1
        if self._pacer is not None:
            self._slots.release(end_ns, answered=answered)
            self._pacer.freed()

    # Called by the attempts of an eval

    def send_again(self, exchange: Exchange) -> None:
        phase = self._phases[exchange.phase]
        again = phase.exchange(exchange.index, exchange.attempt + 1)
        again.started_ns = time.monotonic_ns()
        again.counted = exchange.counted or exchange.send_start_ns is not None
        self._live[again] = None
        phase.tally.awaited -= 1  # the attempt before has ended
        phase.tally.issued(again.started_ns, self.in_flight, self._sent)
        self._transmit(again)

    def stop_issuing(self) -> None:
        if self._pacer is not None:
            self._pacer.stop()
        self._issuing_over_ns = time.monotonic_ns()

    def _free_places(self) -> None:
        """Lines were written, or a fault keeps them from being written."""
        log = self._phases[0].log
        if self._attempts is not None and isinstance(log, CheckpointLog):
            self._attempts.free(log.written if log.fault is None else None)
            self._finish_if_drained()

    @property
    def _current_tally(self) -> Tally:
        """Tally of the phase whose requests are being issued."""
        return self._phases[self._setup.stages[self._stage].phase].tally

    def _write_down(self, exchange: Exchange, result: ExchangeResult, lags_ns: Sequence[int] = ()) -> None:
        position = self._phases[exchange.phase].write_down(result, lags_ns)
        if self._attempts is not None:
            self._attempts.recorded(exchange, result.record, position)
        self._finish_if_drained()

    def _finish_if_drained(self) -> None:
        if self.in_flight == 0:
            self._end_stage_if_drained()
            self._finish_if_done()

    def _end_stage_if_drained(self) -> None:
        number = self._stage
        over = self._pacer is not None and self._pacer.over
        if over and self.in_flight == 0 and number + 1 < len(self._setup.stages):
            self._pacer = None
            self._notify(Notice(stage_over=number))

    def _finish_if_done(self) -> None:
        undecided = self.in_flight > 0 or any(phase.tally.in_flight for phase in self._phases)
        if self._issuing_over_ns is None or undecided or self._finished:
            return
        self._finished = True
        self._sample_clock()
        for phase in self._phases:
            phase.tally.report.clock_error_ns = self._clock.error_ns
            phase.tally.close()
        self._publish()
        self._loop.stop()

    # The clock

    def _clock_was_set(self) -> None:
        self._clock.acknowledge()
        self._sample_clock()

    def _sample_clock(self) -> None:
        """Measure the offset between the clocks again.

        If CLOCK_REALTIME was set, kernel stamps taken since the last good measurement are invalid. In every response
        that is not recorded yet, they are replaced by the load worker's own.
        """
        since_ns = self._clock.sample()
        if since_ns is None:
            return
        self._current_tally.report.clock_steps += 1
        for exchange in (*self._live, *self._decode_queue):
            exchange.void_stamps(since_ns)

    # The heartbeat

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        if self._stage >= 0:
            self._current_tally.beat(now_ns)
        if self._pacer is not None and not self._pacer.over:
            self._pacer.tick()
        self._beats += 1
        if self._beats % _BEATS_PER_SWEEP == 0:
            self._sweep(now_ns)
        if self._beats % _BEATS_PER_FLUSH == 0:
            self._flush()
        if self._beats % _BEATS_PER_SAMPLE == 0:
            self._sample_clock()
        self._publish()
        # The next heartbeat is due one period after this one was due, or now if that time has passed.
        self._beat_due_ns = max(self._beat_due_ns + BEAT_NS, time.monotonic_ns())
        self._beat_timer.arm(self._beat_due_ns)

    def _sweep(self, now_ns: int) -> None:
        """Fail the connections and requests that exceed a time limit."""
        timeouts = self._run.timeouts
        self._pool.sweep(now_ns)
        late = overdue(list(self._live), timeouts, now_ns, streaming=self._run.streaming)
        for exchange, failure in late:
            self._abandon(exchange, failure)
        over_ns = self._issuing_over_ns
        if timeouts.drain_s is not None and over_ns is not None and now_ns - over_ns > timeouts.drain_s * 1e9:
            self._stop()

    def _flush(self) -> None:
        for phase in self._phases:
            phase.log.flush()
            if phase.log.fault is not None and not self._finished:
                self._stop()

    def _publish(self) -> None:
        counters, worker = self._counters, self._setup.worker
        counters.beat(worker, time.monotonic_ns())
        for number, phase in enumerate(self._phases):
            phase.tally.publish(counters, number)
