"""Reads a checkpoint: verifies every line, and collects what the lines say."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from pytest_bench.checkpoints.line import CHECKPOINT_VERSION, HEADER_START, KEYED, Key, Line
from pytest_bench.checkpoints.resume import Generation
from pytest_bench.errors import EvidenceError
from pytest_bench.files import open_plain
from pytest_bench.lines import decode_line

_LONGEST = 256 << 20
"""Bytes of a line that is read whole."""

Tail = Literal["whole", "unterminated", "torn"]
"""How the file ends: with a whole line, one that lacks only its newline, or a part of one."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the first line."""

    log: Literal["checkpoint"] = "checkpoint"
    point: str
    generation: Generation


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a `session` line: one is written each time that the point is started or resumed."""

    nonce: str
    repeats: int
    """Repeats of each item that this session asks for: a later session may ask for more."""
    scoring: dict[str, str]
    """Digest of each scoring by its name."""
    started_ns: int
    """Nanoseconds since 1970."""


class Place(NamedTuple):
    """Where a line is in the file."""

    offset: int
    length: int


class Contents:
    """What a checkpoint holds. Payloads stay on disk; `place` finds them."""

    def __init__(self) -> None:
        self.header: Header | None = None
        """None for a file without a whole header line: a fresh one."""
        self.sessions: list[Session] = []
        self.results: dict[Key, Place] = {}
        """Requests that are done."""
        self.errors: dict[Key, int] = {}
        """Requests that failed and are not done, and how often each failed."""
        self.attempts: dict[Key, int] = {}
        """Lines of each request, over all sessions."""
        self.scores: dict[Key, dict[str, Place]] = {}
        """Newest score of each request by the scoring's digest."""
        self.ended = False
        """Whether the newest session finished."""
        self.lines = 0
        self.good_bytes = 0
        """Length of the file up to the last whole line."""
        self.tail: Tail = "whole"

    def add(self, line: Line, place: Place) -> str | None:
        """Add the next line. Returns what is wrong with it, or None."""
        problem = self._problem(line)
        if problem is None:
            problem = self._take(line, place)
        if problem is None:
            self.lines += 1
            self.good_bytes = place.offset + place.length
        return problem

    def _problem(self, line: Line) -> str | None:
        if line.v != CHECKPOINT_VERSION:
            return f"version {line.v}; expected {CHECKPOINT_VERSION}"
        if line.seq != self.lines:
            return f"sequence {line.seq}; expected {self.lines}"
        if (line.kind == "header") != (self.lines == 0):
            return f"a {line.kind!r} line; expected {'the header' if self.lines == 0 else 'one header only'}"
        if (line.key is not None) != (line.kind in KEYED):
            return f"a {line.kind!r} line {'without' if line.key is None else 'with'} a key"
        if self.ended and line.kind != "session":
            return f"a {line.kind!r} line after the end; expected a new session"
        if not self.sessions and line.kind not in {"header", "session"}:
            return f"a {line.kind!r} line before the first session"
        if line.key is not None and line.kind != "score" and line.key in self.results:
            return f"a second outcome of {line.key}, which is done"
        if line.kind == "score" and line.key not in self.results:
            return f"a score of {line.key}, which has no result"
        return None

    def _take(self, line: Line, place: Place) -> str | None:
        try:
            if line.kind == "header":
                self.header = msgspec.json.decode(line.payload, type=Header)
            elif line.kind == "session":
                self.sessions.append(msgspec.json.decode(line.payload, type=Session))
                self.ended = False
            elif line.kind == "score" and line.key is not None:
                named = msgspec.json.decode(line.payload, type=_ScoreName)
                self.scores.setdefault(line.key, {})[named.scoring] = place
            elif line.kind == "end":
                results = msgspec.json.decode(line.payload, type=End).results
                if results != len(self.results):
                    return f"an end after {results} results; the file holds {len(self.results)}"
                self.ended = True
            elif line.key is not None:
                self._outcome(line.key, place, done=line.kind == "result")
        except msgspec.MsgspecError as error:
            return f"a {line.kind!r} line with an invalid payload: {error}"
        return None

    def _outcome(self, key: Key, place: Place, *, done: bool) -> None:
        self.attempts[key] = self.attempts.get(key, 0) + 1
        if done:
            self.results[key] = place
            self.errors.pop(key, None)
        else:
            self.errors[key] = self.errors.get(key, 0) + 1


class End(msgspec.Struct, frozen=True):
    """Payload of the `end` line."""

    results: int


class _ScoreName(msgspec.Struct, frozen=True):
    scoring: str


def read_checkpoint(path: Path) -> Contents:
    """Read a checkpoint without locking it: for reports, and for looking at one that is being written.

    Raises `EvidenceError` with the byte offset for damage before the last line. A torn last line, which a killed
    writer leaves, is described by `tail`.
    """
    try:
        with open_plain(path) as stream:
            return read_stream(stream, path)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_payloads(path: Path, places: list[Place]) -> Iterator[bytes]:
    """The payload of each line in `places`, in that order."""
    decoder = msgspec.json.Decoder(Line)
    with open_plain(path) as stream:
        for place in places:
            stream.seek(place.offset)
            yield bytes(decoder.decode(decode_line(stream.read(place.length))).payload)


def read_lines(path: Path) -> Iterator[Line]:
    """Every whole line of a checkpoint that `read_checkpoint` accepted, with its payload."""
    decode = msgspec.json.Decoder(Line).decode
    with open_plain(path) as stream:
        while (data := stream.readline(_LONGEST)).endswith(b"\n"):
            yield decode(decode_line(data))


def read_stream(stream: BufferedReader, path: Path, known: Contents | None = None) -> Contents:
    """As `read_checkpoint`, from an open file at its beginning; or at `known.good_bytes`, to add what follows to
    `known`."""
    contents = known or Contents()
    contents.tail = "whole"
    decode = msgspec.json.Decoder(Line).decode
    offset = contents.good_bytes
    while data := stream.readline(_LONGEST):
        if not data.endswith(b"\n"):
            _classify_tail(contents, data, path, offset)
            return contents
        try:
            problem = contents.add(decode(decode_line(data)), Place(offset, len(data)))
        except (EvidenceError, msgspec.MsgspecError) as error:
            raise _damage(path, offset, str(error)) from error
        if problem is not None:
            raise _damage(path, offset, problem)
        offset += len(data)
    return contents


def _classify_tail(contents: Contents, data: bytes, path: Path, offset: int) -> None:
    """Decide whether a last line without newline lacks only that, or more."""
    if len(data) == _LONGEST:
        raise _damage(path, offset, f"a line longer than {_LONGEST} bytes")
    try:
        line = msgspec.json.decode(decode_line(data + b"\n"), type=Line)
    except (EvidenceError, msgspec.MsgspecError):
        if offset == 0 and data.strip(b"\0") and not _may_become_header(data):
            raise _damage(path, 0, "this is not a checkpoint") from None
        contents.tail = "torn"
        return
    problem = contents.add(line, Place(offset, len(data)))
    if problem is not None:
        raise _damage(path, offset, problem)
    contents.tail = "unterminated"


def _may_become_header(data: bytes) -> bool:
    return data[: len(HEADER_START)] == HEADER_START[: len(data)]


def _damage(path: Path, offset: int, what: str) -> EvidenceError:
    return EvidenceError(
        f"{path}: byte {offset}: {what}: the checkpoint is damaged and cannot be resumed; restore it from a copy, "
        "or start the point anew in another results folder"
    )
