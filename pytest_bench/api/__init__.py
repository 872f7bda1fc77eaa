"""How each API writes a request and reads a response: one module an API, pure.

An API turns a dataset row into the body of a request, and the bytes of a response into what was delivered. It does no
input or output and has no clock. `Api` is the contract; `BUILTIN` names the shipped APIs. A load worker imports the
one module that it needs, so a module of an API imports only msgspec and the standard library.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

import msgspec

from pytest_bench.errors import BenchError, UsageError
from pytest_bench.records import Usage

BUILTIN: dict[str, str] = {
    "openai-chat": "pytest_bench.api.openai_chat:OpenAIChat",
    "openai-completions": "pytest_bench.api.openai_completions:OpenAICompletions",
    "sglang": "pytest_bench.api.sglang:SGLang",
    "videos": "pytest_bench.api.videos:Videos",
}
"""Import references of the shipped APIs, by the names that suites use."""

MOST_TOKENS = 1 << 24
"""The highest number of tokens that a server may report for one request: more than any model's context holds.
A higher count, or a negative one, makes the response malformed."""

_NO_REASON = frozenset({"", "null", "none"})
_GAVE_UP = frozenset({"abort", "aborted", "cancelled", "canceled", "error", "timeout"})


class Malformed(BenchError):
    """A response that breaks the API's rules. It makes the request a failure of type `malformed`."""

    code = "malformed"


class Decoded(msgspec.Struct, kw_only=True, gc=False):
    """What one response delivered."""

    content: str = ""
    reasoning: str = ""
    tool_calls: str = ""
    event_count: int = 0
    """Number of events in the stream, without `[DONE]`."""
    content_events: Sequence[int] = []
    """Positions of the events that carried content, reasoning or a tool call. Empty if not streamed."""
    first_output_event: int | None = None
    """Position of the first of them that carried content or a tool call."""
    first_event_text: str = ""
    """All text of the first content event."""
    content_event_tokens: list[int] = []
    """Tokens of each content event if the server reports them for every one; else empty."""
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    """The error that the server reports in a response of status 200."""
    token_ids: list[int] = []
    """Ids of the output tokens if the server reports them; else empty."""
    server_time_s: float | None = None
    attachment: bytes | None = None
    """Binary output (a video)."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What the deployment asks of every request."""

    model: str
    stream: bool = True
    parameters: Mapping[str, Any] = {}
    """Fields of every request's body: `max_tokens`, `temperature`, and those of `extra_body`."""


class Chat(msgspec.Struct, frozen=True):
    """A conversation, before the server renders it with its template."""

    messages: Sequence[Mapping[str, Any]]


Prompt = str | Sequence[int] | Chat
"""The prompt of a row: text, token ids, or a chat."""


class Api(Protocol):
    """One way to ask a server for output.

    Class attributes describe it; `encode` writes one request; `decode_stream` and `decode_body` read one
    response. All are pure. A third party's API is a class of this shape, named by its import reference.
    """

    name: ClassVar[str]
    path: ClassVar[str]
    """Path of the request, relative to the endpoint."""
    streaming: ClassVar[bool]
    """Whether a request may ask for a stream."""
    columns: ClassVar[Mapping[str, str]]
    """Columns that this API reads from a dataset row, each with its meaning; `required` ones first."""
    required: ClassVar[frozenset[str]]
    """Columns of which a row must have at least one."""
    delta_key: ClassVar[bytes | None]
    """The JSON before the text of an event that only adds to the output, as in `"content":"`. Streams of such events
    are then decoded several times faster. None if events depend on each other."""

    polls: ClassVar[bool]
    """Whether an answer may be a job to ask for again, see `pending`."""
    video_seconds: ClassVar[float | None]
    """Length of a video if neither row nor parameters have `seconds`; None for an API that delivers no videos."""

    @staticmethod
    def encode(row: Mapping[str, Any], generation: Generation) -> bytes:
        """Return the JSON body of one request. Raises `UsageError` for a row that the API cannot express."""

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """Return the prompt of a row, for counting its tokens."""

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Read all events of one stream, given as one JSON array. Raises `Malformed`."""

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:
        """Read a response that was not streamed. Raises `Malformed`."""

    @staticmethod
    def pending(body: bytes) -> str | None:
        """Return the path to ask again, relative to the endpoint, if `body` is an unfinished job; else None.

        Only called if the API `polls`. Raises `Malformed`.
        """


def finish_reason(value: str | None) -> str | None:
    """Return `value`, or None if it is empty: null, `""`, `"null"` or `"none"`, which some servers write instead."""
    return None if value is None or value.strip().lower() in _NO_REASON else value


def gave_up(reason: str | None) -> bool:
    """Whether a finish reason says that the server gave the request up."""
    return reason is not None and reason.strip().lower() in _GAVE_UP


def later_reason(before: str | None, value: str | None) -> str | None:
    """The finish reason of a stream so far, after an event with `value`: the last one, but a server that gave the
    request up does not take that back."""
    return before if gave_up(before) else finish_reason(value) or before


def error_text(error: object) -> str:
    """An error object of a server as one line: its message, after its type or code if it has one."""
    while isinstance(error, Mapping) and isinstance(error.get("error"), Mapping | str) and error["error"]:
        error = error["error"]
    if not isinstance(error, Mapping):
        return _as_text(error)
    message = error.get("message")
    if message is None and isinstance(error.get("detail"), str):
        message = error["detail"]
    if message is None:
        return _as_text(error)
    label = error.get("type") or error.get("code")
    return f"{_as_text(label)}: {_as_text(message)}" if label else _as_text(message)


def _as_text(value: object) -> str:
    try:
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    except RecursionError:
        return "(an error that is nested too deeply to show)"


def import_api(name: str, reference: str) -> Api:
    """Import the API called `name` from `module:attribute`. Raises `UsageError` if that fails."""
    module, _, attribute = reference.partition(":")
    try:
        return cast("Api", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        raise UsageError(f"the API {name!r} cannot be imported from {reference!r}: {error}") from error
