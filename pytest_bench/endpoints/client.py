"""One bounded HTTP exchange: what came back, or why nothing did, as values and never as exceptions.

`httpcore` and not `httpx`: its network back end is where one deadline can bound every read and write.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Literal

import httpcore
import msgspec

from pytest_bench.endpoints.address import Address
from pytest_bench.endpoints.headers import Headers
from pytest_bench.redaction import redact, redact_foreign
from pytest_bench.workload import with_query

BODY_LIMIT_BYTES = 1 << 20
"""Most bytes of a response body that are held, unless the caller says otherwise."""
_EXCERPT_LENGTH = 300
_WRITE_BYTES = 1 << 16


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete response."""

    status: int
    content_type: str
    """In lower case, parameters included; empty if the server names none."""
    server: str | None
    location: str | None
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_page(self) -> bool:
        """Whether this is a web page. The type alone does not tell: some frameworks send "OK" as text/html."""
        return self.content_type.startswith("text/html") and self.body.lstrip().startswith(b"<")


Cause = Literal[
    "refused",
    "unknown-host",
    "name-service",
    "unreachable",
    "silent",
    "reset",
    "untrusted",
    "tls",
    "no-http",
    "endless",
    "other",
]
"""Why there is no response, as far as the advice differs."""


class NoAnswer(msgspec.Struct, frozen=True):
    """No complete response."""

    reason: str
    cause: Cause
    final: bool = False
    """Waiting does not help: the name does not exist, the certificate is not trusted."""


class Client:
    """Sends requests to one endpoint, each on a connection of its own.

    A connection kept open would be one more than the load's during a phase. Proxies, redirects, cookies,
    compression and the environment are not used.
    """

    def __init__(self, address: Address, headers: Headers) -> None:
        self.address = address
        self._headers = [("Host", address.authority), *headers.pairs, ("Accept-Encoding", "identity")]
        self._query = headers.query
        # The system's trust store, as load uses it.
        self._trust = ssl.create_default_context() if address.scheme == "https" else None

    def exchange(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        body: bytes | None = None,
        limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> Answer | NoAnswer:
        """Send one request to `path` below the endpoint and read the response to its end.

        Everything from connecting to the last byte must be done within `timeout_s`, and the body must not
        exceed `limit_bytes`; otherwise there is no answer.
        """
        deadline = _Deadline(timeout_s)
        content = [("Content-Type", "application/json")] if body else []
        url = httpcore.URL(
            scheme=self.address.scheme,
            host=self.address.host,
            port=self.address.port,
            target=with_query(self.address.prefix + path, self._query),
        )
        received = bytearray()
        status = None
        try:
            with (
                httpcore.HTTPConnection(
                    url.origin, ssl_context=self._trust, network_backend=deadline
                ) as link,
                link.stream(method, url, headers=[*self._headers, *content], content=body) as response,
            ):
                status = response.status
                for piece in response.iter_stream():
                    received += piece
                    if len(received) > limit_bytes:
                        return NoAnswer(
                            f"answered {status} with over {limit_bytes} bytes", "endless", final=True
                        )
        except httpcore.TimeoutException as error:
            if status is None:
                return _no_answer(error, timeout_s)
            return NoAnswer(f"answered {status}, not complete within {timeout_s:.3g} s", "silent")
        except _FAILURES as error:
            return _no_answer(error, timeout_s)
        headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(
            status=response.status,
            content_type=headers.get(b"content-type", "").strip().lower(),
            server=headers.get(b"server"),
            location=headers.get(b"location"),
            body=bytes(received),
        )


def excerpt(body: bytes) -> str:
    """The beginning of a body for a message: one line, no control characters, no secrets."""
    return printable(body.decode("utf-8", "replace"))


def printable(text: str) -> str:
    """A server's text without secrets, made harmless for terminals and XML, and short."""
    line = " ".join(redact_foreign(text).split())
    shown = line if len(line) <= _EXCERPT_LENGTH else line[:_EXCERPT_LENGTH] + "…"
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown
    )


_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, OSError)
"""What an exchange may raise besides time-outs."""


def _without_secrets(record: logging.LogRecord) -> bool:
    """Clear a log record, which may show what a server sent, of secrets."""
    record.msg, record.args = redact(record.getMessage()), ()
    return True


for _name in ("httpcore.connection", "httpcore.http11"):
    logging.getLogger(_name).addFilter(_without_secrets)


class _Deadline(httpcore.NetworkBackend):
    """Connections whose every read and write ends when `timeout_s` have passed since this was made.

    A time-out for each read alone never ends with a server that sends one byte at a time, or one
    `100 Continue` after another. Looking a name up is bounded by the system's resolver.
    """

    def __init__(self, timeout_s: float) -> None:
        self._ends = time.monotonic() + timeout_s
        self._backend = httpcore.SyncBackend()

    def left_s(self) -> float:
        """Raises `httpcore.ReadTimeout` once the time is up."""
        left_s = self._ends - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout
        return left_s

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 # the deadline stands in for it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that accepts."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for place, entry in enumerate(found):
            try:
                stream = self._backend.connect_tcp(
                    str(entry[4][0]), port, self.left_s(), local_address, socket_options
                )
            except httpcore.ConnectError:
                if place == len(found) - 1:
                    raise
            else:
                return _BoundedStream(stream, self)
        raise httpcore.ConnectError(f"{host} has no address")


class _BoundedStream(httpcore.NetworkStream):
    """A stream that keeps to a deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 # as above
        return self._stream.read(max_bytes, self._deadline.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 # as above
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._stream.write(buffer[start : start + _WRITE_BYTES], self._deadline.left_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 # as above
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left_s())
        return _BoundedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _no_answer(error: Exception, timeout_s: float) -> NoAnswer:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    match cause:
        case ssl.SSLCertVerificationError():
            return NoAnswer(
                f"the TLS certificate is not trusted: {cause.verify_message}", "untrusted", final=True
            )
        case ssl.SSLError():
            early_end = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
            return NoAnswer(f"TLS failed: {cause.reason or cause}", "tls", final=not early_end)
        case socket.gaierror():
            for_now = cause.errno == socket.EAI_AGAIN
            return NoAnswer(
                f"the name cannot be looked up: {cause.strerror}",
                "name-service" if for_now else "unknown-host",
                final=not for_now,
            )
        case ConnectionRefusedError():
            return NoAnswer("connection refused", "refused")
        case ConnectionResetError() | BrokenPipeError():
            return NoAnswer("the connection was reset", "reset")
    return _unfinished(error, timeout_s)


def _unfinished(error: Exception, timeout_s: float) -> NoAnswer:
    """Where the system reported no error of its own."""
    match error:
        case httpcore.ConnectTimeout():
            return NoAnswer(f"no connection within {timeout_s:.3g} s", "unreachable")
        case httpcore.TimeoutException():
            return NoAnswer(f"no answer within {timeout_s:.3g} s", "silent")
        case httpcore.ProtocolError():
            return NoAnswer(f"not valid HTTP/1.1: {printable(str(error))}", "no-http")
        case httpcore.ConnectError():
            return NoAnswer(printable(str(error)) or type(error).__name__, "unreachable")
    return NoAnswer(printable(str(error)) or type(error).__name__, "other")
