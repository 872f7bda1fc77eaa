"""How one request is written and one response read, one module an API, pure.

An API turns a dataset row into a request body, and the bytes of a response into what was delivered.
It opens no socket and takes no time. `Api` is the contract; `BUILTIN` names the shipped ones. A load
worker imports the one module it needs, so an API module imports msgspec and the standard library only.
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
"""Import references of the shipped APIs, by the name suites use."""


class Malformed(BenchError):
    """A response that is not what the API promises. Makes the request a failure of type `malformed`."""

    code = "malformed"


class Decoded(msgspec.Struct, kw_only=True, gc=False):
    """What one response delivered."""

    content: str = ""
    reasoning: str = ""
    tool_calls: str = ""
    event_count: int = 0
    """Events of a stream, `[DONE]` left out."""
    content_events: Sequence[int] = []
    """Positions of the events that carried content, reasoning or a tool call. Empty unless streamed."""
    first_output_event: int | None = None
    """Position of the first of them that was not reasoning."""
    first_event_text: str = ""
    """Text of the first of them."""
    content_event_tokens: list[int] = []
    """Tokens of each content event, where the server says so for every one; else empty."""
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    """An error object that the server put into a response with status 200."""
    token_ids: list[int] = []
    """Ids of the output tokens, where the server gives them; else empty."""
    server_time_s: float | None = None
    attachment: bytes | None = None
    """Binary output (a video)."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What the deployment asks of every request."""

    model: str
    stream: bool = True
    parameters: Mapping[str, Any] = {}
    """Body fields that every request carries (max_tokens, temperature, extra_body merged in)."""


class Chat(msgspec.Struct, frozen=True):
    """A conversation, before the server renders it through its template."""

    messages: Sequence[Mapping[str, Any]]


Prompt = str | Sequence[int] | Chat
"""What a row asks: text, token ids, or a chat."""


class Api(Protocol):
    """One way to ask a server for output.

    Class attributes describe it; `encode` writes one request; `decode_stream` and `decode_body` read one
    response. All are pure. A third party's API is a class with this shape, named by its import reference.
    """

    name: ClassVar[str]
    path: ClassVar[str]
    """Path of the request below the endpoint."""
    streaming: ClassVar[bool]
    """Whether a request may ask for a stream."""
    columns: ClassVar[Mapping[str, str]]
    """Columns of a dataset row this API reads, each with what it means; `required` ones first."""
    required: ClassVar[frozenset[str]]
    """Columns of which a row must have at least one."""
    delta_key: ClassVar[bytes | None]
    """JSON in front of the text of an event that only adds to the output, as in `"content":"`; streams of
    such events are then read several times faster. None where events are not independent of each other."""

    polls: ClassVar[bool]
    """Whether an answer may be a job to ask for again, see `pending`."""
    video_seconds: ClassVar[float | None]
    """Length of a video where neither row nor parameters say `seconds`; None for an API that delivers no videos."""

    @staticmethod
    def encode(row: Mapping[str, Any], generation: Generation) -> bytes:
        """The JSON body of one request. Raises `UsageError` for a row it cannot express."""

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """What a row asks, for counting its tokens."""

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Read all events of one stream, handed over as one JSON array. Raises `Malformed`."""

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:
        """Read a response that was not streamed. Raises `Malformed`."""

    @staticmethod
    def pending(body: bytes) -> str | None:
        """Where to ask again, below the endpoint, while `body` is a job that runs yet; None for any other answer.

        Only asked of an API that `polls`. Raises `Malformed`.
        """


def import_api(name: str, reference: str) -> Api:
    """Import the API called `name` from `module:attribute`. Raises `UsageError` if that fails."""
    module, _, attribute = reference.partition(":")
    try:
        return cast("Api", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        raise UsageError(f"the API {name!r} cannot be imported from {reference!r}: {error}") from error
