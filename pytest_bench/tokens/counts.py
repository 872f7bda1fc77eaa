"""The counts log, `tokens.jsonl`: what was counted, by request and by sample.

Between header and end, each line is an output (one request: the tokens of each kind of text it delivered)
or an input (one sample). A count of null could not be made: it is pending. The end line repeats the outcome.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.lines import LineReader, end_line, header_line

COUNTS_LOG = "tokens.jsonl"
COUNTS_VERSION = 1

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


class PhaseCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a counts log holds."""

    outputs: dict[str, OutputTokens]
    """By request id."""
    inputs: dict[int, int | None]
    """By sample index."""
    outcome: Outcome
    backend: str
    tokenizer: str
    """Digest of the tokenizer."""


class CountsWriter:
    """Writes a counts log, as a context manager. What was added is with the system when `add` returns."""

    def __init__(self, path: Path, backend: str, tokenizer: str, name: str) -> None:
        """`tokenizer` is its digest, `name` what the user calls it. Raises `EvidenceError` where `path` exists."""
        try:
            self._stream = path.open("xb")
        except FileExistsError as error:
            raise EvidenceError(
                f"{path}: exists: this phase was counted already; count into another file"
            ) from error
        self._lines = 0
        self._stream.write(
            header_line("tokens", COUNTS_VERSION, backend=backend, tokenizer=tokenizer, tokenizer_name=name)
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


def read_counts(path: Path) -> PhaseCounts:
    """Read a counts log. A log without an end counts as interrupted.

    Raises `EvidenceError` naming the file and line for a damaged one, and for a request or sample that was
    counted twice.
    """
    reader = LineReader(path, "tokens", COUNTS_VERSION)
    outputs: dict[str, OutputTokens] = {}
    inputs: dict[int, int | None] = {}
    decode_output = msgspec.json.Decoder(OutputTokens).decode
    decode_input = msgspec.json.Decoder(InputTokens).decode
    for payload in reader:
        try:
            if payload.startswith(b'{"sample_index"'):
                sample = decode_input(payload)
                inputs[sample.sample_index] = sample.input
            else:
                output = decode_output(payload)
                outputs[output.request_id] = output
        except msgspec.MsgspecError as error:
            raise EvidenceError(f"{path}:{reader.lines + 1}: is no token count: {error}") from error
    if len(outputs) + len(inputs) != reader.lines:
        raise EvidenceError(
            f"{path}: counts {reader.lines - len(outputs) - len(inputs)} requests or samples twice"
        )
    return PhaseCounts(
        outputs=outputs,
        inputs=inputs,
        outcome=reader.end["outcome"] if reader.end else "interrupted",
        backend=reader.header["backend"],
        tokenizer=reader.header["tokenizer"],
    )
