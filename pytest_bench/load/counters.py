"""Counters that load workers publish and the supervisor reads, in anonymous shared memory.

int64 cells: one start time per stage, one heartbeat per worker, and one row per worker and phase. Each cell has one
writer, and an aligned eight-byte store is atomic. The file that backs the memory has no name, so it cannot outlive
its processes.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from enum import IntEnum
from typing import IO

from pytest_bench.errors import LoadError


class Cell(IntEnum):
    """Columns of a worker's row for one phase."""

    ISSUED = 0
    SUCCEEDED = 1
    FAILED = 2
    IN_FLIGHT = 3
    EVENTS = 4


class SharedCounters:
    """The shared counters of one run, mapped from `fd`."""

    def __init__(self, fd: int, *, stages: int, workers: int, phases: int) -> None:
        self.workers = workers
        self._stages = stages
        self._phases = phases
        self._rows = stages + workers
        self._map = mmap.mmap(fd, 8 * (self._rows + workers * phases * len(Cell)))
        self._view = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, *, stages: int, workers: int, phases: int) -> tuple[int, SharedCounters]:
        """Return a descriptor, which workers inherit and the caller closes, and the counters mapped from it."""
        fd = anonymous_file()
        os.ftruncate(fd, 8 * (stages + workers + workers * phases * len(Cell)))
        return fd, cls(fd, stages=stages, workers=workers, phases=phases)

    def set(self, worker: int, phase: int, cell: Cell, value: int) -> None:
        self._view[self._rows + (worker * self._phases + phase) * len(Cell) + cell] = value

    def get(self, worker: int, phase: int, cell: Cell) -> int:
        return self._view[self._rows + (worker * self._phases + phase) * len(Cell) + cell]

    def total(self, phase: int, cell: Cell) -> int:
        """Sum of one column of a phase over all workers."""
        return sum(self.get(worker, phase, cell) for worker in range(self.workers))

    def beat(self, worker: int, at_ns: int) -> None:
        """Record a heartbeat. `at_ns` is in the future if the worker announces that it will be silent until then."""
        self._view[self._stages + worker] = at_ns

    def last_beat(self, worker: int) -> int:
        """Time of the last heartbeat; 0 if the worker has not started."""
        return self._view[self._stages + worker]

    def set_stage_start(self, stage: int, at_ns: int) -> None:
        self._view[stage] = at_ns

    def stage_start(self, stage: int) -> int:
        """Start time of the stage; 0 if it has not started."""
        return self._view[stage]

    def close(self) -> None:
        self._view.release()
        self._map.close()


def anonymous_file(write: Callable[[IO[bytes]], object] = lambda _: None) -> int:
    """Return the descriptor of a regular file without a name, filled by `write`. The caller closes it.

    Processes that share the open file share its offset, which only a regular file advances atomically. Without a
    name, nothing is left however this process ends. Raises `LoadError` if the file cannot be written.
    """
    try:
        with tempfile.TemporaryFile() as stream:
            write(stream)
            stream.flush()
            return os.dup(stream.fileno())
    except OSError as error:
        raise LoadError(
            f"{tempfile.gettempdir()}: cannot be written: {error.strerror or error}; free some space there, or set "
            "TMPDIR to a folder with room"
        ) from error
