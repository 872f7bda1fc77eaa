"""Counters that load workers publish and their supervisor reads, in shared memory without a name.

int64 cells: one start time a leg, one heartbeat a worker, and for each worker one row a phase. Each cell has
one writer; an aligned eight-byte store is never seen half done. The file behind it is unlinked from the
start, so nothing can be left behind.
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


class Board:
    """The shared counters of one run, mapped from `fd`."""

    def __init__(self, fd: int, *, legs: int, workers: int, phases: int) -> None:
        self.workers = workers
        self._legs = legs
        self._phases = phases
        self._rows = legs + workers
        self._map = mmap.mmap(fd, 8 * (self._rows + workers * phases * len(Cell)))
        self._view = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, *, legs: int, workers: int, phases: int) -> tuple[int, Board]:
        """A new board and the descriptor that workers inherit; the caller closes the descriptor."""
        fd = anonymous_file()
        os.ftruncate(fd, 8 * (legs + workers + workers * phases * len(Cell)))
        return fd, cls(fd, legs=legs, workers=workers, phases=phases)

    def set(self, worker: int, phase: int, cell: Cell, value: int) -> None:
        self._view[self._rows + (worker * self._phases + phase) * len(Cell) + cell] = value

    def get(self, worker: int, phase: int, cell: Cell) -> int:
        return self._view[self._rows + (worker * self._phases + phase) * len(Cell) + cell]

    def total(self, phase: int, cell: Cell) -> int:
        """The sum of a column of one phase over all workers."""
        return sum(self.get(worker, phase, cell) for worker in range(self.workers))

    def beat(self, worker: int, at_ns: int) -> None:
        """The worker is alive at `at_ns`, which may lie ahead of a silence that it announces."""
        self._view[self._legs + worker] = at_ns

    def last_beat(self, worker: int) -> int:
        """When the worker was alive last, or 0 where it has not begun."""
        return self._view[self._legs + worker]

    def set_leg_start(self, leg: int, at_ns: int) -> None:
        self._view[leg] = at_ns

    def leg_start(self, leg: int) -> int:
        """When the leg began, or 0 where it has not."""
        return self._view[leg]

    def close(self) -> None:
        self._view.release()
        self._map.close()


def anonymous_file(write: Callable[[IO[bytes]], object] = lambda _: None) -> int:
    """The descriptor of a regular file that has no name, holding what `write` puts there; the caller closes it.

    Regular, because only there do processes that share the open file see one offset whose advance is atomic.
    Without a name, because then nothing is left however this process ends. Raises `LoadError` where there is no
    room.
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
