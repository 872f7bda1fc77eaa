"""What a load worker does: issues its share of every leg, and writes down what became of each request."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import cast

from pytest_bench.api import Malformed, import_api
from pytest_bench.load.backlog import Backlog
from pytest_bench.load.board import Board
from pytest_bench.load.bodies import Bodies
from pytest_bench.load.connection import Connection
from pytest_bench.load.exchange import Exchange, Failure, Settled, abandoned, settle
from pytest_bench.load.legs import Leg, Notice, Order, WorkerSetup
from pytest_bench.load.limits import overdue
from pytest_bench.load.loop import Loop
from pytest_bench.load.opening import OutOfDescriptors
from pytest_bench.load.pacing import ClosedLoop, OpenLoop, Pacer
from pytest_bench.load.phase import Phase
from pytest_bench.load.places import Places
from pytest_bench.load.pool import ConnectionPool
from pytest_bench.load.tally import BEAT_NS, Tally

_BEATS_PER_SWEEP = 5
_BEATS_PER_FLUSH = 50
_BEATS_PER_SAMPLE = 50
"""How often the offset between the clocks is measured again: twice a second."""
_PAUSE_AFTER_REFUSAL_NS = 50_000_000
_OK = 200
_ACCEPTED = frozenset({200, 201, 202})
_OPEN_LOOP_CONNECTIONS = 64
_CLOSING_NS = 60_000_000_000
"""How long writing the logs to the disk, or decoding one long response, may take: nothing beats meanwhile."""


_LONG_BYTES = 4 << 20


class LoadWorker:
    """Drives its share of every leg and keeps the account of it."""

    def __init__(self, setup: WorkerSetup, loop: Loop, tell: Callable[[Notice], None]) -> None:
        run = setup.run
        self.in_flight = 0
        self._sent = 0
        """Of these, the ones that do not wait for a connection."""
        self._setup = setup
        self._tell = tell
        self._run = run
        self._loop = loop
        self._clock = loop.clock
        self._api = import_api(run.api, run.api)
        bodies = Bodies(setup.bodies)
        self._phases = [Phase(run, number, setup.worker, bodies) for number in range(len(run.phases))]
        self._board = Board(setup.board, legs=len(setup.legs), workers=setup.workers, phases=len(run.phases))
        self._pool = ConnectionPool(
            self,
            loop,
            run.targets,
            connect_timeout_s=run.timeouts.connect_s,
            limit_bytes=run.max_response_bytes,
        )
        self._live: dict[Exchange, None] = {}
        self._backlog = Backlog(loop, self._settle)
        self._places = Places()
        self._leg = -1
        self._pacer: Pacer | None = None
        self._issuing_over_ns: int | None = None
        self._ready = False
        self._finished = False
        self._beats = 0
        self._beat_due_ns = 0
        self._beat_timer = loop.timer(self._beat)
        self._begin_at_ns = 0
        self._begin_timer = loop.timer(self._begin)

    # The life of the worker

    def run(self) -> None:
        """Connect, wait for orders, drive every leg, report. Raises what an API's decoder raises, other than
        `Malformed`, after the logs are closed: a request may be lost, so the phase cannot be trusted."""
        try:
            self._beat_due_ns = time.monotonic_ns()
            self._beat()
            if self._clock.fd is not None:
                self._loop.on_readable(self._clock.fd, self._clock_was_set)
            self._pool.open_ahead(max(map(self._connections_for, self._setup.legs)), self._connected)
            self._loop.run()
        finally:
            self._pool.close()
            self._board.beat(self._setup.worker, time.monotonic_ns() + _CLOSING_NS)
            for phase in self._phases:
                phase.log.close()
        for phase in self._phases:
            if phase.log.fault is not None:
                self._tell(Notice(fault=phase.log.fault))
                return
        self._tell(Notice(reports=tuple(phase.tally.report for phase in self._phases)))

    def _connected(self, why_not: OutOfDescriptors | None) -> None:
        if self._ready or self._finished:
            return
        if why_not is not None:
            self._give_up(str(why_not))
            return
        self._ready = True
        gc.collect()
        gc.freeze()
        gc.disable()
        self._tell(Notice(ready=True))

    def obey(self, order: Order) -> None:
        """Carry out an order of the supervisor."""
        if order.stop:
            self._stop()
        elif order.leg is not None and order.start_ns is not None:
            self._begin_at_ns = order.start_ns
            self._places.keep(0)  # whatever was left empty meanwhile, nothing was to be sent there
            self._enter(order.leg)
            if isinstance(self._pacer, OpenLoop):
                self._begin()  # it times its arrivals from the start by itself
            else:
                self._begin_timer.arm(order.start_ns)

    def _connections_for(self, leg: Leg) -> int:
        """How many connections this worker's share of a leg will want, as far as that can be known."""
        workers, worker = self._setup.workers, self._setup.worker
        if leg.closed:
            return leg.concurrency // workers + (worker < leg.concurrency % workers)
        return min(_OPEN_LOOP_CONNECTIONS, -(-(leg.requests or 0) // workers))

    def _begin(self) -> None:
        if self._pacer is not None:
            self._pacer.begin(self._begin_at_ns)

    def _enter(self, number: int) -> None:
        leg = self._setup.legs[number]
        self._leg = number
        tally = self._phases[leg.phase].tally
        if not tally.begun:
            for phase in self._phases:
                phase.tally.settle()
            tally.begin()
        if leg.closed:
            share = self._connections_for(leg)
            tally.enter(share=share, sent=self._sent)
            self._places.keep(share - self.in_flight)
            self._pacer = ClosedLoop(
                self,
                leg,
                number,
                cursor=self._setup.cursors[number],
                indices=self._setup.indices[leg.phase] if leg.draws_indices else None,
                board=self._board,
                worker=self._setup.worker,
            )
        else:
            tally.enter(start_ns=self._begin_at_ns)
            self._pacer = OpenLoop(
                self, leg, loop=self._loop, worker=self._setup.worker, workers=self._setup.workers
            )

    def _stop(self) -> None:
        """Issue nothing more and let go of everything in flight: it is interrupted."""
        if self._pacer is not None and not self._pacer.over:
            self._pacer.stop()
        self._leg = len(self._setup.legs) - 1
        self._issuing_over_ns = time.monotonic_ns()
        for exchange in list(self._live):
            self._abandon(exchange, None)
        self._finish_if_done()

    def _give_up(self, reason: str) -> None:
        self._tell(Notice(fault=reason))
        self._stop()

    # What pacers ask for

    def issue(self, leg: Leg, index: int, scheduled_ns: int | None) -> None:
        now_ns = time.monotonic_ns()
        phase = self._phases[leg.phase]
        exchange = phase.exchange(index)
        exchange.started_ns = now_ns
        exchange.scheduled_ns = scheduled_ns
        if leg.closed:
            exchange.vacant_since_ns = self._places.take()
        self.in_flight += 1
        self._live[exchange] = None
        phase.tally.issued(now_ns, self.in_flight, self._sent)
        self._transmit(exchange)
        if not leg.closed and scheduled_ns is not None:
            phase.tally.lateness_ns.append(now_ns - scheduled_ns)

    def pacer_over(self) -> None:
        legs, number = self._setup.legs, self._leg
        last = number + 1 == len(legs)
        if last or legs[number + 1].phase != legs[number].phase:
            self._phases[legs[number].phase].tally.report.over = True
        if last:
            self._issuing_over_ns = time.monotonic_ns()
            self._finish_if_done()
        elif legs[number].drain:
            self._leg_over_if_drained()
        elif legs[number].closed and legs[number + 1].closed:
            self._enter(number + 1)
            cast("ClosedLoop", self._pacer).begin_after_previous()
        else:
            self._tell(Notice(leg_over=number))

    # What connections report

    def completed(self, connection: Connection, exchange: Exchange) -> None:
        self._pool.give_back(connection)
        if self._api.polls and self._asks_again(exchange):
            return
        # First, so that what the next request costs does not delay anything that is measured.
        self._backlog.add(exchange, self._phases[exchange.phase].tally.report.peak_in_flight)
        self._release(exchange, exchange.end_ns, answered=exchange.status == _OK)

    def _asks_again(self, exchange: Exchange) -> bool:
        """Whether the answer is a job that runs yet: the request stays in flight and asks again later."""
        if exchange.status not in _ACCEPTED:
            return False
        try:
            path = self._api.pending(b"".join(exchange.body))
        except Malformed:
            return False  # decoding the answer will say so
        if path is None:
            return False
        exchange.restart()
        exchange.polls += 1
        exchange.request = self._phases[exchange.phase].poll(exchange, path)
        self._after(round(self._run.poll_interval_s * 1e9), lambda: self._poll(exchange))
        return True

    def _poll(self, exchange: Exchange) -> None:
        if exchange in self._live:
            self._transmit(exchange)

    def _after(self, wait_ns: int, callback: Callable[[], None]) -> None:
        self._loop.timer(callback).arm(time.monotonic_ns() + wait_ns)

    def _settle(self, exchange: Exchange) -> None:
        if not self._clock.agrees():
            self._sample_clock()  # before anything that a step of it has moved is written down
        if exchange.response_bytes > _LONG_BYTES:
            # A response of this size may take longer than a load worker may be silent.
            self._board.beat(self._setup.worker, time.monotonic_ns() + _CLOSING_NS)
        phase = self._phases[exchange.phase]
        settled = settle(
            exchange,
            seq=phase.seq,
            api=self._api,
            streaming=self._run.streaming,
            texts=self._run.texts,
        )
        self._write_down(phase, settled, exchange.lags_ns)

    def broken(self, connection: Connection, exchange: Exchange, failure: Failure, *, resend: bool) -> None:
        connection.reusable = False
        if resend and exchange in self._live:
            exchange.resent = True
            exchange.restart()
            self._transmit(exchange, fresh=True)
        else:
            self._abandon(exchange, failure)

    def idle_lost(self, connection: Connection) -> None:
        self._pool.forget(connection)

    # How a request goes out and how it ends

    def _transmit(self, exchange: Exchange, *, fresh: bool = False) -> None:
        connection = None if fresh else self._pool.take(exchange.endpoint)
        if connection is not None:
            self._send(connection, exchange)
        else:
            self._pool.open(exchange.endpoint, lambda outcome: self._opened(exchange, outcome))

    def _send(self, connection: Connection, exchange: Exchange) -> None:
        again = exchange.send_start_ns is not None
        connection.send(exchange)
        if not again and exchange.send_start_ns is not None:
            self._sent += 1
            self._current_tally.sent(exchange.send_start_ns, exchange.vacant_since_ns)

    def _opened(self, exchange: Exchange, outcome: Connection | Failure | OutOfDescriptors) -> None:
        if isinstance(outcome, OutOfDescriptors):
            self._give_up(str(outcome))
        elif isinstance(outcome, Failure):
            # A refused connection fails within microseconds; without a pause a closed loop would spin.
            self._after(_PAUSE_AFTER_REFUSAL_NS, lambda: self._abandon(exchange, outcome))
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
        self._release(exchange, end_ns, answered=False)
        phase = self._phases[exchange.phase]
        self._write_down(phase, abandoned(exchange, seq=phase.seq, end_ns=end_ns, failure=failure))

    def _release(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """The request is over: its place is free, and the next one goes out before this one is decoded."""
        del self._live[exchange]
        self.in_flight -= 1
        if exchange.send_start_ns is not None:
            self._sent -= 1
            self._current_tally.vacated(end_ns)
            if answered:
                self._phases[exchange.phase].tally.report.busy_ns += end_ns - exchange.send_start_ns
        self._phases[exchange.phase].tally.awaited -= 1
        if self._pacer is not None:
            self._places.left(end_ns, answered=answered)
            self._pacer.freed()

    @property
    def _current_tally(self) -> Tally:
        """Of the phase that is being issued."""
        return self._phases[self._setup.legs[self._leg].phase].tally

    def _write_down(self, phase: Phase, settled: Settled, lags_ns: Sequence[int] = ()) -> None:
        phase.write_down(settled, lags_ns)
        if self.in_flight == 0:
            self._leg_over_if_drained()
            self._finish_if_done()

    def _leg_over_if_drained(self) -> None:
        number = self._leg
        over = self._pacer is not None and self._pacer.over
        if over and self.in_flight == 0 and number + 1 < len(self._setup.legs):
            self._pacer = None
            self._tell(Notice(leg_over=number))

    def _finish_if_done(self) -> None:
        undecided = any(phase.tally.in_flight for phase in self._phases)
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
        """Measure the clocks' offset again. If CLOCK_REALTIME was set, the kernel's stamps since it was last known are
        worth nothing: the load worker's own take their place in every response that is not written down yet."""
        since_ns = self._clock.sample()
        if since_ns is None:
            return
        self._current_tally.report.clock_steps += 1
        for exchange in (*self._live, *self._backlog):
            exchange.void_stamps(since_ns)

    # The heartbeat

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        if self._leg >= 0:
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
        # The next beat is due one period after this one was, or now where that has passed.
        self._beat_due_ns = max(self._beat_due_ns + BEAT_NS, time.monotonic_ns())
        self._beat_timer.arm(self._beat_due_ns)

    def _sweep(self, now_ns: int) -> None:
        """Give up on what exceeds a time limit."""
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
        board, worker = self._board, self._setup.worker
        board.beat(worker, time.monotonic_ns())
        for number, phase in enumerate(self._phases):
            phase.tally.publish(board, number)
