"""What a load worker does: issues its share of every leg, and writes down what became of each request."""

from __future__ import annotations

import asyncio
import gc
import importlib
import time
from collections.abc import Callable
from typing import Any, cast

from pytest_bench.api import Api, Malformed
from pytest_bench.load.backlog import Backlog
from pytest_bench.load.board import Board, Cell
from pytest_bench.load.bodies import Bodies
from pytest_bench.load.connection import Connection
from pytest_bench.load.exchange import Exchange, Failure, Settled, abandoned, settle
from pytest_bench.load.legs import Leg, Notice, Order, WorkerSetup
from pytest_bench.load.pacing import ClosedLoop, OpenLoop, Pacer
from pytest_bench.load.phase import Phase
from pytest_bench.load.pool import ConnectionPool, OutOfDescriptors
from pytest_bench.load.tally import BEAT_NS
from pytest_bench.load.timer import precise_timer

_BEATS_PER_SWEEP = 5
_BEATS_PER_FLUSH = 50
_PAUSE_AFTER_REFUSAL_S = 0.05
_ACCEPTED = frozenset({200, 201, 202})
_OPEN_LOOP_CONNECTIONS = 64
_CLOSING_NS = 60_000_000_000
"""How long writing the logs to the disk may take: nothing beats meanwhile."""


