"""OpenAI chat completions: `POST /v1/chat/completions`, as vLLM, SGLang, TensorRT-LLM and others serve it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, final

import msgspec

from pytest_bench.api import Chat, Decoded, Generation, Malformed, Prompt
from pytest_bench.api._openai import WireUsage, decode, error_text, request_body, tokens_of_events
from pytest_bench.errors import UsageError


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    """A delta of a stream, or the whole message of a body."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: WireUsage | None = None
    error: Any = None
    message: str | None = None
    """Only error objects that are not wrapped in `error` have one."""


_STREAM = msgspec.json.Decoder(list[_Chunk])
_BODY = msgspec.json.Decoder(_Chunk)


@final
class OpenAIChat:
    """Messages in, content, reasoning and tool calls out."""

    name: ClassVar[str] = "openai-chat"
    path: ClassVar[str] = "/v1/chat/completions"
    streaming: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "prompt": "text of a single user message",
            "messages": "a whole conversation: a list of {role, content}",
            "system": "text of a system message put first",
            "max_tokens": "this row's own limit on output tokens",
        }
    )
    required: ClassVar[frozenset[str]] = frozenset({"prompt", "messages"})
    delta_key: ClassVar[bytes | None] = b'"content":"'
    polls: ClassVar[bool] = False
    video_seconds: ClassVar[float | None] = None

    @staticmethod
    def encode(row: Mapping[str, Any], generation: Generation) -> bytes:
        """The request for one row. Raises `UsageError` for a row without exactly one of prompt and messages."""
        return msgspec.json.encode({**request_body(row, generation), "messages": _messages(row)})

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """The messages of a row."""
        return Chat(_messages(row))

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:  # noqa: C901 # one pass over every event: the hot path
        """Read a whole stream in one typed decode and one pass. Raises `Malformed`."""
        chunks = decode(_STREAM, events, "event of a chat stream")
        decoded = Decoded(event_count=len(chunks))
        content: list[str] = []
        reasoning: list[str] = []
        tools: list[str] = []
        token_ids: list[int] = []
        positions: list[int] = []
        totals: list[int | None] = []
        usage: WireUsage | None = None
        for position, chunk in enumerate(chunks):
            if chunk.usage is not None:
                usage = chunk.usage
            if chunk.error is not None or chunk.message is not None:
                decoded.error = error_text(chunk.message if chunk.error is None else chunk.error)
            if not chunk.choices:
                continue
            choice = chunk.choices[0]
            if choice.finish_reason is not None:
                decoded.finish_reason = choice.finish_reason
            if choice.token_ids:
                token_ids += choice.token_ids
            delta = choice.delta
            if delta is None:
                continue
            text = delta.content
            thought = delta.reasoning_content or delta.reasoning
            call = _tool_text(delta.tool_calls) if delta.tool_calls else ""
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
                decoded.first_event_text = (thought or "") + (text or "") + call
            positions.append(position)
            totals.append(None if chunk.usage is None else chunk.usage.completion_tokens)
        decoded.content = "".join(content)
        decoded.reasoning = "".join(reasoning)
        decoded.tool_calls = "".join(tools)
        decoded.token_ids = token_ids
        decoded.content_events = positions
        decoded.content_event_tokens = tokens_of_events(totals)
        decoded.usage = None if usage is None else usage.read()
        return decoded

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # part of the contract; always JSON here
        """Read an answer that was not streamed. Raises `Malformed`."""
        answer = decode(_BODY, body, "body of a chat completion")
        decoded = Decoded(usage=None if answer.usage is None else answer.usage.read())
        if answer.error is not None or answer.message is not None:
            decoded.error = error_text(answer.message if answer.error is None else answer.error)
        elif not answer.choices:
            raise Malformed("body of a chat completion: has neither choices nor an error")
        for choice in answer.choices[:1]:
            decoded.finish_reason = choice.finish_reason
            decoded.token_ids = choice.token_ids or []
            if choice.message is not None:
                decoded.content = choice.message.content or ""
                decoded.reasoning = choice.message.reasoning_content or choice.message.reasoning or ""
                decoded.tool_calls = _tool_text(choice.message.tool_calls or [])
        return decoded

    @staticmethod
    def pending(body: bytes) -> str | None:  # noqa: ARG004 # answers are never jobs
        """Nothing: an answer is final."""
        return None


def _tool_text(calls: list[_ToolCall]) -> str:
    """What the model generated for tool calls: names and arguments."""
    return "".join(
        (call.function.name or "") + (call.function.arguments or "")
        for call in calls
        if call.function is not None
    )


def _messages(row: Mapping[str, Any]) -> list[Any]:
    prompt, messages, system = row.get("prompt"), row.get("messages"), row.get("system")
    if (prompt is None) == (messages is None):
        found = "neither" if prompt is None else "both"
        raise UsageError(f"a chat row needs either prompt or messages: this one has {found}")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise UsageError(f"column prompt holds {type(prompt).__name__}: a chat prompt is text")
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list | tuple) or not messages:
        raise UsageError("column messages must be a list of at least one {role, content}")
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise UsageError(
                f"column messages, entry {position}: expected {{role, content}} with a role that is text"
            )
    if system is None:
        return list(messages)
    if not isinstance(system, str):
        raise UsageError(f"column system holds {type(system).__name__}: expected text")
    if messages[0]["role"] == "system":
        raise UsageError(
            "the row has a system column and messages that begin with a system message: keep one"
        )
    return [{"role": "system", "content": system}, *messages]
