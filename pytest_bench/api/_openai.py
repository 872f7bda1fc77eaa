"""What the two OpenAI APIs have in common: fields of a request, chunks of a stream, usage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from pytest_bench.api import Decoded, Generation, Malformed, finish_reason, later_reason
from pytest_bench.api._wire import (
    Answer,
    Count,
    TokenIds,
    error_of,
    foreign,
    mapping,
    max_tokens,
    token_count,
    tokens_of_events,
)
from pytest_bench.records import Usage


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Count = None
    reasoning_tokens: Count = None


class WireUsage(msgspec.Struct, gc=False):
    """`usage` of a chunk or a body."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def read(self) -> Usage:
        """The same as a `Usage`. Raises `Malformed` for a count that is not one."""
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        cached = None if prompt is None else prompt.cached_tokens
        reasoning = None if completion is None else completion.reasoning_tokens
        return Usage(
            input_tokens=token_count(self.prompt_tokens, "usage.prompt_tokens"),
            output_tokens=token_count(self.completion_tokens, _COMPLETION_TOKENS),
            cached_tokens=token_count(cached, "usage.prompt_tokens_details.cached_tokens"),
            reasoning_tokens=token_count(reasoning, "usage.completion_tokens_details.reasoning_tokens"),
        )


class Choice(msgspec.Struct, gc=False):
    """The fields that choices of both APIs have."""

    finish_reason: str | None = None
    token_ids: TokenIds | None = None


AnyChoice = TypeVar("AnyChoice", bound=Choice)


class Chunk(Answer, Generic[AnyChoice], gc=False):
    """An event of a stream, or a whole body."""

    choices: list[AnyChoice | None] | msgspec.UnsetType | None = msgspec.UNSET
    usage: WireUsage | None = None
    text: Any = None
    """Only errors have it."""

    def error_line(self) -> str | None:
        """The error that it reports, if any."""
        return error_of(self, known=bool(self.choices) or self.usage is not None, text=self.text)


Pieces = tuple[str, str, str]
"""What one choice delivers: content, reasoning, tool calls."""


def read_stream(  # noqa: C901, PLR0912, PLR0915 # one pass over every event: the hot path
    chunks: list[Chunk[AnyChoice]], pieces_of: Callable[[AnyChoice], Pieces], events: bytes, what: str
) -> Decoded:
    """Read the chunks of a stream, decoded from `events`. Raises `Malformed`, naming `what`."""
    decoded = Decoded(event_count=len(chunks))
    content: list[str] = []
    reasoning: list[str] = []
    tools: list[str] = []
    token_ids: list[int] = []
    positions: list[int] = []
    totals: list[Count] = []
    last_total: Count = None
    usage: WireUsage | None = None
    unknown: int | None = None
    for position, chunk in enumerate(chunks):
        total = None
        if chunk.usage is not None:
            total = chunk.usage.completion_tokens
            if total is not None or chunk.usage.prompt_tokens is not None:
                usage = chunk.usage
        if chunk.error is not None or chunk.error_code or chunk.message or chunk.detail:
            decoded.error = chunk.error_line() or decoded.error
        choices = chunk.choices
        if not choices:
            if choices is msgspec.UNSET and chunk.usage is None and unknown is None:
                unknown = position
            continue
        choice = choices[0]
        if choice is None:
            continue
        last_total = total
        if choice.finish_reason is not None:
            decoded.finish_reason = later_reason(decoded.finish_reason, choice.finish_reason)
        if choice.token_ids:
            token_ids += choice.token_ids
        text, thought, call = pieces_of(choice)
        if text:
            content.append(text)
        if call:
            tools.append(call)
        if thought:
            reasoning.append(thought)
        if text or call:
            if decoded.first_output_event is None:
                decoded.first_output_event = position
        elif not thought:
            continue
        if not positions:
            decoded.first_event_text = thought + text + call
        positions.append(position)
        totals.append(total)
    if unknown is not None and decoded.error is None and decoded.finish_reason is None:
        raise foreign(events, unknown, what, "choices, usage and error")
    decoded.content = "".join(content)
    decoded.reasoning = "".join(reasoning)
    decoded.tool_calls = "".join(tools)
    decoded.token_ids = token_ids
    decoded.content_events = positions
    decoded.usage = None if usage is None else usage.read()
    final = None if decoded.usage is None else decoded.usage.output_tokens
    decoded.content_event_tokens = tokens_of_events(
        totals, last=last_total, final=final, name=_COMPLETION_TOKENS
    )
    return decoded


_COMPLETION_TOKENS = "usage.completion_tokens"
_NOTHING = Usage()


def read_body(answer: Chunk[AnyChoice], pieces_of: Callable[[AnyChoice], Pieces], what: str) -> Decoded:
    """Read a body. Raises `Malformed`, naming `what`."""
    decoded = Decoded(error=answer.error_line())
    if answer.usage is not None and (usage := answer.usage.read()) != _NOTHING:
        decoded.usage = usage
    choice = answer.choices[0] if answer.choices else None
    if choice is None:
        if decoded.error is None:
            raise Malformed(f"{what}: has neither choices nor an error")
        return decoded
    decoded.finish_reason = finish_reason(choice.finish_reason)
    decoded.token_ids = choice.token_ids or []
    decoded.content, decoded.reasoning, decoded.tool_calls = pieces_of(choice)
    return decoded


def request_body(row: Mapping[str, Any], generation: Generation) -> dict[str, Any]:
    """The fields that both APIs send: model, parameters, the row's own `max_tokens`, and the stream flags.

    A parameter `stream_options` of null leaves that field out. Raises `UsageError` for one that is not a mapping.
    """
    parameters = dict(generation.parameters)
    body: dict[str, Any] = {"model": generation.model, **parameters, "stream": generation.stream}
    options = mapping(parameters, "stream_options")
    body.pop("stream_options", None)
    if generation.stream and parameters.get("stream_options", options) is not None:
        body["stream_options"] = {"include_usage": True, **options}
    limit = max_tokens(row)
    if limit is not None:
        body["max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"] = limit
    return body