class LoadWorker:
    """Drives its share of every leg and keeps the account of it."""

    def __init__(
        self, setup: WorkerSetup, loop: asyncio.AbstractEventLoop, tell: Callable[[Notice], None]
    ) -> None:
        run = setup.run
        self.in_flight = 0
        self._setup = setup
        self._tell = tell
        self._run = run
        self._loop = loop
        module, _, attribute = run.api.partition(":")
        self._api: Api = getattr(importlib.import_module(module), attribute)
        bodies = Bodies(setup.bodies)
        self._phases = [
            Phase(run, number, setup.worker, self._api, bodies) for number in range(len(run.phases))
        ]
        self._board = Board(setup.board, legs=len(setup.legs), workers=setup.workers, phases=len(run.phases))
        self._pool = ConnectionPool(self, run.targets, run.timeouts.connect_s)
        self._live: dict[Exchange, None] = {}
        self._backlog = Backlog(loop, self._settle)
        self._tasks: set[asyncio.Task[None]] = set()
        self._leg = -1
        self._pacer: Pacer | None = None
        self._issuing_over_ns: int | None = None
        self._beats = 0
        self._beat_due_ns = 0
        self._beat_timer = precise_timer(loop, self._beat)
        self._begin_at_ns = 0
        self._begin_timer = precise_timer(loop, self._begin)
        self._finished = loop.create_future()

    # The life of the worker

    async def run(self) -> None:
        """Connect, wait for orders, drive every leg, report."""
        self._beat_due_ns = time.monotonic_ns()
        self._beat()
        connections = max(map(self._connections_for, self._setup.legs))
        opening = self._loop.create_task(self._pool.open_ahead(connections))
        await asyncio.wait({opening, self._finished}, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()  # no effect unless the run was stopped meanwhile
        try:
            await opening
        except* OutOfDescriptors as group:
            self._give_up(str(group.exceptions[0]))
        except* asyncio.CancelledError:
            pass
        gc.collect()
        gc.freeze()
        gc.disable()
        self._tell(Notice(ready=True))
        try:
            await self._finished
        finally:
            self._beat_timer.close()
            self._begin_timer.close()
            self._pool.close()
            self._board.beat(self._setup.worker, time.monotonic_ns() + _CLOSING_NS)
            for phase in self._phases:
                phase.log.close()
        for phase in self._phases:
            if phase.log.fault is not None:
                self._tell(Notice(fault=phase.log.fault))
                return
        self._tell(Notice(reports=tuple(phase.tally.report for phase in self._phases)))

    def crashed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised where nobody could catch it: a mistake of ours, or of a third party's API. A request
        may be lost, so the phase cannot be trusted: end with what is complete, and say what it was."""
        error = context.get("exception") or RuntimeError(context["message"])
        # A transport's OSError is its connection's end, of which its protocol is told, too.
        if not (isinstance(error, OSError) and "transport" in context) and not self._finished.done():
            self._finished.set_exception(error)

    def obey(self, order: Order) -> None:
        """Carry out an order of the supervisor."""
        if order.stop:
            self._stop()
        elif order.leg is not None and order.start_ns is not None:
            self._begin_at_ns = order.start_ns
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
            tally.enter(share=self._connections_for(leg))
            self._pacer = ClosedLoop(
                self,
                leg,
                number,
                loop=self._loop,
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
        phase.tally.occupied(now_ns, self.in_flight)
        self.in_flight += 1
        self._live[exchange] = None
        phase.tally.issued(now_ns, self.in_flight)
        self._transmit(exchange)
        if not leg.closed and scheduled_ns is not None:
            phase.tally.lateness_ns.append(now_ns - scheduled_ns)

    def spent(self, phase: int, callback_ns: int) -> None:
        self._phases[phase].tally.callback_ns += callback_ns

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

    def completed(self, connection: Connection, exchange: Exchange, end_ns: int) -> None:
        self._pool.give_back(connection)
        if self._api.polls and self._asks_again(exchange):
            return
        self._release(exchange, end_ns)
        peak_in_flight = self._phases[exchange.phase].tally.report.peak_in_flight
        if self._backlog.add(exchange, end_ns, peak_in_flight):
            if self._pacer is not None:
                self._pacer.refill()  # places that became free must not wait until these are decoded
            self._backlog.make_room()

    def _asks_again(self, exchange: Exchange) -> bool:
        """Whether the answer is a job that runs yet: the request stays in flight and asks again later."""
        if exchange.status not in _ACCEPTED:
            return False
        try:
            path = self._api.pending(b"".join(exchange.body))
        except Malformed:
            return False  # decoding the answer will say so
        except OSError as error:
            raise _mistake_of_the_api(error) from error
        if path is None:
            return False
        exchange.restart()
        exchange.polls += 1
        exchange.request = self._phases[exchange.phase].poll(exchange, path)
        self._loop.call_later(self._run.poll_interval_s, self._poll, exchange)
        return True

    def _poll(self, exchange: Exchange) -> None:
        if exchange in self._live:
            self._transmit(exchange)

    def _settle(self, exchange: Exchange, end_ns: int) -> None:
        begun_ns = time.monotonic_ns()
        phase = self._phases[exchange.phase]
        try:
            settled = settle(
                exchange,
                seq=phase.seq,
                end_ns=end_ns,
                api=self._api,
                streaming=self._run.streaming,
                texts=self._run.texts,
            )
        except OSError as error:
            raise _mistake_of_the_api(error) from error
        self._write_down(phase, settled)
        phase.tally.callback_ns += time.monotonic_ns() - begun_ns

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
            connection.send(exchange)
            return
        task = self._loop.create_task(self._connect_and_send(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_and_send(self, exchange: Exchange) -> None:
        try:
            made = await self._pool.open(exchange.endpoint)
        except OutOfDescriptors as error:
            self._give_up(str(error))
            return
        if exchange not in self._live:
            if isinstance(made, Connection):
                self._pool.give_back(made)
            return
        if isinstance(made, Connection):
            made.send(exchange)
            return
        # A refused connection fails within microseconds; without a pause a closed loop would spin.
        await asyncio.sleep(_PAUSE_AFTER_REFUSAL_S)
        if exchange in self._live:
            self._abandon(exchange, made)

    def _abandon(self, exchange: Exchange, failure: Failure | None) -> None:
        if exchange not in self._live:
            return
        connection = exchange.connection
        if connection is not None and connection.exchange is exchange:
            connection.discard()
        end_ns = time.monotonic_ns()
        self._release(exchange, end_ns)
        phase = self._phases[exchange.phase]
        self._write_down(phase, abandoned(exchange, seq=phase.seq, end_ns=end_ns, failure=failure))

    def _release(self, exchange: Exchange, end_ns: int) -> None:
        """The request is over: its place is free, and the next one goes out before this one is decoded."""
        del self._live[exchange]
        self._phases[self._setup.legs[self._leg].phase].tally.occupied(end_ns, self.in_flight)
        self.in_flight -= 1
        self._phases[exchange.phase].tally.awaited -= 1
        if self._pacer is not None:
            self._pacer.freed()

    def _write_down(self, phase: Phase, settled: Settled) -> None:
        phase.write_down(settled)
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
        if self._issuing_over_ns is None or undecided or self._finished.done():
            return
        for phase in self._phases:
            phase.tally.close()
        self._publish()
        self._finished.set_result(None)

    # The heartbeat

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        if self._leg >= 0:
            tally = self._phases[self._setup.legs[self._leg].phase].tally
            tally.beat(now_ns, now_ns - self._beat_due_ns)
        self._beats += 1
        self._publish()
        if self._pacer is not None:
            self._pacer.tick()
        if self._beats % _BEATS_PER_SWEEP == 0:
            self._sweep(now_ns)
        if self._beats % _BEATS_PER_FLUSH == 0:
            self._flush()
        if not self._finished.done():
            self._beat_due_ns = max(self._beat_due_ns + BEAT_NS, time.monotonic_ns())
            self._beat_timer.arm(self._beat_due_ns)

    def _sweep(self, now_ns: int) -> None:
        """Give up on requests that exceed a limit. `_live` is in order of issue, oldest first."""
        timeouts = self._run.timeouts
        for exchange in list(self._live):
            if now_ns - exchange.started_ns < timeouts.request_s * 1e9:
                break
            self._abandon(exchange, Failure("timeout", f"not complete after {timeouts.request_s:g} s"))
        if timeouts.no_progress_s is not None and self._run.streaming:
            limit_ns = timeouts.no_progress_s * 1e9
            for exchange in list(self._live):
                last_ns = exchange.last_read_ns or exchange.sent_ns
                if last_ns is not None and now_ns - last_ns > limit_ns:
                    detail = f"silent for {timeouts.no_progress_s:g} s after {exchange.response_bytes} bytes"
                    self._abandon(exchange, Failure("no_progress", detail))
        over_ns = self._issuing_over_ns
        if timeouts.drain_s is not None and over_ns is not None and now_ns - over_ns > timeouts.drain_s * 1e9:
            self._stop()

    def _flush(self) -> None:
        for phase in self._phases:
            phase.log.flush()
            if phase.log.fault is not None and not self._finished.done():
                self._stop()

    def _publish(self) -> None:
        board, worker = self._board, self._setup.worker
        board.beat(worker, time.monotonic_ns())
        for number, phase in enumerate(self._phases):
            tally = phase.tally
            board.set(worker, number, Cell.ISSUED, tally.report.issued)
            board.set(worker, number, Cell.SUCCEEDED, tally.report.succeeded)
            board.set(worker, number, Cell.FAILED, tally.report.failed)
            board.set(worker, number, Cell.IN_FLIGHT, tally.in_flight)
            board.set(worker, number, Cell.EVENTS, tally.events)


def _mistake_of_the_api(error: OSError) -> RuntimeError:
    """What to raise for it: of a bare `OSError`, the event loop cannot tell that it is no connection's end."""
    return RuntimeError(f"the API's decoder raised {type(error).__name__}: {error}")
