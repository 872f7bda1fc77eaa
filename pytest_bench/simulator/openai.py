"""OpenAI chat and text completions as a server reads and writes them."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.output import Asked, Output, Timing, token_id
from pytest_bench.simulator.script import Body, Stream


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class _Part(msgspec.Struct):
    type: str = "text"
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or [])


class _Common(msgspec.Struct, kw_only=True):
    model: str
    max_tokens: int | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None
    return_token_ids: bool = False
    stop: str | list[str] | None = None


class ChatRequest(_Common, kw_only=True):
    """The fields of a chat request that the simulator uses."""

    messages: list[_Message]
    max_completion_tokens: int | None = None

    def read(self) -> Asked:
        texts = [message.text() for message in self.messages]
        prompt = "\n".join(texts)
        limit = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        asked = _asked(self, prompt, texts[-1] if texts else "", len(prompt.split()), limit)
        asked.separate_reasoning = True
        return asked


class CompletionRequest(_Common, kw_only=True):
    """The fields of a completion request that the simulator uses."""

    prompt: str | list[int]

    def read(self) -> Asked:
        if isinstance(self.prompt, str):
            return _asked(self, self.prompt, "", len(self.prompt.split()), self.max_tokens)
        return _asked(self, " ".join(map(str, self.prompt)), "", len(self.prompt), self.max_tokens)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The differences between the two APIs."""

    prefix: str
    whole: str
    chunk: str
    chat: bool


CHAT = Shape(prefix="chatcmpl", whole="chat.completion", chunk="chat.completion.chunk", chat=True)
COMPLETION = Shape(prefix="cmpl", whole="text_completion", chunk="text_completion", chat=False)


def stream(
    shape: Shape,
    asked: Asked,
    output: Output,
    behaviour: Behaviour,
    timing: Timing,
    *,
    number: int,
    cached: bool,
) -> Stream:
    """Return the events of one answer: role, content, finish reason, usage, [DONE]."""
    head = _envelope(shape, shape.chunk, behaviour, number)
    every_chunk = behaviour.usage == "every_chunk" or (
        behaviour.usage == "as_asked" and asked.continuous_usage
    )
    final = (
        every_chunk or behaviour.usage == "final" or (behaviour.usage == "as_asked" and asked.include_usage)
    )
    so_far = 0

    def usage() -> bytes:
        return b',"usage":' + _usage(asked, output, so_far, cached=cached) if every_chunk else b""

    def event(choice: bytes) -> bytes:
        return b"%b%b}]%b}" % (choices, choice, usage())

    payloads: list[bytes] = []
    counts: list[int] = []
    due: list[int] = []
    choices = head + b',"choices":[{"index":0,'
    if shape.chat and behaviour.role_first:
        blank = b"null" if output.content_is_null else b'""'
        payloads.append(event(b'"delta":{"role":"assistant","content":%b},"finish_reason":null' % blank))
        counts.append(0)
        due.append(0)
    for field, pieces in _split(shape, output, behaviour):
        opening = choices + (b'"delta":{"%b":' % field.encode() if shape.chat else b'"text":')
        closing = b'},"finish_reason":null' if shape.chat else b',"finish_reason":null'
        for start in range(0, len(pieces), behaviour.tokens_per_event):
            together = pieces[start : start + behaviour.tokens_per_event]
            so_far += len(together)
            text = msgspec.json.encode("".join(together))
            ids = _token_ids(together) if asked.token_ids else b""
            payloads.append(b"%b%b%b%b}]%b}" % (opening, text, closing, ids, usage()))
            counts.append(len(together))
    content = len(payloads) - len(due)
    due += timing.schedule(content, behaviour.tokens_per_event)
    tail = len(payloads)
    last = due[-1] if content else timing.first_ns

    closing = b'"delta":{}' if shape.chat else b'"text":""'
    payloads.append(event(b'%b,"finish_reason":"%b"' % (closing, output.finish_reason.encode())))
    if final:
        payloads.append(b'%b,"choices":[],"usage":%b}' % (head, _usage(asked, output, so_far, cached=cached)))
    payloads.append(b"[DONE]")
    ends = len(payloads) - tail
    return Stream(
        payloads=payloads,
        due_ns=due + [last] * ends,
        tokens=counts + [0] * ends,
        tail=tail,
    )


