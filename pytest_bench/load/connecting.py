"""Opens one connection: TCP, then TLS if the endpoint uses it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable

from pytest_bench.load.connection import Connection, Owner
from pytest_bench.load.exchange import Failure
from pytest_bench.load.loop import Loop
from pytest_bench.load.tls import TlsConnection, TlsSession
from pytest_bench.workload import Target

_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL})
_RECEIVE_BYTES = 1 << 16


class OutOfDescriptors(Exception):
    """The client cannot open more sockets, which is not a failure of the server."""


Opened = Callable[[Connection | Failure | OutOfDescriptors], None]


class ConnectAttempt:
    """One attempt to connect. Calls `opened` once, never from the constructor, unless `abandon` is called first."""

    __slots__ = (
        "_endpoint",
        "_limit_bytes",
        "_loop",
        "_opened",
        "_owner",
        "_session",
        "_socket",
        "_target",
        "_tls",
        "begun_ns",
    )

    def __init__(
        self,
        owner: Owner,
        loop: Loop,
        target: Target,
        endpoint: int,
        *,
        tls: ssl.SSLContext | None,
        limit_bytes: int,
        opened: Opened,
    ) -> None:
        """`tls`: None for a plain connection. `limit_bytes`: see `Connection`."""
        self._limit_bytes = limit_bytes
        self._owner, self._loop, self._opened = owner, loop, opened
        self._target, self._endpoint, self._tls = target, endpoint, tls
        self._session: TlsSession | None = None
        self.begun_ns = time.monotonic_ns()
        self._socket: socket.socket | None = None
        try:
            self._connect()
        except OSError as error:
            outcome = self._why(error)
            loop.soon(lambda: self.end(outcome))

    @property
    def url(self) -> str:
        return self._target.url

    def end(self, outcome: Failure | OutOfDescriptors) -> None:
        """End the attempt and report `outcome`."""
        opened = self._opened
        self.abandon()
        opened(outcome)

    def abandon(self) -> None:
        """End the attempt without a report."""
        self._opened = _ignore
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        address = self._target.address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = connecting = socket.socket(family, socket.SOCK_STREAM)
        connecting.settimeout(0)  # non-blocking
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.clock.enable(connecting)
        status = connecting.connect_ex((address, self._target.port))
        if status and status not in _IN_PROGRESS:
            raise OSError(status, os.strerror(status))
        self._loop.on_writable(connecting.fileno(), self._connected)

    def _connected(self) -> None:
        connecting = self._socket
        if connecting is None:
            return
        status = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            self.end(self._why(OSError(status, os.strerror(status))))
            return
        self._loop.remove(connecting.fileno())
        if self._tls is None:
            self._finish(connecting)
            return
        self._session = TlsSession(self._tls, self._target.server_name)
        self._loop.on_readable(connecting.fileno(), self._read_handshake)
        self._continue_handshake(connecting, self._session, b"")

    def _read_handshake(self) -> None:
        connecting, session = self._socket, self._session
        if connecting is None or session is None:
            return
        try:
            data = connecting.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.end(self._why(error))
            return
        if data:
            self._continue_handshake(connecting, session, data)
        else:
            self.end(Failure("connect", f"{self._target.url}: closed during the TLS handshake"))

    def _continue_handshake(self, connecting: socket.socket, session: TlsSession, data: bytes) -> None:
        try:
            over, answer = session.handshake(data)
            # The handshake fits any send buffer, and nothing was sent before it.
            if answer:
                connecting.sendall(answer)
        except OSError as error:  # `ssl.SSLError` is one
            self.end(self._why(error))
            return
        if over:
            self._loop.remove(connecting.fileno())
            self._finish(connecting)

    def _finish(self, connected: socket.socket) -> None:
        opened, self._opened = (
            self._opened,
            _ignore,
        )  # it may refer back, and nothing collects cycles during a phase
        self._socket = None
        arguments = (self._owner, self._loop, connected, self._endpoint)
        connection = (
            Connection(*arguments, limit_bytes=self._limit_bytes)
            if self._session is None
            else TlsConnection(*arguments, limit_bytes=self._limit_bytes, session=self._session)
        )
        connection.connect_ns = time.monotonic_ns() - self.begun_ns
        opened(connection)

    def _why(self, error: OSError) -> Failure | OutOfDescriptors:
        if error.errno in _EXHAUSTED:
            return OutOfDescriptors(
                f"the client cannot open another connection ({error.strerror}): raise `ulimit -n`, "
                "lower the concurrency, or add endpoints"
            )
        return Failure("connect", f"{self._target.url}: {error.strerror or error}")


def _ignore(_outcome: object) -> None:
    pass
