"""What the session and the agents of a gang tell each other, over the standard streams of a Slurm step.

To the agents: one JSON text a line. From an agent: JSON texts, each in pieces, because srun mixes the outputs of
several tasks and splits long lines. Every piece is a line of its own that begins with the gang's token: what else is
written to the same output, by Slurm or by a site's task prolog, is not a message.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from pytest_bench.containers.artifacts import Artifact
from pytest_bench.containers.evidence import LogProof
from pytest_bench.errors import BenchError
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.plan import NodesPlan

_PIECE_BYTES = 512
_MORE, _LAST = b"+", b"."
_PIECE = re.compile(rb"([0-9]{1,4}) ([+.])(.*)", re.DOTALL)


class GangProtocolError(BenchError):
    """A line of an agent's output has the gang's token, and is not a piece of a message."""

    code = "gang-protocol"


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent is started for: the first line of its input."""

    token: str
    nonce: str
    """Of the session."""
    suite: str
    owner: str
    """Label of all containers of the gang."""
    folder: str
    """Of the deployment; each rank has a folder of its own in it."""
    nodes: NodesPlan
    containers: tuple[ContainerPlan, ...]
    """Of all ranks."""
    ready_timeout_s: float


class Meeting(msgspec.Struct, frozen=True, kw_only=True, tag="meeting"):
    """To the agents: where rank 0 listens."""

    address: str


Operation = Literal["how_it_ended", "settle_log", "story", "copy_artifacts", "note_proof"]


class Question(msgspec.Struct, frozen=True, kw_only=True, tag="question"):
    """To the agent of `rank`: call a method of the container `role`."""

    number: int
    rank: int
    role: str
    operation: Operation
    folder: str = ""
    """Where artifacts are copied to."""
    proof: LogProof | None = None
    """What `note_proof` notes."""


class Listening(msgspec.Struct, frozen=True, kw_only=True, tag="listening"):
    """From rank 0: it listens."""

    address: str


class Doing(msgspec.Struct, frozen=True, kw_only=True, tag="doing"):
    """What an agent does now."""

    rank: int
    host: str
    text: str


class Serving(msgspec.Struct, frozen=True, kw_only=True, tag="serving"):
    """The containers of all ranks are verified; those of this one by role: name and URL."""

    rank: int
    host: str
    containers: dict[str, tuple[str, str]]


class Ending(msgspec.Struct, frozen=True, kw_only=True, tag="ending"):
    """A rank has failed, or was stopped, and removes its containers."""

    rank: int


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """To a question."""

    number: int
    error: str | None = None
    text: str | None = None
    size_bytes: int = 0
    artifacts: tuple[Artifact, ...] = ()
    problems: tuple[str, ...] = ()


ToAgent = Meeting | Question
FromAgent = Listening | Doing | Serving | Ending | Answer


def line(message: Request | ToAgent) -> bytes:
    """A message to the agents."""
    return msgspec.json.encode(message) + b"\n"


def pieces(token: str, rank: int, message: FromAgent) -> bytes:
    """A message from the agent of `rank`, as lines."""
    data = msgspec.json.encode(message)
    parts = [data[start : start + _PIECE_BYTES] for start in range(0, len(data), _PIECE_BYTES)]
    marks = [_MORE] * (len(parts) - 1) + [_LAST]
    head = f"{token} {rank} ".encode()
    return b"".join(head + mark + part + b"\n" for mark, part in zip(marks, parts, strict=True))


class Assembler:
    """Puts the pieces of messages together again, of each rank by itself."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._parts: dict[bytes, bytes] = {}
        self._decode = msgspec.json.Decoder(FromAgent).decode

    def feed(self, line: bytes) -> FromAgent | None:
        """Return the message that a line completes; None if it completes none. Raises `GangProtocolError`."""
        token, _, piece = line.removesuffix(b"\n").partition(b" ")
        if token != self._token:
            return None
        found = _PIECE.fullmatch(piece)
        if found is None:
            raise GangProtocolError(f"an agent wrote what is not a piece of a message: {piece!r}")
        rank, mark, data = found.groups()
        whole = self._parts.pop(rank, b"") + data
        if mark == _MORE:
            self._parts[rank] = whole
            return None
        try:
            return self._decode(whole)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise GangProtocolError(
                f"an agent wrote what is not a message: {error}: {whole[:200]!r}"
            ) from error
