"""The output of the simulator, its length and its times: deterministic in the prompt and the seed."""

from __future__ import annotations

import math
import random
import re
import zlib
from hashlib import shake_128

import msgspec

from pytest_bench.simulator.behaviour import Behaviour, Distribution

WORDS: tuple[str, ...] = tuple(
    f" {head}{vowel}{end}" for head in "bdfghjklmnprstvz" for vowel in "aeio" for end in "lnrs"
)
"""256 words, one for each value of a byte of a digest. One word is one token."""

EOS = "</s>"
EOS_ID = 2
DEFAULT_TOKENS = 16

_PIECE = re.compile(r"\s*\S+|\s+")


class Asked(msgspec.Struct, kw_only=True):
    """What a request for text asks for, in any API."""

    prompt: str
    last: str = ""
    """The last message of a conversation."""
    prompt_tokens: int
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    token_ids: bool = False
    stop: tuple[str, ...] = ()
    """Stop strings. Only answers from a file may hold them."""
    separate_reasoning: bool = False
    """Whether the API has a field for reasoning."""
    given: Output | None = None
    """The output that the file of answers gives, before it is cut to `max_tokens`."""


class Output(msgspec.Struct, kw_only=True):
    """The output, token by token."""

    pieces: list[str]
    reasoning_tokens: int = 0
    """Number of pieces at the beginning that are reasoning."""
    finish_reason: str = "stop"
    content_is_null: bool = False
    """Whether the content is null instead of an empty text."""


class Timing(msgspec.Struct, kw_only=True):
    """When the tokens of one request are generated, counted from the start of service."""

    first_ns: int
    gaps_ns: list[int] | int
    """Gaps between tokens: one for all, or one for each."""

    def due_ns(self, token: int) -> int:
        """When the token at this position is generated."""
        if isinstance(self.gaps_ns, int):
            return self.first_ns + token * self.gaps_ns
        return self.first_ns + sum(self.gaps_ns[:token])

    def schedule(self, events: int, tokens_per_event: int) -> list[int]:
        """When each event is due: with the last of its tokens."""
        if isinstance(self.gaps_ns, int):
            step = self.gaps_ns * tokens_per_event
            return [self.first_ns + event * step for event in range(events)]
        due = [self.first_ns]
        for event in range(1, events):
            due.append(due[-1] + sum(self.gaps_ns[(event - 1) * tokens_per_event : event * tokens_per_event]))
        return due[:events]


def token_id(piece: str) -> int:
    """A stable token id for a piece."""
    return EOS_ID if piece == EOS else 10 + zlib.crc32(piece.encode()) % 30_000


def pieces_of(text: str) -> list[str]:
    """Text as tokens: a word each, with the space before it."""
    return _PIECE.findall(text)


def produce(asked: Asked, behaviour: Behaviour, *, number: int, in_flight: int, empty: bool) -> Output:
    """Return the output of request `number`, with the cheats that apply to it."""
    cheats = frozenset(behaviour.cheat) if in_flight >= behaviour.cheat_in_flight else frozenset()
    given = None if cheats & {"different_output", "unstable_output"} else asked.given
    if given is not None:
        pieces, finish = given.pieces, given.finish_reason
        wanted = len(pieces) if asked.max_tokens is None else min(len(pieces), asked.max_tokens)
        finish = "length" if wanted < len(pieces) else finish
    else:
        wanted = _length(asked, behaviour, number)
        finish = "length" if wanted == asked.max_tokens else "stop"
        salt = "different" if "different_output" in cheats else ""
        pieces = _words(asked.prompt, f"{salt}{number}" if "unstable_output" in cheats else salt, wanted)
    if "short_output" in cheats:
        wanted, finish = max(1, wanted // 4), "stop"
    if empty or "empty_output" in cheats:
        wanted, finish = 0, "stop"
    thoughts = behaviour.reasoning_tokens if given is None else given.reasoning_tokens
    pieces = pieces[:wanted]
    if "first_eos" in cheats:
        pieces = [EOS, *pieces[: wanted - 1]]
    if "trailing_eos" in cheats:
        pieces = [*pieces, EOS, EOS, EOS]
    return Output(
        pieces=pieces,
        reasoning_tokens=min(thoughts, len(pieces)),
        finish_reason=finish,
        content_is_null=given is not None
        and (given.content_is_null or 0 < wanted <= thoughts < len(given.pieces)),
    )


def time_tokens(behaviour: Behaviour, tokens: int, *, number: int, speedup: float) -> Timing:
    """Return the times of the tokens of request `number`; an answer from the cache is `speedup` times faster."""
    scale = 1e6 / speedup
    if behaviour.ttft_distribution == behaviour.itl_distribution == "constant":
        return Timing(first_ns=round(behaviour.ttft_ms * scale), gaps_ns=round(behaviour.itl_ms * scale))
    source = _source(behaviour, number, 1)
    first = draw(source, behaviour.ttft_distribution, behaviour.ttft_ms, behaviour.spread)
    gaps = [
        round(draw(source, behaviour.itl_distribution, behaviour.itl_ms, behaviour.spread) * scale)
        for _ in range(tokens - 1)
    ]
    return Timing(first_ns=round(first * scale), gaps_ns=gaps)


def time_video_ns(behaviour: Behaviour, *, number: int, speedup: float) -> int:
    """Return how long one video takes, in nanoseconds."""
    source = _source(behaviour, number, 2)
    return round(
        draw(source, behaviour.video_distribution, behaviour.video_ms, behaviour.spread) * 1e6 / speedup
    )


def draw(source: random.Random, distribution: Distribution, mean: float, spread: float) -> float:
    """Draw a value with this mean and with `spread` as the knob of that name defines it. Never negative."""
    match distribution:
        case "constant":
            return mean
        case "uniform":
            return max(0.0, mean * (1 + spread * (2 * source.random() - 1)))
        case "exponential":
            return source.expovariate(1 / mean) if mean else 0.0
        case "lognormal":
            # For a mean m and a relative deviation c: sigma² = ln(1 + c²), mu = ln m - sigma² / 2.
            variance = math.log1p(spread**2)
            return source.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance)) if mean else 0.0


def _source(behaviour: Behaviour, number: int, purpose: int) -> random.Random:
    return random.Random(f"{behaviour.seed}/{number}/{purpose}")  # noqa: S311 # draws, not secrets


def _length(asked: Asked, behaviour: Behaviour, number: int) -> int:
    if behaviour.output_tokens is None:
        return DEFAULT_TOKENS if asked.max_tokens is None else asked.max_tokens
    source = _source(behaviour, number, 0)
    drawn = draw(source, behaviour.output_distribution, float(behaviour.output_tokens), behaviour.spread)
    length = max(min(1, behaviour.output_tokens), round(drawn))
    return length if asked.max_tokens is None else min(length, asked.max_tokens)


def _words(prompt: str, salt: str, count: int) -> list[str]:
    """Words chosen by an extendable digest: a longer answer to the same prompt continues the shorter one."""
    words = [WORDS[byte] for byte in shake_128(f"{salt}\0{prompt}".encode()).digest(count)]
    if words:
        words[0] = words[0].lstrip()
    return words
