"""Text logs: divides them into ranges of whole lines, and reads ranges as records."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError, TokensError
from pytest_bench.lines import decode_line, is_mark, lines_in, read_end
from pytest_bench.records import TextRecord

_READ_BYTES = 1 << 20
_SHOWN_BYTES = 120
_STRETCH_BYTES = 1 << 16
_LONGEST_HEADER = 1 << 20
_RECORDS = msgspec.json.Decoder(TextRecord)


def origin_of(log: Path) -> dict[str, Any]:
    """Which session, point and phase the texts of a log are of, as its header says; empty if the header is damaged.

    Raises `EvidenceError` for a log that cannot be read.
    """
    try:
        with log.open("rb") as stream:
            header = msgspec.json.decode(decode_line(stream.readline(_LONGEST_HEADER)), type=dict[str, Any])
    except OSError as error:
        raise EvidenceError(f"{log}: cannot be read: {error.strerror or error}") from error
    except (EvidenceError, msgspec.MsgspecError):
        return {}
    return {name: header[name] for name in ("nonce", "point", "phase") if name in header}


def cut(log: Path, size: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield ranges of `log` from byte `start` to `stop` (default: its end), of `size` bytes and the rest of a line.

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
    """Yield the ranges of a log that are not in `done`; None is its end."""
    start = 0
    for first, last in sorted(done):
        if start < first:
            yield start, first
        start = last
    yield start, None


def written_lines(log: Path, start: int) -> int:
    """The end of the last whole line of a log that is being written; `start` if there is none after it.

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
    """Number of records of a log: from its end line, else its number of whole lines without the header.

    Raises `EvidenceError` for a log that cannot be read.
    """
    end = read_end(log)
    if end is not None:
        return int(end["lines"])
    with log.open("rb") as stream:
        lines = sum(data.count(b"\n") for data in iter(lambda: stream.read(_READ_BYTES), b""))
    return max(0, lines - 1)


def read_records(
    path: str, start: int, stop: int
) -> tuple[list[TextRecord], list[tuple[int, int]], list[str]]:
    """The intact records in bytes `start … stop - 1` of a log, which are whole lines; offset and length of each one's
    line; and what is wrong with other lines.

    Raises `TokensError` for lines that are intact and not text records, and for a log that cannot be read.
    """
    data = _read(path, start, stop)
    view = memoryview(data)
    lines: list[tuple[int, int]] = []
    failures: list[str] = []
    stretches: list[memoryview] = []
    begun = 0
    for first, last, intact in lines_in(data):
        if intact and not is_mark(data, first):
            lines.append((start + first, last - first))
            if last - begun >= _STRETCH_BYTES:
                stretches.append(view[begun:last])
                begun = last
            continue
        if not intact:
            text = data[first : min(last, first + _SHOWN_BYTES)].decode("utf-8", "backslashreplace")
            failures.append(f"{path}: byte {start + first}: a line does not match its checksum: {text!r}")
        stretches.append(view[begun:first])
        begun = last
    stretches.append(view[begun:])
    try:
        # Many lines in one call, because the decoder keeps its buffer for strings with escapes; not too many, because
        # it keeps the interpreter, too, and the thread inside the library may be waiting for it.
        records = list(itertools.chain.from_iterable(map(_RECORDS.decode_lines, stretches)))
    except msgspec.MsgspecError as error:
        raise TokensError(
            f"{path}: bytes {start} to {stop} hold a line that is not a text record: {error}"
        ) from error
    return records, lines, failures


def read_record(path: str, offset: int, length: int) -> TextRecord:
    """Read the record of one line. Raises `TokensError` for a log that cannot be read."""
    return _RECORDS.decode(decode_line(_read(path, offset, offset + length)))


def texts_of(record: TextRecord) -> tuple[str, str, str, str]:
    """The texts of a record, in the order of `TEXT_KINDS`."""
    return record.content, record.reasoning, record.tool_calls, record.first_event_text


def _read(path: str, start: int, stop: int) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            stream.seek(start)
            data = stream.read(stop - start)
    except OSError as error:
        raise TokensError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) != stop - start:
        raise TokensError(f"{path}: ends before byte {stop}: it was truncated while it was counted")
    return data
