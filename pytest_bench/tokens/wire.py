"""What the pool and its workers say to each other: MessagePack frames over the worker's two pipes.

A frame is a length, a job number, and one message; the answer to a task carries its job number. Texts that
lie in a log travel as a range of that file, not through the pipe.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Literal

import msgspec

BackendChoice = Literal["auto", "tokenizers", "fastokens"]
BackendName = Literal["tokenizers", "fastokens"]


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Load a tokenizer and prove its back end on the probe set and `prompts`. Answer: `Loaded`."""

    key: str
    """Names the tokenizer in later tasks."""
    file: str
    format: Literal["json", "tiktoken"]
    backend: BackendChoice
    prompts: tuple[str, ...]


class CountTexts(msgspec.Struct, frozen=True, kw_only=True, tag="texts"):
    """Count each text. Answer: `Counts`."""

    key: str
    texts: list[str]
    authority: bool = False
    """Count with `tokenizers`, whatever back end was chosen."""


class CountRange(msgspec.Struct, frozen=True, kw_only=True, tag="range"):
    """Count the text records in bytes `start … stop - 1` of a log, which are whole lines. Answer: `RangeCounts`."""

    key: str
    path: str
    start: int
    stop: int
    sample_share: float
    """Share of the records to name as samples for a recount, rounded up."""
    seed: int


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line of a log, and the counts of its texts as `TEXT_KINDS` orders them."""

    offset: int
    length: int
    counts: tuple[int | None, ...]


class Recount(msgspec.Struct, frozen=True, kw_only=True, tag="recount"):
    """Count sampled lines again with the authority. Answer: `Recounted`."""

    key: str
    path: str
    samples: list[Sample]


class Encode(msgspec.Struct, frozen=True, kw_only=True, tag="encode"):
    """Token ids of each text, without special tokens. Answer: `Ids`."""

    key: str
    texts: list[str]


class Decode(msgspec.Struct, frozen=True, kw_only=True, tag="decode"):
    """The text of token ids. Answer: `Text`."""

    key: str
    ids: list[int]


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag="loaded"):
    key: str
    backend: BackendName
    reason: str
    """Why this back end is used."""
    probes: int
    """Texts on which it was compared with the authority."""
    vocabulary: int
    note: str | None
    """Why the worker runs unpinned, where it was asked to pin itself and could not."""


class Counts(msgspec.Struct, frozen=True, kw_only=True, tag="counts"):
    counts: list[int | None]
    """None for a text that could not be counted."""
    failures: list[str]


class RangeCounts(msgspec.Struct, frozen=True, kw_only=True, tag="range_counts"):
    lines: bytes
    """Finished lines of the counts log, one a record."""
    written: int
    """Number of those lines."""
    counted: int
    """Records of which every text was counted."""
    tokens: int
    """Output tokens of those that were counted."""
    failures: list[str]
    samples: list[Sample]


class Recounted(msgspec.Struct, frozen=True, kw_only=True, tag="recounted"):
    texts: int
    disagreements: list[str]


class Ids(msgspec.Struct, frozen=True, kw_only=True, tag="ids"):
    ids: list[list[int]]


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    text: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The task could not be carried out; the worker lives on."""

    message: str


Task = Load | CountTexts | CountRange | Recount | Encode | Decode
Answer = Loaded | Counts | RangeCounts | Recounted | Ids | Text | Failed

_TASKS: msgspec.msgpack.Decoder[Task] = msgspec.msgpack.Decoder(Task)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)

_ENCODER = msgspec.msgpack.Encoder()
_HEAD = struct.Struct("<IQ")


class FrameBuffer:
    """Makes frames in one buffer that is used again and again: texts are large."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 20)

    def frame(self, job: int, message: Task | Answer) -> memoryview:
        """`message` as it travels, valid until the next call. Lone surrogates, which UTF-8 lacks, become U+FFFD."""
        try:
            _ENCODER.encode_into(message, self._buffer, _HEAD.size)
        except UnicodeEncodeError:
            _ENCODER.encode_into(_without_surrogates(message), self._buffer, _HEAD.size)
        _HEAD.pack_into(self._buffer, 0, len(self._buffer) - _HEAD.size, job)
        return memoryview(self._buffer)


def _without_surrogates(message: Task | Answer) -> Task | Answer:
    match message:
        case CountTexts() | Encode():
            return msgspec.structs.replace(message, texts=[*map(_replace_surrogates, message.texts)])
        case Load():
            return msgspec.structs.replace(message, prompts=tuple(map(_replace_surrogates, message.prompts)))
        case _:
            return message


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class TaskReader:
    """Reads tasks from a file descriptor, blocking. One buffer is used again and again: texts are large."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray(1 << 20)

    def __iter__(self) -> Iterator[tuple[int, Task]]:
        """Job numbers and tasks until the other end is closed, be it within a frame."""
        while (head := self._read(_HEAD.size)) is not None:
            length, job = _HEAD.unpack(head)
            body = self._read(length)
            if body is None:
                return
            yield job, _TASKS.decode(body)

    def _read(self, length: int) -> memoryview | None:
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        done = 0
        while done < length:
            count = os.readv(self._descriptor, [view[done:]])
            if count == 0:
                return None
            done += count
        return view


class AnswerFrames:
    """Cuts a stream of bytes, fed in any pieces, into job numbers and answers."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, Answer]]:
        """The answers that `data` completes. Must be exhausted before the next call."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD.size:
            length, job = _HEAD.unpack_from(buffer, start)
            body = start + _HEAD.size
            if len(buffer) - body < length:
                break
            yield job, _ANSWERS.decode(buffer[body : body + length])
            start = body + length
        del buffer[:start]
