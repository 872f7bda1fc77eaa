"""OpenAI text completions: `POST /v1/completions`, as vLLM, SGLang, TensorRT-LLM and others serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, final

import msgspec

from pytest_bench.api import Decoded, Generation, Malformed, Prompt
from pytest_bench.api._openai import WireUsage, decode, error_text, request_body, tokens_of_events
from pytest_bench.errors import UsageError


class _Choice(msgspec.Struct, gc=False):
    text: str | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class _Chunk(msgspec.Struct, gc=False):
    """An event of a stream, or a whole body: they have one shape."""

    choices: list[_Choice] = []
    usage: WireUsage | None = None
    error: Any = None
    message: str | None = None
    """Only error objects that are not wrapped in `error` have one."""


_STREAM = msgspec.json.Decoder(list[_Chunk])
_BODY = msgspec.json.Decoder(_Chunk)


@final
class OpenAICompletions:
    """A prompt in, its continuation out."""

    name: ClassVar[str] = "openai-completions"
    path: ClassVar[str] = "/v1/completions"
    streaming: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "prompt": "the text to continue, or a list of its token ids",
            "max_tokens": "this row's own limit on output tokens",
        }
    )
    required: ClassVar[frozenset[str]] = frozenset({"prompt"})
    delta_key: ClassVar[bytes | None] = b'"text":"'
    polls: ClassVar[bool] = False
    video_seconds: ClassVar[float | None] = None

    @staticmethod
    def encode(row: Mapping[str, Any], generation: Generation) -> bytes:
        """The request for one row. Raises `UsageError` for a row without a prompt."""
        return msgspec.json.encode({**request_body(row, generation), "prompt": _prompt(row.get("prompt"))})

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """The text of a row, or its token ids."""
        return _prompt(row.get("prompt"))

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Read a whole stream in one typed decode and one pass. Raises `Malformed`."""
        chunks = decode(_STREAM, events, "event of a completion stream")
        decoded = Decoded(event_count=len(chunks))
        content: list[str] = []
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
            if choice.text:
                content.append(choice.text)
                positions.append(position)
                totals.append(None if chunk.usage is None else chunk.usage.completion_tokens)
        decoded.content = "".join(content)
        decoded.token_ids = token_ids
        decoded.content_events = positions
        if positions:
            decoded.first_output_event = positions[0]
            decoded.first_event_text = content[0]
        decoded.content_event_tokens = tokens_of_events(totals)
        decoded.usage = None if usage is None else usage.read()
        return decoded

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # part of the contract; always JSON here
        """Read an answer that was not streamed. Raises `Malformed`."""
        answer = decode(_BODY, body, "body of a completion")
        decoded = Decoded(usage=None if answer.usage is None else answer.usage.read())
        if answer.error is not None or answer.message is not None:
            decoded.error = error_text(answer.message if answer.error is None else answer.error)
        elif not answer.choices:
            raise Malformed("body of a completion: has neither choices nor an error")
        for choice in answer.choices[:1]:
            decoded.content = choice.text or ""
            decoded.finish_reason = choice.finish_reason
            decoded.token_ids = choice.token_ids or []
        return decoded

    @staticmethod
    def pending(body: bytes) -> str | None:  # noqa: ARG004 # answers are never jobs
        """Nothing: an answer is final."""
        return None


def _prompt(prompt: object) -> str | Sequence[int]:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list | tuple) and prompt and all(type(token) is int for token in prompt):
        return prompt
    if prompt is None:
        raise UsageError("a completion row needs a prompt: this one has none")
    raise UsageError(f"column prompt holds {type(prompt).__name__}: expected text, or a list of token ids")
