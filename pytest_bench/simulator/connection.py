"""One client connection: it reads requests and writes bytes, and takes the times of both at the socket."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools
import msgspec

from pytest_bench.clock import monotonic_ns
from pytest_bench.simulator.script import Ending

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Request(msgspec.Struct, kw_only=True):
    """One request, with the times of its bytes (CLOCK_MONOTONIC)."""

    method: str
    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    keep_alive: bool
    connection: int
    accept_ns: int
    first_byte_ns: int
    last_byte_ns: int


class Answering(Protocol):
    """Answers the current request of a connection."""

    def resume(self) -> None:
        """Continue: everything written so far was sent."""

    def abandon(self) -> None:
        """Stop: the client closed the connection."""


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 to one client, one request at a time; pipelined requests wait.

    Writes go to the socket at once, not through the transport's queue, so that a stamp taken just before
    a write is true. Only what the kernel does not take waits in the transport, and `paused` says so.
    """

    def __init__(
        self, number: int, dispatch: Callable[[Request, Connection], None], connections: set[Connection]
    ) -> None:
        """`connections` contains this connection while it is open."""
        self.number = number
        self.open = False
        self.paused = False
        self.answering: Answering | None = None
        self._dispatch = dispatch
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._complete: deque[Request] = deque()
        self._dispatching = False
        self._first_byte_ns: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.accept_ns = monotonic_ns()
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._descriptor = self._socket.fileno()
        self.open = True
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._now_ns = monotonic_ns()
        if self._first_byte_ns is None:
            self._first_byte_ns = self._now_ns
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.write(_BAD_REQUEST)
            self.end("close")
            return
        self._next()

    def eof_received(self) -> None:
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        self._connections.discard(self)
        self._gone()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.answering is not None:
            self.answering.resume()

    def write(self, data: bytes) -> None:
        """Give bytes to the kernel now; the rest is sent when the kernel accepts it."""
        if not self.open:
            return
        try:
            sent = 0 if self.paused else os.write(self._descriptor, data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self.drop()
            return
        if sent < len(data):
            self._transport.write(data[sent:])

    def end(self, ending: Ending) -> None:
        """Finish a response: continue with the next request, or end as `ending` says."""
        self.answering = None
        if not self.open:
            return
        if ending == "keep":
            self._next()
            return
        self.open = False
        if ending == "reset":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()

    def drop(self) -> None:
        """Close the connection at once."""
        if self.open:
            self._transport.abort()
            self._gone()

    def _next(self) -> None:
        # A request that is answered at once ends within this loop, so that calls do not nest.
        if self._dispatching:
            return
        self._dispatching = True
        while self.open and self.answering is None and self._complete:
            self._dispatch(self._complete.popleft(), self)
        self._dispatching = False

    def _gone(self) -> None:
        self.open = False
        if self.answering is not None:
            answering, self.answering = self.answering, None
            answering.abandon()

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._complete.append(
            Request(
                method=self._parser.get_method().decode("ascii"),
                path=self._url.partition(b"?")[0].decode("latin-1"),
                headers=self._headers,
                body=b"".join(self._body),
                keep_alive=self._parser.should_keep_alive(),
                connection=self.number,
                accept_ns=self.accept_ns,
                first_byte_ns=self._first_byte_ns or self._now_ns,
                last_byte_ns=self._now_ns,
            )
        )
        self._first_byte_ns = None
