"""What the pool and its workers say to each other: MessagePack frames over the worker's two pipes.

A frame is a length, a job number, a slot, and one message, which lies in that slot of the worker's mailbox or
follows (slot -1). The answer to a task carries its job number. Texts that lie in a log travel as a range of
that file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Literal

import msgspec

from pytest_bench.tokens.mailbox import Mailbox, slot_view

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


class CountRange(msgspec.Struct, frozen=True, kw_only=True, tag="range"):
    """Count the text records in bytes `start … stop - 1` of a log, which are whole lines. Answer: `RangeCounts`."""

    key: str
    path: str
    start: int
    stop: int
    sample_share: float
    """Share of the records to name as samples for a recount, rounded up."""
    least_samples: int = 0
    """How many to name all the same, where there are so many."""
    seed: int
    counted: dict[str, int] = {}
    """Texts that have been counted already, with their tokens."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line of a log, and the counts of its texts as `TEXT_KINDS` orders them."""

    offset: int
    length: int
    counts: tuple[int | None, ...]


class RecountLines(msgspec.Struct, frozen=True, kw_only=True, tag="recount_lines"):
    """Count sampled lines of a log again with the authority. Answer: `Recounted`."""

    key: str
    path: str
    samples: list[Sample]


class RecountTexts(msgspec.Struct, frozen=True, kw_only=True, tag="recount_texts"):
    """Count texts again with the authority. Answer: `Recounted`."""

    key: str
    names: list[str]
    """What to call each text in a complaint."""
    texts: list[str]
    counts: list[int]


class Encode(msgspec.Struct, frozen=True, kw_only=True, tag="encode"):
    """Token ids of each text, without special tokens. Answer: `Ids`."""

    key: str
    texts: list[str]


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
    answered: list[int]
    """Indices of the dataset's samples that the records answer, each once."""
    samples: list[Sample]


class Recounted(msgspec.Struct, frozen=True, tag="recounted"):
    texts: int
    """How many were counted again."""
    disagreements: list[str]
    """For each that has another count: both, and the text."""


class Ids(msgspec.Struct, frozen=True, kw_only=True, tag="ids"):
    ids: list[list[int]]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The task could not be carried out; the worker lives on."""

    message: str


Task = Load | CountTexts | CountRange | RecountLines | RecountTexts | Encode
Answer = Loaded | Counts | RangeCounts | Recounted | Ids | Failed

_TASKS: msgspec.msgpack.Decoder[Task] = msgspec.msgpack.Decoder(Task)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)

_ENCODER = msgspec.msgpack.Encoder()
_HEAD = struct.Struct("<IQi")
_FOLLOWS = -1


class TaskWriter:
    """Makes frames of tasks. One buffer is used again and again: texts are large."""

    def __init__(self, mailbox: Mailbox | None) -> None:
        self._mailbox = mailbox
        self._buffer = bytearray()

    def frame(self, job: int, task: Task) -> bytes:
        """What has to go through the pipe for `task`. Lone surrogates, which UTF-8 lacks, become U+FFFD."""
        try:
            _ENCODER.encode_into(task, self._buffer)
        except UnicodeEncodeError:
            _ENCODER.encode_into(_without_surrogates(task), self._buffer)
        slot = None if self._mailbox is None else self._mailbox.put(job, self._buffer)
        if slot is not None:
            return _HEAD.pack(len(self._buffer), job, slot)
        return _HEAD.pack(len(self._buffer), job, _FOLLOWS) + self._buffer


def frame_answer(job: int, answer: Answer) -> bytes:
    """`answer` as it travels."""
    body = _ENCODER.encode(answer)
    return _HEAD.pack(len(body), job, _FOLLOWS) + body


def _without_surrogates(task: Task) -> Task:
    match task:
        case CountTexts() | RecountTexts() | Encode():
            return msgspec.structs.replace(task, texts=[*map(_replace_surrogates, task.texts)])
        case Load():
            return msgspec.structs.replace(task, prompts=tuple(map(_replace_surrogates, task.prompts)))
        case _:
            return task


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class TaskReader:
    """Reads tasks from a file descriptor, blocking, and from `mailbox`."""

    def __init__(self, descriptor: int, mailbox: memoryview | None) -> None:
        self._descriptor = descriptor
        self._mailbox = mailbox
        self._buffer = bytearray(1 << 20)

    def __iter__(self) -> Iterator[tuple[int, Task]]:
        """Job numbers and tasks until the other end is closed, be it within a frame."""
        while (head := self._read(_HEAD.size)) is not None:
            length, job, slot = _HEAD.unpack(head)
            if slot != _FOLLOWS and self._mailbox is not None:
                body: memoryview | None = slot_view(self._mailbox, slot, length)
            else:
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
            length, job, _ = _HEAD.unpack_from(buffer, start)
            body = start + _HEAD.size
            if len(buffer) - body < length:
                break
            yield job, _ANSWERS.decode(buffer[body : body + length])
            start = body + length
        del buffer[:start]
