"""OpenAI chat completions: `POST /v1/chat/completions`, as vLLM, SGLang, TensorRT-LLM and others serve it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, final

import msgspec

from pytest_bench.api import Chat, Decoded, Generation, Malformed, Prompt
from pytest_bench.api._openai import Choice, Chunk, Pieces, read_body, read_stream, request_body
from pytest_bench.api._wire import decode
from pytest_bench.errors import UsageError


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None
    """JSON as text; some servers send the object itself."""


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None


class _Part(msgspec.Struct, gc=False):
    """One part of a content that is a list."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None
    thinking: str | list[_Part | str | None] | None = None
    reasoning: str | None = None


_Text = str | list[_Part | str | None] | None


class _Message(msgspec.Struct, gc=False):
    """A delta of a stream, or the whole message of a body."""

    content: _Text = None
    refusal: str | None = None
    reasoning_content: _Text = None
    reasoning: _Text = None
    tool_calls: list[_ToolCall | None] | None = None
    function_call: _Function | None = None
    """What came before `tool_calls`."""


class _Choice(Choice, gc=False):
    delta: _Message | None = None
    message: _Message | None = None


_STREAM = msgspec.json.Decoder(list[Chunk[_Choice]])
_BODY = msgspec.json.Decoder(Chunk[_Choice])
_EVENT = "event of a chat stream"
_ANSWER = "body of a chat completion"

_CONTENT_PARTS = frozenset({"text", "output_text", "refusal"})
_REASONING_PARTS = frozenset({"thinking", "reasoning"})


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
        """Return the body for one row. Raises `UsageError` unless it has exactly one of prompt and messages."""
        return msgspec.json.encode({**request_body(row, generation), "messages": _messages(row)})

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """Return the messages of a row."""
        return Chat(_messages(row))

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Read a whole stream in one typed decode and one pass. Raises `Malformed`."""
        return read_stream(decode(_STREAM, events, _EVENT), _of_delta, events, _EVENT)

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # part of the contract; always JSON here
        """Read an answer that was not streamed. Raises `Malformed`."""
        return read_body(decode(_BODY, body, _ANSWER), _of_message, _ANSWER)

    @staticmethod
    def pending(body: bytes) -> str | None:  # noqa: ARG004 # answers are never jobs
        """Return None: an answer is final."""
        return None


def _of_delta(choice: _Choice) -> Pieces:
    return ("", "", "") if choice.delta is None else _pieces(choice.delta)


def _of_message(choice: _Choice) -> Pieces:
    return ("", "", "") if choice.message is None else _pieces(choice.message)


def _pieces(message: _Message) -> Pieces:
    """Content, reasoning and tool calls of a message. Raises `Malformed` for a content part of another type."""
    content, thought = message.content or "", message.reasoning_content or message.reasoning or ""
    if not isinstance(content, str) or not isinstance(thought, str):
        content, inside = _read(content)
        thought = "".join(_read(thought)) or inside
    if message.refusal:
        content += message.refusal
    call = ""
    if message.tool_calls:
        call = "".join(_tool_text(call.function) for call in message.tool_calls if call is not None)
    if message.function_call is not None:
        call += _tool_text(message.function_call)
    return content, thought, call


def _read(text: _Text) -> tuple[str, str]:
    """Content and reasoning of a text, or of a list of parts."""
    if text is None or isinstance(text, str):
        return text or "", ""
    content, reasoning = "", ""
    for part in text:
        if part is None or isinstance(part, str):
            content += part or ""
        elif part.type in _CONTENT_PARTS:
            content += part.text or part.refusal or ""
        elif part.type in _REASONING_PARTS:
            reasoning += "".join(_read(part.thinking or part.reasoning or part.text))
        else:
            expected = ", ".join(sorted(_CONTENT_PARTS | _REASONING_PARTS))
            raise Malformed(f"a content part has the type {part.type[:40]!r}: expected one of {expected}")
    return content, reasoning


def _tool_text(function: _Function | None) -> str:
    """What the model generated for a tool call: its name and its arguments, as JSON."""
    if function is None:
        return ""
    arguments = function.arguments
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        try:
            arguments = msgspec.json.encode(arguments).decode()
        except RecursionError as error:
            raise Malformed("arguments of a tool call are nested too deeply") from error
    return (function.name or "") + arguments


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
