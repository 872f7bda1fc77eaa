"""What the two OpenAI APIs share on the wire: usage, errors, and tokens told chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from pytest_bench.api import Generation, Malformed
from pytest_bench.errors import UsageError
from pytest_bench.records import Usage

T = TypeVar("T")


class Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None

    def read(self) -> Usage:
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            input_tokens=self.prompt_tokens,
            output_tokens=self.completion_tokens,
            cached_tokens=prompt.cached_tokens if prompt is not None else None,
            reasoning_tokens=completion.reasoning_tokens if completion is not None else None,
        )


def decode(decoder: msgspec.json.Decoder[T], data: bytes, what: str) -> T:
    """Decode `data` once, typed. Raises `Malformed`, saying what part of which response is wrong."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{what}: {error}") from error


def error_text(error: object) -> str:
    """An error object of a server as one line: its message, with its type or code where it has one."""
    if not isinstance(error, Mapping):
        return str(error)
    message = error.get("message")
    if message is None:
        return msgspec.json.encode(error).decode()
    label = error.get("type") or error.get("code")
    return f"{label}: {message}" if label else str(message)


def tokens_of_events(cumulative: list[int | None]) -> list[int]:
    """Tokens of each content event, from the server's running total at each of them.

    Tokens that a server spent on an event without text (half a character) belong to the next one with
    text. Empty where an event lacks its total, or where totals do not grow: then nothing is known.
    """
    tokens: list[int] = []
    before = 0
    for total in cumulative:
        if total is None or total < before:
            return []
        tokens.append(total - before)
        before = total
    return tokens


def request_body(row: Mapping[str, Any], generation: Generation) -> dict[str, Any]:
    """The fields that both APIs send: model, parameters, the row's own `max_tokens`, and the stream flags."""
    body: dict[str, Any] = {"model": generation.model, **generation.parameters, "stream": generation.stream}
    if generation.stream:
        body["stream_options"] = {"include_usage": True, **generation.parameters.get("stream_options", {})}
    limit = max_tokens(row)
    if limit is not None:
        body["max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"] = limit
    return body


def max_tokens(row: Mapping[str, Any]) -> int | None:
    """The row's own limit, None where it has none. Raises `UsageError` for one that is no positive integer."""
    limit = row.get("max_tokens")
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise UsageError(f"column max_tokens is {limit!r}: expected a positive integer, or no value")
    return limit
