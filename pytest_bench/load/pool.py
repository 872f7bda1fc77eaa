"""The connections of one load worker: opened before the phase, reused last in first out."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections.abc import Sequence

from pytest_bench.load.connection import Connection, Owner
from pytest_bench.load.exchange import Failure
from pytest_bench.workload import Target

_HANDSHAKES_AT_ONCE = 16


class OutOfDescriptors(Exception):
    """The client itself cannot open more sockets: not the server's failure."""


class ConnectionPool:
    """Idle connections by endpoint, and the making of new ones."""

    def __init__(self, owner: Owner, targets: Sequence[Target], connect_timeout_s: float) -> None:
        self._owner = owner
        self._targets = targets
        self._timeout_s = connect_timeout_s
        self._idle: list[list[Connection]] = [[] for _ in targets]
        self._tls = ssl.create_default_context() if any(target.tls for target in targets) else None

    def take(self, endpoint: int) -> Connection | None:
        """The connection used last that is still good, or None."""
        idle = self._idle[endpoint]
        while idle:
            connection = idle.pop()
            if connection.reusable and not connection.transport.is_closing():
                return connection
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, unless it is over or still has a part of the last one to send
        (a server may answer before it has read everything)."""
        transport = connection.transport
        if connection.reusable and not transport.is_closing() and not transport.get_write_buffer_size():
            connection.idled = True
            self._idle[connection.endpoint].append(connection)
        else:
            connection.discard()

    def forget(self, connection: Connection) -> None:
        """The server closed this idle connection."""
        idle = self._idle[connection.endpoint]
        if connection in idle:
            idle.remove(connection)

    async def open(self, endpoint: int) -> Connection | Failure:
        """A new connection, or why there is none. Raises `OutOfDescriptors`."""
        target = self._targets[endpoint]
        begun_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._owner, endpoint),
                    target.address,
                    target.port,
                    ssl=self._tls if target.tls else None,
                    server_hostname=target.server_name if target.tls else None,
                )
        except TimeoutError:
            return Failure("connect_timeout", f"{target.url}: no connection within {self._timeout_s:g} s")
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL}:
                raise OutOfDescriptors(
                    f"the client cannot open another connection ({error.strerror}): raise `ulimit -n`, "
                    "lower the concurrency, or add endpoints"
                ) from error
            return Failure("connect", f"{target.url}: {error.strerror or error}")
        connection.connect_ns = time.monotonic_ns() - begun_ns
        return connection

    async def open_ahead(self, count: int) -> None:
        """Open `count` connections, a few at a time, and no more to an endpoint where one fails: the request
        that needs it will say so."""
        numbers = iter(range(count))
        failed: set[int] = set()

        async def open_some() -> None:
            for number in numbers:
                endpoint = number % len(self._targets)
                if endpoint in failed:
                    continue
                made = await self.open(endpoint)
                if isinstance(made, Failure):
                    failed.add(endpoint)
                else:
                    self.give_back(made)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(count, _HANDSHAKES_AT_ONCE)):
                group.create_task(open_some())

    def close(self) -> None:
        for idle in self._idle:
            while idle:
                idle.pop().discard()
