"""Replies, and the scripts that they become: the bytes to write and when."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

import msgspec

from pytest_bench.simulator.behaviour import Behaviour

SERVER = "pytest-bench-simulator"
"""Value of the Server header. It shows that no model answered."""

Ending = Literal["keep", "close", "reset", "hang"]
"""After the last write: keep the connection, close it, reset it, or send nothing more."""

MILLISECOND = 1_000_000


class Stream(msgspec.Struct, kw_only=True):
    """A streamed reply: events, each with the time when it is due, counted from the start of service."""

    payloads: list[bytes]
    due_ns: list[int]
    """Of each event; never decreasing."""
    tokens: list[int]
    """Of each event; 0 for one without content."""
    tail: int
    """Position of the first closing event (finish reason, usage, [DONE]); they share one write."""
    terminated: bool = True
    """Whether the end of the body is sent."""
    ending: Ending = "keep"
    ending_due_ns: int = 0
    lying: bool = False
    """Whether Content-Length announces more bytes than are sent."""
    style: Literal["", "error_event", "error_field", "unseparated"] = ""
    """The fault that changes how events are written. For an error, it is the last event but `[DONE]`."""


class Body(msgspec.Struct, kw_only=True):
    """A reply in one piece."""

    data: bytes
    status: int = 200
    """0: not a byte is sent."""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    due_ns: int = 0
    tokens: int = 0
    announced: int | None = None
    """Content-Length, if it is not the length."""
    ending: Ending = "keep"
    ending_due_ns: int = 0


Reply = Stream | Body


class Script(msgspec.Struct, kw_only=True, gc=False):
    """What is written to the connection, and when, counted from the start of service."""

    writes: list[bytes]
    due_ns: list[int]
    tokens: list[int]
    """Content tokens that each write completes."""
    ending: Ending = "keep"
    ending_due_ns: int = 0

    @property
    def content_write(self) -> int | None:
        """Position of the write that completed the first content."""
        return next((position for position, tokens in enumerate(self.tokens) if tokens), None)


def compose(
    reply: Reply, behaviour: Behaviour, framings: frozenset[str], *, request_id: str, keep_alive: bool
) -> Script:
    """Return the bytes of a reply, in the given framings."""
    closing = (("connection", "close"),) if not keep_alive else ()
    identity = (("x-request-id", request_id),) if request_id else ()
    if isinstance(reply, Body):
        script = _whole(reply, (*identity, *closing))
    else:
        script = _streamed(reply, behaviour, framings, (*identity, *closing))
    if not keep_alive and script.ending == "keep":
        script.ending = "close"
    if "split" in framings:
        script = _tear(script, 2, MILLISECOND)
    if "drip" in framings:
        script = _tear(script, 0, round(behaviour.drip_ms * MILLISECOND))
    return script


def _whole(body: Body, extra: tuple[tuple[str, str], ...]) -> Script:
    if body.status == 0:
        return Script(writes=[], due_ns=[], tokens=[], ending=body.ending)
    length = len(body.data) if body.announced is None else body.announced
    head = _head(
        body.status,
        (("content-type", body.content_type), ("content-length", str(length)), *body.headers, *extra),
    )
    return Script(
        writes=[head + body.data],
        due_ns=[body.due_ns],
        tokens=[body.tokens],
        ending=body.ending,
        ending_due_ns=body.ending_due_ns,
    )


def _streamed(
    stream: Stream, behaviour: Behaviour, framings: frozenset[str], extra: tuple[tuple[str, str], ...]
) -> Script:
    events = _frame(stream.payloads, framings, stream.style)
    writes, times, counts = _group(events, stream, behaviour.coalesce)
    if behaviour.keepalive_ms:
        _keep_alive(writes, times, counts, round(behaviour.keepalive_ms * MILLISECOND))

    content_type = () if "untyped" in framings else (("content-type", "text/event-stream; charset=utf-8"),)
    if stream.lying:
        announced = sum(map(len, writes)) + 64
        head = _head(200, (*content_type, ("content-length", str(announced)), *extra))
    else:
        head = _head(200, (*content_type, ("transfer-encoding", "chunked"), *extra))
        writes = [b"%x\r\n%b\r\n" % (len(data), data) for data in writes]
    if not writes:
        writes, times, counts = [b""], [stream.ending_due_ns], [0]
    writes[0] = head + writes[0]
    if stream.terminated and not stream.lying:
        writes[-1] += b"0\r\n\r\n"
    return Script(
        writes=writes, due_ns=times, tokens=counts, ending=stream.ending, ending_due_ns=stream.ending_due_ns
    )


def _frame(payloads: list[bytes], framings: frozenset[str], style: str) -> list[bytes]:
    """Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    opening, newline = (b"data:" if "compact" in framings else b"data: "), b"\n"
    if "crlf" in framings:
        newline = b"\r\n"
    closing = newline + newline
    texts = payloads
    if "multiline" in framings:
        # A newline between two JSON tokens changes nothing, so an object may break behind its brace.
        texts = [b"{" + newline + opening + data[1:] if data.startswith(b"{") else data for data in payloads]
    if style == "unseparated":
        return [opening + data + newline for data in texts]
    before = b""
    if "keep_alives" in framings:
        before = b"data:" + closing + b"data: null" + closing
    if "comments" in framings:
        before += newline.join((b": ping", b"", b"event: message", b"id: 1", b"retry: 1000", b":", b""))
    events = [before + opening + data + closing for data in texts]
    if style == "error_event":
        events[-2] = b"event: error" + newline + b"data: " + payloads[-2] + closing
    elif style == "error_field":
        events[-2] = b"error: " + payloads[-2] + closing
    return events


