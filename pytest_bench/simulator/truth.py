"""The ground-truth log: what happened on the wire, as the server saw it.

JSON lines: a header, one record a request, a closing line. All times are CLOCK_MONOTONIC nanoseconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError

TRUTH_VERSION = 1

_FLUSH_BYTES = 256 * 1024


class TruthRecord(
    msgspec.Struct, kw_only=True, omit_defaults=True, tag="request", tag_field="kind", gc=False
):
    """One request that asked for output, as the server saw it."""

    number: int
    """Position in the order of arrival, from 0; faults and draws follow from it."""
    request_id: str = ""
    """X-Request-Id of the client."""
    item: str = ""
    """Name of the item that it asks for, if the simulator answers from a file."""
    path: str
    connection: int
    """Position of its connection in the order of accepting, from 0."""
    accept_ns: int
    """When its connection was accepted."""
    first_request_byte_ns: int
    """When the first packet of the request was read."""
    last_request_byte_ns: int
    """When the packet that completed it was read."""
    start_ns: int | None = None
    """When it left the queue; None if it never did."""
    first_byte_ns: int | None = None
    """Just before the first write of the response."""
    write_gaps_ns: list[int] = []
    """From each write to the next; every stamp is taken just before its write."""
    content_write: int | None = None
    """Position of the write that completed the first content."""
    last_content_write: int | None = None
    in_flight: int
    """Requests in flight at its arrival, this one included."""
    status: int | None = None
    fault: str | None = None
    framings: list[str] = []
    cached: bool = False
    aborted: bool = False
    """The client closed the connection before the response was complete."""
    tokens: int = 0
    """Output tokens written."""

    @property
    def write_ns(self) -> list[int]:
        """The stamp of each write."""
        if self.first_byte_ns is None:
            return []
        stamps = [self.first_byte_ns]
        for gap in self.write_gaps_ns:
            stamps.append(stamps[-1] + gap)
        return stamps

    @property
    def first_content_ns(self) -> int | None:
        """Just before the write that completed the first content."""
        return None if self.content_write is None else self.write_ns[self.content_write]

    @property
    def last_content_ns(self) -> int | None:
        """Just before the last write with content."""
        return None if self.last_content_write is None else self.write_ns[self.last_content_write]


class _Header(msgspec.Struct, kw_only=True, tag="header", tag_field="kind"):
    version: int
    clock: str
    pid: int
    behaviour: dict[str, Any]


class _End(msgspec.Struct, kw_only=True, tag="end", tag_field="kind"):
    requests: int
    connections: int
    peak_in_flight: int


class Truth(msgspec.Struct, kw_only=True):
    """A complete log."""

    behaviour: dict[str, Any]
    records: list[TruthRecord]
    """In the order in which the requests ended."""
    connections: int | None = None
    peak_in_flight: int | None = None
    """None if the log has no closing line: the simulator is still running, or was killed."""


class TruthLog:
    """Appends to a log, buffered, so that writing it does not delay requests.

    After a write has failed, `fault` says why and nothing more is written: a log with gaps
    must not be mistaken for a complete one.
    """

    def __init__(
        self, path: Path, behaviour: dict[str, Any], on_fault: Callable[[], None] = lambda: None
    ) -> None:
        """Open `path`, which must not exist, and write the header. Raises `OSError`.

        `on_fault` is called once, when a later write fails.
        """
        self.fault: str | None = None
        self._path = path
        self._on_fault = on_fault
        self._file = path.open("xb", buffering=0)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()
        self._add(
            _Header(version=TRUTH_VERSION, clock="CLOCK_MONOTONIC", pid=os.getpid(), behaviour=behaviour)
        )
        self._write()

    def add(self, record: TruthRecord) -> None:
        self._add(record)
        if len(self._buffer) > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if self.fault is None:
            try:
                self._write()
            except OSError as error:
                self.fault = (
                    f"{self._path}: the simulator cannot write its log: {error.strerror or error}; free some space, "
                    "raise the limit on file sizes, or give the log another folder"
                )
                self._on_fault()
        self._buffer.clear()

    def close(self, *, requests: int, connections: int, peak_in_flight: int) -> None:
        """Write the closing line."""
        self._add(_End(requests=requests, connections=connections, peak_in_flight=peak_in_flight))
        self.flush()
        self._file.close()

    def _add(self, line: msgspec.Struct) -> None:
        self._buffer += self._encoder.encode(line)
        self._buffer += b"\n"

    def _write(self) -> None:
        # A disk or a limit may take a part of what it is given.
        while self._buffer:
            del self._buffer[: self._file.write(self._buffer)]


def read_truth(path: Path) -> Truth:
    """Read a log. A last line without its newline, which is still being written, is left out.

    Raises `EvidenceError` for a file that is not such a log, or is of another version.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from error
    decoder = msgspec.json.Decoder(_Header | TruthRecord | _End)
    truth: Truth | None = None
    for number, line in enumerate(lines, 1):
        try:
            entry = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise EvidenceError(f"{path}:{number}: is not a line of a ground-truth log: {error}") from error
        if truth is None:
            if not isinstance(entry, _Header) or entry.version != TRUTH_VERSION:
                raise EvidenceError(
                    f"{path}: expected the header of a ground-truth log, version {TRUTH_VERSION}"
                )
            truth = Truth(behaviour=entry.behaviour, records=[])
        elif isinstance(entry, TruthRecord):
            truth.records.append(entry)
        elif isinstance(entry, _End):
            truth.connections, truth.peak_in_flight = entry.connections, entry.peak_in_flight
    if truth is None:
        raise EvidenceError(f"{path}: is empty: expected the header of a ground-truth log")
    return truth
