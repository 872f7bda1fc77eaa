"""One HTTP/1.1 connection: the socket callbacks, and nothing that could wait.

A read is stamped before anything else, then handed to the parser; every piece of the body that comes of it
carries that stamp. One read in sixteen, by the low bits of its stamp, is timed, and stands for as many: to ask the time
twice at every read would be dear.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Protocol, cast

import httptools

from pytest_bench.load.exchange import Exchange, Failure

monotonic_ns = time.monotonic_ns

_ONE_READ_IN = 16
"""A power of two."""
_LONG_READ_NS = 200_000
"""What goes beyond was the machine's doing, and stands for itself alone."""


class _MoreThanAsked(Exception):
    """Ends the parser's work: what follows a whole response is no part of it."""


class Owner(Protocol):
    """Who is told what became of a request."""

    def completed(self, connection: Connection, exchange: Exchange, end_ns: int) -> None:
        """A whole response was read; the connection may be reused unless it is closing."""

    def broken(self, connection: Connection, exchange: Exchange, failure: Failure, *, resend: bool) -> None:
        """The connection ended before the response did. `resend`: the keep-alive race was lost."""

    def spent(self, phase: int, callback_ns: int) -> None:
        """So long did reading for a phase take."""

    def idle_lost(self, connection: Connection) -> None:
        """A connection without a request was closed by the server."""


class Connection(asyncio.Protocol):
    """Speaks for one socket. At most one request is in flight on it."""

    __slots__ = (
        "_body",
        "_chunked",
        "_complete",
        "_fd",
        "_feed",
        "_headers_done",
        "_keep_alive",
        "_length",
        "_owner",
        "_parser",
        "connect_ns",
        "endpoint",
        "exchange",
        "idled",
        "on_body",
        "reusable",
        "transport",
        "used",
    )

    def __init__(self, owner: Owner, endpoint: int) -> None:
        self._owner = owner
        self.endpoint = endpoint
        self.exchange: Exchange | None = None
        self.used = 0
        self.idled = False
        """Whether it has waited for a request: the server may have closed it meanwhile."""
        self.connect_ns: int | None = None
        self.reusable = True
        self._body: list[bytes] = []
        self.on_body = self._body.append  # looked up once by the parser: no frame of ours for each chunk

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        encrypted = transport.get_extra_info("ssl_object") is not None
        # TLS must go through the transport; a plain socket is written to directly, so that the stamp
        # before the write is the time of the write.
        self._fd = -1 if encrypted else transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        now = monotonic_ns()
        exchange = self.exchange
        if exchange is None:
            self.discard()
            return
        if not exchange.response_bytes:
            exchange.first_byte_ns = now
        exchange.last_read_ns = now
        exchange.response_bytes += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self.discard()
                shown = str(error) or type(error).__name__
                self._owner.broken(self, exchange, Failure("protocol", shown), resend=False)
                return
            self.reusable = False  # bytes after the response: nothing that follows can be trusted
        stamps = exchange.stamps
        pieces = len(self._body) - len(stamps)
        if pieces == 1:
            stamps.append(now)
        elif pieces:
            stamps.extend([now] * pieces)
        if not now & (_ONE_READ_IN - 1):
            took_ns = monotonic_ns() - now
            self._owner.spent(exchange.phase, took_ns + (_ONE_READ_IN - 1) * min(took_ns, _LONG_READ_NS))
        if self._complete:
            self._finish(exchange, now)

    def connection_lost(self, exc: Exception | None) -> None:
        end_ns = monotonic_ns()
        self.reusable = False
        if self.exchange is None:
            self._owner.idle_lost(self)
        else:
            self._lose(self.exchange, exc, end_ns)
        # They refer back to this object, and nothing collects cycles during a phase.
        del self._parser, self._feed

    def _lose(self, exchange: Exchange, exc: Exception | None, end_ns: int) -> None:
        self.exchange = None
        delimited_by_close = self._headers_done and not self._chunked and self._length is None
        if exc is None and delimited_by_close:
            exchange.body = self._body.copy()
            self._owner.completed(self, exchange, end_ns)
        else:
            race = self.idled and not exchange.response_bytes and not exchange.resent
            self._owner.broken(self, exchange, self._how_it_broke(exc), resend=race)

    # What the load worker calls

    def send(self, exchange: Exchange) -> None:
        """Write one request. Stamps `send_start_ns` (unless it is a re-send) and `sent_ns`."""
        self.exchange = exchange
        exchange.connection = self
        self.used += 1
        self._chunked = self._headers_done = self._complete = False
        self._length: int | None = None
        self._body.clear()
        request = exchange.request
        if self.used == 1:
            exchange.connect_ns = self.connect_ns
        if exchange.send_start_ns is None:
            exchange.send_start_ns = monotonic_ns()
        if self._fd < 0:
            self.transport.write(request)
        else:
            try:
                written = os.write(self._fd, request)
            except BlockingIOError:
                written = 0
            except OSError:
                self.transport.abort()  # connection_lost tells the rest
                return
            if written < len(request):
                self.transport.write(request[written:])
        if exchange.sent_ns is None:
            exchange.sent_ns = monotonic_ns()

    def discard(self) -> None:
        """Close at once; nobody is told."""
        self.exchange = None
        self.reusable = False
        self.transport.abort()

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            raise _MoreThanAsked

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                if self.exchange is not None:
                    self.exchange.content_type = value.decode("latin-1").lower()
            case b"content-length":
                self._length = int(value)
            case b"transfer-encoding":
                self._chunked = b"chunked" in value.lower()

    def on_headers_complete(self) -> None:
        self._headers_done = True
        if self.exchange is not None:
            self.exchange.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        if self.exchange is not None and self.exchange.status is not None and self.exchange.status < 200:
            self._headers_done = False  # an interim answer; the real one follows
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    def _finish(self, exchange: Exchange, end_ns: int) -> None:
        exchange.body = self._body.copy()
        self.exchange = None
        if not self._keep_alive:
            self.reusable = False
        self._owner.completed(self, exchange, end_ns)

    def _how_it_broke(self, exc: Exception | None) -> Failure:
        received = sum(map(len, self._body))
        if exc is None and self._length is not None and self._headers_done:
            return Failure("short_body", f"closed after {received} of {self._length} bytes")
        reason = "closed" if exc is None else f"{type(exc).__name__}: {exc}"
        return Failure("reset", f"{reason} after {received} bytes of body")
