"""Writing a checkpoint: one thread, one `write` a line, synced by policy."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench.checkpoints.line import Key, Kind, encode

Sync = Literal["group", "each"]

GROUP_LINES = 64
GROUP_S = 0.05
_MOST_WAITING = 65_536
"""Lines that may wait for the disk."""


class CheckpointWriter:
    """Appends lines to an open checkpoint, off the caller's thread.

    `group` syncs after at most 64 lines or 50 ms, `each` after every line. `on_written` is called in the writing
    thread with the number of lines that a kill of this process cannot lose any more (they are with the kernel);
    `on_durable` with the number that a loss of power cannot lose. Both count from the beginning of the file.

    The first fault is final: `fault` says what happened, the file is cut back to its last whole line (after a
    failed sync: to its last durable line), and nothing more is written.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        *,
        lines: int,
        good_bytes: int,
        sync: Sync = "group",
        on_written: Callable[[int], None] | None = None,
        on_durable: Callable[[int], None] | None = None,
    ) -> None:
        self.path = path
        self.fault: str | None = None
        self._descriptor = descriptor
        self._group = 1 if sync == "each" else GROUP_LINES
        self._on_written = on_written
        self._on_durable = on_durable
        self._next = self._written = self._durable = self._told = lines
        self._good_bytes = self._durable_bytes = good_bytes
        self._oldest_unsynced_s = 0.0
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._encode = msgspec.json.Encoder().encode
        self._thread = threading.Thread(target=self._run, name=f"checkpoint {path.name}", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Lines handed to the kernel."""
        return self._written

    def append(self, kind: Kind, payload: object, key: Key | None = None) -> int:
        """Append a line and return its sequence. `payload` is a mapping or struct, or its JSON as bytes.

        A keyed payload that cannot be serialised becomes an `error` line with the traceback, so that it disturbs no
        other request; without a key, the error is raised.
        """
        try:
            encoded = payload if isinstance(payload, bytes) else self._encode(payload)
        except (TypeError, ValueError, OverflowError, RecursionError):
            if key is None:
                raise
            kind = "error"
            encoded = self._encode({"unserialisable": traceback.format_exc()})
        seq = self._next
        self._next += 1
        if self.fault is None and self._waiting.qsize() >= _MOST_WAITING:
            self.fault = f"{self.path}: the disk cannot keep up: {_MOST_WAITING} lines wait to be written"
        self._waiting.put(encode(seq, kind, encoded, None if key is None else self._encode(key)))
        return seq

    def close(self) -> None:
        """Write and sync everything; check `fault` afterwards. The descriptor stays open."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._drain()
        except Exception as error:  # noqa: BLE001 # a callback's, say: without its thread, a log must not look sound
            self.fault = f"{self.path}: the writing thread failed: {type(error).__name__}: {error}"

    def _drain(self) -> None:
        while True:
            line = self._next_line()
            if line == b"":
                self._notify()
                self._sync()
            elif line is None:
                break
            elif self.fault is None:
                self._write(line)
                if self._waiting.empty():
                    self._notify()
        self._notify()
        self._sync()

    def _notify(self) -> None:
        """Tell how many lines are written, once for lines that were waiting together."""
        if self._on_written is not None and self._told != self._written:
            self._told = self._written
            self._on_written(self._written)

    def _next_line(self) -> bytes | None:
        """The next line, None at the end, or empty if a sync is due first."""
        if self._written == self._durable or self.fault is not None:
            return self._waiting.get()
        left_s = self._oldest_unsynced_s + GROUP_S - time.monotonic()
        if left_s <= 0 or self._written - self._durable >= self._group:
            return b""
        try:
            return self._waiting.get(timeout=left_s)
        except queue.Empty:
            return b""

    def _write(self, line: bytes) -> None:
        try:
            count = os.write(self._descriptor, line)
        except OSError as error:
            self._fail("written", error.strerror or str(error), self._good_bytes)
            return
        if count != len(line):
            self._fail("written", f"only {count} of {len(line)} bytes of a line fit", self._good_bytes)
            return
        if self._written == self._durable:
            self._oldest_unsynced_s = time.monotonic()
        self._good_bytes += count
        self._written += 1

    def _sync(self) -> None:
        if self.fault is not None or self._written == self._durable:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._fail("synced", error.strerror or str(error), self._durable_bytes)
            return
        self._durable, self._durable_bytes = self._written, self._good_bytes
        if self._on_durable is not None:
            self._on_durable(self._durable)

    def _fail(self, what: str, reason: str, keep_bytes: int) -> None:
        with contextlib.suppress(OSError):  # what cannot be cut off is cut off when the file is opened again
            os.ftruncate(self._descriptor, keep_bytes)
        remedy = "free some space or replace the disk, then resume this session"
        self.fault = f"{self.path}: cannot be {what}: {reason}; {remedy}"
