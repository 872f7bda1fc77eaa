"""The places in flight of an eval.

A place is free once the line of its request is written, not when the response ends, so that a kill never repeats more
requests than the concurrency. A request that waits to be sent again keeps its place. What counts as in flight is a
request from its sending to its end, and the wait: not the time until its place has the next request.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from pytest_bench.load.exchange import Exchange
from pytest_bench.records import RequestRecord
from pytest_bench.workload import Checkpointing

_MOST_DOUBLINGS = 64
"""A wait that doubled more often is longer than any limit."""
_OK = 200


class Host(Protocol):
    """The interface of the load worker that is used here."""

    def hold(self, exchange: Exchange, end_ns: int) -> None:
        """Count the place of a request that failed as taken until it is sent again."""

    def left(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """Count a request as in flight no longer. Its place waits for its line."""

    def vacate(self, exchange: Exchange, end_ns: int, *, answered: bool) -> None:
        """Free the place of a request."""

    def send_again(self, exchange: Exchange) -> None:
        """Send a failed request again, in the same place."""

    def stop_issuing(self) -> None:
        """Issue no further request; let those in flight end."""

    def after(self, wait_ns: int, callback: Callable[[], None]) -> None:
        """Call back later."""


class _Held(NamedTuple):
    position: int
    """Of its line in the checkpoint."""
    exchange: Exchange
    end_ns: int


class Attempts:
    """Decides what follows an attempt that was recorded."""

    def __init__(self, host: Host, spec: Checkpointing) -> None:
        self._host = host
        self._retry = spec.retry
        self._most_failures = spec.most_failures
        self._failures = 0
        self._held: deque[_Held] = deque()
        self._backing_off: dict[Exchange, None] = {}
        self._over = False

    def recorded(self, exchange: Exchange, record: RequestRecord, position: int) -> None:
        """The line of an attempt was handed to the writer."""
        if self._may_be_sent_again(exchange, record):
            self._backing_off[exchange] = None
            self._host.hold(exchange, record.end_ns)
            self._host.after(round(self._wait_s(exchange) * 1e9), lambda: self._again(exchange))
            return
        self._host.left(exchange, record.end_ns, answered=exchange.status == _OK)
        self._held.append(_Held(position, exchange, record.end_ns))
        if record.outcome == "failed":
            self._failures += 1
            if self._most_failures is not None and self._failures > self._most_failures and not self._over:
                self._host.stop_issuing()
                self.stop()

    def free(self, written: int | None) -> None:
        """Free the places of all requests whose lines are among the first `written` of the file; None: of all."""
        while self._held and (written is None or self._held[0].position < written):
            held = self._held.popleft()
            self._host.vacate(held.exchange, held.end_ns, answered=held.exchange.status == _OK)

    def stop(self) -> None:
        """Send nothing again. The failures of requests that wait for it are recorded already."""
        self._over = True
        waiting, self._backing_off = self._backing_off, {}
        now_ns = time.monotonic_ns()
        for exchange in waiting:
            self._host.left(exchange, now_ns, answered=False)
            self._host.vacate(exchange, now_ns, answered=False)

    def _may_be_sent_again(self, exchange: Exchange, record: RequestRecord) -> bool:
        return (
            not self._over
            and record.outcome == "failed"
            and record.error in self._retry.on
            and exchange.attempt < self._retry.attempts
        )

    def _wait_s(self, exchange: Exchange) -> float:
        """How long to wait after an attempt: at least as long as the server asks, within the declared maximum."""
        doubled = min(exchange.attempt - 1, _MOST_DOUBLINGS)
        wanted = max(self._retry.backoff_s * 2.0**doubled, exchange.retry_after_s or 0.0)
        return min(wanted, self._retry.max_wait_s)

    def _again(self, exchange: Exchange) -> None:
        if exchange in self._backing_off:
            del self._backing_off[exchange]
            self._host.send_again(exchange)
