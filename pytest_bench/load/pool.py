"""The connections of one load worker: opened before the phase, reused last in first out."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import partial

from pytest_bench.load.connecting import ConnectAttempt, Opened, OutOfDescriptors
from pytest_bench.load.connection import Connection, Owner
from pytest_bench.load.exchange import Failure
from pytest_bench.load.loop import Loop
from pytest_bench.workload import Target

_HANDSHAKES_AT_ONCE = 16


class ConnectionPool:
    """Idle connections by endpoint. Opens new ones."""

    def __init__(
        self,
        owner: Owner,
        loop: Loop,
        targets: Sequence[Target],
        *,
        connect_timeout_s: float,
        limit_bytes: int,
    ) -> None:
        """`limit_bytes`: the longest response."""
        self._owner = owner
        self._loop = loop
        self._targets = targets
        self._timeout_s = connect_timeout_s
        self._limit_bytes = limit_bytes
        self._idle: list[list[Connection]] = [[] for _ in targets]
        self._attempts: set[ConnectAttempt] = set()
        self._tls = ssl.create_default_context() if any(target.tls for target in targets) else None

    def take(self, endpoint: int) -> Connection | None:
        """The most recently used reusable connection, or None."""
        idle = self._idle[endpoint]
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for reuse, unless it is not reusable or is still sending its last request."""
        if connection.reusable and not connection.sending:
            connection.idled = True
            self._idle[connection.endpoint].append(connection)
        else:
            connection.discard()

    def forget(self, connection: Connection) -> None:
        """The server closed this idle connection."""
        idle = self._idle[connection.endpoint]
        if connection in idle:
            idle.remove(connection)

    def open(self, endpoint: int, opened: Opened) -> None:
        """Open a new connection. `opened` is called with it, or with the reason for failure."""

        def done(outcome: Connection | Failure | OutOfDescriptors) -> None:
            self._attempts.discard(attempt)
            opened(outcome)

        target = self._targets[endpoint]
        attempt = ConnectAttempt(
            self._owner,
            self._loop,
            target,
            endpoint,
            tls=self._tls if target.tls else None,
            limit_bytes=self._limit_bytes,
            opened=done,
        )
        self._attempts.add(attempt)

    def open_ahead(self, count: int, opened: Callable[[OutOfDescriptors | None], None]) -> None:
        """Open `count` connections, a few at a time.

        After a failure, no more are opened to that endpoint; the requests to it will report the failure. `opened` is
        called once, when all attempts have ended or the client has no more descriptors.
        """
        endpoints = (number % len(self._targets) for number in range(count))
        failed: set[int] = set()
        busy = 0

        def next_one() -> bool:
            endpoint = next((endpoint for endpoint in endpoints if endpoint not in failed), None)
            if endpoint is not None:
                self.open(endpoint, partial(made, endpoint))
            return endpoint is not None

        def made(endpoint: int, outcome: Connection | Failure | OutOfDescriptors) -> None:
            nonlocal busy
            if isinstance(outcome, OutOfDescriptors):
                endpoints.close()
                opened(outcome)
                return
            if isinstance(outcome, Connection):
                self.give_back(outcome)
            else:
                failed.add(endpoint)
            if not next_one():
                busy -= 1
                if not busy:
                    opened(None)

        while busy < _HANDSHAKES_AT_ONCE and next_one():
            busy += 1
        if not busy:
            opened(None)

    def sweep(self, now_ns: int) -> None:
        """Fail attempts that take longer than the connect timeout."""
        late = [attempt for attempt in self._attempts if now_ns - attempt.begun_ns > self._timeout_s * 1e9]
        for attempt in late:
            what = f"{attempt.url}: no connection within {self._timeout_s:g} s"
            attempt.end(Failure("connect_timeout", what))

    def close(self) -> None:
        for attempt in self._attempts:
            attempt.abandon()
        self._attempts.clear()
        for idle in self._idle:
            while idle:
                idle.pop().discard()
