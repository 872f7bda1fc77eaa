"""A TLS connection. It uses the same reads as a plain one, so events have kernel stamps."""

from __future__ import annotations

import socket
import ssl

from pytest_bench.load.connection import Connection, Owner
from pytest_bench.load.loop import Loop

_RECORD_BYTES = 1 << 18


class TlsSession:
    """TLS state of one socket, in memory buffers."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def handshake(self, data: memoryview | bytes) -> tuple[bool, bytes]:
        """Whether the handshake is over after `data`, and what to send. Raises `ssl.SSLError`."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        return True, self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def decrypt(self, data: memoryview | bytes) -> tuple[bytes, bool, bytes]:
        """The plaintext that `data` completes, whether the peer has closed the session, and what to send back.

        Raises `ssl.SSLError`.
        """
        self._incoming.write(data)
        plain, closed = [], False
        try:
            while part := self._tls.read(_RECORD_BYTES):
                plain.append(part)
            closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            closed = True
        return b"".join(plain), closed, self._outgoing.read()


class TlsConnection(Connection):
    """A `Connection` over TLS. Reads without plaintext (session tickets) are not part of a response."""

    __slots__ = ("_session",)

    def __init__(
        self,
        owner: Owner,
        loop: Loop,
        connected: socket.socket,
        endpoint: int,
        *,
        limit_bytes: int,
        session: TlsSession,
    ) -> None:
        self._session = session
        super().__init__(owner, loop, connected, endpoint, limit_bytes=limit_bytes)

    def received(
        self, data: memoryview | bytes, size: int, stamp_ns: int, now_ns: int, empty_ns: int
    ) -> bool:
        """See `loop.Receiver`."""
        del size  # of the ciphertext
        try:
            plain, closed, answer = self._session.decrypt(data)
        except ssl.SSLError as error:
            self.ended(error, now_ns, empty_ns)
            return True
        if answer:
            self._push(answer)
        single = not plain or super().received(plain, len(plain), stamp_ns, now_ns, empty_ns)
        if closed and self.open:
            self.ended(None, now_ns, empty_ns)
        return single

    def _wire_bytes(self, request: bytes) -> bytes:
        return self._session.encrypt(request)
