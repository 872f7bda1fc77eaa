"""The messages between the pool and its workers: MessagePack through the pipes of a worker's standard input and output.

A message carries the number of its job; the answer to a task carries the number of the task. A worker reads even while
it counts, so that sending does not wait for an answer. A large task lies in memory that the pool shares with the
worker, where the system has that: copying texts through a pipe would cost a tenth of counting them.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import struct
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import msgspec

from pytest_bench.errors import TokensError

BackendChoice = Literal["auto", "tokenizers", "fastokens"]
BackendName = Literal["tokenizers", "fastokens"]

_HEAD = struct.Struct("<QQq")
"""Job number, size of the message in bytes, and the slot that holds it; -1: it follows."""
_FOLLOWS = -1
_SLOTS = 4
"""Slots of the shared memory: at least as many as a worker has jobs."""
_SLOT_BYTES = 1 << 22
_LARGE_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20
"""Size of a pipe's buffer, where the system lets it be changed: a job of texts then takes few system calls."""


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Load a tokenizer and verify its back end on the probe set and on `texts`. Answer: `Loaded`."""

    key: str
    """Identifies the tokenizer in later tasks."""
    file: str
    format: Literal["json", "tiktoken"]
    backend: BackendChoice
    texts: list[str]
    """Prompts of the session."""


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
    """Share of the records to return as samples for a recount, rounded up."""
    least_samples: int = 0
    """Lower bound on the number of samples, if there are that many records."""


class Recount(msgspec.Struct, frozen=True, kw_only=True, tag="recount"):
    """Count texts again with the reference. Answer: `Recounted`."""

    key: str
    names: list[str]
    """The name of each text in error messages."""
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
    """Number of texts on which it was compared with the reference."""
    vocabulary: int
    note: str | None
    """Why the worker could not be pinned to its CPUs, if so."""


class Counts(msgspec.Struct, frozen=True, kw_only=True, tag="counts"):
    counts: list[int | None]
    """None for a text that could not be counted."""
    failures: list[str]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """The place of a line in a log, and the counts of its texts in the order of `TEXT_KINDS`."""

    offset: int
    length: int
    counts: tuple[int | None, ...]


class RangeCounts(msgspec.Struct, frozen=True, kw_only=True, tag="range_counts"):
    lines: bytes
    """Encoded lines of the counts log, one per record."""
    written: int
    """Number of those lines."""
    counted: int
    """Number of records of which every text was counted."""
    tokens: int
    """Sum of their output tokens."""
    failures: list[str]
    answered: list[int]
    """Indices of the samples that the records answer, each once."""
    samples: list[Sample]


class Recounted(msgspec.Struct, frozen=True, tag="recounted"):
    texts: int
    """Number of texts that were counted again."""
    disagreements: list[str]
    """A description of each text whose count differs: both counts, and the text."""


class Ids(msgspec.Struct, frozen=True, kw_only=True, tag="ids"):
    ids: list[list[int]]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The task failed; the worker continues."""

    message: str


Task = Load | CountTexts | CountRange | Recount | Encode
Answer = Loaded | Counts | RangeCounts | Recounted | Ids | Failed

TASKS: msgspec.msgpack.Decoder[Task] = msgspec.msgpack.Decoder(Task)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)

Out = TypeVar("Out", Task, Answer)
In = TypeVar("In", Task, Answer)


def shared_memory() -> int | None:
    """Make memory for the two channels of one worker. Returns its descriptor; None where the system has none.

    A container or `vm.memfd_noexec` may refuse it although the system has it.
    """
    if not hasattr(os, "memfd_create"):
        return None
    with contextlib.suppress(OSError):
        descriptor = os.memfd_create("pytest-bench-texts")
        os.truncate(descriptor, _SLOTS * _SLOT_BYTES)
        return descriptor
    return None