def body(
    shape: Shape,
    asked: Asked,
    output: Output,
    behaviour: Behaviour,
    timing: Timing,
    *,
    number: int,
    cached: bool,
) -> Body:
    """Return the same answer in one piece."""
    pieces, thoughts = output.pieces, output.reasoning_tokens if shape.chat else 0
    choice: dict[str, Any] = {"index": 0, "finish_reason": output.finish_reason, "logprobs": None}
    if shape.chat:
        content = None if output.content_is_null else "".join(pieces[thoughts:])
        choice["message"] = {"role": "assistant", "content": content}
        if thoughts:
            choice["message"][behaviour.reasoning_field] = "".join(pieces[:thoughts])
    else:
        choice["text"] = "".join(pieces)
    if asked.token_ids:
        choice["token_ids"] = [token_id(piece) for piece in pieces]
    data = b'%b,"choices":%b' % (
        _envelope(shape, shape.whole, behaviour, number),
        msgspec.json.encode([choice]),
    )
    if behaviour.usage != "never":
        data += b',"usage":' + _usage(asked, output, len(pieces), cached=cached)
    due = timing.due_ns(max(0, len(pieces) - 1))
    return Body(data=data + b"}", due_ns=due, tokens=len(pieces))


def error(status: int, message: str, kind: str, code: str | None = None) -> Body:
    """Return an error in the form of OpenAI's API."""
    detail = {"message": message, "type": kind, "param": None, "code": code}
    return Body(status=status, data=msgspec.json.encode({"error": detail}))


def _asked(request: _Common, prompt: str, last: str, prompt_tokens: int, limit: int | None) -> Asked:
    if limit is not None and limit < 1:
        raise ValueError(f"max_tokens is {limit}: expected 1 or more")
    options = request.stream_options or _StreamOptions()
    return Asked(
        prompt=prompt,
        last=last,
        prompt_tokens=prompt_tokens,
        max_tokens=limit,
        stream=request.stream,
        include_usage=options.include_usage,
        continuous_usage=options.continuous_usage_stats,
        token_ids=request.return_token_ids,
        stop=stop_strings(request.stop),
    )


def stop_strings(given: str | list[str] | None) -> tuple[str, ...]:
    """The stop strings of a request. Raises `ValueError` for an empty one."""
    words = (given,) if isinstance(given, str) else tuple(given or ())
    if "" in words:
        raise ValueError("stop holds an empty text: expected texts that end the output")
    return words


def _envelope(shape: Shape, kind: str, behaviour: Behaviour, number: int) -> bytes:
    head = {
        "id": f"{shape.prefix}-{number}",
        "object": kind,
        "created": int(time.time()),
        "model": behaviour.model,
    }
    return msgspec.json.encode(head)[:-1]


def _split(shape: Shape, output: Output, behaviour: Behaviour) -> tuple[tuple[str, list[str]], ...]:
    """The tokens of each field, in order. No event holds both reasoning and content."""
    thoughts = output.reasoning_tokens if shape.chat else 0
    return (behaviour.reasoning_field, output.pieces[:thoughts]), ("content", output.pieces[thoughts:])


def _token_ids(pieces: list[str]) -> bytes:
    return b',"token_ids":' + msgspec.json.encode([token_id(piece) for piece in pieces])


def _usage(asked: Asked, output: Output, so_far: int, *, cached: bool) -> bytes:
    usage: dict[str, Any] = {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": so_far,
        "total_tokens": asked.prompt_tokens + so_far,
        "prompt_tokens_details": {"cached_tokens": asked.prompt_tokens if cached else 0},
    }
    if output.reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": min(so_far, output.reasoning_tokens)}
    return msgspec.json.encode(usage)
