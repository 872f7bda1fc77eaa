"""The counts log, `tokens.jsonl`: what was counted, by request and by sample.

Between header and end, each line is an output (one request: the tokens of each kind of text it delivered)
or an input (one sample). A count of null could not be made: it is pending. The end line repeats the outcome.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.lines import LineReader, end_line, header_line, read_end

COUNTS_LOG = "tokens.jsonl"
COUNTS_VERSION = 1

SERVER = "server"
"""Back end of a counts log whose inputs the server counted."""

Outcome = Literal["complete", "timeout", "failed", "interrupted"]

TEXT_KINDS = ("content", "reasoning", "tool_calls", "first_event")
"""Order of the counts of one record: the kinds of output, and the text of its first content event."""


class OutputTokens(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one request's output. None: not counted."""

    request_id: str
    sample_index: int
    content: int | None
    reasoning: int | None
    tool_calls: int | None
    first_event: int | None
    """Tokens of the first content event, which are part of the others: time per output token leaves them out."""

    @property
    def total(self) -> int | None:
        """Output tokens of all kinds; None where any kind was not counted."""
        if self.content is None or self.reasoning is None or self.tool_calls is None:
            return None
        return self.content + self.reasoning + self.tool_calls


class InputTokens(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one sample as it was sent. None: not counted."""

    sample_index: int
    input: int | None


Line = TypeVar("Line", OutputTokens, InputTokens)

_INPUT = b'{"sample_index"'


class CountsWriter:
    """Writes a counts log, as a context manager. What was added is with the system when `add` returns."""

    def __init__(self, path: Path, backend: str, tokenizer: str, name: str, *, template: bool = True) -> None:
        """Begin the log at `path`. `tokenizer` is its digest, `name` what the user calls it.

        `template` is false if chat inputs are counted without the model's chat template. Raises `EvidenceError` if
        `path` exists.
        """
        try:
            self._stream = path.open("xb")
        except FileExistsError as error:
            raise EvidenceError(
                f"{path}: exists: this phase was counted already; count into another file"
            ) from error
        self._lines = 0
        self._stream.write(
            header_line(
                "tokens",
                COUNTS_VERSION,
                backend=backend,
                tokenizer=tokenizer,
                tokenizer_name=name,
                template=template,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def add(self, data: bytes, lines: int) -> None:
        """Append finished lines."""
        self._stream.write(data)
        self._stream.flush()
        self._lines += lines

    def end(self, outcome: Outcome, **totals: int) -> None:
        """Write the end line, which says how counting ended, and bring the log to disk."""
        self._stream.write(end_line(self._lines, outcome=outcome, **totals))
        self._stream.flush()
        os.fsync(self._stream.fileno())


def read_header(path: Path) -> dict[str, Any]:
    """Who counted (`backend`, `tokenizer`), and how. Raises `EvidenceError` for a log that cannot be read."""
    with contextlib.closing(LineReader(path, "tokens", COUNTS_VERSION)) as reader:
        return reader.header


def read_outcome(path: Path) -> Outcome:
    """How counting ended; a log without an end was interrupted. Raises `EvidenceError` for one that cannot be read."""
    end = read_end(path)
    outcome: Outcome = "interrupted" if end is None else end["outcome"]
    return outcome


def read_outputs(path: Path) -> Iterator[OutputTokens]:
    """The outputs of a counts log, in the order in which they were counted.

    Raises `EvidenceError` naming the file and line for a damaged one.
    """
    return _read(path, OutputTokens, inputs=False)


def read_inputs(path: Path) -> dict[int, int | None]:
    """Tokens of each sample in a counts log. Raises `EvidenceError` as `read_outputs`, and for one counted twice."""
    inputs: dict[int, int | None] = {}
    for line in _read(path, InputTokens, inputs=True):
        if line.sample_index in inputs:
            raise EvidenceError(f"{path}: counts the input of sample {line.sample_index} twice")
        inputs[line.sample_index] = line.input
    return inputs


def _read(path: Path, kind: type[Line], *, inputs: bool) -> Iterator[Line]:
    reader = LineReader(path, "tokens", COUNTS_VERSION)
    decode = msgspec.json.Decoder(kind).decode
    for payload in reader:
        if payload.startswith(_INPUT) is inputs:
            try:
                yield decode(payload)
            except msgspec.MsgspecError as error:
                raise EvidenceError(f"{path}:{reader.lines + 1}: is no token count: {error}") from error
