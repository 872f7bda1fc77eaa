"""The messages of a rendezvous, as bytes: a length of four bytes, then JSON.

A peer that sends anything else is not one of ours: `Decoder.feed` raises, and the connection is dropped.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from pytest_bench.errors import BenchError

PROTOCOL_VERSION = 1
MOST_RANKS = 4096
LARGEST_FRAME_BYTES = 64 << 10

_LENGTH_BYTES = 4

Rank = Annotated[int, msgspec.Meta(ge=0, lt=MOST_RANKS)]
Size = Annotated[int, msgspec.Meta(ge=1, le=MOST_RANKS)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class ProtocolError(BenchError):
    """A peer sent something that is not a frame."""

    code = "protocol"


class _Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Challenge(_Frame, frozen=True, tag="challenge"):
    """First frame of rank 0: whose server this is, and the nonce to answer."""

    version: int
    job: Text
    host: Name
    nonce: Name


class Hello(_Frame, frozen=True, tag="hello"):
    """The answer of another rank."""

    rank: Rank
    size: Size
    host: Name
    nonce: Name
    proof: Name


class Welcome(_Frame, frozen=True, tag="welcome"):
    """Rank 0 accepts, and proves that it knows the secret, too."""

    proof: Name


class Phase(_Frame, frozen=True, tag="phase"):
    """What a rank is doing now."""

    rank: Rank
    text: Text


class Ready(_Frame, frozen=True, tag="ready"):
    """A rank waits at a barrier."""

    name: Name
    timeout_s: Annotated[float, msgspec.Meta(gt=0)]
    payload: Text | None = None


class Go(_Frame, frozen=True, tag="go"):
    """Every rank waits at the barrier, so all continue."""

    name: Name
    payload: Text | None = None
    """Of the lowest rank that gave one."""


class Abort(_Frame, frozen=True, tag="abort"):
    """The first failure of any rank, which ends the rendezvous for all."""

    rank: Rank | None
    """None: no single rank failed; the time for a barrier is over."""
    host: Text
    phase: Text
    reason: Text


class Ping(_Frame, frozen=True, tag="ping"):
    """The sender lives."""


class Leave(_Frame, frozen=True, tag="leave"):
    """The sender is done, and its end is not a failure."""


Frame = Challenge | Hello | Welcome | Phase | Ready | Go | Abort | Ping | Leave


def encode(frame: Frame) -> bytes:
    data = msgspec.json.encode(frame)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


class Decoder:
    """Turns received bytes into frames, however they are split."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decode = msgspec.json.Decoder(Frame).decode

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Raises `ProtocolError`."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if not 0 < length <= LARGEST_FRAME_BYTES:
                raise ProtocolError(f"a frame of {length} bytes: expected 1 to {LARGEST_FRAME_BYTES}")
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            try:
                frames.append(self._decode(bytes(self._buffer[_LENGTH_BYTES:end])))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise ProtocolError(f"not a frame: {error}") from error
            del self._buffer[:end]
        return frames
