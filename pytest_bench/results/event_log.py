"""The event logs of a session: one append-only file for each process, in the format of `lines.py`.

    events/main.jsonl    the controller
    events/gw0.jsonl     an xdist worker
    events/run.jsonl     `pytest-bench run`, the parent of the controller

An event is in the file when `append` returns, so it survives the end of the process. A worker without access to the
folder sends its lines to the controller.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import canonical_json
from pytest_bench.lines import LineReader, encode_line, end_line, header_line
from pytest_bench.redaction import redact_bytes
from pytest_bench.results.layout import EVENTS
from pytest_bench.verdict.events import Ended, Event

EVENTS_VERSION = 2
LOG = "events"
MAIN = "main"
RUN = "run"

_PROCESS = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def log_path(results: Path, process: str) -> Path:
    """Return the path of a process's log. Raises `EvidenceError` for an invalid name."""
    if not _PROCESS.fullmatch(process):
        raise EvidenceError(f"{process!r} is not the name of a process")
    return results / EVENTS / f"{process}.jsonl"


class EventLog:
    """The log of this process. `append` does not raise: lines that cannot be written now are kept and written later."""

    def __init__(self, process: str, write: Callable[[bytes], None], nonce: str) -> None:
        """`write` appends whole lines, or raises `OSError` and appends nothing."""
        self.process = process
        self._write = write
        self._events = 0
        self._pending = header_line(LOG, EVENTS_VERSION, nonce=nonce, process=process)
        self.problem: OSError | None = None
        """Why pending lines could not be written."""
        self.flush()

    @classmethod
    def create(cls, results: Path, process: str, nonce: str) -> EventLog:
        """Create the log of a process. Raises `OSError` if it exists or cannot be written."""
        path = log_path(results, process)
        path.parent.mkdir(exist_ok=True)
        log = cls(process, Appender(path), nonce)
        if log.problem is not None:
            raise log.problem
        return log

    def append(self, event: Event) -> None:
        self._events += 1
        self._pending += encode_line(redact_bytes(canonical_json(event)))
        if isinstance(event, Ended):
            self._pending += end_line(self._events)
        self.flush()

    def flush(self) -> None:
        """Try to write the pending lines."""
        try:
            self._write(self._pending)
        except OSError as error:
            self.problem = error
        else:
            self._pending, self.problem = b"", None


class Appender:
    """Appends lines to a new file. Each call writes all of its lines or none."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`; `FileExistsError` if the file exists."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._size = 0

    def __call__(self, lines: bytes) -> None:
        written = 0
        try:
            while written < len(lines):
                written += os.pwrite(self._descriptor, lines[written:], self._size + written)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += written


def read_logs(results: Path, nonce: str | None) -> dict[str, list[Event]]:
    """Return the events of each process, in the order in which they were recorded.

    An incomplete last line is ignored: its process was killed while writing. Raises `EvidenceError` for a damaged log,
    and for a log of a session other than `nonce`.
    """
    folder = results / EVENTS
    if folder.is_symlink():
        raise EvidenceError(f"{folder}: is a link, which a session never writes")
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise EvidenceError(f"{folder}: cannot be listed: {error.strerror or error}") from error
    processes = [name.removesuffix(".jsonl") for name in names]
    return {process: list(read_log(results, process, nonce)) for process in processes}


def read_log(results: Path, process: str, nonce: str | None) -> Iterator[Event]:
    """Yield the events of one process. Raises `EvidenceError`."""
    path = log_path(results, process)
    if path.is_symlink():
        raise EvidenceError(f"{path}: is a link, which a session never writes")
    reader = LineReader(path, LOG, EVENTS_VERSION)
    found = (reader.header.get("process"), reader.header.get("nonce"))
    if found != (process, nonce if nonce is not None else found[1]):
        reader.close()
        raise EvidenceError(f"{path}: is the log of process {found[0]} of session {found[1]}, not of {nonce}")
    yield from reader.records(msgspec.json.Decoder(Event).decode, "an event")


def nonce_of(results: Path) -> str:
    """Return the nonce of the session that a folder belongs to, from the log of its first process.

    Raises `EvidenceError`.
    """
    path = log_path(results, RUN if log_path(results, RUN).exists() else MAIN)
    reader = LineReader(path, LOG, EVENTS_VERSION)
    reader.close()
    nonce = reader.header.get("nonce")
    if not isinstance(nonce, str):
        raise EvidenceError(f"{path}:1: its header contains no nonce")
    return nonce
