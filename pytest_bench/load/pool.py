"""The connections of one load worker: opened before the phase, reused last in first out."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import partial

from pytest_bench.load.connection import Connection, Owner
from pytest_bench.load.exchange import Failure
from pytest_bench.load.loop import Loop
from pytest_bench.load.opening import Opened, Opening, OutOfDescriptors
from pytest_bench.workload import Target

_HANDSHAKES_AT_ONCE = 16


class ConnectionPool:
    """Idle connections by endpoint, and the making of new ones."""

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
        self._openings: set[Opening] = set()
        self._tls = ssl.create_default_context() if any(target.tls for target in targets) else None

    def take(self, endpoint: int) -> Connection | None:
        """The connection used last that is still good, or None."""
        idle = self._idle[endpoint]
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, unless it is over or still has a part of the last one to send."""
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
        """Make a new connection; `opened` is told it, or why there is none."""

        def done(outcome: Connection | Failure | OutOfDescriptors) -> None:
            self._openings.discard(opening)
            opened(outcome)

        target = self._targets[endpoint]
        opening = Opening(
            self._owner,
            self._loop,
            target,
            endpoint,
            tls=self._tls if target.tls else None,
            limit_bytes=self._limit_bytes,
            opened=done,
        )
        self._openings.add(opening)

    def open_ahead(self, count: int, opened: Callable[[OutOfDescriptors | None], None]) -> None:
        """Open `count` connections, a few at a time, and no more to an endpoint where one fails: the request that
        needs it will say so. `opened` is called once, when that is over or the client has no more descriptors."""
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
        """Give up on connections that take longer than the connect timeout."""
        late = [opening for opening in self._openings if now_ns - opening.begun_ns > self._timeout_s * 1e9]
        for opening in late:
            what = f"{opening.url}: no connection within {self._timeout_s:g} s"
            opening.end(Failure("connect_timeout", what))

    def close(self) -> None:
        for opening in self._openings:
            opening.abandon()
        self._openings.clear()
        for idle in self._idle:
            while idle:
                idle.pop().discard()
