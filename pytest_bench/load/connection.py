"""One HTTP/1.1 connection: what every read does, and nothing that could wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

import httptools

from pytest_bench.load.exchange import Exchange, Failure
from pytest_bench.load.loop import Loop, Receive

monotonic_ns = time.monotonic_ns

_LONGEST_HEAD_BYTES = 1 << 20
"""Most bytes of reads that hold nothing of a body: headers, chunk extensions, trailers. The parser gathers a value that
spans reads by copying it, so an endless one would cost more and more."""


class _MoreThanAsked(Exception):
    """Ends the parser's work: what follows a whole response is no part of it."""


class Owner(Protocol):
    """Who is told what became of a request."""

    def completed(self, connection: Connection, exchange: Exchange) -> None:
        """A whole response was read; the connection may be reused unless it is closing."""

    def broken(self, connection: Connection, exchange: Exchange, failure: Failure, *, resend: bool) -> None:
        """The connection ended before the response did. `resend`: the keep-alive race was lost."""

    def idle_lost(self, connection: Connection) -> None:
        """A connection without a request was closed by the server."""


class Connection:
    """Speaks for one connected socket, which the loop reads. At most one request is in flight on it."""

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
        """Whether it has waited for a request: the server may have closed it meanwhile."""
        self.connect_ns: int | None = None
        self.open = True
        self.reusable = True
        self.drained_ns = monotonic_ns()
        self.receive: Receive = connected.recvmsg_into
        self._unsent = b""
        self._pieces = 0
        self._without_body_bytes = 0
        self._body: list[bytes] = []
        self.on_body = self._body.append  # looked up once by the parser: no frame of ours for each chunk
        self._parser = httptools.HttpResponseParser(self)
        self._feed: Callable[[memoryview | bytes], None] = self._parser.feed_data
        loop.add(connected.fileno(), self)

    # What the loop calls

    def received(
        self, data: memoryview | bytes, size: int, stamp_ns: int, now_ns: int, empty_ns: int
    ) -> bool:
        """See `loop.Receiver`."""
        exchange = self.exchange
        if exchange is None:
            self._owner.idle_lost(self)
            self.discard()
            return True
        total_bytes = exchange.response_bytes = exchange.response_bytes + size
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(exchange, Failure("protocol", self._what_came(error)))
                return True
            self.reusable = False  # bytes after the response: nothing that follows can be trusted
        before = self._pieces
        pieces = self._pieces = len(self._body)
        exchange.reads += (stamp_ns, now_ns, empty_ns, pieces)
        if self._complete:
            self._finish(exchange)
        elif total_bytes > self._limit_bytes:
            self._fail(exchange, Failure("too_long", f"longer than the limit of {self._limit_bytes:,} bytes"))
        elif pieces == before:
            self._read_without_body(exchange, size)
        # The first piece may have come with headers, which are an event of their own.
        return 0 < before == pieces - 1

    def _read_without_body(self, exchange: Exchange, size: int) -> None:
        self._without_body_bytes += size
        if self._without_body_bytes > _LONGEST_HEAD_BYTES:
            detail = f"more than {_LONGEST_HEAD_BYTES:,} bytes of headers or trailers"
            self._fail(exchange, Failure("malformed", detail))

    def ended(self, error: OSError | None, now_ns: int, empty_ns: int) -> None:
        """See `loop.Receiver`. The end of a connection carries no stamp of the kernel's."""
        exchange = self.exchange
        self.discard()
        if exchange is None:
            self._owner.idle_lost(self)
            return
        delimited_by_close = self._headers_done and not self._chunked and self._length is None
        if error is None and delimited_by_close:
            exchange.reads += (now_ns, now_ns, empty_ns, len(self._body))
            exchange.body = self._body.copy()
            self._owner.completed(self, exchange)
        else:
            race = self.idled and not exchange.response_bytes and not exchange.resent
            self._owner.broken(self, exchange, self._how_it_broke(error), resend=race)

    def writable(self) -> None:
        """See `loop.Receiver`."""
        self._unsent = self._unsent[self._write(self._unsent) :]
        if not self._unsent and self.open:
            self._loop.watch(self.socket.fileno(), writing=False)

    # What the load worker calls

    @property
    def sending(self) -> bool:
        """Whether a part of the last request is still to be sent: a server may answer before it has read it all."""
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
        request = self._sealed(exchange.request)
        if self.used == 1:
            exchange.connect_ns = self.connect_ns
        if exchange.send_start_ns is None:
            exchange.send_start_ns = monotonic_ns()
        self._push(request)
        if exchange.sent_ns is None:
            exchange.sent_ns = monotonic_ns()

    def discard(self) -> None:
        """Close at once; nobody is told."""
        self.exchange = None
        self.reusable = False
        if self.open:
            self.open = False
            self._loop.remove(self.socket.fileno())
            self.socket.close()
            # They refer back to this object, and nothing collects cycles during a phase.
            del self._parser, self._feed, self.receive

    def _sealed(self, request: bytes) -> bytes:
        """What goes over the socket for `request`."""
        return request

    def _push(self, data: bytes) -> None:
        """Send `data` after everything before it; what the socket does not take now follows when it does."""
        if self._unsent:
            self._unsent += data
            return
        written = self._write(data)
        if written < len(data):
            self._unsent = data[written:]
            self._loop.watch(self.socket.fileno(), writing=True)

    def _write(self, data: bytes) -> int:
        """How many bytes the socket took. Of one that is broken, all: the loop is about to report its end."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

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

    def _finish(self, exchange: Exchange) -> None:
        exchange.body = self._body.copy()
        self.exchange = None
        if not self._keep_alive:
            self.reusable = False
        self._owner.completed(self, exchange)

    def _fail(self, exchange: Exchange, failure: Failure) -> None:
        self.discard()
        self._owner.broken(self, exchange, failure, resend=False)

    def _what_came(self, error: Exception) -> str:
        """What came instead of an answer in HTTP/1.1."""
        status = None if self.exchange is None else self.exchange.status
        # Without an `Upgrade` header, the parser's error for a 101 does not say what it is about.
        if status is None or not (status == 101 or isinstance(error, httptools.HttpParserUpgrade)):
            return str(error) or type(error).__name__
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "not a standard status"
        return f"{status} ({phrase}): the server changes the protocol; expected an answer in HTTP/1.1"

    def _how_it_broke(self, error: OSError | None) -> Failure:
        received = sum(map(len, self._body))
        if error is None and self._length is not None and self._headers_done:
            return Failure("short_body", f"closed after {received} of {self._length} bytes")
        reason = "closed" if error is None else f"{type(error).__name__}: {error}"
        return Failure("reset", f"{reason} after {received} bytes of body")
