"""Chooses the faults of a request and applies them to its reply."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from pytest_bench.simulator.behaviour import FAULTS, FRAMINGS, Behaviour
from pytest_bench.simulator.openai import error
from pytest_bench.simulator.script import MILLISECOND, Body, Reply, Stream

_STATUS = {"http_429": 429, "http_500": 500, "http_503": 503}

AT_ONCE = frozenset({"refuse", "redirect", *_STATUS})
"""Faults that answer a request before it is served."""


def pick(behaviour: Behaviour, number: int) -> tuple[str | None, frozenset[str]]:
    """Return the fault, if any, and the framings of request `number`: the same in every run."""
    if not behaviour.fault:
        return None, frozenset()
    framings = frozenset(
        name for name in FRAMINGS if _chance(behaviour.seed, number, name) < behaviour.fault.get(name, 0.0)
    )
    return _choose(behaviour, _chance(behaviour.seed, number, "fault")), framings


def instead(fault: str, behaviour: Behaviour, path: str) -> Body:
    """Return the whole reply under a fault of `AT_ONCE`."""
    if fault == "refuse":
        return Body(data=b"", status=0, ending="close")
    if fault == "redirect":
        return Body(status=307, data=b"", headers=(("location", path),))
    status = _STATUS[fault]
    reply = error(status, f"injected fault: {fault}", "rate_limit_error" if status == 429 else "server_error")
    reply.headers = (("retry-after", str(behaviour.retry_after_s)),)
    return reply


def spoil(reply: Reply, fault: str, behaviour: Behaviour) -> Reply:
    """Return `reply` with a fault in the middle of it."""
    return (
        _spoil_stream(reply, fault, behaviour.fault_after)
        if isinstance(reply, Stream)
        else spoil_body(reply, fault)
    )


def _spoil_stream(stream: Stream, fault: str, after: int) -> Stream:
    cut = _position(stream, after)
    due = stream.due_ns[cut]
    match fault:
        case "reset" | "stall":
            ending = "reset" if fault == "reset" else "hang"
            return msgspec.structs.replace(
                _cut(stream, cut), terminated=False, ending=ending, ending_due_ns=due
            )
        case "truncated":
            return _cut(stream, cut)
        case "content_length":
            return msgspec.structs.replace(
                stream, lying=True, ending="close", ending_due_ns=stream.due_ns[-1]
            )
        case "malformed":
            payloads = stream.payloads.copy()
            payloads[cut] = payloads[cut][:-3]
            return msgspec.structs.replace(stream, payloads=payloads)
        case "stream_error" | "error_event" | "error_field":
            short = _cut(stream, cut)
            return msgspec.structs.replace(
                short,
                payloads=[*short.payloads, _reported(fault).data, b"[DONE]"],
                due_ns=[*short.due_ns, due, due],
                tokens=[*short.tokens, 0, 0],
                style="" if fault == "stream_error" else fault,
            )
        case "unseparated":
            return msgspec.structs.replace(stream, style=fault)
    return stream


def spoil_body(body: Body, fault: str) -> Body:
    """Return a reply in one piece with a fault in the middle of it."""
    half, length = body.data[: len(body.data) // 2], len(body.data)
    match fault:
        case "reset" | "stall":
            ending = "reset" if fault == "reset" else "hang"
            due = body.due_ns + MILLISECOND
            return msgspec.structs.replace(
                body, data=half, announced=length, tokens=0, ending=ending, ending_due_ns=due
            )
        case "truncated" | "malformed" | "unseparated":
            return msgspec.structs.replace(body, data=half, tokens=0)
        case "content_length":
            return msgspec.structs.replace(
                body, announced=length + 64, ending="close", ending_due_ns=body.due_ns
            )
        case "stream_error" | "error_event" | "error_field":
            reply = _reported(fault)
            reply.due_ns = body.due_ns
            return reply
    return body


def _reported(fault: str) -> Body:
    """The error of a response with status 200, in the form of OpenAI's API or of FastAPI."""
    message = f"injected fault: {fault}"
    if fault == "error_event":
        return Body(data=msgspec.json.encode({"detail": message}))
    return error(200, message, "server_error")


def _cut(stream: Stream, position: int) -> Stream:
    return msgspec.structs.replace(
        stream,
        payloads=stream.payloads[:position],
        due_ns=stream.due_ns[:position],
        tokens=stream.tokens[:position],
        tail=position,
    )


def _position(stream: Stream, after: int) -> int:
    """Position of the event after `after` content events; of the first closing event if there are fewer."""
    seen = 0
    for position, tokens in enumerate(stream.tokens[: stream.tail]):
        if tokens:
            if seen == after:
                return position
            seen += 1
    return stream.tail


def _choose(behaviour: Behaviour, chance: float) -> str | None:
    edge = 0.0
    for name in _known(behaviour.fault):
        edge += behaviour.fault[name]
        if chance < edge:
            return name
    return None


def _known(names: Iterable[str]) -> list[str]:
    wanted = set(names)
    return [name for name in FAULTS if name in wanted]


def _chance(seed: int, number: int, purpose: str) -> float:
    """Uniform in [0, 1), from a hash: order and concurrency do not change what a request draws."""
    word = blake2b(f"{seed}/{number}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(word, "big") / 2**64
