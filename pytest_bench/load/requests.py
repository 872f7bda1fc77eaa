"""The requests of a load worker, from issue to record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pytest_bench.api import Malformed, import_api
from pytest_bench.load.attempts import Attempts
from pytest_bench.load.checkpointed import CheckpointLog
from pytest_bench.load.connecting import OutOfDescriptors
from pytest_bench.load.connection import Connection
from pytest_bench.load.decode_queue import DecodeQueue
from pytest_bench.load.exchange import Exchange, Failure
from pytest_bench.load.limits import over_item_limit, overdue
from pytest_bench.load.loop import Loop
from pytest_bench.load.messages import Stage
from pytest_bench.load.pacing import Pacer, Place
from pytest_bench.load.phase import Phase
from pytest_bench.load.pool import ConnectionPool
from pytest_bench.load.raw import RawLog
from pytest_bench.load.responses import ExchangeResult, abandoned, cut_off, decode_response
from pytest_bench.load.slots import Slots
from pytest_bench.workload import RunSpec

_PAUSE_AFTER_REFUSAL_NS = 50_000_000
_OK = 200
_ACCEPTED = frozenset({200, 201, 202})
_LONG_BYTES = 4 << 20


class Requests:
    """Issues requests, and records the outcome of each.

    `pacer` is notified when a request has ended; `tally` is that of the phase whose requests are being issued. The
    owner sets both when it enters a stage.
    """

    def __init__(
        self,
        run: RunSpec,
        loop: Loop,
        phases: Sequence[Phase],
        *,
        on_idle: Callable[[], None],
        on_fault: Callable[[str], None],
        before_long: Callable[[], None],
        on_enough: Callable[[], None],
        raw: RawLog | None,
    ) -> None:
        """`on_idle` is called when the last request in flight is written down, `on_fault` with the reason why the load
        worker cannot continue, `before_long` before work that takes longer than heartbeats may be apart, and
        `on_enough` when an eval has more failures than it allows. `raw` keeps raw bytes."""
        self.in_flight = 0
        self.sent = 0
        """Requests in flight that have been sent, which excludes those that wait for a connection."""
        self.slots = Slots()
        self.pacer: Pacer | None = None
        self.tally = phases[0].tally
        self.pool = ConnectionPool(
            self,
            loop,
            run.targets,
            connect_timeout_s=run.timeouts.connect_s,
            limit_bytes=run.max_response_bytes,
        )
        self._run = run
        self._loop = loop
        self._clock = loop.clock
        self._api = import_api(run.api, run.api)
        self._phases = phases
        self._on_idle = on_idle
        self._on_fault = on_fault
        self._before_long = before_long
        self._on_enough = on_enough
        self._raw = raw
        self._attempts = None if run.checkpoint is None else Attempts(self, run.checkpoint)
        """None unless an eval runs."""
        self._live: dict[Exchange, None] = {}
        self._decode_queue = DecodeQueue(loop, self._decode)

    # Called by pacers and by the owner

    def issue(self, stage: Stage, index: int, scheduled_ns: int | None, place: Place | None = None) -> None:
        """See `pacing.Host`."""
        now_ns = time.monotonic_ns()
        phase = self._phases[stage.phase]
        exchange = phase.exchange(index)
        exchange.started_ns = now_ns
        exchange.scheduled_ns = scheduled_ns
        if stage.closed:
            exchange.vacant_since_ns = self.slots.take()
        elif scheduled_ns is not None:
            due_ns = scheduled_ns
            if place is not None and place.free_ns > scheduled_ns:
                due_ns = place.free_ns
                exchange.vacant_since_ns = place.free_ns if place.answered else None
            exchange.due_ns = due_ns
            phase.tally.issue_lateness_ns.append(now_ns - due_ns)
        self.in_flight += 1
        self._live[exchange] = None
        phase.tally.issued(now_ns, self.in_flight, self.sent)
        self._transmit(exchange)

    def interrupt(self) -> None:
        """End every request in flight."""
        if self._attempts is not None:
            self._attempts.stop()
        for exchange in list(self._live):
            self._abandon(exchange, None)
        self.free_written()  # the places of interrupted requests wait for no line

    def free_written(self) -> None:
        """Free the places of an eval's requests whose lines are written, or all if a fault keeps them from it."""
        log = self._phases[0].log
        if self._attempts is not None and isinstance(log, CheckpointLog):
            self._attempts.free(log.written if log.fault is None else None)
            if self.in_flight == 0:
                self._on_idle()

    # Called by the attempts of an eval

    def hold(self, exchange: Exchange, end_ns: int) -> None:
        """See `attempts.Host`."""
        if exchange.send_start_ns is None and not exchange.counted:
            self.sent += 1
            self.tally.sent(end_ns)
        exchange.counted = True

    def send_again(self, exchange: Exchange) -> None:
        """See `attempts.Host`."""
        phase = self._phases[exchange.phase]
        again = phase.exchange(exchange.index, exchange.attempt + 1)
        again.started_ns = time.monotonic_ns()
        again.counted = True
        self._live[again] = None
        phase.tally.awaited -= 1  # the attempt before has ended
        phase.tally.issued(again.started_ns, self.in_flight, self.sent)
        self._transmit(again)

    def stop_issuing(self) -> None:
        """See `attempts.Host`."""
        self._on_enough()

    # Called by the heartbeat

    def sweep(self, now_ns: int) -> None:
        """Fail the connections and requests that exceed a time limit."""
        self.pool.sweep(now_ns)
        late = overdue(list(self._live), self._run.timeouts, now_ns, streaming=self._run.streaming)
        for exchange, failure in late:
            self._abandon(exchange, failure)
        limit_s = None if self._run.checkpoint is None else self._run.checkpoint.item_time_limit_s
        if limit_s is not None:
            for exchange in over_item_limit(list(self._live), limit_s, now_ns):
                self._cut_off(exchange)

    def sample_clock(self) -> None:
        """Measure the offset between the clocks again.

        If CLOCK_REALTIME was set, kernel stamps taken since the last good measurement are invalid. In every response
        that is not recorded yet, they are replaced by the load worker's own.
        """
        since_ns = self._clock.sample()
        if since_ns is None:
            return
        self.tally.report.clock_steps += 1
        for exchange in (*self._live, *self._decode_queue):
            exchange.void_stamps(since_ns)

    # Called by connections

    def completed(self, connection: Connection, exchange: Exchange) -> None:
        """See `connection.Owner`."""
        self.pool.give_back(connection)
        if self._api.polls and self._is_pending(exchange):
            return
        # First, so that what the next request costs does not delay anything that is measured.
        self._decode_queue.add(exchange, self._phases[exchange.phase].tally.report.peak_in_flight)
        self._end(exchange, exchange.end_ns, answered=exchange.status == _OK)

    def broken(self, connection: Connection, exchange: Exchange, failure: Failure, *, resend: bool) -> None:
        """See `connection.Owner`."""
        connection.reusable = False
        if resend and exchange in self._live:
            exchange.resent = True
            exchange.restart()
            self._transmit(exchange, fresh=True)
        else:
            self._abandon(exchange, failure)

    def idle_closed(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self.pool.forget(connection)

    # Polling

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
        exchange.pending_ns = exchange.polled_ns or exchange.send_start_ns
        exchange.restart()
        exchange.polls += 1
        exchange.request = self._phases[exchange.phase].poll(exchange, path)
        self.after(round(self._run.poll_interval_s * 1e9), lambda: self._poll(exchange))
        return True

    def _poll(self, exchange: Exchange) -> None:
        if exchange in self._live:
            exchange.polled_ns = time.monotonic_ns()
            self._transmit(exchange)

    def after(self, wait_ns: int, callback: Callable[[], None]) -> None:
        """Call back later."""
        self._loop.timer(callback).arm(time.monotonic_ns() + wait_ns)

    # Sending and ending requests

    def _transmit(self, exchange: Exchange, *, fresh: bool = False) -> None:
        connection = None if fresh else self.pool.take(exchange.endpoint)
        if connection is not None:
            self._send(connection, exchange)
        else:
            self.pool.open(exchange.endpoint, lambda outcome: self._opened(exchange, outcome))

    def _send(self, connection: Connection, exchange: Exchange) -> None:
        again = exchange.send_start_ns is not None or exchange.counted
        connection.send(exchange)
        if not again and exchange.send_start_ns is not None:
            self.sent += 1
            self.tally.sent(exchange.send_start_ns)

    def _opened(self, exchange: Exchange, outcome: Connection | Failure | OutOfDescriptors) -> None:
        if isinstance(outcome, OutOfDescriptors):
            self._on_fault(str(outcome))
        elif isinstance(outcome, Failure):
            # A refused connection fails within microseconds. Without a pause, a closed loop would spin.
            self.after(_PAUSE_AFTER_REFUSAL_NS, lambda: self._abandon(exchange, outcome))
        elif exchange in self._live:
            self._send(outcome, exchange)
        else:
            self.pool.give_back(outcome)

    def _abandon(self, exchange: Exchange, failure: Failure | None) -> None:
        if exchange not in self._live:
            return
        connection = exchange.connection
        if connection is not None and connection.exchange is exchange:
            connection.discard()
        end_ns = time.monotonic_ns()
        self._end(exchange, end_ns, answered=False)
        phase = self._phases[exchange.phase]
        self._write_down(phase, exchange, abandoned(exchange, seq=phase.seq, end_ns=end_ns, failure=failure))

    def _cut_off(self, exchange: Exchange) -> None:
        """End a request at its time limit, with what has arrived."""
        connection, body = exchange.connection, list[bytes]()
        if connection is not None and connection.exchange is exchange:
            body = connection.body_so_far()
            connection.discard()
        end_ns = time.monotonic_ns()
        self._end(exchange, end_ns, answered=False)
        phase = self._phases[exchange.phase]
        result = cut_off(exchange, body, seq=phase.seq, end_ns=end_ns, api=self._api, texts=self._run.texts)
        self._write_down(phase, exchange, result)

    def _end(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """A request has ended. Its slot is free at once, so that the next request is sent before this one is decoded;
        the place of an eval's request is free when its line is written."""
        del self._live[exchange]
        if self._attempts is None:
            self.left(exchange, end_ns, answered=answered)
            self.vacate(exchange, end_ns, answered=answered)

    def left(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """A request is not in flight since `end_ns`."""
        if exchange.send_start_ns is not None or exchange.counted:
            self.sent -= 1
            self.tally.vacated(end_ns)
            if answered and exchange.send_start_ns is not None:
                self._loop.answered(end_ns - exchange.send_start_ns, len(exchange.reads) // 4)

    def vacate(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """Free the slot of a request that ended at `end_ns`."""
        self.in_flight -= 1
        self._phases[exchange.phase].tally.awaited -= 1
        if self.pacer is not None:
            self.slots.release(end_ns, answered=answered)
            self.pacer.freed(end_ns, answered=answered)

    def _decode(self, exchange: Exchange) -> None:
        if not self._clock.agrees():
            self.sample_clock()  # before a time that a clock step has moved is recorded
        if exchange.response_bytes > _LONG_BYTES:
            self._before_long()
        phase = self._phases[exchange.phase]
        result = decode_response(
            exchange, seq=phase.seq, api=self._api, streaming=self._run.streaming, texts=self._run.texts
        )
        self._write_down(phase, exchange, result)

    def _write_down(self, phase: Phase, exchange: Exchange, result: ExchangeResult) -> None:
        position = phase.write_down(result, paced=exchange.due_ns is not None)
        if self._raw is not None:
            self._raw.add(exchange, result.record)
        if self._attempts is not None:
            self._attempts.recorded(exchange, result.record, position)
        if self.in_flight == 0:
            self._on_idle()
