"""The checkpoint of an eval as the log of a phase: one line for each attempt, with record, text and key together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.checkpoints.line import Key, Kind
from pytest_bench.checkpoints.writer import CheckpointWriter
from pytest_bench.records import Places, RequestRecord, TextRecord, WorkerReport
from pytest_bench.workload import Checkpointing

NO_LINE = -1
"""Position of what was not written."""


class CheckpointLog:
    """Writes the checkpoint where a `PhaseLog` writes the logs of other phases."""

    def __init__(self, spec: Checkpointing, on_written: Callable[[], None]) -> None:
        """`on_written` is called in the writing thread whenever more lines are written."""
        self._writer = CheckpointWriter(
            Path(spec.path),
            spec.descriptor,
            lines=spec.lines,
            good_bytes=spec.good_bytes,
            sync=spec.sync,
            on_written=lambda _: on_written(),
        )
        self._keys = msgspec.json.decode(_read_all(spec.keys), type=list[Key])
        self.places: Callable[[], Places | None] = lambda: None
        """Returns the concurrency reached so far, which each line states: it survives a kill."""

    @property
    def fault(self) -> str | None:
        return self._writer.fault

    @property
    def written(self) -> int:
        """Lines of the file that a kill of this process cannot lose."""
        return self._writer.written

    def append(self, record: RequestRecord, text: TextRecord | None, attachment: bytes | None = None) -> int:
        """Append the outcome of an attempt; returns its line's sequence.

        An attempt that was interrupted leaves no line, as one that was killed: nothing is known of its answer, and it
        is not a failure of the server. An eval's answers have no attachment.
        """
        del attachment
        if record.outcome == "interrupted":
            return NO_LINE
        payload: dict[str, Any] = {"request": record, "text": text, "places": self.places()}
        kind: Kind = "result" if record.outcome == "succeeded" and text is not None else "error"
        return self._writer.append(kind, payload, self._keys[record.sample_index])

    def flush(self) -> None:
        """Do nothing: every line is handed over at once."""

    def close(self, report: WorkerReport | None) -> None:  # noqa: ARG002 # the interface of a phase's logs
        """Write and sync everything. The checkpoint's lines have what a report says of its requests."""
        self._writer.close()


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, size, 0)
    if len(data) != size:
        raise OSError(f"the keys of the requests have {size} bytes, of which {len(data)} could be read")
    return data
