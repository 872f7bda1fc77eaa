"""SGLang's own API: `POST /generate`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, final

import msgspec

from pytest_bench.api import Decoded, Generation, Malformed, Prompt
from pytest_bench.api._openai import decode, error_text, max_tokens, tokens_of_events
from pytest_bench.errors import UsageError
from pytest_bench.records import Usage

_OF_THE_REQUEST = frozenset(
    {
        "return_logprob",
        "logprob_start_len",
        "top_logprobs_num",
        "token_ids_logprob",
        "return_text_in_logprobs",
        "return_hidden_states",
        "lora_path",
        "session_params",
        "custom_logit_processor",
        "priority",
        "extra_key",
    }
)
"""Parameters that belong to the request itself; all others are sampling parameters."""


class _Finish(msgspec.Struct, gc=False):
    type: str
    message: str | None = None


class _Meta(msgspec.Struct, gc=False):
    finish_reason: _Finish | str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


class _Answer(msgspec.Struct, gc=False):
    """An event of a stream, or a whole body: they have one shape."""

    text: str | None = None
    output_ids: msgspec.Raw = msgspec.Raw()
    """Left undecoded: a stream repeats all ids so far in every event, and one event tells them all."""
    meta_info: _Meta | None = None
    error: Any = None


_STREAM = msgspec.json.Decoder(list[_Answer])
_BODY = msgspec.json.Decoder(_Answer)
_IDS = msgspec.json.Decoder(list[int] | None)


@final
class SGLang:
    """Text or token ids in, their continuation out."""

    name: ClassVar[str] = "sglang"
    path: ClassVar[str] = "/generate"
    streaming: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "text": "the text to continue",
            "input_ids": "its token ids, instead of text",
            "prompt": "another name of text",
            "max_tokens": "this row's own limit on output tokens",
        }
    )
    required: ClassVar[frozenset[str]] = frozenset({"text", "input_ids", "prompt"})
    delta_key: ClassVar[bytes | None] = None
    polls: ClassVar[bool] = False
    video_seconds: ClassVar[float | None] = None

    @staticmethod
    def encode(row: Mapping[str, Any], generation: Generation) -> bytes:
        """The request for one row. Raises `UsageError` for a row without exactly one of text and input_ids.

        Parameters go into `sampling_params`, `max_tokens` as `max_new_tokens`; the few that are the
        request's own stay beside them.
        """
        body: dict[str, Any] = {**_input(row), "stream": generation.stream}
        sampling: dict[str, Any] = {}
        for name, value in generation.parameters.items():
            if name in _OF_THE_REQUEST:
                body[name] = value
            elif name == "sampling_params":
                sampling |= value
            else:
                sampling["max_new_tokens" if name == "max_tokens" else name] = value
        limit = max_tokens(row)
        if limit is not None:
            sampling["max_new_tokens"] = limit
        return msgspec.json.encode({**body, "sampling_params": sampling})

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """The text of a row, or its token ids."""
        given: Prompt = next(iter(_input(row).values()))
        return given

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Read a whole stream in one typed decode. Raises `Malformed`.

        Each event holds the text so far, unless the server was told to stream what is new only.
        """
        answers = decode(_STREAM, events, "event of a /generate stream")
        decoded = Decoded(event_count=len(answers))
        incremental = not _cumulative([answer.text for answer in answers if answer.text])
        content: list[str] = []
        positions: list[int] = []
        totals: list[int | None] = []
        length = 0
        for position, answer in enumerate(answers):
            if answer.error is not None:
                decoded.error = error_text(answer.error)
            text = answer.text
            if text and not incremental:
                text = text[length:]
                length += len(text)
            if text:
                content.append(text)
                positions.append(position)
                totals.append(None if answer.meta_info is None else answer.meta_info.completion_tokens)
        decoded.content = "".join(content)
        decoded.content_events = positions
        if positions:
            decoded.first_output_event = positions[0]
            decoded.first_event_text = content[0]
        decoded.content_event_tokens = tokens_of_events(totals)
        _conclude(decoded, answers)
        return decoded

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # part of the contract; always JSON here
        """Read an answer that was not streamed. Raises `Malformed`."""
        answer = decode(_BODY, body, "body of a /generate answer")
        if answer.error is not None:
            return Decoded(error=error_text(answer.error))
        if answer.text is None and not bytes(answer.output_ids):
            raise Malformed("body of a /generate answer: has neither text, output_ids nor an error")
        decoded = Decoded(content=answer.text or "")
        _conclude(decoded, [answer])
        return decoded

    @staticmethod
    def pending(body: bytes) -> str | None:  # noqa: ARG004 # answers are never jobs
        """Nothing: an answer is final."""
        return None


def _input(row: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: row[name] for name in ("text", "prompt", "input_ids") if row.get(name) is not None}
    if len(given) != 1:
        found = " and ".join(given) or "neither"
        raise UsageError(f"a /generate row needs either text (or prompt) or input_ids: this one has {found}")
    name, value = next(iter(given.items()))
    if name == "input_ids":
        if not isinstance(value, list | tuple) or not value or not all(type(token) is int for token in value):
            raise UsageError("column input_ids: expected a list of token ids")
        return {"input_ids": value}
    if not isinstance(value, str):
        raise UsageError(f"column {name} holds {type(value).__name__}: expected text")
    return {"text": value}


def _cumulative(texts: list[str]) -> bool:
    """Whether each text continues the one before it, as the text so far does and single deltas do not."""
    return all(after.startswith(before) for before, after in pairwise(texts))


def _conclude(decoded: Decoded, answers: list[_Answer]) -> None:
    """What the last account of an answer says of the whole of it."""
    meta = next((answer.meta_info for answer in reversed(answers) if answer.meta_info is not None), None)
    if meta is not None:
        decoded.usage = Usage(
            input_tokens=meta.prompt_tokens,
            output_tokens=meta.completion_tokens,
            cached_tokens=meta.cached_tokens,
        )
        finish = meta.finish_reason
        if isinstance(finish, _Finish):
            decoded.finish_reason = finish.type
            if finish.type == "abort" and decoded.error is None:
                decoded.error = f"abort: {finish.message or 'the server gave no reason'}"
        else:
            decoded.finish_reason = finish
    decoded.token_ids = _token_ids(
        [answer.output_ids for answer in answers if bytes(answer.output_ids)],
        None if meta is None else meta.completion_tokens,
    )


def _token_ids(lists: list[msgspec.Raw], total: int | None) -> list[int]:
    """All output ids. Servers repeat all so far, or send new ones only, whatever they do with the text."""
    if not lists:
        return []
    last = decode(_IDS, bytes(lists[-1]), "output_ids of a /generate answer") or []
    if len(lists) == 1 or len(last) == total:
        return last
    parts = [decode(_IDS, bytes(part), "output_ids of a /generate answer") or [] for part in lists]
    if total is None and all(after[: len(before)] == before for before, after in pairwise(parts)):
        return last
    return [token for part in parts for token in part]
