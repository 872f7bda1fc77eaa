"""The reply to each request: one entry for every path that returns output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec

from pytest_bench.simulator import openai, sglang, videos
from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.output import Asked, Output, Timing, produce, time_tokens, time_video_ns
from pytest_bench.simulator.script import Body, Reply

T = TypeVar("T")


class Refused(Exception):
    """The request is refused with this reply."""

    def __init__(self, reply: Body) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Circumstances(msgspec.Struct, kw_only=True, frozen=True):
    """What a reply depends on besides the request."""

    behaviour: Behaviour
    number: int
    in_flight: int
    """Requests in flight when it arrived, including itself."""
    empty: bool
    """Whether the request has the fault `empty`."""
    cached: bool

    @property
    def speedup(self) -> float:
        return self.behaviour.cached_speedup if self.cached else 1.0

    def say(self, asked: Asked) -> tuple[Output, Timing]:
        """Return the output and the times of its tokens."""
        output = produce(
            asked,
            self.behaviour,
            number=self.number,
            in_flight=self.in_flight,
            empty=self.empty,
        )
        return output, time_tokens(
            self.behaviour, len(output.pieces), number=self.number, speedup=self.speedup
        )


Replier = Callable[[Circumstances], Reply]
"""Makes the reply to a valid request when it is served."""


class Order(NamedTuple):
    """A valid request."""

    reply: Replier
    asked: Asked | None = None
    """None if it does not ask for text."""


def _openai(shape: openai.Shape, asked: Asked, circumstances: Circumstances) -> Reply:
    write = openai.stream if asked.stream else openai.body
    output, timing = circumstances.say(asked)
    return write(
        shape,
        asked,
        output,
        circumstances.behaviour,
        timing,
        number=circumstances.number,
        cached=circumstances.cached,
    )


def _chat(body: bytes, model: str) -> Order:
    request = _decode(_CHAT, body)
    _check_model(request.model, model)
    asked = _ask(request)
    return Order(partial(_openai, openai.CHAT, asked), asked)


def _completion(body: bytes, model: str) -> Order:
    request = _decode(_COMPLETION, body)
    _check_model(request.model, model)
    asked = _ask(request)
    return Order(partial(_openai, openai.COMPLETION, asked), asked)


def _generate(body: bytes, model: str) -> Order:  # noqa: ARG001 # /generate names no model
    asked = _ask(_decode(_GENERATE, body))

    def reply(circumstances: Circumstances) -> Reply:
        output, timing = circumstances.say(asked)
        number, cached = circumstances.number, circumstances.cached
        if asked.stream:
            return sglang.stream(asked, output, circumstances.behaviour, timing, number=number, cached=cached)
        return sglang.body(asked, output, timing, number=number, cached=cached)

    return Order(reply, asked)


def read_video(body: bytes, model: str) -> videos.VideoRequest:
    """Read a request for a video. Raises `Refused`."""
    request = _decode(_VIDEO, body)
    if request.model is not None:
        _check_model(request.model, model)
    return request


def make_video(request: videos.VideoRequest, circumstances: Circumstances) -> tuple[bytes, int]:
    """Return the bytes of the video and how long it takes, in nanoseconds."""
    behaviour = circumstances.behaviour
    cheats = behaviour.cheat if circumstances.in_flight >= behaviour.cheat_in_flight else ()
    salt = "different" if "different_output" in cheats else ""
    data = videos.video(
        request, behaviour, salt=f"{salt}{circumstances.number}" if "unstable_output" in cheats else salt
    )
    if circumstances.empty or "empty_output" in cheats:
        data = b""
    return data, time_video_ns(behaviour, number=circumstances.number, speedup=circumstances.speedup)


def _video(body: bytes, model: str) -> Order:
    request = read_video(body, model)

    def reply(circumstances: Circumstances) -> Reply:
        data, took_ns = make_video(request, circumstances)
        return videos.answer(request, data, circumstances.behaviour, took_ns=took_ns)

    return Order(reply)


VIDEOS = "/v1/videos/generations"

PATHS: Mapping[str, Callable[[bytes, str], Order]] = MappingProxyType(
    {
        "/v1/chat/completions": _chat,
        "/v1/completions": _completion,
        "/generate": _generate,
        VIDEOS: _video,
    }
)
"""By path: the function that reads the body of a request, given the name of the served model. Raises `Refused`."""

_CHAT = msgspec.json.Decoder(openai.ChatRequest)
_COMPLETION = msgspec.json.Decoder(openai.CompletionRequest)
_GENERATE = msgspec.json.Decoder(sglang.GenerateRequest)
_VIDEO = msgspec.json.Decoder(videos.VideoRequest)


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(error) from error


def _ask(request: openai.ChatRequest | openai.CompletionRequest | sglang.GenerateRequest) -> Asked:
    try:
        return request.read()
    except ValueError as error:
        raise _invalid(error) from error


def _invalid(error: Exception) -> Refused:
    return Refused(openai.error(400, str(error), "invalid_request_error"))


def _check_model(wanted: str, served: str) -> None:
    if wanted != served:
        message = f"The model {wanted!r} does not exist: this server has {served!r}"
        raise Refused(openai.error(404, message, "invalid_request_error", "model_not_found"))