class Channel(Generic[Out, In]):
    """One end of the connection between the pool and a worker.

    Its two buffers are kept: texts are large, and new memory for each would cost as much as copying it.
    """

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        arriving: msgspec.msgpack.Decoder[In],
        *,
        memory: int | None = None,
        fills_memory: bool = False,
    ) -> None:
        """`incoming` and `outgoing` are descriptors of pipes; `arriving` is `TASKS` or `ANSWERS`.

        `memory` is a descriptor of `shared_memory`, and may be closed afterwards. The end that `fills_memory` puts
        large messages into it, and uses their slots again when their jobs are answered.
        """
        self._memory = None if memory is None else mmap.mmap(memory, _SLOTS * _SLOT_BYTES)
        self._free = list(range(_SLOTS)) if self._memory is not None and fills_memory else []
        self._filled: dict[int, int] = {}
        os.set_blocking(outgoing, False)  # False: non-blocking
        self._incoming = incoming
        self._outgoing = outgoing
        self._decode: Callable[[memoryview], In] = arriving.decode
        self._encoder = msgspec.msgpack.Encoder()
        self._sent = bytearray(_HEAD.size)
        self._received = bytearray(_HEAD.size)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # a user may have used up the memory for pipes
                fcntl.fcntl(outgoing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def send(self, job: int, message: Out, timeout_s: float = 0.0) -> None:
        """Send a message.

        Raises `OSError` if the other end is closed, or if it reads nothing for `timeout_s` (0: no limit).
        """
        data = self._sent
        try:
            self._encoder.encode_into(message, data, _HEAD.size)
        except UnicodeEncodeError:
            self._encoder.encode_into(_without_surrogates(message), data, _HEAD.size)
        size = len(data) - _HEAD.size
        slot = self._fill(job, data) if size >= _LARGE_BYTES else _FOLLOWS
        _HEAD.pack_into(data, 0, job, size, slot)
        writable = select.poll()
        writable.register(self._outgoing, select.POLLOUT)
        written = 0
        with memoryview(data) as everything, everything[: None if slot == _FOLLOWS else _HEAD.size] as whole:
            while written < len(whole):
                if not writable.poll(timeout_s * 1000 or None):
                    raise TimeoutError("the worker does not read")
                written += os.write(self._outgoing, whole[written:])

    def receive(self) -> tuple[int, In]:
        """Wait for a message and its job number. Raises `EOFError` if the other end is closed."""
        job, size, slot = _HEAD.unpack(self._read(_HEAD.size))
        if job in self._filled:
            self._free.append(self._filled.pop(job))
        if slot == _FOLLOWS or self._memory is None:
            return job, self._decode(self._read(size))
        with memoryview(self._memory) as memory, memory[slot * _SLOT_BYTES :][:size] as body:
            return job, self._decode(body)

    def _fill(self, job: int, data: bytearray) -> int:
        """Put a message into a free slot, and return it; `_FOLLOWS` if there is none, or if it is too small."""
        size = len(data) - _HEAD.size
        if self._memory is None or not self._free or size > _SLOT_BYTES:
            return _FOLLOWS
        slot = self._filled[job] = self._free.pop()
        with memoryview(data) as everything:
            self._memory[slot * _SLOT_BYTES : slot * _SLOT_BYTES + size] = everything[_HEAD.size :]
        return slot

    def _read(self, size: int) -> memoryview:
        """Read `size` bytes, which are valid until the next call."""
        if len(self._received) < size:
            self._received = bytearray(size)
        data = memoryview(self._received)[:size]
        read = 0
        while read < size:
            count = os.readv(self._incoming, [data[read:]])
            if not count:
                raise EOFError
            read += count
        return data


def _without_surrogates(message: Out) -> Out:
    """`message` with lone surrogates, which UTF-8 lacks, replaced by U+FFFD."""
    if not isinstance(message, Load | CountTexts | Recount | Encode):
        raise TokensError(f"a {type(message).__name__} message contains text that is not Unicode")
    texts = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in message.texts]
    return msgspec.structs.replace(message, texts=texts)
