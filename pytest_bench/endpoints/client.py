"""One bounded HTTP exchange. Returns the response, or the reason why there is none, instead of raising.

The exchange runs in an event loop of its own, because cancelling a task is the only way to bound every read and write
of it by one deadline: a time-out for each read never ends with a server that sends one byte at a time, or one
`100 Continue` after another.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import httpx
import msgspec

from pytest_bench.endpoints.address import Address
from pytest_bench.endpoints.headers import Headers
from pytest_bench.redaction import redact, redact_foreign
from pytest_bench.wording import one_line
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
        """Whether this is a web page. The content type alone is no proof: some frameworks send "OK" as text/html."""
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
        exceed `limit_bytes`; otherwise the result is a `NoAnswer`.
        """
        return asyncio.run(self._exchange(method, path, timeout_s, body, limit_bytes))

    async def _exchange(
        self, method: str, path: str, timeout_s: float, body: bytes | None, limit_bytes: int
    ) -> Answer | NoAnswer:
        connected = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal connected
            connected = connected or event == "connection.connect_tcp.complete"

        content = [("Content-Type", "application/json")] if body else []
        request = httpx.Request(
            method,
            httpx.URL(
                scheme=self.address.scheme,
                host=self.address.host,
                port=self.address.port,
                raw_path=with_query(self.address.prefix + path, self._query).encode(),
            ),
            headers=[*self._headers, *content],
            content=body,
            extensions={"trace": trace},
        )
        received = bytearray()
        status = None
        try:
            async with (
                asyncio.timeout(timeout_s),
                httpx.AsyncHTTPTransport(verify=self._trust or False, trust_env=False) as transport,
            ):
                response = await transport.handle_async_request(request)
                status = response.status_code
                try:
                    async for piece in response.aiter_raw():
                        received += piece
                        if len(received) > limit_bytes:
                            return NoAnswer(
                                f"answered {status} with over {limit_bytes} bytes", "endless", final=True
                            )
                finally:
                    await response.aclose()
        except TimeoutError:
            if status is not None:
                return NoAnswer(f"answered {status}, not complete within {timeout_s:.3g} s", "silent")
            if connected:
                return NoAnswer(f"no answer within {timeout_s:.3g} s", "silent")
            return NoAnswer(f"no connection within {timeout_s:.3g} s", "unreachable")
        except (httpx.TransportError, OSError) as error:
            return _no_answer(error)
        return Answer(
            status=status,
            content_type=response.headers.get("content-type", "").strip().lower(),
            server=response.headers.get("server"),
            location=response.headers.get("location"),
            body=bytes(received),
        )


def excerpt(body: bytes) -> str:
    """The beginning of a body for a message: one line, no control characters, no secrets."""
    return server_line(body.decode("utf-8", "replace"))


def server_line(text: str) -> str:
    """A server's text for a message: one short line without secrets, safe for terminals and XML."""
    return one_line(redact_foreign(text), _EXCERPT_LENGTH)


def _without_secrets(record: logging.LogRecord) -> bool:
    """Clear a log record, which may show what a server sent, of secrets."""
    record.msg, record.args = redact(record.getMessage()), ()
    return True


for _name in ("httpcore.connection", "httpcore.http11"):
    logging.getLogger(_name).addFilter(_without_secrets)


def _no_answer(error: Exception) -> NoAnswer:
    cause = next(_system_errors(error), None)
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
    reason = server_line(str(error)) or type(error).__name__
    match error:
        case httpx.ProtocolError():
            return NoAnswer(f"not valid HTTP/1.1: {reason}", "no-http")
        case httpx.ConnectError():
            return NoAnswer(server_line(str(cause)) if cause else reason, "unreachable")
    return NoAnswer(reason, "other")


def _system_errors(error: BaseException | None) -> Iterator[OSError]:
    """The system's own errors that led to `error`. Those that only sum up others have no number, and are left out."""
    if error is None:
        return
    if isinstance(error, OSError) and (error.errno is not None or isinstance(error, ssl.SSLError)):
        yield error
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _system_errors(each)
    yield from _system_errors(error.__cause__ or error.__context__)
