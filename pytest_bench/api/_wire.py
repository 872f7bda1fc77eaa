"""What all APIs read in the same way: JSON, a server's errors, token counts, finish reasons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from pytest_bench.api import MOST_TOKENS, Malformed, error_text
from pytest_bench.errors import UsageError

T = TypeVar("T")

Count = int | float | str | None
"""A token count as servers write it: some write `3.0` or `"3"`. `token_count` reads it."""

TokenIds = list[Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]]

_LONGEST_SHOWN = 80


class Answer(msgspec.Struct, gc=False):
    """The fields by which an event or a body reports an error."""

    error: Any = None
    error_code: Any = None
    message: Any = None
    detail: Any = None


def decode(decoder: msgspec.json.Decoder[T], data: bytes, what: str) -> T:
    """Decode `data`. Raises `Malformed`, naming `what`.

    Half of a surrogate pair, which some servers write where an event ends within a character, is read as U+FFFD.
    """
    try:
        try:
            return decoder.decode(data)
        except msgspec.DecodeError:
            repaired = _ESCAPE.sub(_repair, data)
            if repaired == data:
                raise
            return decoder.decode(repaired)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{what}: {error}") from error


_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
"""A JSON escape; the group is half of a surrogate pair."""


def _repair(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]


def error_of(answer: Answer, *, known: bool, text: object = None) -> str | None:
    """The error that `answer` reports, as one line; None if it reports none.

    `known` says whether the object has a field of the API's answers. In one that has none, `message` and `detail`
    are an error, too. `text` is the message of servers that report `{"text": ..., "error_code": ...}`.
    """
    if answer.error or isinstance(answer.error, Mapping | list):
        return error_text(answer.error)
    words = answer.message or answer.detail
    if answer.error_code:
        return error_text({"code": answer.error_code, "message": words or text or "no message"})
    return error_text(words) if words and not known else None


def foreign(events: bytes, position: int, what: str, fields: str) -> Malformed:
    """The exception for an event that has none of the API's fields. `events` is the array of all events."""
    event = bytes(msgspec.json.decode(events, type=list[msgspec.Raw])[position])
    shown = event[:_LONGEST_SHOWN].decode("utf-8", "replace")
    return Malformed(
        f"{what}: event {position} has none of {fields}, and no event has a finish reason: {shown}"
    )


def token_count(value: Count, name: str) -> int | None:
    """A number of tokens that a server reports under `name`.

    Raises `Malformed` unless it is an integer from 0 to `MOST_TOKENS`, written as a number or as text.
    """
    if value is None or (type(value) is int and 0 <= value <= MOST_TOKENS):
        return value
    if isinstance(value, str):
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1
    else:
        number = int(value) if value == value // 1 else -1
    if not 0 <= number <= MOST_TOKENS:
        shown = repr(value)[:_LONGEST_SHOWN]
        raise Malformed(f"{name} is {shown}: expected an integer from 0 to {MOST_TOKENS}")
    return number


def tokens_of_events(totals: Sequence[Count], *, last: Count, final: int | None, name: str) -> list[int]:
    """Tokens of each content event, from the server's running total at each of them.

    `last` is the total at the last event of the answer, with or without content; `final` is the server's usage of
    the whole answer; `name` is what the server calls the totals. Tokens of an event without text (part of a
    character) are counted to the next event with text. Empty if these are not running totals: one is missing or
    decreases, the last is not `final`, or more than the end-of-sequence token came after the last content. Raises
    `Malformed` for a total that is not a count.
    """
    tokens: list[int] = []
    before = 0
    for count in totals:
        total = count if type(count) is int else token_count(count, name)
        if total is None or total < before:
            return []
        tokens.append(total - before)
        before = total
    if final is None or token_count(last, name) != final or final - before > 1:
        return []
    return tokens


def max_tokens(row: Mapping[str, Any]) -> int | None:
    """The row's own limit, None if it has none. Raises `UsageError` unless it is a positive integer."""
    limit = row.get("max_tokens")
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise UsageError(f"column max_tokens is {limit!r}: expected a positive integer, or no value")
    return limit


def mapping(parameters: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The parameter `name`, empty if it is missing or null. Raises `UsageError` unless it is a mapping."""
    value = parameters.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(
            f"generation.extra_body.{name} is {value!r}: expected a mapping, or null to leave it out"
        )
    return value
