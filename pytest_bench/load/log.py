"""Append-only logs of a load worker, written off its event loop.

`append` only adds to a list. A separate thread joins, hashes and writes the lines, so a slow disk does not delay the
measurement. If the thread falls too far behind, that is a fault; the load does not pause.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from pytest_bench.errors import EvidenceError
from pytest_bench.lines import LineReader, encode_line, end_line, header_line
from pytest_bench.records import REQUESTS_VERSION, RequestRecord, TextRecord, WorkerReport
from pytest_bench.redaction import redact_bytes

_BATCH_BYTES = 1 << 18
_MOST_BATCHES_WAITING = 256


class LogWriter:
    """Writes one log file. `fault` is None, or the reason why writing failed; nothing is written after a fault."""

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.fault: str | None = None
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._lines = 0
        self._waiting: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name=f"log {path.name}", daemon=True)
        self._thread.start()
        self._add(header)
        self.flush()  # even an interrupted log has a header

    def append(self, payload: bytes) -> None:
        """Add one line: the JSON object `payload`."""
        self._lines += 1
        self._add(encode_line(payload))
        if self._batch_bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pass the collected lines to the writing thread."""
        if not self._batch:
            return
        if self._waiting.qsize() >= _MOST_BATCHES_WAITING and self.fault is None:
            self.fault = (
                f"{self.path}: the disk cannot keep up: {_MOST_BATCHES_WAITING} batches are waiting; "
                "give the results a faster one"
            )
        if self.fault is None:
            self._waiting.put(self._batch)
        self._batch = []
        self._batch_bytes = 0

    def close(self, **fields: Any) -> None:
        """Write the remaining lines and the end line, which holds `fields`, and sync."""
        self._add(end_line(self._lines, **fields))
        self.flush()
        self._waiting.put(None)
        self._thread.join()
        os.close(self._fd)

    def _add(self, line: bytes) -> None:
        self._batch.append(line)
        self._batch_bytes += len(line)

    def _drain(self) -> None:
        while (batch := self._waiting.get()) is not None:
            if self.fault is None:
                self._write(b"".join(batch))
        if self.fault is None:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self.fault = _disk_fault(self.path, "synced", error)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.fault = _disk_fault(self.path, "written", error)


def _disk_fault(path: Path, what: str, error: OSError) -> str:
    return f"{path}: cannot be {what}: {error.strerror}; free some space, or give the results another folder"


class PhaseLog:
    """The logs of one load worker in one phase: request records, delivered texts, and a file for each binary output."""

    def __init__(self, folder: Path, worker: int, facts: dict[str, str]) -> None:
        self._requests, self._texts = (
            LogWriter(
                folder / f"{log}.{worker}.jsonl",
                header_line(log, REQUESTS_VERSION, worker=worker, **facts),
            )
            for log in ("requests", "texts")
        )
        self._encode = msgspec.json.Encoder().encode
        self._attachments = folder / "attachments"
        self._attachment_fault: str | None = None

    @property
    def fault(self) -> str | None:
        return self._requests.fault or self._texts.fault or self._attachment_fault

    def append(self, record: RequestRecord, text: TextRecord | None, attachment: bytes | None = None) -> int:
        """Add a request record, the delivered text, and the delivered binary output. Returns the record's position."""
        if attachment is not None:
            self._attach(record, attachment)
        self._requests.append(self._encode(record))
        if text is not None:
            self._texts.append(self._encode(text))
        return record.seq

    def _attach(self, record: RequestRecord, data: bytes) -> None:
        # Written synchronously, because requests with attachments take seconds and are few.
        try:
            self._attachments.mkdir(exist_ok=True)
            (self._attachments / f"{record.index}.mp4").write_bytes(redact_bytes(data))
        except OSError as error:
            self._attachment_fault = f"{self._attachments.name}: cannot be written: {error.strerror}"

    def flush(self) -> None:
        self._requests.flush()
        self._texts.flush()

    def close(self, report: WorkerReport | None) -> None:
        """Close both. `report` is written to the end of the request log; None if the phase was not finished."""
        self._requests.close(**({} if report is None else {"report": _without_seconds(report)}))
        self._texts.close()


def _without_seconds(report: WorkerReport) -> Any:
    """What the end line holds of a report. The records have the rest."""
    return msgspec.to_builtins(replace(report, seconds=()))


def read_records(folder: Path) -> Iterator[RequestRecord]:
    """Yield all request records of a phase, by load worker, in the order in which they were written.

    Raises `EvidenceError` with file and line for a damaged line or a gap in the sequence, and for a file without an end
    line (an interrupted phase).
    """
    decode = msgspec.json.Decoder(RequestRecord).decode
    paths = sorted(folder.glob("requests.*.jsonl"))
    if not paths:
        raise EvidenceError(f"{folder}: holds no request log")
    for path in paths:
        reader = LineReader(path, "requests", REQUESTS_VERSION)
        for expected, record in enumerate(reader.records(decode, "a request record")):
            if record.seq != expected:
                raise EvidenceError(f"{path}:{expected + 2}: has sequence {record.seq}, expected {expected}")
            yield record
        reader.require_complete()


def read_texts(folder: Path) -> Iterator[TextRecord]:
    """Yield the kept texts of a phase. Raises `EvidenceError` with file and line for a damaged or unfinished log."""
    decode = msgspec.json.Decoder(TextRecord).decode
    for path in sorted(folder.glob("texts.*.jsonl")):
        reader = LineReader(path, "texts", REQUESTS_VERSION)
        yield from reader.records(decode, "a text record")
        reader.require_complete()
