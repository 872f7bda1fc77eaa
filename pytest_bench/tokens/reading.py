"""Text records read from ranges of a log, and the texts among the first ones that repeat."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pytest_bench.errors import TokensError
from pytest_bench.lines import decode_line, is_mark, lines_in
from pytest_bench.records import TextRecord
from pytest_bench.tokens.segments import cut

_SHOWN_BYTES = 120
_STRETCH_BYTES = 1 << 16
_LOOKED_AT_BYTES = 1 << 18
_SHORT_CHARACTERS = 256
"""A text so short is encoded in less time than it takes to have it counted beforehand."""
_RECORDS = msgspec.json.Decoder(TextRecord)


def repeated_texts(logs: Sequence[Path]) -> list[str]:
    """Long texts that come more than once among the first records of `logs`: a quarter of a megabyte in all, and two
    records of each at least.

    Where a line cannot be read, its log is passed over: whoever reads all of it will say so.
    """
    times: Counter[str] = Counter()
    for log in logs:
        size = max(1, _LOOKED_AT_BYTES // (2 * len(logs)))
        for start, stop in itertools.islice(cut(log, size), 2):
            try:
                records, _, _ = read_records(str(log), start, stop)
            except TokensError:
                continue
            times.update(
                text for record in records for text in texts_of(record) if len(text) > _SHORT_CHARACTERS
            )
    return [text for text, often in times.items() if often > 1]


def read_records(
    path: str, start: int, stop: int
) -> tuple[list[TextRecord], list[tuple[int, int]], list[str]]:
    """The intact records in bytes `start … stop - 1` of a log, which are whole lines; offset and length of each one's
    line; and what is wrong with other lines.

    Raises `TokensError` for lines that are intact and no text records, and for a log that cannot be read.
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
        # Many lines in one call, for the decoder keeps its buffer for strings with escapes; not too many, for it
        # keeps the interpreter, too, and the library's thread may be waiting for it.
        records = list(itertools.chain.from_iterable(map(_RECORDS.decode_lines, stretches)))
    except msgspec.MsgspecError as error:
        raise TokensError(
            f"{path}: bytes {start} to {stop} hold a line that is no text record: {error}"
        ) from error
    return records, lines, failures


def read_record(path: str, offset: int, length: int) -> TextRecord:
    """The record whose line is there. Raises `TokensError` for a log that cannot be read."""
    return _RECORDS.decode(decode_line(_read(path, offset, offset + length)))


def texts_of(record: TextRecord) -> tuple[str, str, str, str]:
    """Its texts, in the order of `TEXT_KINDS`."""
    return record.content, record.reasoning, record.tool_calls, record.first_event_text


def _read(path: str, start: int, stop: int) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            stream.seek(start)
            data = stream.read(stop - start)
    except OSError as error:
        raise TokensError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) != stop - start:
        raise TokensError(f"{path}: ends before byte {stop}: it was cut while it was counted")
    return data
