"""The counts log, `tokens.jsonl`: token counts by request and by sample.

Each line between header and end is an output (the tokens of each kind of text of one request) or an input (one sample).
A count that could not be made is null: it is pending. The end line states the outcome.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.lines import LineReader, end_line, header_line, read_end

COUNTS_LOG = "tokens.jsonl"
COUNTS_VERSION = 1

SERVER = "server"
"""The back end in a counts log whose inputs were counted by the server."""

Outcome = Literal["complete", "timeout", "failed", "interrupted"]

TEXT_KINDS = ("content", "reasoning", "tool_calls", "first_event")
"""Order of the counts of one record: the kinds of output, then the text of the first content event."""


class OutputTokens(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one request's output. None: not counted."""

    request_id: str
    sample_index: int
    content: int | None
    reasoning: int | None
    tool_calls: int | None
    first_event: int | None
    """Tokens of the first content event. They are part of the other counts; time per output token excludes them."""

    @property
    def total(self) -> int | None:
        """Output tokens of all kinds; None if a kind was not counted."""
        if self.content is None or self.reasoning is None or self.tool_calls is None:
            return None
        return self.content + self.reasoning + self.tool_calls


class InputTokens(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Input tokens of one sample. None: not counted."""

    sample_index: int
    input: int | None


Line = TypeVar("Line", OutputTokens, InputTokens)

_INPUT = b'{"sample_index"'


class CountsWriter:
    """Writes a counts log; a context manager. Lines are passed to the kernel before `add` returns."""

    def __init__(
        self,
        path: Path,
        backend: str,
        tokenizer: str,
        name: str,
        *,
        origin: Mapping[str, Any],
        template: bool = True,
    ) -> None:
        """Create the log at `path`. `tokenizer` is the digest of the tokenizer, `name` its name in the suite.

        `template` is false if chat inputs are counted without the model's chat template. `origin` says which session,
        point and phase the texts are of. Raises `EvidenceError` if `path` exists.
        """
        try:
            self._stream = path.open("xb")
        except FileExistsError as error:
            raise EvidenceError(
                f"{path}: exists: this phase has already been counted; name another file"
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
                **origin,
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
        """Write the end line, which states how counting ended, and sync the log to disk."""
        self._stream.write(end_line(self._lines, outcome=outcome, **totals))
        self._stream.flush()
        os.fsync(self._stream.fileno())


def read_header(path: Path) -> dict[str, Any]:
    """The header of a log: which back end and tokenizer counted, and how. Raises `EvidenceError`."""
    with contextlib.closing(LineReader(path, "tokens", COUNTS_VERSION)) as reader:
        return reader.header


def read_outcome(path: Path) -> Outcome:
    """How counting ended; a log without an end line was interrupted. Raises `EvidenceError`."""
    end = read_end(path)
    outcome: Outcome = "interrupted" if end is None else end["outcome"]
    return outcome


def read_outputs(path: Path) -> Iterator[OutputTokens]:
    """The outputs in a counts log, in the order in which they were counted.

    Raises `EvidenceError` with file and line if the log is damaged.
    """
    return _read(path, OutputTokens, inputs=False)


def read_inputs(path: Path) -> dict[int, int | None]:
    """Input tokens by sample. Raises `EvidenceError` like `read_outputs`, and if a sample was counted twice."""
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
                raise EvidenceError(f"{path}:{reader.lines + 1}: is not a token count: {error}") from error
