"""One HTTP/1.1 connection. Only the work that every read needs is done here."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

import httptools

from pytest_bench.load.exchange import Exchange, Failure
from pytest_bench.load.loop import Loop, Receive
from pytest_bench.load.retry_after import retry_after_s

monotonic_ns = time.monotonic_ns

_LONGEST_HEAD_BYTES = 1 << 20
"""Limit on the bytes of reads without body data (headers, chunk extensions, trailers). The parser copies a value that
spans reads, so the cost of an endless one would grow quadratically."""
_LONGEST_EVENT_BYTES = 4096
"""A larger read is never taken for a single event, whose bytes all arrived at the time of its stamp."""


class _ExtraData(Exception):
    """Stops the parser: bytes after a complete response are not part of it."""


class Owner(Protocol):
    """Callbacks for the results of requests."""

    def completed(self, connection: Connection, exchange: Exchange) -> None:
        """A complete response was read. The connection may be reused unless it is closing."""

    def broken(self, connection: Connection, exchange: Exchange, failure: Failure, *, resend: bool) -> None:
        """The connection ended before the response. `resend`: an idle connection was closed as it was reused."""

    def idle_closed(self, connection: Connection) -> None:
        """The server closed a connection without a request in flight."""


class Connection:
    """One connected socket, which the loop reads. At most one request is in flight on it."""

    __slots__ = (
        "_body",
        "_chunked",
        "_complete",
        "_feed",
        "_headers_done",
        "_keep_alive",
        "_length",
        "_limit_bytes",
        "_loop",
        "_owner",
        "_parser",
        "_pieces",
        "_unsent",
        "_without_body_bytes",
        "connect_ns",
        "drained_ns",
        "endpoint",
        "exchange",
        "idled",
        "on_body",
        "open",
        "receive",
        "reusable",
        "socket",
        "used",
    )

    def __init__(
        self, owner: Owner, loop: Loop, connected: socket.socket, endpoint: int, *, limit_bytes: int
    ) -> None:
        """`limit_bytes`: the longest response; a longer one is a failure."""
        self._owner = owner
        self._loop = loop
        self.socket = connected
        self.endpoint = endpoint
        self._limit_bytes = limit_bytes
        self.exchange: Exchange | None = None
        self.used = 0
        self.idled = False
        """Whether the connection has been idle, so that the server may have closed it."""
        self.connect_ns = 0
        self.open = True
        self.reusable = True
        self.drained_ns = monotonic_ns()
        self.receive: Receive = connected.recvmsg_into
        self._unsent = b""
        self._pieces = 0
        self._without_body_bytes = 0
        self._body: list[bytes] = []
        self.on_body = self._body.append  # the parser looks it up once, so chunks run no Python code
        self._parser = httptools.HttpResponseParser(self)
        self._feed: Callable[[memoryview | bytes], None] = self._parser.feed_data
        loop.add(connected.fileno(), self)

    # Called by the loop

    def received(
        self, data: memoryview | bytes, size: int, stamp_ns: int, now_ns: int, empty_ns: int
    ) -> bool:
        """See `loop.Receiver`."""
        exchange = self.exchange
        if exchange is None:
            self._owner.idle_closed(self)
            self.discard()
            return True
        total_bytes = exchange.response_bytes = exchange.response_bytes + size
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(exchange, Failure("protocol", self._protocol_detail(error)))
                return True
            self.reusable = False  # bytes after the response: the connection is out of sync
        before = self._pieces
        pieces = self._pieces = len(self._body)
        # A chunk is written at once. The first may share its read with headers, which count as an event.
        single = 0 < before == pieces - 1 and self._chunked
        if size > _LONGEST_EVENT_BYTES:  # perhaps of several segments, or with a part of the next chunk
            single, exchange.large_reads = False, True
        if not single and self._loop.wake.woken_ns:
            empty_ns = self._earliest_ns(stamp_ns, empty_ns, inner=0 < before < pieces)
        exchange.reads += (stamp_ns, now_ns, empty_ns, pieces)
        if self._complete:
            self._finish(exchange)
        elif total_bytes > self._limit_bytes:
            self._fail(exchange, Failure("too_long", f"longer than the limit of {self._limit_bytes:,} bytes"))
        elif pieces == before:
            self._read_without_body(exchange, size)
        return single

    def _earliest_ns(self, stamp_ns: int, empty_ns: int, *, inner: bool) -> int:
        """Lower bound on when the first bytes of a read that woke the loop arrived.

        `inner`: the read holds several events in the middle of a stream, perhaps because the loop woke up late.
        """
        wake = self._loop.wake
        if inner and not self._complete:
            wake.arrived(empty_ns)
            return empty_ns
        return max(empty_ns, wake.earliest_ns(stamp_ns))

    def _read_without_body(self, exchange: Exchange, size: int) -> None:
        self._without_body_bytes += size
        if self._without_body_bytes > _LONGEST_HEAD_BYTES:
            detail = f"more than {_LONGEST_HEAD_BYTES:,} bytes of headers or trailers"
            self._fail(exchange, Failure("malformed", detail))

    def ended(self, error: OSError | None, now_ns: int, empty_ns: int) -> None:
        """See `loop.Receiver`. The end of a connection has no kernel stamp."""
        exchange = self.exchange
        self.discard()
        if exchange is None:
            self._owner.idle_closed(self)
            return
        delimited_by_close = self._headers_done and not self._chunked and self._length is None
        if error is None and delimited_by_close:
            exchange.reads += (now_ns, now_ns, empty_ns, len(self._body))
            exchange.body = self._body.copy()
            self._owner.completed(self, exchange)
        else:
            race = self.idled and not exchange.response_bytes and not exchange.resent
            self._owner.broken(self, exchange, self._connection_failure(error), resend=race)

    def writable(self) -> None:
        """See `loop.Receiver`."""
        self._unsent = self._unsent[self._write(self._unsent) :]
        if not self._unsent and self.open:
            self._loop.watch(self.socket.fileno(), writing=False)

    # Called by the load worker

    @property
    def sending(self) -> bool:
        """Whether part of the last request is still unsent. A server may answer before it has read the request."""
        return bool(self._unsent)

    def send(self, exchange: Exchange) -> None:
        """Write one request. Stamps `send_start_ns` (unless it is a re-send) and `sent_ns`."""
        self.exchange = exchange
        exchange.connection = self
        self.used += 1
        self._chunked = self._headers_done = self._complete = False
        self._length: int | None = None
        self._pieces = self._without_body_bytes = 0
        self._body.clear()
        request = self._wire_bytes(exchange.request)
        exchange.handshake_ns = self.connect_ns
        if self.used == 1:
            exchange.connect_ns = self.connect_ns
        if exchange.send_start_ns is None:
            exchange.send_start_ns = monotonic_ns()
        self._push(request)
        if exchange.sent_ns is None:
            exchange.sent_ns = monotonic_ns()

    def body_so_far(self) -> list[bytes]:
        """The pieces of a body that is not complete."""
        return self._body.copy()

    def discard(self) -> None:
        """Close immediately, without a callback."""
        self.exchange = None
        self.reusable = False
        if self.open:
            self.open = False
            self._loop.remove(self.socket.fileno())
            self.socket.close()
            # They refer back to this object, and cycles are not collected during a phase.
            del self._parser, self._feed, self.receive

    def _wire_bytes(self, request: bytes) -> bytes:
        """Bytes to write to the socket for `request`."""
        return request

    def _push(self, data: bytes) -> None:
        """Send `data` after all earlier data. What the socket does not accept now is sent when it is writable."""
        if self._unsent:
            self._unsent += data
            return
        written = self._write(data)
        if written < len(data):
            self._unsent = data[written:]
            self._loop.watch(self.socket.fileno(), writing=True)

    def _write(self, data: bytes) -> int:
        """Number of bytes that the socket accepted. All for a broken socket, because the loop will report its end."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._complete:
            raise _ExtraData

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                if self.exchange is not None:
                    self.exchange.content_type = value.decode("latin-1").lower()
            case b"retry-after":
                if self.exchange is not None:
                    self.exchange.retry_after_s = retry_after_s(value)
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

    def _finish(self, exchange: Exchange) -> None:
        exchange.body = self._body.copy()
        exchange.chunked = self._chunked
        self.exchange = None
        if not self._keep_alive:
            self.reusable = False
        self._owner.completed(self, exchange)

    def _fail(self, exchange: Exchange, failure: Failure) -> None:
        self.discard()
        self._owner.broken(self, exchange, failure, resend=False)

    def _protocol_detail(self, error: Exception) -> str:
        """Description of a response that is not valid HTTP/1.1."""
        status = None if self.exchange is None else self.exchange.status
        # Without an `Upgrade` header, the parser's error for a 101 does not say what it is about.
        if status is None or not (status == 101 or isinstance(error, httptools.HttpParserUpgrade)):
            return str(error) or type(error).__name__
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "not a standard status"
        return f"{status} ({phrase}): the server changes the protocol; expected an answer in HTTP/1.1"

    def _connection_failure(self, error: OSError | None) -> Failure:
        received = sum(map(len, self._body))
        if error is None and self._length is not None and self._headers_done:
            return Failure("short_body", f"closed after {received} of {self._length} bytes")
        reason = "closed" if error is None else f"{type(error).__name__}: {error}"
        return Failure("reset", f"{reason} after {received} bytes of body")
