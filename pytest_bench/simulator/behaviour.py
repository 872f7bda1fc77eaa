"""The behaviour of the simulator: every knob with its meaning, default and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pytest_bench.errors import UsageError
from pytest_bench.wording import did_you_mean, one_of

Distribution = Literal["constant", "uniform", "exponential", "lognormal"]
Cheat = Literal[
    "different_output", "unstable_output", "trailing_eos", "first_eos", "short_output", "empty_output"
]

FAULTS: dict[str, str] = {
    "refuse": "the connection is closed before any response byte",
    "reset": "the connection is reset (RST) in the middle of the response",
    "stall": "no more bytes after the middle of the response",
    "truncated": "the stream ends cleanly with neither a finish reason nor [DONE]; a body is cut in half",
    "malformed": "one event, or the body, is not JSON",
    "stream_error": "an error object inside a response with status 200",
    "error_event": "an event of type `error` inside a stream, or an object with `detail`, with status 200",
    "error_field": "a line `error: {...}` inside a stream, or an error object, with status 200",
    "unseparated": "events without blank lines between them; a body is cut in half",
    "http_429": "429 with Retry-After",
    "http_500": "500 with Retry-After",
    "http_503": "503 with Retry-After",
    "redirect": "307 to the same path",
    "content_length": "a body shorter than the announced Content-Length, then the connection is closed",
    "empty": "a well-formed answer without output",
}
"""Faults, of which a request has at most one. All but `empty` make it fail."""

FRAMINGS: dict[str, str] = {
    "crlf": "lines of the stream end in CRLF",
    "comments": "comments and event, id and retry fields between and inside events",
    "multiline": "an event's JSON spread over two data lines",
    "compact": "no space after `data:`",
    "keep_alives": "events with empty or null data before every event",
    "untyped": "a stream without Content-Type",
    "split": "every write is split into two packets, 1 ms apart",
    "drip": "bytes come one by one, `drip_ms` apart",
}
"""Unusual framings of valid answers, which never fail. They are drawn independently, and may be combined."""

CHEATS: dict[str, str] = {
    "different_output": "other text than an honest answer to the same prompt",
    "unstable_output": "other text at every request, though the prompt is the same",
    "trailing_eos": "three end-of-sequence tokens too many",
    "first_eos": "the output begins with an end-of-sequence token",
    "short_output": "a quarter of the output that was asked for",
    "empty_output": "no output at all",
}

PER_SERVER = frozenset(
    {"model", "max_concurrency", "answers", "api_key_env", "no_health", "no_models", "reported_version"}
)
"""Knobs of the whole server, which a request cannot set by header."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The knobs of the simulator. Raises `UsageError` for a value outside its limits."""

    model: Annotated[str, Meta(description="name of the served model; any other is answered with 404")] = (
        "simulated"
    )
    seed: Annotated[int, Meta(description="seed of every draw")] = 0

    ttft_ms: Annotated[float, Meta(description="mean time from the request to its first token")] = 10.0
    ttft_distribution: Annotated[Distribution, Meta(description="how times to first token vary")] = "constant"
    itl_ms: Annotated[float, Meta(description="mean time between two tokens")] = 1.0
    itl_distribution: Annotated[Distribution, Meta(description="how times between tokens vary")] = "constant"
    video_ms: Annotated[float, Meta(description="mean time to make one video")] = 100.0
    video_distribution: Annotated[Distribution, Meta(description="how times of videos vary")] = "constant"
    output_tokens: Annotated[
        int | None, Meta(description="mean output length, never past max_tokens; unset: max_tokens, or 16")
    ] = None
    output_distribution: Annotated[Distribution, Meta(description="how output lengths vary")] = "constant"
    spread: Annotated[
        float,
        Meta(description="uniform: half width, lognormal: standard deviation, both relative to the mean"),
    ] = 0.5

    tokens_per_event: Annotated[int, Meta(description="tokens in one event; they arrive together")] = 1
    coalesce: Annotated[int, Meta(description="content events in one write, sent when the last is due")] = 1
    role_first: Annotated[bool, Meta(description="chat streams open with a chunk that has a role only")] = (
        True
    )
    reasoning_tokens: Annotated[int, Meta(description="the first so many chat tokens are reasoning")] = 0
    reasoning_field: Annotated[
        Literal["reasoning_content", "reasoning"], Meta(description="the delta's field that holds reasoning")
    ] = "reasoning_content"
    usage: Annotated[
        Literal["as_asked", "never", "final", "every_chunk"],
        Meta(description="when streams report usage; as_asked follows stream_options"),
    ] = "as_asked"
    incremental: Annotated[bool, Meta(description="/generate streams deltas, not the text so far")] = False
    keepalive_ms: Annotated[
        float, Meta(description="a comment this often until the first token; 0: none")
    ] = 0.0

    max_concurrency: Annotated[
        int, Meta(description="requests served at once, the rest wait in order; 0: all")
    ] = 0
    cache_after: Annotated[
        int,
        Meta(
            description="identical requests are answered from a cache from this one on (2: the second); 0: never"
        ),
    ] = 0
    cached_speedup: Annotated[
        float, Meta(description="how many times faster an answer from the cache is")
    ] = 10.0
    answers: Annotated[
        str | None,
        Meta(description="JSON lines with an answer for each prompt; any other is refused with 422"),
    ] = None

    video_reply: Annotated[
        Literal["as_asked", "raw", "job"],
        Meta(description="videos as the request's response_format says, as raw MP4, or as a job to poll"),
    ] = "as_asked"
    video_bytes: Annotated[int, Meta(description="size of a video")] = 4096

    fault: Annotated[
        dict[str, float], Meta(description="probability of each fault or odd framing, by name")
    ] = {}
    fault_after: Annotated[
        int, Meta(description="content events that precede a fault in the middle of a stream")
    ] = 2
    retry_after_s: Annotated[int, Meta(description="value of Retry-After")] = 1
    drip_ms: Annotated[float, Meta(description="time between two bytes under `drip`")] = 0.2
    cheat: Annotated[tuple[Cheat, ...], Meta(description="ways to cheat that an audit should find")] = ()
    cheat_in_flight: Annotated[
        int, Meta(description="cheat only with at least so many requests in flight: performance mode")
    ] = 1

    api_key_env: Annotated[
        str | None, Meta(description="environment variable with the key that requests must bear")
    ] = None
    no_health: Annotated[bool, Meta(description="/health answers 404")] = False
    no_models: Annotated[bool, Meta(description="/v1/models answers 500")] = False
    reported_version: Annotated[
        str | None, Meta(description="what /version says; unset: the package's own")
    ] = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and name != "seed" and not 0 <= value < math.inf:
                raise UsageError(f"simulator: {name} is {value}: expected a finite number, 0 or more")
        for name in ("tokens_per_event", "coalesce", "cheat_in_flight"):
            if getattr(self, name) < 1:
                raise UsageError(f"simulator: {name} is {getattr(self, name)}: expected 1 or more")
        if self.cached_speedup == 0:
            raise UsageError("simulator: cached_speedup is 0: expected a factor above 0")
        if self.cache_after == 1:
            raise UsageError(
                "simulator: cache_after is 1: a first request cannot be cached; expected 2 or more, or 0"
            )
        _check_faults(self.fault)
        for cheat in self.cheat:
            if cheat not in CHEATS:
                raise UsageError(f"simulator: unknown cheat {cheat!r}{_nearest(cheat, CHEATS)}")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, text: bool = False) -> Behaviour:
        """Read knobs as YAML gives them; with `text`, as command lines and headers do, where all values are strings.

        Raises `UsageError` naming the knob, and the nearest known one if it is unknown.
        """
        for name in mapping:
            if name not in cls.__struct_fields__:
                raise UsageError(
                    f"simulator: unknown knob {name!r}{_nearest(str(name), cls.__struct_fields__)}"
                )
        try:
            return msgspec.convert(mapping, cls, strict=not text)
        except msgspec.ValidationError as error:
            raise UsageError(f"simulator: {error}".replace("`$.", "`")) from error

    def for_request(self, headers: Mapping[str, str]) -> Behaviour:
        """Return this behaviour with the `x-sim-…` headers of a request applied (names in lower case).

        Raises `UsageError` for an unknown knob and for one of the whole server.
        """
        given = {
            name[6:].replace("-", "_"): value for name, value in headers.items() if name.startswith("x-sim-")
        }
        if not given:
            return self
        for name in given:
            if name in PER_SERVER:
                raise UsageError(f"simulator: {name} belongs to the whole server: no request can set it")
        mapping: dict[str, Any] = {**msgspec.structs.asdict(self), **given}
        if "fault" in given:
            mapping["fault"] = parse_faults(given["fault"].split(","))
        if "cheat" in given:
            mapping["cheat"] = [name.strip() for name in given["cheat"].split(",") if name.strip()]
        return Behaviour.from_mapping(mapping, text=True)


