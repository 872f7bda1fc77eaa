"""One bounded HTTP exchange: what came back, or why nothing did, as values and never as exceptions."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Literal

import httpx
import msgspec

from pytest_bench.endpoints.address import Address
from pytest_bench.endpoints.headers import Headers

BODY_LIMIT_BYTES = 1 << 20
_EXCERPT_LENGTH = 300


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete response."""

    status: int
    content_type: str
    """In lower case, parameters included; empty where the server names none."""
    server: str | None
    location: str | None
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_page(self) -> bool:
        """A web page. Not any text/html: some frameworks call a plain "OK" that."""
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
"""What kept a response from coming, as far as advice differs."""


class NoAnswer(msgspec.Struct, frozen=True):
    """No complete response."""

    reason: str
    cause: Cause
    final: bool = False
    """Waiting does not change it: a name that does not exist, a certificate that is not trusted."""


def connect(address: Address, headers: Headers) -> httpx.Client:
    """A client for one endpoint: no proxies, no redirects, no compression, nothing from the environment."""
    return httpx.Client(
        base_url=address.url,
        headers=[*headers.pairs, ("Accept-Encoding", "identity")],
        # The system's trust store, which is what load trusts too.
        verify=ssl.create_default_context(),
        trust_env=False,
        follow_redirects=False,
        # An idle connection would be the server's to time out, and one more than the load's during a phase.
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def exchange(
    client: httpx.Client,
    method: str,
    path: str,
    *,
    timeout_s: float,
    body: bytes | None = None,
    limit_bytes: int = BODY_LIMIT_BYTES,
) -> Answer | NoAnswer:
    """Send one request to `path` below the endpoint and read the response to its end.

    A silence of `timeout_s`, a body not complete after `timeout_s`, and one over `limit_bytes` are no answer.
    """
    content_type = {"Content-Type": "application/json"} if body else {}
    deadline = time.monotonic() + timeout_s
    received = bytearray()
    try:
        with client.stream(method, path, content=body, headers=content_type, timeout=timeout_s) as response:
            for piece in response.iter_raw():
                received += piece
                if len(received) > limit_bytes:
                    return NoAnswer(
                        f"answered {response.status_code} with over {limit_bytes} bytes",
                        "endless",
                        final=True,
                    )
                if time.monotonic() > deadline:
                    return NoAnswer(
                        f"answered {response.status_code}, not complete within {timeout_s:.3g} s", "silent"
                    )
    except httpx.TransportError as error:
        return _no_answer(error, timeout_s)
    return Answer(
        status=response.status_code,
        content_type=response.headers.get("content-type", "").strip().lower(),
        server=response.headers.get("server"),
        location=response.headers.get("location"),
        body=bytes(received),
    )


def excerpt(body: bytes, headers: Headers) -> str:
    """The beginning of a body for a message: one line, no control characters, no secrets."""
    return printable(headers.redact(body[: 8 * _EXCERPT_LENGTH].decode("utf-8", "replace")))


def printable(text: str) -> str:
    """A server's text made harmless for terminals and XML, and short."""
    line = " ".join(text.split())
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
    return shown if len(shown) <= _EXCERPT_LENGTH else shown[:_EXCERPT_LENGTH] + "…"


def _no_answer(error: httpx.TransportError, timeout_s: float) -> NoAnswer:
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


def _unfinished(error: httpx.TransportError, timeout_s: float) -> NoAnswer:
    """Where the system reported no error of its own."""
    match error:
        case httpx.ConnectTimeout():
            return NoAnswer(f"no connection within {timeout_s:.3g} s", "unreachable")
        case httpx.TimeoutException():
            return NoAnswer(f"no answer within {timeout_s:.3g} s", "silent")
        case httpx.ProtocolError():
            return NoAnswer(f"not valid HTTP/1.1: {printable(str(error))}", "no-http")
        case httpx.ConnectError():
            return NoAnswer(printable(str(error)) or type(error).__name__, "unreachable")
    return NoAnswer(printable(str(error)) or type(error).__name__, "other")
