"""Checksummed JSON lines: the format of every append-only log.

A line is one JSON object whose last field is the CRC-32 of the object without that field. A changed or missing byte is
detected, and any JSON tool can read the file:

    {"kind":"header","log":"texts","version":2,"crc":825202263}
    {"request_id":"r-1","content":"Hello","crc":4069161310}
    {"kind":"end","lines":1,"crc":1164843866}

The first line is a header. A complete log ends with an end line that holds the number of lines in between. A writer
that was stopped leaves no end line, and at most one torn line without a newline.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import canonical_json, open_plain
from pytest_bench.redaction import redact_bytes

T = TypeVar("T")

_CRC = b',"crc":'
_MARK = b'{"kind":'
_LONGEST_END = 4096
_LONGEST = 256 << 20
"""Largest size, in bytes, of one line."""


def encode_line(payload: bytes) -> bytes:
    """One log line of `payload`, a compact JSON object with at least one field, without secrets (`redaction`)."""
    payload = redact_bytes(payload)
    return b'%b,"crc":%d}\n' % (payload[:-1], crc32(payload))


def decode_line(line: bytes) -> bytes:
    """The payload of one log line, which includes its newline.

    Raises `EvidenceError` if the checksum differs.
    """
    place = _checksum(line, 0, len(line))
    if place < 0:
        raise EvidenceError(f"a line does not match its checksum: {excerpt(line)}")
    return line[:place] + b"}"


def lines_in(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each line of `data`, and whether it matches its checksum. Does not copy the data."""
    start, end = 0, len(data)
    while start < end:
        stop = data.find(b"\n", start) + 1 or end
        yield start, stop, _checksum(data, start, stop) >= 0
        start = stop


def _checksum(data: bytes, start: int, stop: int) -> int:
    """Position of the checksum of the line in bytes `start … stop - 1`; -1 if it has none or a wrong one."""
    place = data.rfind(_CRC, start, stop)
    if place < 0:
        return -1
    expected = crc32(b"}", crc32(memoryview(data)[start:place]))
    return place if data[place:stop] == b"%b%d}\n" % (_CRC, expected) else -1


def header_line(log: str, version: int, **fields: Any) -> bytes:
    """First line of a log named `log`, with further `fields` for its reader."""
    return _mark_line("header", {"log": log, "version": version, **fields})


def end_line(lines: int, **fields: Any) -> bytes:
    """Last line of a log that holds `lines` lines between header and end."""
    return _mark_line("end", {"lines": lines, **fields})


def is_mark(payload: bytes, start: int = 0) -> bool:
    """Whether the payload that begins at byte `start` is a header or an end, and not a record."""
    return payload.startswith(_MARK, start)


class LineReader:
    """Iterates over the payloads of one log, without header and end.

    Opening raises `EvidenceError` for a file without an intact header of `log` at `version`. Iterating raises it, with
    file and line, for a damaged line, for a line after the end, and for an end with a wrong number of lines. A torn
    last line is not an error: after the iteration, `torn_bytes` and `complete` tell how the log ended.
    """

    def __init__(self, path: Path, log: str, version: int) -> None:
        self.path = path
        self._number = 0
        self.lines = 0
        """Records read so far."""
        self.torn_bytes = 0
        """Length of a torn last line."""
        self.end: dict[str, Any] | None = None
        """Fields of the end line; None until it is read, and for an unfinished log."""
        try:
            self._stream = open_plain(path)
        except OSError as error:
            raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
        try:
            self.header = self._read_header(log, version)
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        """Close the file, if not all of it is read. Idempotent."""
        self._stream.close()

    @property
    def complete(self) -> bool:
        """Whether the writer finished the log. False until the iteration is over."""
        return self.end is not None

    def require_complete(self) -> None:
        """Raises `EvidenceError` if the log was read to its last byte and has no end."""
        if not self.complete:
            torn = f", with a torn last line of {self.torn_bytes} bytes" if self.torn_bytes else ""
            raise EvidenceError(
                f"{self.path}: stops after {self.lines} lines without an end line{torn}: its writer did not finish"
            )

    def __iter__(self) -> Iterator[bytes]:
        with self._stream as stream:
            while line := stream.readline(_LONGEST):
                if not line.endswith(b"\n"):
                    self._refuse_endless(line)
                    self.torn_bytes = len(line)
                    return
                payload = self._decode(line)
                if self.end is not None:
                    raise EvidenceError(f"{self.path}:{self._number}: a line after the end of the log")
                if is_mark(payload):
                    self.end = self._read_end(payload)
                    continue
                self.lines += 1
                yield payload

    def records(self, decode: Callable[[bytes], T], what: str) -> Iterator[T]:
        """Iterate over decoded payloads. `decode` raises `msgspec.MsgspecError` for a payload that is not `what`; this
        method then raises `EvidenceError` with file and line."""
        for number, payload in enumerate(self, start=2):
            try:
                yield decode(payload)
            except msgspec.MsgspecError as error:
                raise EvidenceError(f"{self.path}:{number}: is not {what}: {error}") from error

    def _read_header(self, log: str, version: int) -> dict[str, Any]:
        line = self._stream.readline(_LONGEST)
        if not line.endswith(b"\n"):
            self._refuse_endless(line)
            raise EvidenceError(f"{self.path}: has no header line: nothing was written to this log")
        header = _mark_fields(self._decode(line))
        if (header.get("kind"), header.get("log"), header.get("version")) != ("header", log, version):
            raise EvidenceError(
                f"{self.path}:1: expected the header of a {log!r} log of version {version}, found {excerpt(line)}"
            )
        return header

    def _read_end(self, payload: bytes) -> dict[str, Any]:
        end = _mark_fields(payload)
        if end.get("kind") != "end" or end.get("lines") != self.lines:
            raise EvidenceError(
                f"{self.path}:{self._number}: expected an end after {self.lines} lines, found {excerpt(payload)}"
            )
        return end

    def _refuse_endless(self, line: bytes) -> None:
        if len(line) == _LONGEST:
            raise EvidenceError(
                f"{self.path}:{self._number + 1}: a line longer than {_LONGEST} bytes: this is not a log"
            )

    def _decode(self, line: bytes) -> bytes:
        self._number += 1
        try:
            return decode_line(line)
        except EvidenceError as error:
            raise EvidenceError(f"{self.path}:{self._number}: {error}") from error


def read_end(path: Path) -> dict[str, Any] | None:
    """Fields of the end line, read from the end of the file only; None if the log has no end.

    Raises `EvidenceError` for a file that cannot be read.
    """
    try:
        with open_plain(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _LONGEST_END))
            tail = stream.read()
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
    line = tail[tail.rfind(b"\n", 0, -1) + 1 :]
    if not line.startswith(_MARK):
        return None
    try:
        fields = _mark_fields(decode_line(line))
    except EvidenceError:
        return None
    return fields if fields.get("kind") == "end" else None


def _mark_line(kind: str, fields: dict[str, Any]) -> bytes:
    return encode_line(b'%b"%b",%b' % (_MARK, kind.encode(), canonical_json(fields)[1:]))


def _mark_fields(payload: bytes) -> dict[str, Any]:
    if not is_mark(payload):
        return {}
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise EvidenceError(f"not a JSON object: {excerpt(payload)}") from error


def excerpt(line: bytes) -> str:
    """The beginning of a line of any file, for a message."""
    text = line[:120].decode("utf-8", "backslashreplace").rstrip("\n")
    return repr(text + ("…" if len(line) > 120 else ""))
