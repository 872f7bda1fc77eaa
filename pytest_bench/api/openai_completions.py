"""OpenAI text completions: `POST /v1/completions`, as vLLM, SGLang, TensorRT-LLM and others serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, final

import msgspec

from pytest_bench.api import Decoded, Generation, Prompt
from pytest_bench.api._openai import Choice, Chunk, Pieces, read_body, read_stream, request_body
from pytest_bench.api._wire import decode
from pytest_bench.errors import UsageError


class _Choice(Choice, gc=False):
    text: str | None = None


_STREAM = msgspec.json.Decoder(list[Chunk[_Choice]])
_BODY = msgspec.json.Decoder(Chunk[_Choice])
_EVENT = "event of a completion stream"
_ANSWER = "body of a completion"


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
        """Return the body for one row. Raises `UsageError` for a row without a prompt."""
        return msgspec.json.encode({**request_body(row, generation), "prompt": _prompt(row.get("prompt"))})

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """Return the text of a row, or its token ids."""
        return _prompt(row.get("prompt"))

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Read a whole stream in one typed decode and one pass. Raises `Malformed`."""
        return read_stream(decode(_STREAM, events, _EVENT), _pieces, events, _EVENT)

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # part of the contract; always JSON here
        """Read an answer that was not streamed. Raises `Malformed`."""
        return read_body(decode(_BODY, body, _ANSWER), _pieces, _ANSWER)

    @staticmethod
    def pending(body: bytes) -> str | None:  # noqa: ARG004 # answers are never jobs
        """Return None: an answer is final."""
        return None


def _pieces(choice: _Choice) -> Pieces:
    return choice.text or "", "", ""


def _prompt(prompt: object) -> str | Sequence[int]:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list | tuple) and prompt and all(type(token) is int for token in prompt):
        return prompt
    if prompt is None:
        raise UsageError("a completion row needs a prompt: this one has none")
    raise UsageError(f"column prompt holds {type(prompt).__name__}: expected text, or a list of token ids")