def _group(events: list[bytes], stream: Stream, size: int) -> tuple[list[bytes], list[int], list[int]]:
    """Writes with their times and tokens: content events by `size`, others alone, the tail together."""
    due, tokens, tail = stream.due_ns, stream.tokens, stream.tail
    ends = list(range(1, tail + 1))
    if size > 1:
        first = next((position for position, count in enumerate(tokens) if count), tail)
        ends = [*range(1, first + 1), *range(first + size, tail, size), *([tail] if first < tail else [])]
    if tail < len(events):
        ends.append(len(events))
    starts = [0, *ends][:-1]
    return (
        [b"".join(events[start:end]) for start, end in zip(starts, ends, strict=True)],
        [due[end - 1] for end in ends],
        [sum(tokens[start:end]) for start, end in zip(starts, ends, strict=True)],
    )


def _keep_alive(writes: list[bytes], times: list[int], counts: list[int], every_ns: int) -> None:
    """Insert comments until the first content is due."""
    first = next((position for position, count in enumerate(counts) if count), None)
    if first is None or every_ns <= 0:
        return
    before = times[first - 1] if first else 0
    ticks = list(range(before + every_ns, times[first], every_ns))
    writes[first:first] = [b": keep-alive\n\n"] * len(ticks)
    times[first:first] = ticks
    counts[first:first] = [0] * len(ticks)


def _tear(script: Script, pieces: int, gap_ns: int) -> Script:
    """Split each write into `pieces` packets, `gap_ns` apart; 0 means one for each byte."""
    writes: list[bytes] = []
    times: list[int] = []
    counts: list[int] = []
    for data, due, tokens in zip(script.writes, script.due_ns, script.tokens, strict=True):
        size = max(1, -(-len(data) // pieces)) if pieces else 1
        packets = [data[start : start + size] for start in range(0, len(data), size)]
        writes += packets
        times += [due + position * gap_ns for position in range(len(packets))]
        counts += [0] * (len(packets) - 1) + [tokens]
    return Script(
        writes=writes, due_ns=times, tokens=counts, ending=script.ending, ending_due_ns=script.ending_due_ns
    )


def _head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"server: {SERVER}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join((*lines, "", "")).encode("latin-1")
