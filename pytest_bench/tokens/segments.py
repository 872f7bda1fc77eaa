"""Text logs cut into ranges of whole lines, so that a worker reads them itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_bench.errors import EvidenceError
from pytest_bench.lines import read_end

_READ_BYTES = 1 << 20


def cut(log: Path, size: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
    """Ranges of `log` from byte `start` to `stop` (by default its end), each `size` bytes and the rest of a line.

    Raises `EvidenceError` for a log that cannot be read.
    """
    try:
        with log.open("rb") as stream:
            end = os.fstat(stream.fileno()).st_size if stop is None else stop
            while start < end:
                stream.seek(start + size - 1)
                stream.readline()
                following = min(end, stream.tell()) if start + size < end else end
                yield start, following
                start = following
    except OSError as error:
        raise EvidenceError(f"{log}: cannot be read: {error.strerror or error}") from error


def left_over(done: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int | None]]:
    """What the ranges in `done` leave of a log; None is its end."""
    start = 0
    for first, last in sorted(done):
        if start < first:
            yield start, first
        start = last
    yield start, None


def written_lines(log: Path, start: int) -> int:
    """Where the last whole line of a log that is being written ends; `start` where none has been added since.

    Raises `EvidenceError` for a log that cannot be read.
    """
    try:
        with log.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            while end > start:
                first = max(start, end - _READ_BYTES)
                stream.seek(first)
                newline = stream.read(end - first).rfind(b"\n")
                if newline >= 0:
                    return first + newline + 1
                end = first
    except OSError as error:
        raise EvidenceError(f"{log}: cannot be read: {error.strerror or error}") from error
    return start


def records_in(log: Path) -> int:
    """Records of a log: as its end line says, else its whole lines without the header.

    Raises `EvidenceError` for a log that cannot be read.
    """
    end = read_end(log)
    if end is not None:
        return int(end["lines"])
    with log.open("rb") as stream:
        lines = sum(data.count(b"\n") for data in iter(lambda: stream.read(_READ_BYTES), b""))
    return max(0, lines - 1)