def parse_faults(words: list[str]) -> dict[str, float]:
    """Parse faults such as `reset=0.1`; a name alone means always. Raises `UsageError`."""
    faults: dict[str, float] = {}
    for word in words:
        name, _, probability = word.strip().partition("=")
        try:
            faults[name] = float(probability or 1)
        except ValueError as error:
            raise UsageError(
                f"simulator: fault {word!r}: expected NAME=PROBABILITY, as in reset=0.1"
            ) from error
    return faults


def _check_faults(faults: Mapping[str, float]) -> None:
    for name, probability in faults.items():
        if name not in FAULTS and name not in FRAMINGS:
            raise UsageError(f"simulator: unknown fault {name!r}{_nearest(name, [*FAULTS, *FRAMINGS])}")
        if not 0 <= probability <= 1:
            raise UsageError(f"simulator: fault {name} has probability {probability}: expected 0 to 1")
    total = sum(probability for name, probability in faults.items() if name in FAULTS)
    if total > 1 + 1e-9:
        raise UsageError(
            f"simulator: probabilities of faults add up to {total:g}: at most one strikes a request"
        )


def _nearest(word: str, known: Mapping[str, str] | list[str] | tuple[str, ...]) -> str:
    return did_you_mean(word, known) or f"; known: {one_of(sorted(known))}"
